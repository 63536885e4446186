"""An application that shows its tester what it was given and misbehaves on request."""

import ctypes
import json
import os
import sys
import time


def environ_page(environ):
    return json.dumps({name: value for name, value in environ.items() if isinstance(value, str)})


def modules_page(environ):
    return json.dumps(sorted(sys.modules))


def pid_page(environ):
    return str(os.getpid())


def ids_page(environ):
    return json.dumps({"uid": os.getuid(), "gid": os.getgid(), "groups": sorted(os.getgroups())})


def echo_page(environ):
    return environ["wsgi.input"].read().decode("latin-1")


def sleep_page(environ):
    announce(environ, "sleeping")
    time.sleep(float(environ["QUERY_STRING"]))
    return "slept"


def hold_gil_page(environ):
    """Sleep inside C with the interpreter lock held: no Python code of this process can run meanwhile."""
    announce(environ, "holding the interpreter lock")
    ctypes.PyDLL(None).sleep(int(environ["QUERY_STRING"]))
    return "held"


def error_page(environ):
    raise RuntimeError("the application's own error")


def announce(environ, what):
    print(f"{what} in {os.getpid()}", file=environ["wsgi.errors"])
    environ["wsgi.errors"].flush()


PAGES = {
    "/environ": environ_page,
    "/modules": modules_page,
    "/pid": pid_page,
    "/ids": ids_page,
    "/echo": echo_page,
    "/sleep": sleep_page,
    "/hold": hold_gil_page,
    "/error": error_page,
}


def app(environ, start_response):
    page = PAGES.get(environ["PATH_INFO"], lambda environ: "Hello, World!\n")
    body = page(environ).encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def make(greeting="made"):
    """A factory, for ``probe:make('…')``."""

    def made(environ, start_response):
        start_response("200 OK", [("Content-Length", str(len(greeting)))])
        return [greeting.encode()]

    return made


not_callable = 42
