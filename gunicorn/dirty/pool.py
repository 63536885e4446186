"""Routing: which worker gets a call, and when none may take it. Pure: no process, no clock, no socket."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from gunicorn.dirty.errors import DirtyNoWorkersAvailableError, DirtyQueueFullError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Lane", "Pool", "call_deadline"]

C = TypeVar("C")


class Lane(Generic[C]):
    """One worker as the router sees it: the classes it holds, the calls it runs, and its bounded queue.

    Attributes:
        running: Calls at work, at most one for each thread of the worker.
        lent: Threads that count as running and may have nothing to do, so that the queue has room for more.
        queue: Calls that wait for a thread.
        turn: When it was chosen last; the smallest is next among equals.
    """

    __slots__ = ("age", "apps", "lent", "limit", "queue", "running", "turn")

    def __init__(self, age: int, apps: Iterable[str], limit: int) -> None:
        self.age = age
        self.apps = set(apps)
        self.limit = limit
        self.running = 0
        self.lent = 0
        self.queue: deque[C] = deque()
        self.turn = 0

    @property
    def backlog(self) -> int:
        """Calls that a new one would come after."""
        return self.running + len(self.queue)


class Pool(Generic[C]):
    """The workers that take calls."""

    def __init__(self) -> None:
        self.lanes: dict[int, Lane[C]] = {}
        self._holders: dict[str, list[Lane[C]]] = {}
        self._turns = itertools.count(1)

    def add(self, lane: Lane[C]) -> None:
        """The worker takes calls from now on."""
        self.lanes[lane.age] = lane
        for path in lane.apps:
            self._holders.setdefault(path, []).append(lane)

    def hold(self, lane: Lane[C], path: str) -> None:
        """The worker has loaded one more class."""
        if path not in lane.apps:
            lane.apps.add(path)
            if lane.age in self.lanes:
                self._holders.setdefault(path, []).append(lane)

    def remove(self, age: int) -> list[C]:
        """The worker takes no more calls; those that were still queued, for other workers."""
        lane = self.lanes.pop(age, None)
        if lane is None:
            return []
        for path in lane.apps:
            self._holders[path].remove(lane)
            if not self._holders[path]:
                del self._holders[path]
        queued = list(lane.queue)
        lane.queue.clear()
        return queued

    def serves(self, path: str) -> bool:
        """Whether any worker holds the class."""
        return path in self._holders

    def choose(self, path: str) -> Lane[C]:
        """The worker for a call: the one with the least to do, in turn among equals.

        Raises:
            DirtyNoWorkersAvailableError: none holds the class.
            DirtyQueueFullError: none that holds it has room.
        """
        best: Lane[C] | None = None
        least = (0, 0)
        for lane in self._holders.get(path, ()):
            rank = (lane.running + len(lane.queue), lane.turn)
            if len(lane.queue) < lane.limit + lane.lent and (best is None or rank < least):
                best, least = lane, rank
        if best is not None:
            best.turn = next(self._turns)
            return best
        if path in self._holders:
            raise DirtyQueueFullError(path)
        raise DirtyNoWorkersAvailableError(path)


def call_deadline(now: float, limit: float, timeout: float | None) -> float:
    """When a call that arrives ``now`` has to be answered: ``limit`` (``dirty_timeout``, 0 = none) or the
    caller's own ``timeout``, whichever comes first; infinity when there is neither. Seconds.
    """
    return now + min(limit or float("inf"), timeout or float("inf"))
