"""The pool as a part of the server: start, reload, scaling, deaths, and the end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import PROMPT, Server, is_running, wait_gone, wait_until

from gunicorn.dirty import (
    DirtyClient,
    DirtyError,
    DirtyNoWorkersAvailableError,
    DirtyQueueFullError,
    DirtyTimeoutError,
    DirtyWorkerError,
)

Serve = Callable[..., Server]
WORK = "dirty_tasks:Work"


def start(serve: Serve, *apps: str, workers: int = 1, options: tuple[str, ...] = (), **more: Any) -> Server:
    names = [option for app in apps or (WORK,) for option in ("--dirty-app", app)]
    return serve(*names, "--dirty-workers", str(workers), *options, app="dirty_tasks:app", **more)


@contextmanager
def client_of(server: Server, timeout: float = 20) -> Iterator[DirtyClient]:
    with DirtyClient(server.get("/socket"), timeout=timeout) as client:
        yield client


def settled(client: DirtyClient, count: int) -> list[dict[str, Any]]:
    """The workers, once there are ``count`` and all serve."""

    def check() -> bool:
        workers = client.status()["workers"]
        return len(workers) == count and all(worker["booted"] for worker in workers)

    wait_until(check, what=f"{count} workers")
    workers: list[dict[str, Any]] = client.status()["workers"]
    return workers


def test_web_workers_call_the_pool(serve: Serve) -> None:
    server = start(serve)
    assert int(server.get("/pid")) not in (server.pid, *server.workers()[:1])
    assert server.get("/stash") == "1"
    assert server.get("/modules") == "gunicorn.dirty", "an event loop in a sync worker"


def test_a_server_without_a_pool_imports_nothing_of_it(serve: Serve) -> None:
    server = serve(app="dirty_tasks:plain")
    assert server.get() == "gunicorn.dirty", "what the application itself imports"
    plain = serve(app="probe:app")
    assert "dirty" not in " ".join(plain.processes().values())


def test_the_socket_is_private_and_goes_with_the_server(serve: Serve) -> None:
    server = start(serve)
    path = Path(server.get("/socket"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert server.stop() == 0
    assert not path.parent.exists()


@pytest.mark.parametrize("spec", ["nonsense", "dirty_tasks:Work:0"])
def test_a_wrong_specification_stops_the_start(gunicorn: Any, spec: str) -> None:
    done = gunicorn("--dirty-app", spec, "--dirty-workers", "1", "-b", "127.0.0.1:0", "hello:app")
    assert done.returncode == 1
    assert "dirty_apps" in done.stderr


def test_classes_are_spread_over_the_workers(serve: Serve) -> None:
    server = start(serve, "dirty_tasks:One", "dirty_tasks:Two", "dirty_tasks:Work:1", workers=4)
    with client_of(server) as client:
        held = [worker["apps"] for worker in settled(client, 4)]
    assert sorted(app for apps in held for app in apps) == [
        "dirty_tasks:One", "dirty_tasks:Two", "dirty_tasks:Two", WORK,
    ]  # fmt: skip
    assert [len(apps) for apps in held] == [1, 1, 1, 1]


def test_threads_of_a_worker_work_at_once(serve: Serve) -> None:
    server = start(serve, options=("--dirty-threads", "2"))
    path = server.get("/socket")
    results: list[bool] = []

    def meet() -> None:
        with DirtyClient(path, timeout=10) as client:
            results.append(client.execute(WORK, "meet"))

    threads = [threading.Thread(target=meet) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True, True]


def test_a_full_queue_refuses_at_once(serve: Serve) -> None:
    server = start(serve, options=("--dirty-queue-size", "1"))
    path = server.get("/socket")
    with client_of(server) as client:
        client.execute(WORK, "echo", 1)
        busy = [threading.Thread(target=call_quietly, args=(path, "sleep", 1.5)) for _ in range(2)]
        for number, thread in enumerate(busy, 1):
            thread.start()
            wait_until(lambda n=number: load_of(client) == n, what="the call to arrive")
        started = time.monotonic()
        with pytest.raises(DirtyQueueFullError, match="dirty_queue_size"):
            client.execute(WORK, "echo", 1)
        assert time.monotonic() - started < PROMPT
        for thread in busy:
            thread.join()


def load_of(client: DirtyClient) -> int:
    return sum(worker["running"] + worker["backlog"] for worker in client.status()["workers"])


def call_quietly(path: str, *call: Any) -> None:
    with DirtyClient(path, timeout=20) as client:
        client.execute(WORK, *call)


def test_a_call_that_waits_too_long_never_runs(serve: Serve) -> None:
    server = start(serve)
    path = server.get("/socket")
    with client_of(server) as client:
        thread = threading.Thread(target=call_quietly, args=(path, "sleep", 1.0))
        thread.start()
        wait_until(lambda: load_of(client) == 1, what="the call to arrive")
        with pytest.raises(DirtyTimeoutError, match="was free in time"):
            client.with_timeout(0.2).execute(WORK, "count_calls")
        thread.join()
        assert client.execute(WORK, "count_calls") == 1


def test_timeout_zero_means_none(serve: Serve) -> None:
    server = start(serve, options=("--dirty-timeout", "0"))
    with client_of(server) as client:
        assert client.execute(WORK, "sleep", 0.3) == 0.3


# Deaths


@pytest.mark.parametrize("how", ["kill", "crash"])
def test_a_worker_that_dies_fails_its_call_and_is_replaced(serve: Serve, how: str) -> None:
    server = start(serve)
    with client_of(server) as client:
        pid = client.execute(WORK, "pid")
        if how == "kill":
            timer = threading.Timer(0.2, os.kill, (pid, signal.SIGKILL))
            timer.start()
        with pytest.raises(DirtyWorkerError, match=str(pid)):
            client.execute(WORK, *(("sleep", 30) if how == "kill" else ("crash",)))
        assert client.execute(WORK, "pid") != pid


def test_a_class_that_cannot_start_is_an_error_for_its_callers_and_no_storm(serve: Serve) -> None:
    server = start(serve, "dirty_tasks:Broken")
    with client_of(server) as client:
        started = time.monotonic()
        with pytest.raises(DirtyNoWorkersAvailableError, match="no model file"):
            client.execute("dirty_tasks:Broken", "echo", 1)
        assert time.monotonic() - started < PROMPT
    server.wait_for("keep failing")
    assert server.count("Booting worker") <= 6
    assert server.get("/stash") == "1", "the server itself is fine"


def test_a_dirty_arbiter_that_dies_is_replaced_at_the_same_place(serve: Serve) -> None:
    server = start(serve)
    path = server.get("/socket")
    with client_of(server) as client:
        arbiter, worker = client.status()["arbiter_pid"], client.execute(WORK, "pid")
        killer = threading.Timer(0.2, os.kill, (arbiter, signal.SIGKILL))
        killer.start()
        with pytest.raises(DirtyError):
            client.execute(WORK, "sleep", 30)
        started = time.monotonic()
        assert client.execute(WORK, "pid") != worker
        assert time.monotonic() - started < PROMPT
        assert client.status()["arbiter_pid"] != arbiter
    wait_gone(worker)
    assert server.get("/socket") == path
    assert int(server.get("/pid")) > 0


def test_a_fork_server_that_dies_is_replaced(serve: Serve) -> None:
    server = start(serve)
    with client_of(server) as client:
        arbiter, pid = client.status()["arbiter_pid"], client.execute(WORK, "pid")
        [fork_server] = [child for child in children_of(arbiter) if child != pid]
        os.kill(fork_server, signal.SIGKILL)
        server.wait_for("starting another one")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: settled(client, 1)[0]["pid"] != pid, what="another worker")
        assert client.execute(WORK, "pid") != pid


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_nothing_outlives_the_main_arbiter(serve: Serve) -> None:
    server = start(serve)
    with client_of(server) as client:
        pids = [client.status()["arbiter_pid"], client.execute(WORK, "pid")]
        caller = threading.Thread(target=pytest.raises, args=(DirtyError, client.execute, WORK, "stubborn"))
        caller.start()
        wait_until(lambda: load_of_path(client.socket_path) == 1, what="the call to arrive")
        server.signal(signal.SIGKILL)
        wait_gone(*pids)
        caller.join()
    wait_until(lambda: not Path(client.socket_path).parent.exists(), what="the folder to go")


def load_of_path(path: str) -> int:
    with DirtyClient(path) as client:
        return load_of(client)


# Signals


def test_reload_brings_new_code_without_an_interruption(serve: Serve, tmp_path: Path) -> None:
    module = tmp_path / "changing.py"
    text = "from dirty_tasks import Work, app\nclass Changing(Work):\n    def version(self): return {}\n"
    module.write_text(text.format(1))
    server = start(
        serve, "changing:Changing", env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    )
    with client_of(server) as client:
        versions = [client.execute("changing:Changing", "version")]
        module.write_text(text.format(22))
        server.signal(signal.SIGHUP)
        deadline = time.monotonic() + 15
        while versions[-1] == 1 and time.monotonic() < deadline:
            versions.append(client.execute("changing:Changing", "version"))
        assert versions[-1] == 22
        assert client.execute("changing:Changing", "version") == 22
        module.write_text("this is no python")
        server.signal(signal.SIGHUP)
        server.wait_for("the new workers fail")
        assert client.execute("changing:Changing", "version") == 22


def test_scaling_never_loses_a_class(serve: Serve) -> None:
    server = start(serve, "dirty_tasks:One", "dirty_tasks:Two", WORK, workers=2)
    with client_of(server) as client:
        settled(client, 2)
        arbiter = client.status()["arbiter_pid"]
        os.kill(arbiter, signal.SIGTTIN)
        settled(client, 3)
        os.kill(arbiter, signal.SIGTTOU)
        settled(client, 2)
        os.kill(arbiter, signal.SIGTTOU)
        server.wait_for("stays at 2")
        settled(client, 2)
        for app in ("dirty_tasks:One", "dirty_tasks:Two", WORK):
            assert client.execute(app, "echo", app) == app
        assert client.manage(1, 2)["spawned"] == 2
        settled(client, 4)
        assert client.manage(2, 9)["removed"] == 2


def test_a_graceful_stop_waits_for_calls(serve: Serve) -> None:
    server = start(serve)
    path = server.get("/socket")
    results = []

    def call() -> None:
        with DirtyClient(path, timeout=20) as client:
            results.append(client.execute(WORK, "sleep", 1.0))

    threads = [threading.Thread(target=call) for _ in range(2)]  # one at work, one queued
    with client_of(server) as client:
        client.execute(WORK, "echo", 1)
        for thread in threads:
            thread.start()
        wait_until(lambda: load_of(client) == 2, what="the calls to arrive")
    assert server.stop() == 0
    for thread in threads:
        thread.join()
    assert results == [1.0, 1.0]


def test_a_stop_does_not_wait_longer_than_it_may(serve: Serve) -> None:
    server = start(serve, options=("--dirty-graceful-timeout", "1"))
    path = server.get("/socket")
    with client_of(server) as client:
        client.execute(WORK, "echo", 1)
        caller = threading.Thread(target=pytest.raises, args=(DirtyError, call_quietly, path, "sleep", 30))
        caller.start()
        wait_until(lambda: load_of(client) == 1, what="the call to arrive")
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < PROMPT
        caller.join()


def test_two_servers_of_one_name_leave_each_other_alone(serve: Serve) -> None:
    first = start(serve, options=("--name", "twins"))
    with client_of(first) as client:
        pid = client.execute(WORK, "pid")
        second = start(serve, options=("--name", "twins"))
        with client_of(second) as other:
            assert other.execute(WORK, "pid") != pid
        assert client.execute(WORK, "pid") == pid
        second.stop()
        assert is_running(pid)
        assert client.execute(WORK, "pid") == pid


def test_hooks(serve: Serve) -> None:
    config = """
def on_dirty_starting(arbiter): arbiter.log.info("hook: starting %s", arbiter.pid)
def dirty_post_fork(arbiter, worker): arbiter.log.info("hook: forked %s", worker.pid)
def dirty_worker_init(worker): worker.log.info("hook: init %s %s", worker.pid, list(worker.apps))
def dirty_worker_exit(arbiter, worker): arbiter.log.info("hook: exit %s", worker.pid)
def post_fork(server, worker): worker.log.info("hook: post_fork %s", worker.pid)
"""
    server = start(serve, config=config)
    with client_of(server) as client:
        pid = client.execute(WORK, "pid")
    assert server.stop() == 0
    for line in (
        "hook: starting",
        f"hook: forked {pid}",
        rf"hook: init {pid} \['{WORK}'\]",
        f"hook: exit {pid}",
    ):
        server.wait_for(line)
    assert server.count(f"hook: post_fork {pid}") == 0, "the hook is about web workers"
