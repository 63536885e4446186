"""``request_timeout``: 504 for the request that takes too long, nothing for its neighbours.

One look at all requests now and then, and no timer for each. A request's time begins with the first look that
finds it, which costs a request nothing: most are over before any look. So it may be late by two looks, and is
never early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gunicorn.process.slots import ERRORS

if TYPE_CHECKING:
    from collections.abc import Collection

    from gunicorn.workers.asgi.ledger import Entry
    from gunicorn.workers.base import Worker

__all__ = ["Overtime"]

_LOOKS = 20
_SHORTEST, _LONGEST = 0.01, 1.0


class Cycle(Protocol):
    """An application at work, of either driver."""

    @property
    def entry(self) -> Entry: ...

    def time_out(self) -> bool:
        """End it, and its answer; False when there is nothing to end: it was answered, ends already, or is
        a WebSocket, which may last as long as it likes.
        """
        ...


class Overtime:
    """Ends the requests that last too long.

    An application that does not end although it was cancelled, because it shields itself or waits for a
    thread, cannot be ended but with its worker: that one is replaced when ``graceful_timeout`` has passed.

    Args:
        cycles: What runs; looked at again each time.

    Attributes:
        interval: Seconds between two looks.
    """

    def __init__(self, worker: Worker, cycles: Collection[Cycle]) -> None:
        cfg = worker.cfg
        self._worker = worker
        self._cycles = cycles
        self._timeout: float = cfg.request_timeout
        self._grace: float = cfg.graceful_timeout
        self._since: dict[Cycle, float] = {}
        self._late: set[Cycle] = set()
        self._leaves = False
        self.interval = min(_LONGEST, max(_SHORTEST, self._timeout / _LOOKS))

    def look(self, now: float) -> None:
        """Time out what is due at ``now``, seconds of any steady clock."""
        seen = self._since
        self._since = since = {cycle: seen.get(cycle, now) for cycle in self._cycles}
        self._late.intersection_update(since)
        for cycle, begun in since.items():
            if now - begun < self._timeout:
                continue
            if cycle not in self._late:
                self._end(cycle)
            elif now - begun >= self._timeout + self._grace:
                self._give_up(cycle)

    def _end(self, cycle: Cycle) -> None:
        if not cycle.time_out():
            return
        self._late.add(cycle)
        worker = self._worker
        worker.log.error("Request %s took longer than request_timeout (%g s)", cycle.entry, self._timeout)
        if worker.slot is not None:
            worker.slot.add(ERRORS)

    def _give_up(self, cycle: Cycle) -> None:
        if not self._leaves:
            self._leaves = True
            self._worker.log.error(
                "%s was cancelled for request_timeout and does not end; asking for another worker",
                cycle.entry,
            )
            self._worker.leave("request_timeout")
