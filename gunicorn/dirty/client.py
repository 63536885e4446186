"""The client that a thread has, and the one that an event loop has."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import Any

from gunicorn.dirty.calling import DEFAULT_TIMEOUT, DirtyClient

__all__ = [
    "DirtyClient",
    "close_dirty_client",
    "close_dirty_client_async",
    "get_dirty_client",
    "get_dirty_client_async",
]

_threads = threading.local()
_loops: dict[int, tuple[Any, DirtyClient]] = {}


def get_dirty_client(timeout: float | None = DEFAULT_TIMEOUT) -> DirtyClient:
    """This thread's client. The first ``timeout`` sticks.

    Raises:
        DirtyError: there is no pool here.
    """
    client: DirtyClient | None = getattr(_threads, "client", None)
    if client is None:
        client = _threads.client = DirtyClient(timeout=timeout)
    return client


def close_dirty_client() -> None:
    """Close this thread's client; ``get_dirty_client`` makes another one."""
    client: DirtyClient | None = _threads.__dict__.pop("client", None)
    if client is not None:
        client.close()


async def get_dirty_client_async(timeout: float | None = DEFAULT_TIMEOUT) -> DirtyClient:
    """This event loop's client, which all tasks share. The first ``timeout`` sticks.

    Raises:
        DirtyError: there is no pool here.
    """
    loop = _running_loop()
    known = _loops.get(id(loop))
    # An id can be another loop's by now; a client whose loop is gone must not be used by that one.
    if known is not None and known[0] is loop:
        return known[1]
    client = DirtyClient(timeout=timeout)
    _loops[id(loop)] = loop, client
    return client


async def close_dirty_client_async() -> None:
    """Close this event loop's client; ``get_dirty_client_async`` makes another one."""
    known = _loops.pop(id(_running_loop()), None)
    if known is not None:
        await known[1].close_async()


def _running_loop() -> Any:
    """The loop that runs this task. Neither library is imported for it: whichever runs has been."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        with contextlib.suppress(RuntimeError):
            return asyncio.get_running_loop()
    return sys.modules["trio"].lowlevel.current_trio_token()
