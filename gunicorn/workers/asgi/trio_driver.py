"""The door to trio: runs the service and leaves nothing behind."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import trio

from gunicorn.workers.asgi.trio_service import Service

if TYPE_CHECKING:
    from gunicorn.workers.asgi.worker import ASGIWorker

__all__ = ["run"]


def run(worker: ASGIWorker) -> None:
    """Serve until the worker should exit.

    Raises:
        HaltServer: the application does not start.
    """
    # trio wants the wakeup descriptor for itself; the handlers stay what they are.
    signal.set_wakeup_fd(-1)
    trio.run(_main, worker)


async def _main(worker: ASGIWorker) -> None:
    await Service(worker).main()
