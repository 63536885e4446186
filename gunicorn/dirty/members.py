"""A worker of the pool as the dirty arbiter's supervision sees it."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING, Any

from gunicorn.arbiter.child import Child
from gunicorn.arbiter.roster import Roster
from gunicorn.dirty.worker import CANCEL_SIGNAL
from gunicorn.process.messages import Hello

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import trio

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

    def interrupt(self) -> None:
        """Have it look for cancelled calls."""
        self.send_signal(CANCEL_SIGNAL)

    def kill(self) -> None:
        """It does not let go of a call: take down what it does, and end it."""
        if not self._evidence.killed:
            self._evidence.timed_out = self._evidence.killed = True
            self._log.critical("DIRTY WORKER TIMEOUT (pid:%s): it does not let go of a call", self.pid)
            self._nursery.start_soon(self._kill)

    async def _kill(self) -> None:
        if self._handle is not None:
            await self._evidence.look_at(self._handle)
        self.send_signal(signal.SIGKILL)

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
