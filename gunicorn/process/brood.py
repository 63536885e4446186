"""A spawner's children and its one place to wait."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from gunicorn.process.lineage import Adopted

__all__ = ["Brood", "Watch"]


class Watch:
    """Calls a function when a descriptor becomes readable: ``select.poll`` with a table."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._callbacks: dict[int, Callable[[], None]] = {}

    def add(self, fd: int, callback: Callable[[], None]) -> None:
        self._callbacks[fd] = callback
        self._poll.register(fd, select.POLLIN)

    def remove(self, fd: int) -> None:
        """Forget ``fd``, before it is closed. It may have been forgotten before."""
        if self._callbacks.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def turn(self, seconds: float | None) -> None:
        """Wait for the first event, or ``seconds`` at most, and make all calls that are due."""
        timeout = None if seconds is None else max(0, round(seconds * 1000 + 0.5))
        for fd, _ in self._poll.poll(timeout):
            # A call of the same round may have removed this one.
            callback = self._callbacks.get(fd)
            if callback is not None:
                callback()


class Brood:
    """The processes that a spawner made and that have not ended.

    Two kinds. Adopted ones have another parent, which reaps them: their pidfd tells when they are gone. Own
    ones are reaped here, on SIGCHLD through a wakeup descriptor, which works on every Unix.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._adopted: dict[int, int] = {}
        self._own: dict[int, Callable[[int, int], None]] = {}
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        # The handler does nothing, but without one the interpreter does not write to the wakeup descriptor.
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        watch.add(self._woken.fileno(), self._reap)

    def __len__(self) -> int:
        return len(self._adopted) + len(self._own)

    def add_adopted(self, child: Adopted) -> None:
        """Watch a process that another one reaps. The pidfd belongs to the brood from now on."""
        self._adopted[child.pid] = child.pidfd
        self._watch.add(child.pidfd, lambda: self._forget(child))

    def add_own(self, pid: int, ended: Callable[[int, int], None]) -> None:
        """Reap ``pid`` when it ends and call ``ended(pid, status)``, the status as from ``os.waitpid``."""
        self._own[pid] = ended

    def _forget(self, child: Adopted) -> None:
        del self._adopted[child.pid]
        self._watch.remove(child.pidfd)
        os.close(child.pidfd)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
        # One SIGCHLD may stand for several children, and only ours are asked for: a hook may have children of
        # its own.
        for pid in list(self._own):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._own.pop(pid)(pid, status)

    def wait(self, deadline: float) -> bool:
        """Wait until all have ended or ``deadline`` (``time.monotonic()``, seconds); whether they have."""
        # A round that ended in an exception may have taken note of SIGCHLD and not of every child.
        self._reap()
        while self and (left := deadline - time.monotonic()) > 0:
            self._watch.turn(left)
        return not self

    def kill(self, *, spare: frozenset[int] = frozenset()) -> None:
        """SIGKILL to all but the pids in ``spare``."""
        for pidfd in self._adopted.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        for pid in self._own.keys() - spare:
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so the pid is still that child's

    def release(self) -> None:
        """In a forked process: close this process's copies; the children are those of the parent."""
        for pidfd in self._adopted.values():
            os.close(pidfd)
        # The wakeup descriptor's number will soon be another file's.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._woken.close()
        self._waker.close()


def _nothing(number: int, frame: FrameType | None) -> None:
    pass
