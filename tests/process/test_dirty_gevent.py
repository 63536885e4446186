"""A pool beside an application that patches the standard library: nothing was imported that breaks it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import UNMEASURED, Server

Serve = Callable[..., Server]
POOL = ("--dirty-app", "dirty_tasks:Work", "--dirty-workers", "1", "--dirty-threads", "3")
#: What cannot be patched once it is there, or runs a loop of its own.
BREAKING = {
    "trio",
    "asyncio",
    "anyio",
    "ssl",
    "concurrent.futures",
    "multiprocessing",
    "urllib3",
    "http.client",
}


BARE = """
import sys
BEFORE = sorted(sys.modules)
from gunicorn.dirty import DirtyApp, get_dirty_client
class Seen(DirtyApp):
    def init(self): pass
    def close(self): pass
    def before(self): return BEFORE
def app(environ, start_response):
    import json
    start_response("200 OK", [])
    return [json.dumps([BEFORE, get_dirty_client(timeout=15).execute("bare:Seen", "before")]).encode()]
"""


def test_what_a_worker_imports_before_its_application(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text(BARE)
    pool = ("--dirty-app", "bare:Seen", "--dirty-workers", "1")
    server = serve(*pool, app="bare:app", cwd=tmp_path, env=UNMEASURED)
    web, dirty = (set(loaded) for loaded in json.loads(server.get()))
    assert web & BREAKING == set()
    assert dirty & BREAKING == set()
    assert {name for name in web if name.startswith("gunicorn.dirty")} <= {
        "gunicorn.dirty", "gunicorn.dirty.errors", "gunicorn.dirty.home", "gunicorn.dirty.pidfile",
        "gunicorn.dirty.specs",
    }, "what only the arbiter and the client need"  # fmt: skip


def test_a_patched_application_calls_the_pool(serve: Serve) -> None:
    pytest.importorskip("gevent")
    server = serve(*POOL, app="greenlets:app", env=UNMEASURED)
    found = json.loads(server.get())
    assert set(found.pop("before")) & BREAKING == set()
    assert found == {
        "warnings": [], "met": [True, True], "large": True, "stream": True, "echo": "ü",
    }  # fmt: skip
