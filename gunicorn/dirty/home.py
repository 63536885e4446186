"""Where callers find the pool: a socket in a folder of its own, made once by the main arbiter.

The main arbiter holds the listening socket and gives it to each dirty arbiter that it starts. So the path
stays the same for the life of the server, and a caller that connects while a dirty arbiter is being replaced
waits in the queue of the socket instead of being refused.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import Any, NamedTuple

from gunicorn.dirty.pidfile import start_time
from gunicorn.dirty.specs import parse_all
from gunicorn.errors import ConfigError

__all__ = ["SOCKET_VARIABLE", "Home", "remove"]

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
            ConfigError: the temporary folder cannot be written, the files cannot be given away, or
                ``dirty_apps`` is wrong.
        """
        parse_all(cfg.dirty_apps)
        try:
            return cls._create(cfg)
        except OSError as error:
            raise ConfigError(f"the socket of the pool cannot be made: {error}") from error

    @classmethod
    def _create(cls, cfg: Any) -> Home:
        path = os.path.join(_make_folder(cfg), "arbiter.sock")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(path)
            os.chmod(path, 0o600)
            if (cfg.uid, cfg.gid) != (os.geteuid(), os.getegid()):
                os.chown(path, cfg.uid, cfg.gid)
                os.chown(os.path.dirname(path), cfg.uid, cfg.gid)
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


def _make_folder(cfg: Any) -> str:
    """A folder that is named after this process: when it replaces its own image, the path stays the same."""
    # Not the tempfile module: it imports random and shutil, for what is one call here.
    parent = os.environ.get("TMPDIR", "/tmp")
    folder = os.path.join(parent, f"gunicorn-dirty-{os.getpid()}-{start_time(os.getpid())}")
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        status = os.lstat(folder)
        is_private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
        if not is_private or status.st_uid not in (os.geteuid(), cfg.uid):
            # Somebody else has made it, in a folder where everybody may.
            folder += f"-{os.urandom(6).hex()}"
            os.mkdir(folder, 0o700)
    return folder


def remove(path: str) -> None:
    """Remove the socket and its folder, as far as they are there."""
    with contextlib.suppress(OSError):
        os.unlink(path)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(path))
