"""The deadlines of all connections: one heap and one task.

Each connection has a cancel scope. Moving the scope's own deadline twice took a tenth of the time of a small
request. Here a deadline that moves away is one store: the heap finds out when the old one comes.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from gunicorn.workers.asgi.trio_connection import Connection

__all__ = ["Alarm", "Deadlines"]


class Alarm:
    """One entry of the heap.

    Attributes:
        at: When somebody looks at ``connection.due``.
        connection: None when nobody needs to look any more.
    """

    __slots__ = ("at", "connection")

    def __init__(self, at: float, connection: Connection) -> None:
        self.at = at
        self.connection: Connection | None = connection


class Deadlines:
    """Calls ``Connection.expire`` when ``Connection.due`` has come."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Alarm]] = []
        self._numbers = count()
        self._nap = trio.CancelScope()

    def watch(self, connection: Connection) -> None:
        """Look at ``connection`` when its ``due`` comes, which is earlier than its alarm so far."""
        self.forget(connection)
        due = connection.due
        connection.alarm = alarm = Alarm(due, connection)
        heappush(self._heap, (due, next(self._numbers), alarm))
        if due < self._nap.deadline:
            self._nap.deadline = due

    def forget(self, connection: Connection) -> None:
        """Keep nothing of ``connection``; its entry, which is small, stays in the heap until its time."""
        if connection.alarm is not None:
            connection.alarm.connection = None
            connection.alarm = None

    async def run(self) -> None:
        """The task; never returns."""
        while True:
            self._ring(trio.current_time())
            with trio.CancelScope(deadline=self._heap[0][0] if self._heap else inf) as self._nap:
                await trio.sleep_forever()

    def _ring(self, now: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= now:
            connection = heappop(heap)[2].connection
            if connection is None:
                continue
            connection.alarm = None
            if connection.due <= now:
                connection.expire()
            elif connection.due < inf:
                self.watch(connection)
