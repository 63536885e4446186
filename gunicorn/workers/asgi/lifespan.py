"""The lifespan on asyncio: one task from the start of the application to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

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
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when the application has started, has failed to, or knows no lifespan."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        await self._until(lambda: self.lifespan.settled)

    async def stop(self, seconds: float) -> None:
        """Have it shut down, for at most ``seconds``; then it is cancelled.

        Raises:
            TimeoutError: it took longer.
        """
        if self._task is None:
            return
        try:
            if self.lifespan.begin_shutdown():
                self._change()
                await asyncio.wait_for(asyncio.shield(self._task), seconds)
        except asyncio.TimeoutError:
            raise TimeoutError from None  # two classes before Python 3.11
        finally:
            self._task.cancel()

    async def _run(self) -> None:
        lifespan = self.lifespan
        error: BaseException | None = None
        try:
            await self._app(lifespan.scope(), self._receive, self._send)
        except (GeneratorExit, asyncio.CancelledError):
            raise
        except BaseException as raised:  # noqa: BLE001 - the boundary of the application's code
            error = raised
        lifespan.ended(error)
        self._change()
        if lifespan.died:
            self._on_death()

    async def _receive(self) -> dict[str, Any]:
        while (message := self.lifespan.next_message()) is None:
            await self._changed.wait()
        return message

    async def _send(self, message: dict[str, Any]) -> None:
        self.lifespan.send(message)
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed.clear()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()
