"""A class for the pool of any gunicorn that has one."""

from __future__ import annotations

import os

from gunicorn.dirty import DirtyApp


class Shared(DirtyApp):
    def init(self):
        pass

    def echo(self, value):
        return value

    def add(self, number, more=0):
        return number + more

    def fail(self):
        raise ValueError("bad")

    def count(self, pieces):
        yield from range(pieces)

    def close(self):
        pass


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["GUNICORN_DIRTY_SOCKET"].encode()]
