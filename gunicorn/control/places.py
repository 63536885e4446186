"""Where the control socket is: the path that was asked for, or else a place that needs no directory.

The server takes the first place that it can have, the client looks for them in the same order. A name that
begins with ``@`` is an abstract socket (Linux): it has no file, so it works on a read-only root, without a
home and for a user that no account has.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["NAME", "ControlSocket", "address_of", "default_places", "existing", "open_socket", "with_pid"]

NAME = "gunicorn.ctl"
#: A connect to a full queue fails at once where a client has a timeout, so it has to be long.
_BACKLOG = 1024


class ControlSocket:
    """A listening control socket and its file.

    Attributes:
        name: Its path, or ``@`` and its abstract name.
        is_first_choice: False when a live server has the name that was wanted.
    """

    def __init__(self, listening: socket.socket, name: str, *, is_first_choice: bool) -> None:
        self.socket = listening
        self.name = name
        self.is_first_choice = is_first_choice
        self._file = None if name.startswith("@") else _identity(name)

    @property
    def gid(self) -> int | None:
        """The group of the file; None when there is no file."""
        return None if self._file is None else self._file[2]

    def close(self) -> None:
        """Close, and remove the file if it is still ours.

        In this order the look is safe: while the socket is open no other file can have its inode.
        """
        if self._file is not None:
            with contextlib.suppress(OSError):
                if _identity(self.name) == self._file:
                    os.unlink(self.name)
        self.socket.close()


def default_places(configured: str) -> list[str]:
    """Where a server that was told nothing may have its socket, in order; ``configured`` is the default."""
    places = [configured]
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if runtime:
        places.append(os.path.join(runtime, NAME))
    if sys.platform == "linux":
        places.append(f"@gunicorn-{os.geteuid()}")
    return places


def with_pid(name: str) -> str:
    """The name for a server that finds ``name`` taken."""
    if name.startswith("@"):
        return f"{name}.{os.getpid()}"
    root, extension = os.path.splitext(name)
    return f"{root}.{os.getpid()}{extension}"


def address_of(name: str) -> str:
    """What ``bind`` and ``connect`` take."""
    return f"\0{name[1:]}" if name.startswith("@") else name


def existing(places: Sequence[str]) -> str:
    """The place for a client to connect to: the first with a server; the first one when there is none."""
    return next((place for place in places if _is_alive(place)), places[0])


def open_socket(name: str, mode: int, *, make_parents: bool = True) -> ControlSocket:
    """Listen on ``name``, or on that name with our process id when a live server listens there.

    A stale file is replaced. A directory that is missing is made, those above it with ``make_parents``.

    Raises:
        OSError: neither can be had, or the file is no socket; the text says which.
    """
    if not name.startswith("@"):
        _make_directory(os.path.dirname(name), make_parents=make_parents)
    taken = _bind(name, mode)
    if taken is not None:
        return ControlSocket(taken, name, is_first_choice=True)
    own = with_pid(name)
    listening = _bind(own, mode)
    if listening is None:
        raise OSError(f"{name} and {own} are in use")
    return ControlSocket(listening, own, is_first_choice=False)


def _make_directory(path: str, *, make_parents: bool) -> None:
    with contextlib.suppress(FileExistsError):
        (os.makedirs if make_parents else os.mkdir)(path, 0o700)


def _bind(name: str, mode: int) -> socket.socket | None:
    """A socket that listens on ``name``; None when it is in use."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _alone(name) as alone:
            if alone:
                _remove_stale(name)
            # The umask and not a chmod afterwards: the file is never more open than it should be.
            before = os.umask(0o777 & ~mode)
            try:
                listening.bind(address_of(name))
            finally:
                os.umask(before)
            # Within the lock: until it listens, another server would take the file for a stale one.
            listening.listen(_BACKLOG)
    except BaseException as error:
        listening.close()
        is_taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        if is_taken and not _is_something_else(name):
            return None
        raise
    listening.setblocking(False)
    return listening


@contextlib.contextmanager
def _alone(name: str) -> Iterator[bool]:
    """Hold the lock of the directory, so that two servers cannot both replace one stale file.

    False when somebody else has it: that may be anyone who can read the directory, so nobody waits for it.
    """
    if name.startswith("@"):
        yield False
        return
    directory = os.open(os.path.dirname(name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield _lock(directory)
    finally:
        os.close(directory)


def _lock(directory: int) -> bool:
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_stale(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(name).st_mode) and not _is_alive(name):
            os.unlink(name)


def _is_something_else(name: str) -> bool:
    """A file that is no socket: nothing of ours to replace, and no reason to go beside it either."""
    try:
        return not stat.S_ISSOCK(os.lstat(name).st_mode)
    except (OSError, ValueError):
        return False


def _is_alive(name: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            code = probe.connect_ex(address_of(name))
        except OSError:
            return False  # a name that is too long for a socket
        # A full backlog (EAGAIN) or a file that we may not use is somebody's.
        return code not in (errno.ECONNREFUSED, errno.ENOENT, errno.ENOTDIR)


def _identity(path: str) -> tuple[int, int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino, status.st_gid
