"""Dirty arbiters: a pool of stateful workers beside the web server, for long, blocking or heavy work.

Nothing of it is imported before it is used: a server without a pool does not pay for one, and a process that
only has the package name imports neither an event loop nor the client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gunicorn.dirty import stash
    from gunicorn.dirty.app import DirtyApp
    from gunicorn.dirty.arbiter import DirtyArbiter
    from gunicorn.dirty.client import (
        DirtyClient,
        close_dirty_client,
        close_dirty_client_async,
        get_dirty_client,
        get_dirty_client_async,
    )
    from gunicorn.dirty.errors import (
        DirtyAppError,
        DirtyAppNotFoundError,
        DirtyCancelledError,
        DirtyConnectionError,
        DirtyError,
        DirtyNoWorkersAvailableError,
        DirtyProtocolError,
        DirtyQueueFullError,
        DirtyTimeoutError,
        DirtyWorkerError,
        StashError,
        StashKeyNotFoundError,
        StashTableNotFoundError,
    )
    from gunicorn.dirty.location import set_dirty_socket_path
    from gunicorn.dirty.stash import StashClient, StashTable

__all__ = [
    "DirtyApp", "DirtyAppError", "DirtyAppNotFoundError", "DirtyArbiter", "DirtyCancelledError",
    "DirtyClient", "DirtyConnectionError", "DirtyError", "DirtyNoWorkersAvailableError", "DirtyProtocolError",
    "DirtyQueueFullError", "DirtyTimeoutError", "DirtyWorkerError", "StashClient", "StashError",
    "StashKeyNotFoundError", "StashTable", "StashTableNotFoundError", "close_dirty_client",
    "close_dirty_client_async", "get_dirty_client", "get_dirty_client_async", "set_dirty_socket_path",
    "stash",
]  # fmt: skip

_MODULES = {"app": ("DirtyApp",), "arbiter": ("DirtyArbiter",), "location": ("set_dirty_socket_path",),
            "stash": ("StashClient", "StashTable")}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "stash":
        return importlib.import_module("gunicorn.dirty.stash")
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        module = "errors" if name.endswith("Error") else "client"
    return getattr(importlib.import_module(f"gunicorn.dirty.{module}"), name)


def __dir__() -> list[str]:
    return __all__
