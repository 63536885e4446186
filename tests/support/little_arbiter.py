"""The least that can stand where the arbiter stands: it talks to a real fork server, synchronously.

Each test runs in a process of its own (``isolated``): it becomes a subreaper, which the test runner must not.
"""

from __future__ import annotations

import functools
import os
import select
import signal
import sys
import threading
import traceback
from types import SimpleNamespace
from typing import Any

from gunicorn.process import forkserver, lineage
from gunicorn.process.channel import Channel
from gunicorn.process.messages import Spawn, Spawned, WorkerReady
from gunicorn.process.slots import Slots

SECONDS = 20.0
TEST_SECONDS = 60


def isolated(test):
    """Run a test in a forked process and session; nothing of it outlives the test."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        pid = os.fork()
        if pid == 0:
            _child(test, args, kwargs)
        watchdog = threading.Timer(TEST_SECONDS, os.killpg, (pid, signal.SIGKILL))
        watchdog.start()
        _, status = os.waitpid(pid, 0)
        watchdog.cancel()
        watchdog.join()
        try:
            os.killpg(pid, signal.SIGKILL)
            left = True
        except ProcessLookupError:
            left = False
        assert status == 0, f"ended with {os.waitstatus_to_exitcode(status)}"
        assert not left, "processes outlived the test"

    return run


def _child(test, args, kwargs):
    status = 1
    try:
        os.setsid()
        lineage.become_subreaper()
        test(*args, **kwargs)
        _wait_for_all_children()
        status = 0
    except BaseException:  # noqa: BLE001 - reported to the test runner by the exit code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait_for_all_children():
    signal.alarm(5)
    try:
        while True:
            os.wait()
    except ChildProcessError:
        signal.alarm(0)


def wait_readable(fd, seconds=SECONDS):
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert poll.poll(seconds * 1000), f"nothing within {seconds} s"


class FileLog:
    """A logger whose lines every process appends to one file."""

    def __init__(self, path):
        self.path = path

    def _write(self, level, message, *args, exc_info=None):
        error = exc_info if isinstance(exc_info, BaseException) else sys.exc_info()[1] if exc_info else None
        text = "".join(traceback.format_exception(error)) if error else ""
        with open(self.path, "a") as file:
            file.write(f"{level}: {message % args if args else message}\n{text}")

    debug = functools.partialmethod(_write, "debug")
    info = functools.partialmethod(_write, "info")
    warning = functools.partialmethod(_write, "warning")
    error = functools.partialmethod(_write, "error")
    exception = functools.partialmethod(_write, "exception", exc_info=True)

    def reopen_files(self):
        self._write("info", "reopened")

    def text(self):
        return self.path.read_text() if self.path.exists() else ""


class PlainWorker:
    """A worker by the public contract, with as little as a test needs. ``body(worker)`` is its life."""

    body: Any = staticmethod(lambda worker: None)

    def __init__(self, age, ppid, sockets, app, timeout, cfg, log):
        self.age, self.ppid, self.sockets, self.app = age, ppid, sockets, app
        self.timeout, self.cfg, self.log = timeout, cfg, log
        self.booted = False
        self.pid = "[booting]"

    def init_process(self):
        type(self).body(self)

    def ready(self):
        self.booted = True
        self.report.send(WorkerReady())


def worker(body):
    """A worker class whose life is ``body``."""
    return type("TestWorker", (PlainWorker,), {"body": staticmethod(body)})


def until_end_of_file(worker):
    """The life of a good worker: ready, and gone when the arbiter is."""
    worker.ready()
    select.select([worker.report], [], [])


def config(**values):
    """A configuration with the names that this layer reads."""
    nothing = lambda *args: None  # noqa: E731
    defaults = dict.fromkeys(("pre_fork", "post_fork", "worker_exit"), nothing)
    defaults.update(
        address=[], backlog=64, is_ssl=False, reuse_port=False, umask=0, uid=os.geteuid(), gid=os.getegid(),
        timeout=30, proc_name="test", preload_app=False, worker_class=worker(until_end_of_file),
    )  # fmt: skip
    return SimpleNamespace(**{**defaults, **values})


class App:
    """An application object; ``reload`` makes the configuration of the next generation."""

    def __init__(self, cfg, reload=None, wsgi=lambda: None):
        self.cfg, self._reload, self.wsgi = cfg, reload, wsgi

    def do_load_config(self):
        self.cfg = self._reload()


class Child:
    """A worker as the arbiter sees it."""

    def __init__(self, message, fds):
        self.pid = message.pid
        self.report = Channel.from_fd(fds[0])
        self.stacks = fds[1]
        self.pidfd = fds[2] if len(fds) > 2 else None

    def hear(self):
        wait_readable(self.report)
        return self.report.receive()[0]

    def exit(self):
        """The exit code, or minus the signal; the arbiter is the parent."""
        wait_readable(self.pidfd)
        result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


class LittleArbiter:
    def __init__(self, tmp_path, app=None, sockets=(), **values):
        self.cfg = app.cfg if app else config(**values)
        self.log = FileLog(tmp_path / "log")
        self.slots = Slots.create(8)
        self.app = app or App(self.cfg)
        server = forkserver.start(self.app, self.cfg, self.log, list(sockets), self.slots)
        self.channel, self.pid = server.channel, server.pid

    def ask(self, message, fds=(), channel=None):
        (channel or self.channel).send(message, fds)
        return self.hear(channel)

    def hear(self, channel=None):
        wait_readable(channel or self.channel)
        return (channel or self.channel).receive()

    def spawn(self, slot=0, age=1, generation=1, channel=None):
        message, fds = self.ask(Spawn(slot, age, generation), channel=channel)
        assert isinstance(message, Spawned), message
        assert (message.slot, message.age) == (slot, age)
        return Child(message, fds)

    def close(self):
        """Close the channel and wait for the fork server; its exit code."""
        self.channel.close()
        pidfd = os.pidfd_open(self.pid)
        wait_readable(pidfd)
        os.close(pidfd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
