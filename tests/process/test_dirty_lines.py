"""Calls in a row go straight to a worker, and nobody notices: no call is lost or done twice, nobody waits,
and deadlines and deaths are what they are without.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from harness import PROMPT, Server, wait_gone, wait_until

from gunicorn.dirty import DirtyClient, DirtyError, DirtyTimeoutError, DirtyWorkerError, line

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the arbiter gives no leases here")

Serve = Callable[..., Server]
WORK = "dirty_tasks:Work"
#: Of a test in which nothing goes wrong.
PATIENCE = 20.0


@contextmanager
def client_of(server: Server, timeout: float | None = PATIENCE) -> Iterator[DirtyClient]:
    with DirtyClient(server.get("/socket"), timeout=timeout) as client:
        yield client


def start(serve: Serve, *options: str, workers: int = 1) -> Server:
    return serve("--dirty-app", WORK, "--dirty-workers", str(workers), *options, app="dirty_tasks:app")


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers ask for a line, and wait for it, however slow this machine is and often they were refused."""
    monkeypatch.setattr(line, "QUICK", PATIENCE)
    monkeypatch.setattr(line, "WAIT", PATIENCE)
    monkeypatch.setattr(line, "MOST", line.CALLS)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a pool of one worker, whose calls are not counted."""
    options = ["--dirty-app", WORK, "--dirty-workers", "1"]
    cwd = tmp_path_factory.mktemp("pool")
    with Server(*options, app="dirty_tasks:app", cwd=cwd).start() as server:
        yield server


def get_line(client: DirtyClient) -> int:
    """Call until the calls go straight to a worker, for which a lease has just begun; its pid."""
    deadline = time.monotonic() + PATIENCE
    client._lines.give_back()
    pid = 0
    while not client._lines._lines:
        assert time.monotonic() < deadline, "no line"
        pid = client.execute(WORK, "pid")
    return pid


def load_of(client: DirtyClient) -> int:
    return sum(worker["running"] + worker["backlog"] for worker in client.status()["workers"])


def call_quietly(path: str, *call: Any) -> None:
    with DirtyClient(path, timeout=20) as client:
        client.execute(WORK, *call)


@contextmanager
def calling(path: str, outcomes: list[str]) -> Iterator[None]:
    """Meanwhile a second client calls without a pause; how each call ended."""
    finished = threading.Event()

    def call() -> None:
        with DirtyClient(path, timeout=PATIENCE) as client:
            number = 0
            while not finished.is_set():
                number += 1
                try:
                    outcomes.append("answer" if client.execute(WORK, "echo", number) == number else "wrong")
                except DirtyError as error:
                    outcomes.append(type(error).__name__)
                except Exception as error:  # noqa: BLE001 - that is what is looked for
                    outcomes.append(f"untyped {error!r}")

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def test_calls_in_a_row_do_not_pass_the_arbiter(shared: Server) -> None:
    with client_of(shared) as client, client_of(shared) as other:
        get_line(client)
        for value in (1, "text", b"x" * 100_000, b"x" * 1_000_000, [None, {"a": 1.5}]):
            assert client.execute(WORK, "echo", value) == value
        assert client.execute(WORK, "numbers", 5) == [0, 1, 2, 3, 4]
        assert client.execute(WORK, "coroutine", 3) == 3
        with pytest.raises(DirtyError, match="nothing here"):
            client.execute(WORK, "fail")
        assert list(client.stream(WORK, "numbers", 3)) == [0, 1, 2]
        before = other.status()["workers"][0]
        for number in range(1000):
            assert client.execute(WORK, "echo", number) == number
        client.close()
        wait_until(lambda: not load_of(other), what="the end of the lease")
        after = other.status()["workers"][0]
        assert after["answered"] - before["answered"] >= 1000
        assert 0 < after["leases"] - before["leases"] < 100


def test_an_idle_caller_keeps_nobody_waiting(shared: Server) -> None:
    with client_of(shared) as client, client_of(shared) as other:
        other.execute(WORK, "echo", 0)
        get_line(client)
        started = time.monotonic()
        assert other.execute(WORK, "echo", 1) == 1
        assert time.monotonic() - started < PROMPT
        assert client.execute(WORK, "echo", 2) == 2


def test_two_callers_and_every_call_is_done_once(serve: Serve) -> None:
    server = start(serve)
    numbers: list[int] = []
    failures: list[BaseException] = []

    def call(path: str, seed: int) -> None:
        chance, mine = random.Random(seed), []
        with DirtyClient(path, timeout=PATIENCE) as client:
            try:
                for _ in range(40):
                    mine += [client.execute(WORK, "count_calls") for _ in range(chance.choice([1, 2, 50]))]
                    time.sleep(chance.choice([0, 0.001, 0.12]))
            except BaseException as error:  # noqa: BLE001 - for the test to see
                failures.append(error)
        numbers.extend(mine)

    path = server.get("/socket")
    threads = [threading.Thread(target=call, args=(path, seed)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    with client_of(server) as client:
        assert client.status()["workers"][0]["leases"] > 0
        assert client.execute(WORK, "count_calls") == len(numbers) + 1


@pytest.mark.parametrize("how", ["kill", "crash"])
def test_a_worker_that_dies(shared: Server, how: str) -> None:
    with client_of(shared) as client:
        pid = get_line(client)
        if how == "kill":
            threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
        with pytest.raises(DirtyWorkerError, match=str(pid)):
            client.execute(WORK, *(("sleep", 30) if how == "kill" else ("crash",)))
        assert client.execute(WORK, "pid") != pid


def test_a_worker_that_dies_between_two_calls_fails_none(shared: Server) -> None:
    with client_of(shared) as client:
        pid = get_line(client)
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
        assert client.execute(WORK, "pid") != pid


def test_the_servers_deadline_stops_the_work_and_keeps_the_worker(serve: Serve) -> None:
    server = start(serve, "--dirty-timeout", "1")
    with client_of(server) as client:
        for action in ("sleep", "spin", "sleep_async"):
            pid = get_line(client)
            started = time.monotonic()
            with pytest.raises(DirtyTimeoutError) as caught:
                client.execute(WORK, action, 60)
            assert 1 <= time.monotonic() - started < 1 + PROMPT
            assert caught.value.timeout == 1
            assert client.execute(WORK, "pid") == pid


def test_the_callers_deadline_stops_the_work_and_keeps_the_worker(shared: Server) -> None:
    with client_of(shared) as client, client_of(shared) as other:
        for action in ("sleep", "spin", "sleep_async"):
            pid = get_line(client)
            started = time.monotonic()
            with pytest.raises(DirtyTimeoutError) as caught:
                client.with_timeout(0.3).execute(WORK, action, 60)
            assert 0.3 <= time.monotonic() - started < 0.3 + PROMPT
            assert caught.value.timeout == 0.3
            wait_until(lambda: not load_of(other), what="the end of the work")
            assert client.execute(WORK, "pid") == pid


def test_work_that_cannot_be_stopped_ends_with_its_worker(shared: Server) -> None:
    with client_of(shared) as client:
        pid = get_line(client)
        with pytest.raises(DirtyTimeoutError):
            client.with_timeout(0.3).execute(WORK, "stubborn")
        shared.wait_for(r"did not let go of a call: dirty_tasks:Work, action stubborn, for \d+\.\d s")
        assert client.execute(WORK, "pid") != pid


@pytest.mark.parametrize("cancels", [True, False], ids=["cancelled", "not cancelled"])
def test_a_caller_that_is_killed(serve: Serve, cancels: bool) -> None:
    server = start(serve, *(["--dirty-cancel-abandoned"] if cancels else []))
    with client_of(server) as other:
        pid = other.execute(WORK, "pid")
        caller = os.fork()
        if caller == 0:
            with DirtyClient(other.socket_path, timeout=None) as client:
                get_line(client)
                client.execute(WORK, "sleep", 60 if cancels else 1)
            os._exit(1)
        wait_until(lambda: other.status()["workers"][0]["leases"], what="the lease")
        wait_until(lambda: load_of(other), what="the call")
        os.kill(caller, signal.SIGKILL)
        os.waitpid(caller, 0)
        assert other.execute(WORK, "pid") == pid


def test_a_forked_child_has_a_line_of_its_own(shared: Server) -> None:
    with client_of(shared) as client:
        get_line(client)
        pid = os.fork()
        if pid == 0:
            right = all(client.execute(WORK, "echo", n) == n for n in range(200))
            os._exit(0 if right else 1)
        right = all(client.execute(WORK, "echo", -n) == -n for n in range(200))
        assert os.waitpid(pid, 0)[1] == 0
        assert right


def test_threads_of_a_worker_are_leased_one_by_one(serve: Serve) -> None:
    server = start(serve, "--dirty-threads", "2")
    with client_of(server) as first, client_of(server) as second, client_of(server) as third:
        assert get_line(first) == get_line(second)
        for number in range(100):
            for client in (first, second, third):
                assert client.execute(WORK, "echo", number) == number
        get_line(second)
        with pytest.raises(DirtyTimeoutError):
            second.with_timeout(0.3).execute(WORK, "sleep_async", 60)
        assert second.execute(WORK, "echo", 1) == 1


# What happens to the pool


def test_the_arbiter_dies(serve: Serve) -> None:
    server = start(serve)
    outcomes: list[str] = []
    with client_of(server) as client:
        worker, status = client.execute(WORK, "pid"), client.status()
        with calling(client.socket_path, outcomes):
            wait_until(lambda: client.status()["workers"][0]["leases"], what="a lease")
            os.kill(status["arbiter_pid"], signal.SIGKILL)
            wait_gone(worker)
            wait_until(lambda: is_served_by_another(client, worker), what="the next worker")
            seen = len(outcomes)
            wait_until(lambda: "answer" in outcomes[seen:], what="an answer")
    assert set(outcomes) <= {"answer", "DirtyConnectionError", "DirtyWorkerError"}


def is_served_by_another(client: DirtyClient, worker: int) -> bool:
    try:
        return bool(client.execute(WORK, "pid") != worker)
    except DirtyError:
        return False


def test_workers_leave_and_nobody_notices(serve: Serve) -> None:
    server = start(serve, workers=2)
    outcomes: list[str] = []
    with client_of(server) as client, calling(client.socket_path, outcomes):
        for _ in range(3):
            wait_until(lambda: any(w["leases"] for w in client.status()["workers"]), what="a lease")
            pids = {worker["pid"] for worker in client.status()["workers"]}
            os.kill(client.status()["arbiter_pid"], signal.SIGHUP)
            wait_until(
                lambda old=pids: not old & booted(client) and len(booted(client)) == 2, what="new ones"
            )
            assert client.manage(2, 1)["removed"] == 1
            wait_until(lambda: len(booted(client)) == 1, what="one worker")
            assert client.manage(1, 1)["spawned"] == 1
            wait_until(lambda: len(booted(client)) == 2, what="two workers")
    assert set(outcomes) == {"answer"}


def booted(client: DirtyClient) -> set[int]:
    return {worker["pid"] for worker in client.status()["workers"] if worker["booted"]}


def test_a_stop_does_not_wait_for_who_only_might_call(serve: Serve) -> None:
    server = start(serve)
    outcomes: list[str] = []
    with client_of(server) as idle:
        with calling(idle.socket_path, outcomes):
            wait_until(lambda: idle.status()["workers"][0]["leases"], what="a lease")
        outcomes.clear()
        get_line(idle)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < PROMPT


def test_a_stop_ends_the_calls_of_a_line_properly(serve: Serve) -> None:
    server = start(serve)
    results: list[object] = []

    def call(path: str) -> None:
        with DirtyClient(path, timeout=20) as client:
            get_line(client)
            at_work.set()
            results.append(client.execute(WORK, "sleep", 1.0))

    at_work = threading.Event()
    caller = threading.Thread(target=call, args=(server.get("/socket"),))
    caller.start()
    assert at_work.wait(PATIENCE)
    assert server.stop() == 0
    caller.join()
    assert results == [1.0]
