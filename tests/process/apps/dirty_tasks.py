"""Classes for the pool, and a web application beside them."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

from gunicorn.dirty import DirtyApp, get_dirty_client, stash

VERSION = 1


class Work(DirtyApp):
    def init(self):
        self.calls = 0
        self.barrier = threading.Barrier(2)

    def echo(self, value):
        return value

    def add(self, *numbers, **more):
        return sum(numbers) + sum(more.values())

    def pid(self):
        return os.getpid()

    def version(self):
        return VERSION

    def count_calls(self):
        self.calls += 1
        return self.calls

    def fail(self):
        raise LookupError("nothing here")

    def leave(self):
        sys.exit(3)

    def unsendable(self):
        return {1, 2}

    def sleep(self, seconds):
        time.sleep(seconds)
        return seconds

    def spin(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass
        return seconds

    def stubborn(self):
        while True:
            try:
                time.sleep(60)
            except BaseException:  # noqa: BLE001 - that is what it is for
                continue

    def echo_late(self, value, seconds):
        with contextlib.suppress(BaseException):
            time.sleep(seconds)
        return value

    def make(self, size):
        return b"y" * size

    def fail_with(self, value):
        raise LookupError(len(value))

    def crash(self):
        os.abort()

    def meet(self):
        """Returns only when two calls are at work at once."""
        self.barrier.wait(10)
        return True

    def numbers(self, count):
        yield from range(count)

    def endless(self, file):
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            Path(file).write_text("closed")

    async def endless_async(self, file):
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            Path(file).write_text("closed")  # noqa: ASYNC240

    def fail_late(self, count):
        yield from range(count)
        raise LookupError("in the middle")

    async def coroutine(self, value):
        import asyncio  # here, so that the web application beside these classes does not bring it

        await asyncio.sleep(0.01)
        return value

    async def numbers_async(self, count):
        import asyncio

        for number in range(count):
            await asyncio.sleep(0)
            yield number

    async def sleep_async(self, seconds):
        import asyncio

        await asyncio.sleep(seconds)

    def memory(self):
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    def remember(self, key, value):
        stash.put("memory", key, value)


class One(Work):
    workers = 1


class Two(Work):
    workers = 2


class Broken(DirtyApp):
    def init(self):
        raise RuntimeError("no model file")


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/socket":
        body = os.environ["GUNICORN_DIRTY_SOCKET"]
    elif path == "/modules":
        body = ",".join(
            name for name in ("trio", "asyncio", "anyio", "gunicorn.dirty") if name in sys.modules
        )
    elif path == "/stash":
        body = str(stash.incr("web", "requests"))
    else:
        body = str(get_dirty_client(timeout=10).execute("dirty_tasks:Work", path.strip("/")))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]


def plain(environ, start_response):
    found = [
        name for name in ("trio", "asyncio", "concurrent.futures", "gunicorn.dirty") if name in sys.modules
    ]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [",".join(found).encode()]
