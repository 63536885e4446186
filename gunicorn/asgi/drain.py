"""How an application learns that its worker will stop: ``scope["state"]["gunicorn.draining"]``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["STATE_KEY", "DrainNotice"]

STATE_KEY = "gunicorn.draining"


class Event(Protocol):
    """``asyncio.Event`` and ``trio.Event`` alike."""

    def is_set(self) -> bool: ...
    def set(self) -> None: ...
    async def wait(self) -> Any: ...


class DrainNotice:
    """An event that happens once: the worker takes no new work and leaves soon.

    Endless streams should end when it does; what still runs at the deadline is cancelled. ``await notice``
    and ``await notice.wait()`` are the same.

    Args:
        event: An unset event of the loop that the application runs on.

    Attributes:
        deadline: ``time.monotonic()`` seconds at which cancellation comes; ``inf`` while nothing drains.
    """

    __slots__ = ("_event", "deadline")

    def __init__(self, event: Event) -> None:
        self._event = event
        self.deadline = math.inf

    def is_set(self) -> bool:
        """Whether draining has begun."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Return when draining begins, or at once when it has."""
        await self._event.wait()

    def __await__(self) -> Generator[Any, None, None]:
        return self.wait().__await__()

    def announce(self, deadline: float) -> None:
        """Begin: wake all that wait. For the driver; a second call can only bring the deadline nearer."""
        self.deadline = min(self.deadline, deadline)
        self._event.set()
