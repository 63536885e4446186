"""``request_timeout``: which requests an application works on, since when, and whose they are.

A thread that is stuck in an application cannot be interrupted. So another one answers in its place, and what
the stuck one says later goes nowhere. Taking the request off the table is the claim: its own thread does so
when it is done in time, the watching one when it is not, and the dictionary lets only one of them succeed.
"""

from __future__ import annotations

import math
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gunicorn.http.events import Request
    from gunicorn.workers.engine.link import Link
    from gunicorn.wsgi.response import Response

__all__ = ["RequestDeadlines", "Running"]


class Running(NamedTuple):
    """One request that the application has."""

    deadline: float
    link: Link
    request: Request
    response: Response
    thread: int


class RequestDeadlines:
    """The requests that the application of one worker has, in the order of their deadlines.

    Args:
        timeout: Seconds for one request.
        grace: Seconds after its deadline in which a thread may still come back.
    """

    def __init__(self, timeout: float, grace: float) -> None:
        self.timeout = timeout
        self._grace = grace
        self._running: dict[Link, Running] = {}
        self._lost: dict[Link, Running] = {}

    def begin(self, link: Link, request: Request, response: Response) -> None:
        """The application gets ``request``, in this thread."""
        deadline = monotonic() + self.timeout
        self._running[link] = Running(deadline, link, request, response, get_ident())

    def end(self, link: Link) -> bool:
        """The application has done with it; False when it was taken over meanwhile."""
        if self._running.pop(link, None) is not None:
            return True
        self._lost.pop(link, None)
        return False

    def take_overdue(self, now: float) -> list[Running]:
        """Claim the requests whose deadline has come. For one thread only."""
        overdue = []
        for running in list(self._running.values()):
            if running.deadline > now:
                break
            # Noted before it is claimed, so that the thread which finds it claimed finds the note as well.
            self._lost[running.link] = running
            if self._running.pop(running.link, None) is None:
                del self._lost[running.link]
            else:
                overdue.append(running)
        return overdue

    def is_stuck(self, now: float) -> bool:
        """Whether a thread has not come back within the grace."""
        return any(running.deadline + self._grace <= now for running in list(self._lost.values()))

    def next_look(self, now: float) -> float:
        """Monotonic seconds at which something may be overdue: nobody has to tell of a request that begins.

        Whatever begins after now is not overdue before ``timeout`` has passed.
        """
        soonest = min((running.deadline for running in list(self._running.values())), default=math.inf)
        stuck = min((running.deadline for running in list(self._lost.values())), default=math.inf)
        return min(now + self.timeout, soonest, max(now, stuck) + self._grace)
