"""Readiness for many threads: each event is handed to exactly one of them.

Who gets an event claims the connection (see ``waiting``), so that no lock guards a connection. Listeners and
pipes are reported as long as they are readable (*level*): whoever is free takes the event.
"""

from __future__ import annotations

import select
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NOTHING_ODD", "READ", "WRITE", "Poller", "new_poller"]

READ = 0x80002001
WRITE = 0x80002004
"""EPOLLIN and EPOLLOUT with EPOLLET and EPOLLRDHUP, so that the common system translates nothing."""

NOTHING_ODD = 0x5
"""EPOLLIN and EPOLLOUT."""


class Poller(Protocol):
    """What the engine needs of a readiness interface.

    Attributes:
        stays_armed: A descriptor need not be armed again after an event for which everything was read, and
            must be forgotten before it is closed: while a forked child has a copy of it, closing alone would
            leave it armed.
    """

    stays_armed: bool

    def arm(self, fd: int, want: int) -> None:
        """Report ``fd`` once, when ``want`` (READ or WRITE) is possible. For a new descriptor."""

    def rearm(self, fd: int, want: int) -> None:
        """Report ``fd`` once more."""

    def watch(self, fd: int) -> None:
        """Report ``fd`` as long as it is readable."""

    def forget(self, fd: int) -> None:
        """Report ``fd`` no more. Unknown descriptors are ignored."""

    def poll(self, timeout: float, limit: int) -> list[tuple[int, int]]:
        """Descriptors that are ready, at most ``limit``, each with a number.

        A number above ``NOTHING_ODD`` says that the peer has closed its side, or that the connection failed.
        ``timeout`` is in seconds; negative waits for ever.
        """
        ...

    def close(self) -> None:
        """Give the descriptor back."""


class EpollPoller:
    """Linux: edge-triggered, which saves arming a connection for each request, a system call of 1 us or more.

    EPOLLONESHOT would need it. The price is in ``waiting``: an event that comes while a connection is not
    parked, and bytes that are left unread.
    """

    stays_armed = True

    def __init__(self) -> None:
        self._epoll = select.epoll()
        # Their arguments and results are the protocol's: every request takes two of them.
        self.arm: Callable[[int, int], None] = self._epoll.register
        self.rearm: Callable[[int, int], None] = self._epoll.modify
        self.poll: Callable[[float, int], list[tuple[int, int]]] = self._epoll.poll
        # One connection must not wake every worker that shares the listener.
        self._level = select.EPOLLIN | select.EPOLLEXCLUSIVE

    def watch(self, fd: int) -> None:
        self._epoll.register(fd, self._level)

    def forget(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except (FileNotFoundError, ValueError):
            return

    def close(self) -> None:
        self._epoll.close()


class OwnEpollPoller(EpollPoller):
    """Linux with one thread: nobody else takes its events, so that a level is as good as an edge."""

    def __init__(self) -> None:
        super().__init__()
        self.arm = lambda fd, want: self._epoll.register(fd, want & NOTHING_ODD)
        self.rearm = lambda fd, want: self._epoll.modify(fd, want & NOTHING_ODD)


class KqueuePoller:
    """The BSDs and macOS."""

    stays_armed = False

    def __init__(self) -> None:
        self._kqueue = select.kqueue()  # type: ignore[attr-defined, unused-ignore]  # not on Linux

    def _change(self, fd: int, want: int, flags: int) -> None:
        direction = select.KQ_FILTER_READ if want == READ else select.KQ_FILTER_WRITE  # type: ignore[attr-defined, unused-ignore]
        self._kqueue.control([select.kevent(fd, direction, flags)], 0, 0)  # type: ignore[attr-defined, unused-ignore]

    def arm(self, fd: int, want: int) -> None:
        self._change(fd, want, select.KQ_EV_ADD | select.KQ_EV_ONESHOT)  # type: ignore[attr-defined, unused-ignore]

    rearm = arm

    def watch(self, fd: int) -> None:
        self._change(fd, READ, select.KQ_EV_ADD)  # type: ignore[attr-defined, unused-ignore]

    def forget(self, fd: int) -> None:
        for want in (READ, WRITE):
            try:
                self._change(fd, want, select.KQ_EV_DELETE)  # type: ignore[attr-defined, unused-ignore]
            except OSError:
                continue

    def poll(self, timeout: float, limit: int) -> list[tuple[int, int]]:
        wait = None if timeout < 0 else timeout
        return [(event.ident, event.filter) for event in self._kqueue.control(None, limit, wait)]

    def close(self) -> None:
        self._kqueue.close()


class PollPoller:
    """``poll(2)``, for whatever has neither. One thread waits at a time; a pipe tells it of changes."""

    stays_armed = False

    def __init__(self) -> None:
        import os

        self._events: dict[int, int] = {}
        self._once: set[int] = set()
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._reader, self._writer = os.pipe()
        for fd in (self._reader, self._writer):
            os.set_blocking(fd, False)
        self._read, self._write, self._close = os.read, os.write, os.close

    def _set(self, fd: int, want: int, once: bool) -> None:
        with self._lock:
            self._events[fd] = select.POLLIN if want == READ else select.POLLOUT
            (self._once.add if once else self._once.discard)(fd)
        self._nudge()

    def _nudge(self) -> None:
        try:
            self._write(self._writer, b"\0")
        except BlockingIOError:
            return  # full: the waiting thread will look anyway

    def arm(self, fd: int, want: int) -> None:
        self._set(fd, want, once=True)

    rearm = arm

    def watch(self, fd: int) -> None:
        self._set(fd, READ, once=False)

    def forget(self, fd: int) -> None:
        with self._lock:
            self._events.pop(fd, None)
            self._once.discard(fd)
        self._nudge()

    def poll(self, timeout: float, limit: int) -> list[tuple[int, int]]:
        with self._turn:
            with self._lock:
                poll = select.poll()
                for fd, events in self._events.items():
                    poll.register(fd, events)
            poll.register(self._reader, select.POLLIN)
            return self._claim(poll.poll(None if timeout < 0 else timeout * 1000), limit)

    def _claim(self, found: list[tuple[int, int]], limit: int) -> list[tuple[int, int]]:
        ready: list[tuple[int, int]] = []
        with self._lock:
            for fd, events in found:
                if fd == self._reader:
                    self._read(self._reader, 4096)
                elif fd in self._events and len(ready) < limit:
                    ready.append((fd, events))
                    if fd in self._once:
                        self._once.discard(fd)
                        del self._events[fd]
        return ready

    def close(self) -> None:
        self._close(self._reader)
        self._close(self._writer)


def new_poller(*, shared: bool = True) -> Poller:
    """The best that this system has, for several threads or (not ``shared``) for one."""
    if hasattr(select, "epoll"):
        return EpollPoller() if shared else OwnEpollPoller()
    if hasattr(select, "kqueue"):
        return KqueuePoller()
    return PollPoller()
