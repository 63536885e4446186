"""Parked connections: each armed in the poller and with a deadline, none with a thread.

``claimed.setdefault`` is the claim; it is atomic, so an event and a deadline that meet never both win. It
notes the few connections that are claimed, because a table of the many that are parked, in which every
request changes something, does not stay in the caches of the CPU.

A poller that tells of edges only says nothing twice. So a connection is armed anew, which makes the kernel
look again, when something may be left unread, or when an event came while it was claimed (``missed``).
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
# Deadlines this close together are one, or are served by one look at all connections.
_GRAIN = 0.05
_ROOM = 64


class Waiting:
    """The connections of one worker that wait for their clients.

    Args:
        poller: Reports them.
        cfg: Gives the seconds of each phase; 0 is for ever.
        wake: Called from any thread when ``alarm`` came nearer.

    Attributes:
        links: The connections by descriptor, from the first time that they are parked on.
        claimed: The descriptors of those that are not parked, each with who has it.
        alarm: Monotonic seconds at which ``due`` has something to do; inf = never.
    """

    def __init__(self, poller: Poller, cfg: Any, wake: Callable[[], None]) -> None:
        self.links: list[Link | None] = []
        self.claimed: dict[int, object] = {}
        self._next_moment = self._idle_deadline = 0.0
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
        if armed or self._is_placed(fd, link):
            del self.claimed[fd]
        else:
            # Not claimed, but for whoever has a late event of the connection that had this number before.
            self._place(fd, link)
        if not armed:
            self._arm_first(fd, want)
        elif armed != want or link.unread or link.ended or not self._stays_armed:
            self._ask_again(link)
        elif self._missed and fd in self._missed:
            self._missed.discard(fd)
            self._ask_again(link)
        if deadline < self.alarm:
            self.set_alarm(deadline)

    def park_idle(self, link: Link) -> None:
        """``park`` for the next request, in fewer steps where nothing is out of the ordinary."""
        if link.unread or link.ended or link.armed != READ or self._is_careful:
            link.deadline = 0.0
            self.park(link, _IDLE)
            return
        fd = link.fd
        link.phase = _IDLE
        now = monotonic()
        if now >= self._next_moment:
            self._next_moment = now + _GRAIN
            self._idle_deadline = self._next_moment + self._keepalive
        # One number for many connections stays in the cache.
        link.deadline = deadline = self._idle_deadline
        del self.claimed[fd]
        if self._missed and fd in self._missed:
            self._missed.discard(fd)
            self._ask_again(link)
        if deadline < self.alarm:
            self.set_alarm(deadline)

    def miss(self, fd: int) -> None:
        """An event came for a connection that is not parked: have it again when it is."""
        link = self.links[fd]
        if link is None:
            return  # of a connection that is closed
        # First the note, then the look. ``park`` does it the other way round, so one of them sees the other.
        self._missed.add(fd)
        if fd in self.claimed or fd not in self._missed:
            return
        self._missed.discard(fd)
        self._ask_again(link)

    def _arm_first(self, fd: int, want: int) -> None:
        try:
            self._arm(fd, want)
        except OSError:
            return  # another thread, with a late event for this number, has served and closed it meanwhile

    def make_room(self, fd: int) -> None:
        """Have a place for ``fd`` in ``links``."""
        with self._lock:
            missing = fd + 1 - len(self.links)
            if missing > 0:
                self.links.extend([None] * (missing + _ROOM))

    def _is_placed(self, fd: int, link: Link) -> bool:
        return fd < len(self.links) and self.links[fd] is link

    def _place(self, fd: int, link: Link) -> None:
        if fd >= len(self.links):
            self.make_room(fd)
        self.links[fd] = link

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
            waiting = self._placed()
            soonest = min((link.deadline for link in waiting if link.deadline > now), default=math.inf)
            if soonest < self.alarm:
                self.alarm = max(soonest, now + _GRAIN)
        claimed = (self._claim_late(link.fd, now) for link in waiting if link.deadline <= now)
        return [link for link in claimed if link is not None]

    def _placed(self) -> list[Link]:
        return [link for link in self.links if link is not None]

    def _claim_late(self, fd: int, now: float) -> Link | None:
        if self.claimed.setdefault(fd, self) is not self:
            return None
        link = self.links[fd]
        if link is None:
            del self.claimed[fd]  # closed meanwhile; the next one with this number may have come
            self.miss(fd)
            return None
        if link.deadline > now:
            # Somebody served it since the look. An event may have come while it was not parked: arm it
            # once more.
            self.park(link, link.phase)
            return None
        self._forget(fd)
        link.armed = 0
        return link

    def drop(self, link: Link) -> None:
        """Forget a claimed connection, before it is closed."""
        fd = link.fd
        if self._is_placed(fd, link):
            self.links[fd] = None
            del self.claimed[fd]

    def drain(self, deadline: float, idle_patience: float) -> None:
        """From now on nothing waits beyond ``deadline``, and without a request no longer than the patience.

        May be called again, also by a signal handler.
        """
        self._idle_patience = idle_patience
        self._drained_by = deadline
        self._is_careful = True
        for link in self._placed():
            link.deadline = self._drained(link.phase, link.deadline)
        self.alarm = 0.0

    def _drained(self, phase: Phase, deadline: float) -> float:
        patience = self._idle_patience if phase in (Phase.IDLE, Phase.FRESH) else math.inf
        return min(deadline, monotonic() + patience, self._drained_by)
