"""A real fork server and real workers: births, deaths, and who is whose child."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
import sys
import time

import pytest
from little_arbiter import (
    App,
    LittleArbiter,
    config,
    isolated,
    until_end_of_file,
    wait_readable,
    worker,
)

from gunicorn.errors import AppImportError, HaltServer
from gunicorn.process import lineage
from gunicorn.process.channel import ChannelClosed
from gunicorn.process.listeners import create_listeners
from gunicorn.process.messages import BootFailed, Exited, Reopen, Spawn, Spawned, SpawnFailed, WorkerReady
from gunicorn.process.slots import SlotState

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the subreaper is Linux's")


def raising(error):
    def body(worker):
        raise error

    return body


def ready_then(action):
    def body(worker):
        worker.ready()
        action()

    return body


@isolated
def test_worker_is_the_arbiters_child_and_its_status_is_the_arbiters_to_read(tmp_path):
    arbiter = LittleArbiter(tmp_path, worker_class=worker(ready_then(lambda: sys.exit(7))))
    child = arbiter.spawn(slot=2, age=5)
    assert child.hear() == WorkerReady()
    assert child.exit() == 7
    assert arbiter.close() == 0


@isolated
def test_worker_knows_its_place(tmp_path):
    def body(worker):
        worker.log.info("ppid %s %s age %s timeout %s", worker.ppid, os.getppid(), worker.age, worker.timeout)

    arbiter = LittleArbiter(tmp_path, worker_class=worker(body), timeout=30)
    child = arbiter.spawn(slot=3, age=9, generation=1)
    assert child.exit() == 0
    assert f"ppid {os.getpid()} {os.getpid()} age 9 timeout 15.0" in arbiter.log.text()
    slot = arbiter.slots[3]
    assert (slot.pid, slot.generation, slot.state) == (child.pid, 1, SlotState.BOOTING)
    assert 0 < time.monotonic() - slot.started < 10
    arbiter.close()


@isolated
def test_hooks_run_where_they_should(tmp_path):
    def hook(name):
        def run(server, worker):
            server.log.info(f"{name} in {os.getpid()} arbiter {server.pid} worker {worker.pid}")

        return run

    arbiter = LittleArbiter(
        tmp_path,
        pre_fork=hook("pre_fork"),
        post_fork=hook("post_fork"),
        worker_exit=hook("worker_exit"),
        worker_class=worker(lambda worker: None),
    )
    child = arbiter.spawn()
    assert child.exit() == 0
    me, pid = os.getpid(), child.pid
    assert arbiter.log.text().splitlines() == [
        f"info: pre_fork in {arbiter.pid} arbiter {me} worker [booting]",
        f"info: Booting worker with pid: {pid}",
        f"info: post_fork in {pid} arbiter {me} worker {pid}",
        f"info: Worker exiting (pid: {pid})",
        f"info: worker_exit in {pid} arbiter {me} worker {pid}",
    ]
    arbiter.close()


@pytest.mark.parametrize(
    ("error", "exit_code", "reason"),
    [
        (AppImportError("no such app: x:y"), 4, "no such app: x:y"),
        (ValueError("bad\nday"), 3, "ValueError: bad day"),
        (SystemExit("no database"), 1, "SystemExit: no database"),
        (SystemExit(9), 9, "SystemExit: 9"),
        (HaltServer("enough", 5), 5, "enough"),
        (KeyboardInterrupt(), 3, "KeyboardInterrupt"),
    ],
    ids=lambda value: type(value).__name__,
)
@isolated
def test_boot_failures(tmp_path, error, exit_code, reason):
    arbiter = LittleArbiter(tmp_path, worker_class=worker(raising(error)))
    child = arbiter.spawn()
    assert child.hear() == BootFailed(exit_code, reason)
    assert child.exit() == exit_code
    assert ("Traceback" in arbiter.log.text()) == (exit_code == 3)
    arbiter.close()


@isolated
def test_failing_post_fork_is_a_boot_failure(tmp_path):
    def post_fork(server, worker):
        raise RuntimeError("hook")

    arbiter = LittleArbiter(tmp_path, post_fork=post_fork)
    child = arbiter.spawn()
    assert child.hear() == BootFailed(3, "RuntimeError: hook")
    assert child.exit() == 3
    arbiter.close()


@isolated
def test_crash_after_boot_is_255_and_no_boot_failure(tmp_path):
    def explode():
        raise ValueError("late")

    arbiter = LittleArbiter(tmp_path, worker_class=worker(ready_then(explode)))
    child = arbiter.spawn()
    assert child.hear() == WorkerReady()
    assert child.exit() == 255
    with pytest.raises(ChannelClosed):
        child.hear()
    assert "Exception in worker process" in arbiter.log.text()
    arbiter.close()


@isolated
def test_exit_handlers_of_the_application_run_and_those_of_the_arbiter_do_not(tmp_path):
    import atexit

    log = tmp_path / "log"
    atexit.register(lambda: log.open("a").write("arbiter's\n"))

    def body(worker):
        atexit.register(lambda: worker.log.info("application's"))

    arbiter = LittleArbiter(tmp_path, worker_class=worker(body))
    child = arbiter.spawn()
    assert child.exit() == 0
    assert "application's" in arbiter.log.text()
    assert "arbiter's" not in arbiter.log.text()
    arbiter.close()


@isolated
def test_bad_worker_class_or_hook_does_not_cost_the_fork_server(tmp_path):
    failures = iter([RuntimeError("hook"), SystemExit(1), HaltServer("enough", 5)])

    def pre_fork(server, worker):
        error = next(failures, None)
        if error:
            raise error

    arbiter = LittleArbiter(tmp_path, pre_fork=pre_fork)
    assert arbiter.ask(Spawn(1, 1, 1))[0] == SpawnFailed(1, 1, 1, "RuntimeError: hook")
    assert arbiter.ask(Spawn(1, 2, 1))[0] == SpawnFailed(1, 2, 1, "SystemExit: 1")
    assert arbiter.ask(Spawn(1, 3, 1))[0] == SpawnFailed(1, 3, 5, "enough")
    answer, _ = arbiter.ask(Spawn(99, 3, 1))
    assert isinstance(answer, SpawnFailed), "there is no such slot"
    child = arbiter.spawn(age=4)
    assert child.hear() == WorkerReady()
    child.report.close()
    assert child.exit() == 0
    arbiter.close()


@isolated
def test_worker_class_that_refuses_the_configuration(tmp_path):
    class Refusing(worker(until_end_of_file)):
        @classmethod
        def check_config(cls, cfg, log):
            raise RuntimeError("threads is too small")

    arbiter = LittleArbiter(tmp_path, worker_class=Refusing)
    answer, _ = arbiter.ask(Spawn(0, 1, 1))
    assert answer == SpawnFailed(0, 1, 1, "RuntimeError: threads is too small")
    arbiter.close()


@isolated
def test_no_process_to_be_had(tmp_path):
    real = os.fork

    def pre_fork(server, worker):
        def refuse():
            raise BlockingIOError(11, "Resource temporarily unavailable")

        os.fork = refuse if worker.age == 1 else real

    arbiter = LittleArbiter(tmp_path, pre_fork=pre_fork)
    answer, _ = arbiter.ask(Spawn(0, 1, 1))
    assert answer == SpawnFailed(0, 1, 1, "cannot fork: Resource temporarily unavailable")
    child = arbiter.spawn(age=2)
    assert child.hear() == WorkerReady()
    child.report.close()
    assert child.exit() == 0
    arbiter.close()


@isolated
def test_no_descriptors_left(tmp_path):
    def pre_fork(server, worker):
        if worker.age == 1:
            # The lowest free number: whatever else is open above it, nothing can be opened.
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, 4096))
        else:
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))

    arbiter = LittleArbiter(tmp_path, pre_fork=pre_fork)
    answer, _ = arbiter.ask(Spawn(0, 1, 1))
    assert answer == SpawnFailed(0, 1, 1, "cannot fork: Too many open files")
    assert arbiter.spawn(age=2).hear() == WorkerReady()
    assert arbiter.close() == 0


@isolated
def test_closed_stdout_does_not_stop_births(tmp_path):
    read, write = os.pipe()
    os.dup2(write, 1)
    os.close(write)
    os.close(read)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - it stays until this process ends
    sys.stdout.write("nobody reads this")
    arbiter = LittleArbiter(tmp_path)
    child = arbiter.spawn()
    assert child.hear() == WorkerReady()
    child.report.close()
    assert child.exit() == 0
    arbiter.close()
    sys.stdout = sys.stderr


@isolated
def test_no_process_for_the_second_fork(tmp_path):
    def pre_fork(server, worker):
        real, calls = os.fork, []

        def refuse_second():
            calls.append(1)
            if len(calls) == 2:
                raise BlockingIOError(11, "Resource temporarily unavailable")
            return real()

        os.fork = refuse_second

    arbiter = LittleArbiter(tmp_path, pre_fork=pre_fork)
    answer, _ = arbiter.ask(Spawn(0, 1, 1))
    assert answer == SpawnFailed(0, 1, 1, "cannot fork: Resource temporarily unavailable")
    arbiter.close()


@isolated
def test_middle_process_that_hangs_is_killed(tmp_path):
    def pre_fork(server, worker):
        real, calls = os.fork, []

        def hang_second():
            calls.append(1)
            if len(calls) == 2:
                signal.pause()
            return real()

        os.fork = hang_second
        lineage._MIDDLE_SECONDS = 0.2

    arbiter = LittleArbiter(tmp_path, pre_fork=pre_fork)
    answer, _ = arbiter.ask(Spawn(0, 1, 1))
    assert isinstance(answer, SpawnFailed)
    assert "a fork took longer" in answer.reason
    assert arbiter.close() == 0


def sleep_in_c(seconds=60):
    """Hold the interpreter's lock: no Python handler can run."""
    ctypes.PyDLL(None).sleep(seconds)


@pytest.mark.parametrize("mode", ["adopt", "reap"])
@isolated
def test_stuck_worker_does_not_outlive_the_channel(tmp_path, mode, monkeypatch):
    monkeypatch.setenv("GUNICORN_CHILDREN", mode)
    arbiter = LittleArbiter(tmp_path, worker_class=worker(ready_then(sleep_in_c)))
    child = arbiter.spawn()
    assert child.hear() == WorkerReady()
    pidfd = os.pidfd_open(child.pid)
    began = time.monotonic()
    arbiter.channel.close()
    wait_readable(pidfd)
    assert time.monotonic() - began > 1.0, "a good worker would have had no time to leave"
    assert os.waitpid(arbiter.pid, 0)[1] == 0
    if mode == "adopt":
        assert child.exit() == -signal.SIGKILL


@isolated
def test_end_of_the_channel_waits_for_workers_that_leave(tmp_path):
    def body(worker):
        worker.ready()
        select.select([worker.report], [], [])
        sys.exit(6)

    arbiter = LittleArbiter(tmp_path, worker_class=worker(body))
    children = [arbiter.spawn(slot=number, age=number) for number in range(3)]
    for child in children:
        assert child.hear() == WorkerReady()
        child.report.close()
    assert arbiter.close() == 0
    assert [child.exit() for child in children] == [6, 6, 6]


@isolated
def test_worker_hears_the_end_of_its_arbiter_alone(tmp_path):
    """No sibling and no spawner holds a copy of the other end, or end of file would never come."""
    arbiter = LittleArbiter(tmp_path)
    first, second = arbiter.spawn(slot=0, age=1), arbiter.spawn(slot=1, age=2)
    assert first.hear() == second.hear() == WorkerReady()
    first.report.close()
    assert first.exit() == 0
    second.report.close()
    assert second.exit() == 0
    arbiter.close()


@isolated
def test_arbiter_hears_the_end_of_a_worker(tmp_path):
    arbiter = LittleArbiter(tmp_path)
    first, second = arbiter.spawn(slot=0, age=1), arbiter.spawn(slot=1, age=2)
    assert first.hear() == second.hear() == WorkerReady()
    signal.pidfd_send_signal(first.pidfd, signal.SIGKILL)
    with pytest.raises(ChannelClosed):
        first.hear()
    assert first.exit() == -signal.SIGKILL
    second.report.close()
    assert second.exit() == 0
    arbiter.close()


@isolated
def test_spawner_ignores_signals_and_its_workers_do_not(tmp_path):
    arbiter = LittleArbiter(tmp_path)
    arbiter.spawn(age=1).report.close()
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGHUP,
        signal.SIGUSR1,
        signal.SIGUSR2,
    ):
        os.kill(arbiter.pid, number)
    child = arbiter.spawn(age=2)
    # At once: a signal between the birth and the worker's own handlers must count too.
    signal.pidfd_send_signal(child.pidfd, signal.SIGTERM)
    assert child.exit() == -signal.SIGTERM
    arbiter.close()


def open_files():
    """What each descriptor of this process is, but for the one that reads the folder."""
    kinds = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            kinds.append(os.readlink(f"/proc/self/fd/{fd}"))
    return kinds


@isolated
def test_worker_starts_clean(tmp_path):
    def body(worker):
        kinds = open_files()
        worker.log.info(
            "sockets %d pidfds %d",
            sum("socket:" in kind for kind in kinds),
            kinds.count("anon_inode:[pidfd]"),
        )
        worker.log.info("wakeup %d", signal.set_wakeup_fd(-1))
        worker.log.info("mask %s", signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        worker.log.info("term %s", signal.getsignal(signal.SIGTERM).name)
        worker.log.info("trio %s asyncio %s", "trio" in sys.modules, "asyncio" in sys.modules)

    own = sum("socket:" in kind for kind in open_files())
    arbiter = LittleArbiter(
        tmp_path, worker_class=worker(lambda w: until_end_of_file(w) if w.age == 1 else body(w))
    )
    sibling = arbiter.spawn(slot=0, age=1)
    assert sibling.hear() == WorkerReady()
    assert arbiter.spawn(slot=1, age=2).exit() == 0
    text = arbiter.log.text()
    # Its report channel, and what the test runner had open; nothing of the spawner.
    assert f"sockets {own + 1} pidfds 0" in text
    assert "wakeup -1" in text
    assert "mask set()" in text
    assert "term SIG_DFL" in text
    sibling.report.close()
    arbiter.close()


@isolated
def test_worker_serves_on_the_listener(tmp_path):
    def body(worker):
        worker.ready()
        select.select(worker.sockets, [], [])
        client, _ = worker.sockets[0].accept()
        client.sendall(str(worker.sockets[0]).encode())

    cfg = config(address=[("127.0.0.1", 0)], worker_class=worker(body))
    listeners = create_listeners(cfg, None)
    arbiter = LittleArbiter(tmp_path, app=App(cfg), sockets=listeners)
    child = arbiter.spawn()
    with socket.create_connection(listeners[0].address, timeout=30) as client:
        assert client.recv(100).decode() == str(listeners[0])
    assert child.exit() == 0
    arbiter.close()


@isolated
def test_reopen(tmp_path):
    arbiter = LittleArbiter(tmp_path)
    arbiter.channel.send(Reopen())
    arbiter.spawn().report.close()
    assert "reopened" in arbiter.log.text()
    arbiter.close()


@isolated
def test_spawner_that_reaps_reports_how_its_workers_ended(tmp_path, monkeypatch):
    monkeypatch.setenv("GUNICORN_CHILDREN", "reap")

    def body(worker):
        worker.log.info("parent %s %s", worker.ppid, os.getppid())
        until_end_of_file(worker)
        sys.exit(11)

    arbiter = LittleArbiter(tmp_path, worker_class=worker(body))
    first, second = arbiter.spawn(slot=0, age=1), arbiter.spawn(slot=1, age=2)
    assert first.pidfd is None
    assert first.hear() == second.hear() == WorkerReady()
    assert f"parent {arbiter.pid} {arbiter.pid}" in arbiter.log.text()
    first.report.close()
    assert arbiter.hear()[0] == Exited(first.pid, 11 << 8)
    os.kill(second.pid, signal.SIGKILL)
    assert arbiter.hear()[0] == Exited(second.pid, signal.SIGKILL)
    assert arbiter.close() == 0


@isolated
def test_many_spawns_leave_nothing_open(tmp_path):
    arbiter = LittleArbiter(tmp_path, worker_class=worker(lambda worker: None))
    arbiter.spawn(age=0).exit()
    before = len(os.listdir(f"/proc/{arbiter.pid}/fd"))
    for age in range(1, 30):
        child = arbiter.spawn(age=age)
        assert child.exit() == 0
        child.report.close()
        os.close(child.pidfd)
    # What belongs to the last births may still be open; a leak would have left one for each of them.
    assert len(os.listdir(f"/proc/{arbiter.pid}/fd")) < before + 15
    arbiter.close()


@isolated
def test_requests_written_before_anyone_listens(tmp_path):
    arbiter = LittleArbiter(tmp_path)
    for age in range(4):
        arbiter.channel.send(Spawn(age, age, 1))
    answers = [arbiter.hear() for _ in range(4)]
    assert [message.age for message, _ in answers if isinstance(message, Spawned)] == [0, 1, 2, 3]
    for _, fds in answers:
        os.close(fds[0])
    assert arbiter.close() == 0
