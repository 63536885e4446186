"""Where a client finds the pool."""

from __future__ import annotations

import os

from gunicorn.dirty.errors import DirtyError
from gunicorn.dirty.home import SOCKET_VARIABLE

__all__ = ["find_socket", "set_dirty_socket_path"]

_path: str | None = None


def set_dirty_socket_path(path: str | None) -> None:
    """Have all clients made from now on use ``path``; it wins over the environment. None takes that back."""
    global _path
    _path = path


def find_socket() -> str:
    """The path of the socket.

    Raises:
        DirtyError: this process does not belong to a server with a pool.
    """
    path = _path or os.environ.get(SOCKET_VARIABLE)
    if not path:
        raise DirtyError(
            "No pool is known here: set dirty_apps and dirty_workers; "
            f"in a process that is none of the server's, set {SOCKET_VARIABLE}"
        )
    return path
