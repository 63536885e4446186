"""Events of one poller, shared out among the threads of a pool.

One call to the poller brings several events. The thread that made it serves the first one; the others lie
ready for whoever is free, and a thread that sleeps in the poller is woken for them. So a request that takes
long holds up nobody while another thread is free, and a busy pool asks the kernel once for many requests.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gunicorn.workers.engine.server import Engine

__all__ = ["Shift"]

_BATCH = 16


class Shift:
    """What the threads of a pool take their events from.

    Args:
        engine: Gives the poller.
    """

    def __init__(self, engine: Engine) -> None:
        self._poll = engine.poll
        self._ready: deque[tuple[int, int]] = deque()
        # A list for its atomic append and pop: how many threads sleep in the poller.
        self._asleep: list[None] = []
        self._called = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        engine.watch(self._reader, self._woken)

    def take(self) -> tuple[int, int] | None:
        """The next event; sleeps until there is one. None: look again."""
        ready = self._ready
        if ready:
            try:
                event = ready.popleft()
            except IndexError:
                return None  # another thread was faster
            if ready and self._asleep:
                self._wake_one()
            return event
        events = self._poll(0, _BATCH) or self._sleep()
        if not events:
            return None
        if len(events) > 1:
            ready.extend(events[1:])
            if self._asleep:
                self._wake_one()
        return events[0]

    def _sleep(self) -> list[tuple[int, int]]:
        # First the mark, then the look: whoever adds events does it the other way round, so one of the two
        # sees the other.
        self._asleep.append(None)
        try:
            return [] if self._ready else self._poll(-1, _BATCH)
        finally:
            self._asleep.pop()

    def _wake_one(self) -> None:
        # One call at a time: whoever follows it looks at the events and calls the next one if need be. A
        # thread that waits for the interpreter lock still counts as asleep, and would be called for every
        # event that is served meanwhile, a system call each.
        if not self._called:
            self._called = True
            os.write(self._writer, b"\0")

    def _woken(self) -> None:
        try:
            os.read(self._reader, 1)
        except BlockingIOError:
            return  # another thread was faster
        self._called = False

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)
