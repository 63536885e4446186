"""The deadlines of one connection on one timer of the loop.

A deadline that moves with every request costs one store: the timer stays where it was, and finds when it
fires that there is nothing to do yet. ``loop.call_at`` and ``cancel`` for each wait would cost more than
all the rest.
"""

from __future__ import annotations

from enum import IntEnum
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable

__all__ = ["Alarms", "Wait"]

# uvloop's clock has milliseconds; a timer may fire that much early.
_EARLY = 0.002


class Wait(IntEnum):
    """What a connection waits for."""

    HEAD = 0
    """The rest of a request head, or the first one."""
    IDLE = 1
    """The next request."""
    BODY = 2
    WRITE = 3
    """The client to take what it was sent."""
    NOTICE = 4
    """The end of the moment for which a half-closed connection counts as alive."""
    GRACE = 5
    """The application to end after its client has left."""
    CLOSE = 6
    """The client's end of the connection, after ours."""
    SOCKET = 7
    """The next ping of a WebSocket, or the answer to the last."""
    SOCKET_END = 8
    """The client's answer to our close of a WebSocket."""


class Alarms:
    """Calls ``ring(wait)`` when a deadline passes.

    Args:
        loop: Whose clock and timers are used.
        ring: May set and clear deadlines, and may call ``close``.
    """

    __slots__ = ("_due", "_handle", "_loop", "_ring", "_rings_at")

    def __init__(self, loop: AbstractEventLoop, ring: Callable[[Wait], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._due = [inf] * len(Wait)
        self._handle: TimerHandle | None = None
        self._rings_at = inf

    def set(self, wait: Wait, seconds: float) -> None:
        """Ring in ``seconds`` from now; 0 is never, as in the settings."""
        if not seconds:
            self._due[wait] = inf
            return
        self.at(wait, self._loop.time() + seconds)

    def at(self, wait: Wait, due: float) -> None:
        """Ring at ``due``, seconds of the loop's clock; inf is never."""
        self._due[wait] = due
        if due < self._rings_at:
            self._arm(due)

    def head_arrived(self) -> None:
        """A request begins: ``clear`` for both waits between requests, which every one of them needs."""
        due = self._due
        due[0] = due[1] = inf

    def clear(self, wait: Wait) -> None:
        self._due[wait] = inf

    def limit(self, wait: Wait, seconds: float) -> None:
        """Bring a deadline that is set nearer: at most ``seconds`` from now."""
        due = self._loop.time() + seconds
        if inf > self._due[wait] > due:
            self.at(wait, due)

    def is_set(self, wait: Wait) -> bool:
        return self._due[wait] != inf

    def _arm(self, due: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._rings_at = due
        self._handle = self._loop.call_at(due, self._fire)

    def _fire(self) -> None:
        self._handle, self._rings_at = None, inf
        now = self._loop.time() + _EARLY
        for wait in Wait:
            if self._due[wait] <= now:
                self._due[wait] = inf
                self._ring(wait)
        due = min(self._due)
        if due < self._rings_at:
            self._arm(due)

    def close(self) -> None:
        """Forget all deadlines."""
        self._due = [inf] * len(Wait)
        if self._handle is not None:
            self._handle.cancel()
            self._handle, self._rings_at = None, inf
