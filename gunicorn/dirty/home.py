"""Where callers find the pool: a socket in a folder of its own, made once by the main arbiter.

The main arbiter holds the listening socket and gives it to each dirty arbiter that it starts. So the path
stays the same for the life of the server, and a caller that connects while a dirty arbiter is being replaced
waits in the queue of the socket instead of being refused.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any, NamedTuple

__all__ = ["SOCKET_VARIABLE", "Home", "is_wanted", "remove"]

#: How the path reaches HTTP workers and the workers of the pool.
SOCKET_VARIABLE = "GUNICORN_DIRTY_SOCKET"
_BACKLOG = 1024


class Home(NamedTuple):
    """The socket and its path."""

    path: str
    listener: socket.socket

    @classmethod
    def create(cls, cfg: Any) -> Home:
        """Make the folder (0700) and the socket (0600), for the user that workers run as; set the variable.

        Raises:
            OSError: the temporary folder cannot be written, or the files cannot be given away.
        """
        # Not the tempfile module: it imports random and shutil, for what is one call here.
        parent = os.environ.get("TMPDIR", "/tmp")
        folder = os.path.join(parent, f"gunicorn-dirty-{os.getpid()}-{os.urandom(6).hex()}")
        os.mkdir(folder, 0o700)
        path = os.path.join(folder, "arbiter.sock")
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(path)
            os.chmod(path, 0o600)
            if (cfg.uid, cfg.gid) != (os.geteuid(), os.getegid()):
                os.chown(path, cfg.uid, cfg.gid)
                os.chown(folder, cfg.uid, cfg.gid)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            remove(path)
            raise
        os.environ[SOCKET_VARIABLE] = path
        return cls(path, listener)

    def close(self) -> None:
        """Close the socket and remove its files."""
        self.listener.close()
        os.environ.pop(SOCKET_VARIABLE, None)
        remove(self.path)


def remove(path: str) -> None:
    """Remove the socket and its folder, as far as they are there."""
    with contextlib.suppress(OSError):
        os.unlink(path)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(path))


def is_wanted(cfg: Any) -> bool:
    """Whether there is a pool in this configuration."""
    return bool(cfg.dirty_workers > 0 and cfg.dirty_apps)
