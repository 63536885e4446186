"""Parked connections: each armed in the poller and with a deadline, none with a thread.

``parked.pop`` is the claim; it is atomic, so an event and a deadline that meet never both win. A poller that
tells of edges only says nothing twice. So a connection is armed anew, which makes the kernel look again, when
something may be left unread, or when an event came while it was claimed (``missed``).
"""

from __future__ import annotations

import math
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from gunicorn.workers.engine.link import Phase
from gunicorn.workers.engine.poller import READ

if TYPE_CHECKING:
    from collections.abc import Callable

    from gunicorn.workers.engine.link import Link
    from gunicorn.workers.engine.poller import Poller

__all__ = ["Waiting"]

_IDLE = Phase.IDLE
_LINGER_SECONDS = 2.0
# Deadlines this close together are served by one look at all parked connections.
_GRAIN = 0.05


class Waiting:
    """The connections of one worker that wait for their clients.

    Args:
        poller: Reports them.
        cfg: Gives the seconds of each phase; 0 is for ever.
        wake: Called from any thread when ``alarm`` came nearer.

    Attributes:
        parked: By descriptor.
        alarm: Monotonic seconds at which ``due`` has something to do; inf = never.
    """

    def __init__(self, poller: Poller, cfg: Any, wake: Callable[[], None]) -> None:
        self.parked: dict[int, Link] = {}
        self._missed: set[int] = set()
        self.alarm = math.inf
        self._arm, self._rearm, self._forget = poller.arm, poller.rearm, poller.forget
        self._stays_armed = poller.stays_armed
        self._wake = wake
        self._lock = threading.RLock()
        self._drained_by = math.inf
        self._idle_patience = math.inf
        self._keepalive = cfg.keepalive or math.inf
        self._is_careful = not poller.stays_armed
        self._waits = {
            Phase.HANDSHAKE: cfg.handshake_timeout or math.inf,
            Phase.FRESH: cfg.header_timeout or math.inf,
            Phase.HEAD: cfg.header_timeout or math.inf,
            Phase.IDLE: self._keepalive,
            Phase.BODY: cfg.body_timeout or math.inf,
            Phase.LINGER: _LINGER_SECONDS,
        }

    def park(self, link: Link, phase: Phase) -> None:
        """Give a connection to the poller. From here on any thread may claim it."""
        link.phase = phase
        deadline = link.deadline or monotonic() + self._waits[phase]
        if self._drained_by < math.inf:
            deadline = self._drained(phase, deadline)
        link.deadline = deadline
        fd, want, armed = link.fd, link.want, link.armed
        link.armed = want
        self.parked[fd] = link
        if not armed:
            self._arm(fd, want)
        elif armed != want or link.unread or link.ended or not self._stays_armed:
            self._ask_again(link)
        elif self._missed and fd in self._missed:
            self._missed.discard(fd)
            self._ask_again(link)
        if deadline < self.alarm:
            self.set_alarm(deadline)

    def park_idle(self, link: Link) -> None:
        """``park`` for the next request, in fewer steps where nothing is out of the ordinary."""
        link.deadline = 0.0
        if link.unread or link.ended or link.armed != READ or self._is_careful:
            self.park(link, _IDLE)
            return
        fd = link.fd
        link.phase = _IDLE
        link.deadline = deadline = monotonic() + self._keepalive
        self.parked[fd] = link
        if self._missed and fd in self._missed:
            self._missed.discard(fd)
            self._ask_again(link)
        if deadline < self.alarm:
            self.set_alarm(deadline)

    def miss(self, fd: int) -> None:
        """An event came for a connection that is not parked: have it again when it is."""
        # First the note, then the look. ``park`` does it the other way round, so one of them sees the other.
        self._missed.add(fd)
        link = self.parked.get(fd)
        if link is None or fd not in self._missed:
            return
        self._missed.discard(fd)
        self._ask_again(link)

    def _ask_again(self, link: Link) -> None:
        """Have the kernel look once more at a connection that is parked already."""
        try:
            self._rearm(link.fd, link.want)
        except OSError:
            return  # it was armed all the time: another thread has claimed it meanwhile, and closed it

    def set_alarm(self, deadline: float) -> None:
        """Have ``due`` called at ``deadline`` or before."""
        with self._lock:
            if deadline < self.alarm:
                self.alarm = deadline
                self._wake()

    def due(self, now: float) -> list[Link]:
        """Claim the connections whose deadline has come, and set the next ``alarm``. For one thread only."""
        with self._lock:
            # First inf, then the look: whoever parks after the look finds inf and sets the alarm itself.
            self.alarm = math.inf
            waiting = list(self.parked.items())
            soonest = min((link.deadline for _, link in waiting if link.deadline > now), default=math.inf)
            if soonest < self.alarm:
                self.alarm = max(soonest, now + _GRAIN)
        claimed = (self._claim_late(fd, now) for fd, link in waiting if link.deadline <= now)
        return [link for link in claimed if link is not None]

    def _claim_late(self, fd: int, now: float) -> Link | None:
        link = self.parked.pop(fd, None)
        if link is None:
            return None
        if link.deadline > now:
            # Somebody served it since the look. An event may have come while it was not parked: arm it
            # once more.
            self.park(link, link.phase)
            return None
        self._forget(fd)
        link.armed = 0
        return link

    def drain(self, deadline: float, idle_patience: float) -> None:
        """From now on nothing waits beyond ``deadline``, and without a request no longer than the patience.

        May be called again, also by a signal handler.
        """
        self._idle_patience = idle_patience
        self._drained_by = deadline
        self._is_careful = True
        for link in list(self.parked.values()):
            link.deadline = self._drained(link.phase, link.deadline)
        self.alarm = 0.0

    def _drained(self, phase: Phase, deadline: float) -> float:
        patience = self._idle_patience if phase in (Phase.IDLE, Phase.FRESH) else math.inf
        return min(deadline, monotonic() + patience, self._drained_by)
