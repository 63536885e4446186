"""A worker as the dispatcher sees it: its links, and the queue that they share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from gunicorn.dirty.lanes import Link
from gunicorn.dirty.lease import PAUSE
from gunicorn.dirty.pool import Lane

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Sequence

    from gunicorn.dirty.calls import Call
    from gunicorn.dirty.lanes import Worker

__all__ = ["Crew"]


class Crew:
    """All links of one worker, and the queue that they share.

    Attributes:
        lane: The worker as the router sees it.
        is_leaving: It takes no more calls.
        leases: How many callers have had one of its threads for themselves.
    """

    def __init__(
        self, worker: Worker, socks: Sequence[socket.socket], queue_limit: int, freed: Callable[[], None]
    ) -> None:
        self.worker = worker
        self.freed = freed
        self.lane: Lane[Call] = Lane(worker.age, (), queue_limit)
        self.idle: list[Link] = []
        self.is_leaving = False
        self.answered = 0
        self.leases = 0
        self._contended = -math.inf
        self.links = [Link(sock, self) for sock in socks]

    def open(self, paths: Iterable[str]) -> None:
        """The worker serves, with these classes."""
        self.lane.apps.update(paths)
        self.idle = [link for link in reversed(self.links) if link.is_open]

    @property
    def is_busy(self) -> bool:
        return self.lane.backlog > 0

    def take(self, call: Call) -> None:
        """Run the call now if a thread is free, else when one is."""
        if self.idle:
            self.idle.pop().begin(call)
        else:
            call.lane = self.lane
            self.lane.queue.append(call)
            self._contended = trio.current_time()
            for link in self.links:
                if link.recall():
                    break

    def lend(self, call: Call) -> bool:
        """Begin a lease, if a thread is free and nobody had to wait for one just now."""
        if not self.idle or trio.current_time() < self._contended + PAUSE:
            return False
        self.leases += 1
        self.lane.lent += 1
        self.idle.pop().begin(call)
        return True

    def recall(self) -> None:
        """End all leases."""
        for link in self.links:
            link.recall()

    def next_call(self) -> Call | None:
        """The call that has waited longest."""
        if not self.lane.queue or self.is_leaving:
            return None
        call = self.lane.queue.popleft()
        call.lane = None
        return call

    def leave(self) -> None:
        """No more calls: links close as soon as they are free, which is how the worker knows."""
        self.is_leaving = True
        self.recall()
        while self.idle:
            self.idle.pop().close()

    def close(self) -> None:
        """The worker is gone."""
        self.is_leaving = True
        self.idle.clear()
        for link in self.links:
            link.close()
