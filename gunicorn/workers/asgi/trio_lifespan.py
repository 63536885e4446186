"""The lifespan on trio: one task from the start of the application to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from gunicorn.workers.asgi.trio_errors import divide

if TYPE_CHECKING:
    from collections.abc import Callable

    from gunicorn.asgi.lifespan import Lifespan

__all__ = ["LifespanTask"]


class LifespanTask:
    """Runs the application with a lifespan scope.

    Args:
        on_death: Called when it ends between start and shutdown.
    """

    def __init__(self, lifespan: Lifespan, app: Any, on_death: Callable[[], None]) -> None:
        self.lifespan = lifespan
        self._app = app
        self._on_death = on_death
        self._changes = trio.lowlevel.ParkingLot()
        self._ended = False

    async def started(self) -> None:
        """Return when the application has started, has failed to, or knows no lifespan."""
        while not self.lifespan.settled:
            await self._changes.park()

    async def stop(self) -> str:
        """Have it shut down, if it knows how to, and return when it has: what went wrong."""
        if not self.lifespan.begin_shutdown():
            return ""
        self._changes.unpark_all()
        while not self._ended:
            await self._changes.park()
        return self.lifespan.failure

    async def run(self) -> None:
        """The task."""
        lifespan = self.lifespan
        error: BaseException | None = None
        try:
            await self._app(lifespan.scope(), self._receive, self._send)
        except BaseException as raised:
            if not trio.lowlevel.in_trio_task():
                raise  # the loop is gone
            error = raised
        own, cancelled = divide(error)
        if cancelled is None or own is not None:
            self._end(own)
        del error, own  # their tracebacks refer to this frame
        if cancelled is not None:
            raise cancelled

    def _end(self, error: BaseException | None) -> None:
        self.lifespan.ended(error)
        self._ended = True
        self._changes.unpark_all()
        if self.lifespan.died:
            self._on_death()

    async def _receive(self) -> dict[str, Any]:
        while (message := self.lifespan.next_message()) is None:
            await self._changes.park()
        return message

    async def _send(self, message: dict[str, Any]) -> None:
        self.lifespan.send(message)
        self._changes.unpark_all()
