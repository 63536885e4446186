"""The door to asyncio and uvloop: makes the loop, runs the service, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gunicorn.workers.asgi.service import Service

if TYPE_CHECKING:
    from gunicorn.workers.asgi.worker import ASGIWorker

__all__ = ["run"]

# For tasks, generators and threads that the application left behind; seconds.
_LEFT_BEHIND = 0.5


def run(worker: ASGIWorker) -> None:
    """Serve until the worker should exit.

    Raises:
        HaltServer: the application does not start.
    """
    loop = _new_loop(worker.loop_name)
    # Not asyncio.run: it waits without an end for what the application left behind.
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(_ExceptionLog(worker.log))
    try:
        loop.run_until_complete(_main(worker, loop))
    finally:
        try:
            loop.run_until_complete(_tidy(loop))
        finally:
            asyncio.set_event_loop(None)
            loop.close()


async def _main(worker: ASGIWorker, loop: asyncio.AbstractEventLoop) -> None:
    await Service(worker, loop).main()


def _new_loop(name: str) -> asyncio.AbstractEventLoop:
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


async def _tidy(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_LEFT_BEHIND)
    await _bounded(loop.shutdown_asyncgens())
    await _bounded(loop.shutdown_default_executor())


async def _bounded(cleanup: Any) -> None:
    try:
        await asyncio.wait_for(cleanup, _LEFT_BEHIND)
    except asyncio.TimeoutError:
        return  # the process ends by os._exit, which waits for nobody


class _ExceptionLog:
    """The loop's exception handler: what nobody else caught goes into the error log."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, ConnectionError):
            return  # a client that vanished; its transport is closed already
        self._log.error("%s", context.get("message", "Unhandled exception in the event loop"), exc_info=error)
