"""The signals of a server: who takes which, and how a new process gets rid of what it inherited."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, NamedTuple

from gunicorn.process.stacks import LOOK_SIGNAL, STACK_SIGNAL

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ARBITER", "TABLE", "WORKER", "SignalRow", "blocked", "ignore_all", "reset_to_default"]

ARBITER = "arbiter"
WORKER = "worker"


class SignalRow(NamedTuple):
    """What ``receiver`` does on a signal. ``name`` is without ``SIG``."""

    name: str
    receiver: str
    meaning: str


TABLE = (
    SignalRow("TERM", ARBITER, "stop gracefully: wait up to graceful_timeout for requests in flight"),
    SignalRow("INT", ARBITER, "stop quickly"),
    SignalRow("QUIT", ARBITER, "stop quickly"),
    SignalRow("HUP", ARBITER, "reload the configuration and replace all workers"),
    SignalRow("USR1", ARBITER, "reopen the log files, here and in all workers"),
    SignalRow("USR2", ARBITER, "start a new server on the same sockets (upgrade)"),
    SignalRow("TTIN", ARBITER, "one worker more"),
    SignalRow("TTOU", ARBITER, "one worker less, never under one"),
    SignalRow("WINCH", ARBITER, "stop all workers gracefully, when running as a daemon"),
    SignalRow("TERM", WORKER, "finish the requests in flight, then leave"),
    SignalRow("INT", WORKER, "leave at once"),
    SignalRow("QUIT", WORKER, "leave at once"),
    SignalRow("USR1", WORKER, "reopen the log files"),
    SignalRow("ABRT", WORKER, "abort: the worker has been silent for longer than timeout"),
    SignalRow("WINCH", WORKER, "ignored"),
)

_ALL = tuple({signal.Signals[f"SIG{row.name}"] for row in TABLE})


def ignore_all() -> None:
    """Ignore every signal that is somebody else's business.

    A terminal, systemd or ``pkill`` signals the whole group, and a spawner that died of it would take the
    server with it: the end of a spawner is the end of file on its channel. ABRT stays as it is, because the C
    library aborts with it.
    """
    for number in _ALL:
        if number != signal.SIGABRT:
            signal.signal(number, signal.SIG_IGN)
    # Inherited by a worker, in which they must not be deadly in the moment before their handlers are there.
    for question in filter(None, (STACK_SIGNAL, LOOK_SIGNAL)):
        signal.signal(question, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def reset_to_default() -> None:
    """The first act of a new worker: nothing of the wakeup descriptor, handlers and mask of its maker."""
    signal.set_wakeup_fd(-1)
    for number in (*_ALL, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Hold signals back around a fork, so that none is lost before ``reset_to_default`` in the child."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
