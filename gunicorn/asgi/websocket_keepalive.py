"""When to ping a WebSocket client, and when to give it up (RFC 6455 5.5.2)."""

from __future__ import annotations

from enum import Enum
from math import inf

__all__ = ["Due", "Keepalive"]


class Due(Enum):
    """What is to be done now."""

    NOTHING = "nothing"
    PING = "send a ping"
    GIVE_UP = "fail the connection"


class Keepalive:
    """The deadlines of one connection, in monotonic seconds.

    Anything from the client answers a ping, not only the pong: a client that is sending is alive.

    Args:
        interval: Seconds between two pings; 0 sends none.
        timeout: Seconds after a ping in which something must arrive; 0 waits for ever.

    Attributes:
        deadline: When to call ``tick`` again; ``inf`` is never.
    """

    __slots__ = ("_interval", "_ping_at", "_pong_by", "_started", "_timeout", "deadline")

    def __init__(self, interval: float, timeout: float) -> None:
        self._interval = interval or inf
        self._timeout = timeout or inf
        self._ping_at = self._pong_by = self.deadline = inf
        self._started = False

    def heard(self) -> None:
        """Something has arrived."""
        self._pong_by = inf

    def progress(self, now: float) -> None:
        """The client has taken bytes after a wait: slow but alive, and a ping may still be on its way."""
        if self._pong_by != inf:
            self._pong_by = now + self._timeout

    def tick(self, now: float, *, paused: bool) -> Due:
        """What is due. The first call starts the clock.

        Args:
            paused: Nobody reads from the client: its answer would not be seen, so none is asked for.
        """
        due = Due.NOTHING
        if not self._started:
            self._started = True
            self._ping_at = now + self._interval
        if paused:
            self._pong_by = inf
        elif self._pong_by <= now:
            return Due.GIVE_UP
        if self._ping_at <= now:
            self._ping_at = now + self._interval
            if not paused:
                due = Due.PING
                self._pong_by = min(self._pong_by, now + self._timeout)
        self.deadline = min(self._ping_at, self._pong_by)
        return due

    def stop(self) -> None:
        """No more pings."""
        self._ping_at = self._pong_by = self.deadline = inf
