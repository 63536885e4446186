"""A call on its way through the dirty arbiter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from gunicorn.dirty.frames import Frame
    from gunicorn.dirty.lease import Lease
    from gunicorn.dirty.pool import Lane

__all__ = ["Call", "Caller"]


class Caller(Protocol):
    """Who gets the answer."""

    def write(self, parts: Sequence[bytes | bytearray | memoryview]) -> Awaitable[None] | None:
        """Write whole frames. What cannot be written at once is written by the result, to be awaited now."""

    def drop(self) -> None:
        """It does not read: give it up."""

    def finished(self, call: Call) -> None:
        """The call has been answered, or never will be."""


class Runner(Protocol):
    """Where a call runs."""

    def cancel(self) -> None:
        """Have the worker let go of it."""

    def forget(self) -> None:
        """Nobody waits for its answer."""


class Call:
    """One call.

    Attributes:
        request_id: The caller's number for it.
        frame: What goes to the worker; the payload is never decoded here.
        budget: Seconds from arrival to answer, and for a stream from each piece to the next one.
        deadline: When it has to be answered, by the clock of trio.
        lane: Where it is queued.
        link: Where it runs.
        lease: What it is about, if it is no call but a lease; its deadline is then when that is taken back.
    """

    __slots__ = (
        "app_path", "budget", "caller", "deadline", "frame", "is_done", "is_streaming", "lane", "lease",
        "link", "request_id",
    )  # fmt: skip

    def __init__(
        self,
        caller: Caller,
        request_id: int,
        app_path: str,
        frame: Frame,
        budget: float,
        deadline: float,
        lease: Lease | None = None,
    ) -> None:
        self.caller = caller
        self.request_id = request_id
        self.app_path = app_path
        self.frame = frame
        self.budget = budget
        self.deadline = deadline
        self.is_done = False
        self.is_streaming = False
        self.lane: Lane[Call] | None = None
        self.link: Runner | None = None
        self.lease = lease

    def finish(self) -> None:
        """Nothing more will be said to the caller."""
        if not self.is_done:
            self.is_done = True
            self.caller.finished(self)
