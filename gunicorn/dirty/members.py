"""A worker of the pool as the dirty arbiter's supervision sees it."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING, Any

import attrs

from gunicorn.arbiter.child import Child
from gunicorn.arbiter.death import Cause
from gunicorn.arbiter.roster import Roster
from gunicorn.dirty.worker import CANCEL_SIGNAL
from gunicorn.process.messages import Hello

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import trio

    from gunicorn.arbiter.actions import ChildExit
    from gunicorn.arbiter.members import Member
    from gunicorn.process.messages import Message

__all__ = ["DirtyChild", "DirtyRoster"]


class DirtyChild(Child):
    """A child that hands over its links when it boots.

    Args:
        linked: Called with the links.
        nursery: For the end of a worker that does not let go of a call.
    """

    def __init__(
        self,
        *args: Any,
        linked: Callable[[DirtyChild, list[socket.socket]], None],
        nursery: trio.Nursery,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._linked = linked
        self._nursery = nursery
        self._held = ""

    def interrupt(self) -> None:
        """Have it look for cancelled calls."""
        self.send_signal(CANCEL_SIGNAL)

    def kill(self, app_path: str) -> None:
        """It does not let go of a call to ``app_path``: take down what it does, and end it."""
        if not self._evidence.killed:
            self._evidence.timed_out = self._evidence.killed = True
            self._evidence.verdict = Cause.HELD_CALL
            self._nursery.start_soon(self._kill, app_path)

    async def _kill(self, app_path: str) -> None:
        if self._handle is not None:
            await self._evidence.look_at(self._handle)
        self._held = self._describe(app_path)
        self._log.critical("DIRTY WORKER TIMEOUT (pid:%s): %s", self.pid, self._held)
        self.send_signal(signal.SIGKILL)

    def _describe(self, app_path: str) -> str:
        """The call, as the worker has put it into shared memory: its action is in no header."""
        last = self._evidence.last_moments
        for call in last.in_flight if last is not None else ():
            if call.path == app_path:
                return f"{app_path}, action {call.method}, for {call.seconds:.1f} s"
        return app_path

    def _conclude(self) -> ChildExit:
        ended = super()._conclude()
        return attrs.evolve(ended, reason=self._held) if self._held else ended

    def _take(self, message: Message, fds: list[int]) -> None:
        if isinstance(message, Hello):
            self._linked(self, [socket.socket(fileno=fd) for fd in fds])
        else:
            super()._take(message, fds)


class DirtyRoster(Roster):
    """A roster that lets those workers go first that are missed least.

    Args:
        dispensable: Puts ages into that order.
    """

    def __init__(self, *args: Any, dispensable: Callable[[Iterable[int]], list[int]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._dispensable = dispensable

    def _surplus(self) -> list[Member]:
        fresh = self._fresh()
        order = self._dispensable(member.age for member in fresh)
        return [self.members[age] for age in order[: max(len(fresh) - self.wanted.count, 0)]]
