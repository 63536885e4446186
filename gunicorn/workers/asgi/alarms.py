"""The deadlines of all connections on one timer of the loop.

A deadline that moves with every request costs one store: the timer stays where it was, and finds when it
fires that there is nothing to do yet. ``loop.call_at`` and ``cancel`` for each wait would cost more than
all the rest, and a timer for each connection 5 us, which is a tenth of a short one.
"""

from __future__ import annotations

from enum import IntEnum
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable

__all__ = ["Alarms", "Timer", "Wait"]

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


# Entries that nobody waits for any more, above which the heap is rid of them.
_STALE = 1000


class _Entry:
    """Of the heap. ``alarms`` is None when nobody waits for it any more, so that it keeps nothing alive."""

    __slots__ = ("alarms",)

    def __init__(self, alarms: Alarms) -> None:
        self.alarms: Alarms | None = alarms


class Timer:
    """One timer of ``loop`` for the alarms of all connections.

    Attributes:
        time: The loop's clock.
    """

    __slots__ = ("_at", "_handle", "_heap", "_loop", "_numbers", "_stale", "time")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self.time = loop.time
        self._heap: list[tuple[float, int, _Entry]] = []
        self._numbers = count()
        self._stale = 0
        self._handle: TimerHandle | None = None
        self._at = inf

    def watch(self, alarms: Alarms, due: float) -> _Entry:
        """Call ``alarms.fire`` at ``due``, unless the entry that is returned is forgotten."""
        entry = _Entry(alarms)
        heappush(self._heap, (due, next(self._numbers), entry))
        if due < self._at:
            self._arm(due)
        return entry

    def forget(self, entry: _Entry) -> None:
        """Nobody waits for ``entry`` any more. It stays in the heap until its time, or until many do."""
        entry.alarms = None
        self._stale += 1
        if self._stale > _STALE and self._stale > len(self._heap) // 2:
            self._stale = 0
            self._heap = [item for item in self._heap if item[2].alarms is not None]
            heapify(self._heap)

    def close(self) -> None:
        """Nothing rings any more."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()

    def _arm(self, due: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._at = due
        self._handle = self._loop.call_at(due, self._fire)

    def _fire(self) -> None:
        self._handle, self._at = None, inf
        now = self.time() + _EARLY
        while self._heap and self._heap[0][0] <= now:
            alarms = heappop(self._heap)[2].alarms
            if alarms is not None:
                alarms.fire(now)
        if self._heap and self._heap[0][0] < self._at:
            self._arm(self._heap[0][0])


class Alarms:
    """Calls ``ring(wait)`` when a deadline of one connection passes.

    Args:
        timer: What wakes it.
        ring: May set and clear deadlines, and may call ``close``.
    """

    __slots__ = ("_due", "_entry", "_ring", "_rings_at", "_time", "_timer")

    def __init__(self, timer: Timer, ring: Callable[[Wait], None]) -> None:
        self._timer = timer
        self._time = timer.time
        self._ring = ring
        self._due = _NEVER.copy()
        self._entry: _Entry | None = None
        self._rings_at = inf

    def set(self, wait: Wait, seconds: float) -> None:
        """Ring in ``seconds`` from now; 0 is never, as in the settings."""
        if not seconds:
            self._due[wait] = inf
            return
        due = self._due[wait] = self._time() + seconds
        if due < self._rings_at:
            self._watch(due)

    def at(self, wait: Wait, due: float) -> None:
        """Ring at ``due``, seconds of the loop's clock; inf is never."""
        self._due[wait] = due
        if due < self._rings_at:
            self._watch(due)

    def head_arrived(self) -> None:
        """A request begins: ``clear`` for both waits between requests, which every one of them needs."""
        due = self._due
        due[0] = due[1] = inf

    def clear(self, wait: Wait) -> None:
        self._due[wait] = inf

    def limit(self, wait: Wait, seconds: float) -> None:
        """Bring a deadline that is set nearer: at most ``seconds`` from now."""
        due = self._time() + seconds
        if inf > self._due[wait] > due:
            self.at(wait, due)

    def is_set(self, wait: Wait) -> bool:
        return self._due[wait] != inf

    def _watch(self, due: float) -> None:
        if self._entry is not None:
            self._timer.forget(self._entry)
        self._rings_at = due
        self._entry = self._timer.watch(self, due)

    def fire(self, now: float) -> None:
        """Ring for everything that is due at ``now``."""
        self._entry, self._rings_at = None, inf
        for wait in Wait:
            if self._due[wait] <= now:
                self._due[wait] = inf
                self._ring(wait)
        due = min(self._due)
        if due < self._rings_at:
            self._watch(due)

    def close(self) -> None:
        """Forget all deadlines. Others may be set: an application may outlive its connection."""
        self._due = _NEVER.copy()
        if self._entry is not None:
            self._timer.forget(self._entry)
            self._entry, self._rings_at = None, inf

    def end(self) -> None:
        """Forget whom they are of, too: a connection and its alarms keep each other, and one that has ended
        would wait for the garbage collector, with all that it has (21 objects).
        """
        self.close()
        self._ring = _nobody


def _nobody(wait: Wait) -> None:
    """The connection has ended."""


_NEVER = [inf] * len(Wait)
