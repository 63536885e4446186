"""How a spawner makes processes, and whose children they are.

On Linux a worker is forked twice and loses its middle parent, so that the kernel gives it to the nearest
subreaper: the arbiter. It waits for its workers itself, on pidfds, and they look like its children to every
tool. Elsewhere a worker stays the spawner's child, and the spawner reports its end.
``GUNICORN_CHILDREN=reap`` chooses the second way on Linux too.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
from typing import NamedTuple

from gunicorn.process import signals

__all__ = ["Adopted", "are_adopted", "become_subreaper", "fork_adopted", "fork_child"]

_MODE = "GUNICORN_CHILDREN"
_REAP = "reap"
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_MIDDLE_SECONDS = 5.0
_PID = struct.Struct("=i")


class Adopted(NamedTuple):
    """A process that is the subreaper's child. ``pidfd`` belongs to the caller."""

    pid: int
    pidfd: int


def are_adopted() -> bool:
    """Whether workers become the arbiter's children. It is in the environment, so all processes agree."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open") and os.environ.get(_MODE) != _REAP


def become_subreaper() -> bool:
    """Make this process, the arbiter, the one that adopts workers; before the fork server exists.

    Returns:
        Whether it does. If the kernel refuses, this process and its children use the portable way from then
        on.
    """
    if not are_adopted():
        return False
    import ctypes  # 2 ms, only here and only on Linux: the standard library has no prctl

    try:
        os.close(os.pidfd_open(os.getpid()))
        refused = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0
    except OSError:
        refused = True
    if refused:
        os.environ[_MODE] = _REAP
    return not refused


def fork_adopted() -> Adopted | None:
    """Fork a process that the subreaper adopts: None in the new process, whose signals are at their defaults.

    The new process continues only when it has been adopted and its pidfd is open, so the pid in the result
    cannot have been reused. If the caller dies in between, the new process ends silently.

    Raises:
        OSError: no process could be made (``EAGAIN``), or it took longer than 5 seconds (``TimeoutError``).
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        middle = os.fork()
        if middle == 0:
            ours.close()
            _fork_again(theirs)
            return None
        theirs.close()
        return _wait_for_grandchild(ours, middle)


def _fork_again(link: socket.socket) -> None:
    """In the middle process; returns in the grandchild alone."""
    try:
        if os.fork() != 0:
            os._exit(0)
    except OSError as error:
        os._exit(error.errno or 1)  # every errno of Linux fits into an exit status
    try:
        # Before anybody knows the pid: a TERM that comes early must not be ignored, as the spawner would.
        signals.reset_to_default()
        link.sendall(_PID.pack(os.getpid()))
        permitted = link.recv(1)
    except OSError:
        os._exit(0)
    if not permitted:
        os._exit(0)


def _wait_for_grandchild(link: socket.socket, middle: int) -> Adopted:
    link.settimeout(_MIDDLE_SECONDS)
    try:
        answer = link.recv(_PID.size)
    except TimeoutError:
        os.kill(middle, signal.SIGKILL)
        os.waitpid(middle, 0)
        raise TimeoutError(f"a fork took longer than {_MIDDLE_SECONDS:.0f} seconds") from None
    _, status = os.waitpid(middle, 0)
    if not answer:
        code = os.waitstatus_to_exitcode(status)
        raise OSError(
            code, os.strerror(code) if code > 0 else f"the process in the middle died of signal {-code}"
        )
    pid: int = _PID.unpack(answer)[0]
    pidfd = os.pidfd_open(pid)
    link.sendall(b"!")
    return Adopted(pid, pidfd)


def fork_child(*, default_signals: bool) -> int:
    """Fork a plain child: 0 in it. With ``default_signals`` it has default handlers and missed no signal.

    Raises:
        OSError: no process could be made.
    """
    with signals.blocked():
        pid = os.fork()
        if pid == 0 and default_signals:
            signals.reset_to_default()
    return pid
