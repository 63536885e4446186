"""``reload``: each engine notices what is watched, and nothing else."""

from __future__ import annotations

import os
import threading

import pytest
from harness import wait_gone

from gunicorn.process.reloader import Reloader

ANSWER = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [{!r}]\n"


@pytest.fixture(params=["poll", "inotify"])
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


def test_only_watched_files_replace_the_worker(serve, tmp_path, engine):
    (tmp_path / "changing.py").write_text(ANSWER.format(b"old"))
    (tmp_path / "page.html").write_text("old")
    server = serve(
        "--reload",
        "--reload-engine",
        engine,
        "--reload-extra-file",
        "page.html",
        app="changing:app",
        cwd=tmp_path,
    )
    assert server.get() == "old"
    (first,) = server.wait_workers(1)
    for noise in ("app.log", "data.sqlite", "notes.txt"):
        (tmp_path / noise).write_text("something")
    with pytest.raises(TimeoutError):
        wait_gone(first, timeout=2)
    (tmp_path / "page.html").write_text("new")
    server.wait_for("page.html modified")
    wait_gone(first)
    (second,) = server.wait_workers(1)
    assert server.get() == "old"
    # As editors save: another file takes the name.
    (tmp_path / "changing.tmp").write_text(ANSWER.format(b"newer"))
    os.replace(tmp_path / "changing.tmp", tmp_path / "changing.py")
    wait_gone(second)
    assert server.get() == "newer"


def test_inotify_without_its_package_is_said(serve, tmp_path):
    (tmp_path / "inotify.py").write_text("raise ModuleNotFoundError(\"No module named 'inotify'\")")
    server = serve("--reload", "--reload-engine", "inotify", ready=None, env={"PYTHONPATH": str(tmp_path)})
    assert server.wait() != 0
    assert "reload_engine: inotify cannot be used: No module named 'inotify'" in server.log


class Gates:
    """Events that come when the test says so."""

    def __init__(self) -> None:
        self.watched: set[str] = set()
        self.happened = threading.Semaphore(0)
        self.waiting = threading.Semaphore(0)

    def watch(self, filenames) -> None:
        self.watched |= set(filenames)

    def wait(self) -> None:
        self.waiting.release()
        self.happened.acquire(timeout=10)


def test_events_are_a_reason_to_look_and_no_more(tmp_path):
    watched = tmp_path / "page.html"
    watched.write_text("old")
    changes: list[str] = []
    events = Gates()
    reloader = Reloader(changes.append, [str(watched)], events=events)
    reloader.start()
    events.waiting.acquire(timeout=10)
    assert str(watched) in events.watched
    # Something else in the same folder.
    (tmp_path / "app.log").write_text("line")
    events.happened.release()
    events.waiting.acquire(timeout=10)
    assert changes == []
    os.utime(watched, (1, 1))
    events.happened.release()
    reloader._thread.join(10)
    assert changes == [str(watched)]
    reloader.stop()
