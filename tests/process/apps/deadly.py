"""An application that dies, or hangs, in the ways that applications do."""

import ctypes
import re


def catastrophic_regex():
    """Exponential time inside the regular expression engine, which never gives the interpreter lock up."""
    return re.match(r"(a+)+$", "a" * 64 + "b")


def segfault():
    ctypes.string_at(0)


def exit_at_once():
    ctypes.CDLL(None)._exit(7)


def eat_memory():
    """More than the control group has; touched, so that it counts."""
    hoard = []
    while True:
        hoard.append(b"x" * (1 << 20))


WAYS = {"/regex": catastrophic_regex, "/segfault": segfault, "/exit": exit_at_once, "/eat": eat_memory}


def app(environ, start_response):
    WAYS.get(environ["PATH_INFO"], lambda: None)()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
