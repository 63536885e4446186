"""What the pool under measurement runs, and a web application that says where the pool is."""

from __future__ import annotations

import os
import time

from gunicorn.dirty import DirtyApp


class Work(DirtyApp):
    def init(self):
        pass

    def echo(self, value):
        return value

    def nap(self, seconds):
        time.sleep(seconds)
        return os.getpid()

    def count(self, pieces):
        yield from range(pieces)

    def close(self):
        pass


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ.get("GUNICORN_DIRTY_SOCKET", "").encode()]
