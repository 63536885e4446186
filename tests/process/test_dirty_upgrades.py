"""A server with a pool is replaced under calls: answers or typed errors, service afterwards, nothing left."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import DEADLINE, PROMPT, Server, is_running, wait_gone, wait_until
from load import Load

from gunicorn.dirty import DirtyClient, DirtyConnectionError, DirtyError, DirtyWorkerError

pytestmark = pytest.mark.slow

Serve = Callable[..., Server]
APP = "changing:Changing"
TIMEOUT = 10.0
CODE = """
import os, sys
print("changing was loaded", file=sys.stderr, flush=True)
from dirty_tasks import Work
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["GUNICORN_DIRTY_SOCKET"].encode()]
class Changing(Work):
    def version(self):
        return {}
"""


class Callers:
    """Threads that call all the time: what they got, and whether anybody had to wait too long."""

    def __init__(self, path: str, count: int = 3) -> None:
        self.path = path
        self.outcomes: Counter[object] = Counter()
        self.wrong: list[object] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(count)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, caller: int) -> None:
        number = 0
        with_pauses = caller == 0  # this one comes back to connections that were idle meanwhile
        client = DirtyClient(self.path, timeout=TIMEOUT)
        while not self._stop.wait(0.05 if with_pauses else 0.001):
            number += 1
            started = time.monotonic()
            try:
                answer = client.execute(APP, "echo", [caller, number])
                if answer != [caller, number]:
                    self.wrong.append(answer)
                self.outcomes["answer"] += 1
            except DirtyError as error:
                self.outcomes[type(error)] += 1
            if time.monotonic() - started > TIMEOUT + 0.5:
                self.wrong.append(time.monotonic() - started)
        client.close()

    def wait_for_answers(self) -> None:
        """Until calls are answered again, after whatever has happened."""
        before = self.outcomes["answer"]
        wait_until(lambda: self.outcomes["answer"] > before + 20, what="answers")


@pytest.fixture
def start(serve: Serve, tmp_path: Path) -> Callable[..., Server]:
    (tmp_path / "changing.py").write_text(CODE.format(1))
    env = {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(tmp_path)}

    def start(*options: str) -> Server:
        pool = ("--dirty-app", APP, "--dirty-workers", "2", "--dirty-timeout", "20")
        server = serve(*pool, *options, app="changing:app", env=env)
        call(server.get(), "version")
        # By the web worker and both dirty workers: a later one would load what the test writes.
        wait_until(lambda: server.count("changing was loaded") >= 3, what="all workers")
        return server

    return start


def call(path: str, action: str) -> object:
    with DirtyClient(path, timeout=DEADLINE) as client:
        return client.execute(APP, action)


def folders(tmp_path: Path) -> list[str]:
    return [entry.name for entry in tmp_path.iterdir() if entry.name.startswith("gunicorn-dirty-")
            and entry.is_dir()]  # fmt: skip


def pool_processes(server: Server) -> list[str]:
    return sorted(title for title in server.processes().values() if "dirty" in title)


def test_in_place_under_calls(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start("--upgrade-in-place")
    path = server.get()
    before = server.workers()
    wait_until(lambda: len(server.processes()) == 7, what="arbiter, fork server, worker, and the pool's four")
    with Callers(path) as callers, Load(server) as load:
        callers.wait_for_answers()
        for version in (22, 333):
            (tmp_path / "changing.py").write_text(CODE.format(version))
            mark, old = server.mark(), server.workers()
            server.signal(signal.SIGUSR2)
            server.wait_for("Starting gunicorn", since=mark)
            wait_gone(*old)
            callers.wait_for_answers()
            assert call(path, "version") == version
    assert not callers.wrong
    assert load.lost == [], "web requests"
    assert server.workers() != before
    assert is_running(server.pid)
    assert server.get() == path, "the path is that of the process, which is the same"
    wait_until(lambda: len(server.processes()) == 7, what=f"the end of old processes {server.processes()}")
    assert len(folders(tmp_path)) == 1
    assert server.stop() == 0
    assert folders(tmp_path) == []


def test_another_server_under_calls(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start()
    path = server.get()
    old_pool = pool_processes(server)
    with Callers(path) as callers, Load(server) as load:
        callers.wait_for_answers()
        (tmp_path / "changing.py").write_text(CODE.format(22))
        mark = server.mark()
        server.signal(signal.SIGUSR2)
        new = int(server.wait_for(r"Listening at: .* \((\d+)\)", since=mark)[1])
        server.wait_for(rf"Dirty arbiter with pid: (?!{server.pid})\d+", since=mark)
        wait_until(lambda: len(folders(tmp_path)) == 2, what="a pool for each of the two servers")
        callers.wait_for_answers()
        assert call(path, "version") == 1, "the old server keeps its own pool"
        assert server.stop() == 0
        wait_until(lambda: callers.outcomes[DirtyConnectionError] > 5, what="the end of the old pool")
    assert not callers.wrong
    assert load.lost == [], "web requests"
    newer = server.get()
    assert newer != path
    assert call(newer, "version") == 22
    assert len(folders(tmp_path)) == 1
    wait_until(lambda: len(pool_processes(server)) == len(old_pool), what="the end of the old pool")
    server.signal(signal.SIGTERM, new)
    wait_gone(new)
    wait_until(lambda: folders(tmp_path) == [], what="the end of the socket")


def test_a_reload_under_calls_loses_none(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start()
    path = server.get()
    old = call(path, "pid")
    with Callers(path) as callers:
        callers.wait_for_answers()
        (tmp_path / "changing.py").write_text(CODE.format(22))
        server.signal(signal.SIGHUP)
        wait_gone(int(str(old)))
        wait_until(lambda: {call(path, "version") for _ in range(8)} == {22}, what="the new code alone")
        callers.wait_for_answers()
    assert not callers.wrong
    assert set(callers.outcomes) == {"answer"}, "a reload costs no call"
    wait_until(lambda: len(server.processes()) == 9, what=f"the end of old processes {server.processes()}")


def test_a_killed_dirty_arbiter_under_load(start: Callable[..., Server]) -> None:
    server = start()
    path = server.get()
    with Callers(path) as callers, Load(server) as load:
        for _ in range(2):
            callers.wait_for_answers()
            with DirtyClient(path, timeout=TIMEOUT) as client:
                arbiter = client.status()["arbiter_pid"]
            started = time.monotonic()
            os.kill(arbiter, signal.SIGKILL)
            call(path, "version")
            assert time.monotonic() - started < PROMPT
    assert not callers.wrong
    # Who calls a worker directly may not even notice.
    assert set(callers.outcomes) <= {"answer", DirtyConnectionError, DirtyWorkerError}
    assert load.lost == [], "web requests"
