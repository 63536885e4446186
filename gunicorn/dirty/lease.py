"""A lease: for a moment a caller has a thread of a worker for itself, and its calls do not pass the arbiter.

Caller and worker get the two ends of a socket pair, the *line*. The arbiter keeps a copy of the caller's end
and takes the lease back by shutting it down for writing, which is exact, because the kernel does it: what the
caller had written by then the worker finds, does and answers before it finds the end; what it writes later is
refused, was never read, and goes to the arbiter instead. To the arbiter a lease is one call, whose answer is
that the worker is through.
"""

from __future__ import annotations

import contextlib
import enum
import socket
from typing import NamedTuple

from gunicorn.dirty.frames import HANDED, Frame, Kind, header
from gunicorn.dirty.handing import Handed, send

__all__ = ["PAUSE", "SECONDS", "STEPS", "Event", "Lease", "State", "Step"]

#: How long a lease lasts at most, seconds: so much later a caller that has stopped calling lets a worker go,
#: and the deadline of a call on a line begins. The next lease is for the worker whose turn it is then.
SECONDS = 0.25
#: For so long nobody gets a worker for whom somebody else had to wait, seconds.
PAUSE = 0.1


class State(enum.Enum):
    """Where a lease is in its life."""

    OPEN = enum.auto()
    ENDING = enum.auto()  # the worker finishes what it has
    CUT = enum.auto()  # nobody waits for what the worker still does
    OVER = enum.auto()


class Event(enum.Enum):
    """What can happen to a lease."""

    RECALLED = enum.auto()  # its time is up, somebody else waits, or the worker is to leave
    DROPPED = enum.auto()  # a call on it took too long, or its caller has gone
    RETURNED = enum.auto()  # by the worker, or by its end


class Step(NamedTuple):
    """The next state, and which directions of the caller's end are shut down."""

    state: State
    shut: int | None = None


STEPS: dict[tuple[State, Event], Step] = {
    (State.OPEN, Event.RECALLED): Step(State.ENDING, socket.SHUT_WR),
    (State.OPEN, Event.DROPPED): Step(State.CUT, socket.SHUT_RDWR),
    (State.ENDING, Event.RECALLED): Step(State.ENDING),
    (State.ENDING, Event.DROPPED): Step(State.CUT, socket.SHUT_RDWR),
    (State.CUT, Event.RECALLED): Step(State.CUT),
    (State.CUT, Event.DROPPED): Step(State.CUT),
    (State.OVER, Event.RECALLED): Step(State.OVER),
    (State.OVER, Event.DROPPED): Step(State.OVER),
    **{(state, Event.RETURNED): Step(State.OVER) for state in State},
}


class Lease:
    """The arbiter's hold on a line.

    Raises:
        OSError: no descriptor is left.
    """

    def __init__(self) -> None:
        self.state = State.OPEN
        self._sock, self._worker_end = socket.socketpair()

    @property
    def is_open(self) -> bool:
        return self.state is State.OPEN

    def order(self) -> Frame:
        """What goes to the worker, with its end."""
        return Frame(Kind.LEASE, 0, b"", Handed(self._worker_end.detach(), 0))

    def grant(self, sock: socket.socket, request_id: int) -> None:
        """Send the caller its end.

        Raises:
            OSError: it cannot be sent at once.
        """
        send(sock, header(Kind.LEASE | HANDED, request_id, 0), self._sock.fileno())

    def take(self, event: Event) -> None:
        """Do what ``event`` asks for, once."""
        self.state, shut = STEPS[self.state, event]
        if shut is not None:
            # The caller, or the worker, may have closed it already.
            with contextlib.suppress(OSError):
                self._sock.shutdown(shut)
        if self.state is State.OVER:
            self._sock.close()
