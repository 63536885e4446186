"""An application that lets gevent replace the standard library, and calls the pool from its greenlets."""

from __future__ import annotations

import json
import sys
import warnings

BEFORE = sorted(sys.modules)

import gevent  # noqa: E402
from gevent import monkey  # noqa: E402

with warnings.catch_warnings(record=True) as caught:
    # It warns of what was imported too early to be replaced.
    warnings.simplefilter("always")
    monkey.patch_all()
WARNINGS = [str(warning.message) for warning in caught if issubclass(warning.category, RuntimeWarning)]

from gunicorn.dirty import DirtyClient, get_dirty_client  # noqa: E402

WORK = "dirty_tasks:Work"


def call(action, *args):
    with DirtyClient(timeout=15) as client:
        return client.execute(WORK, action, *args)


def app(environ, start_response):
    both = [gevent.spawn(call, "meet") for _ in range(2)]
    large = gevent.spawn(call, "echo", b"x" * 1_000_000)
    gevent.joinall([*both, large], raise_error=True)
    client = get_dirty_client(timeout=15)
    found = {
        "before": BEFORE,
        "warnings": WARNINGS,
        "met": [greenlet.value for greenlet in both],
        "large": large.value == b"x" * 1_000_000,
        "stream": list(client.stream(WORK, "numbers", 100)) == list(range(100)),
        "echo": client.execute(WORK, "echo", "ü"),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]
