"""The pidfile of a dirty arbiter, and the end of one that outlived its server.

The name is made of the server's name, which two servers may share. So the file also says which main arbiter
the process belongs to: only a process whose main arbiter is dead is an orphan, and is ended. The file lies
in a folder that everybody can write to: it is trusted only when it is a plain file of ours that nobody else
could have written.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
from typing import NamedTuple

__all__ = ["DirtyPidfile", "Record", "end_orphan", "path_for", "start_time"]

_TERM_WAIT = 1.0  # seconds from TERM to KILL


class Record(NamedTuple):
    """A process and its main arbiter; start times (clock ticks since boot) tell reused pids apart."""

    pid: int
    started: int
    arbiter: int
    arbiter_started: int

    @property
    def is_alive(self) -> bool:
        return start_time(self.pid) == self.started != 0

    @property
    def is_orphan(self) -> bool:
        """The process lives, and the server that it belonged to does not."""
        return self.is_alive and start_time(self.arbiter) != self.arbiter_started


def path_for(name: str) -> str:
    """Where the pidfile of a server called ``name`` is."""
    safe = name.replace("/", "_").replace(" ", "_")
    return os.path.join(os.environ.get("TMPDIR", "/tmp"), f"gunicorn-dirty-{safe}.pid")


def start_time(pid: int) -> int:
    """When the process was started, in clock ticks since boot; 0 for one that does not run."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


class DirtyPidfile:
    """The file at ``path``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._mine: Record | None = None

    def read(self) -> Record | None:
        """What the file says, if there is one that can be trusted."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            is_ours = status.st_uid == os.geteuid() and not status.st_mode & 0o022
            if not stat.S_ISREG(status.st_mode) or not is_ours:
                return None
            numbers = file.read(256).split()
        if len(numbers) != len(Record._fields) or not all(number.isdigit() for number in numbers):
            return None
        return Record(*map(int, numbers))

    def create(self, arbiter: int) -> bool:
        """Write this process down; False if a living one of another server has the name, or on any error."""
        holder = self.read()
        if holder is not None and holder.is_alive and holder.pid != os.getpid():
            return False
        record = Record(os.getpid(), start_time(os.getpid()), arbiter, start_time(arbiter))
        try:
            if holder is not None:
                os.unlink(self.path)
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except OSError:
            return False
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write("".join(f"{number}\n" for number in record))
        self._mine = record
        return True

    def unlink(self) -> None:
        """Remove the file if it is still ours."""
        if self._mine is not None and self.read() == self._mine:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


def end_orphan(record: Record | None) -> bool:
    """End the process if it is an orphan: TERM, a second, KILL. Whether there was one."""
    if record is None or record.pid == os.getpid() or not hasattr(os, "pidfd_open"):
        return False
    try:
        pidfd = os.pidfd_open(record.pid)
    except OSError:
        return False
    try:
        # Looked at with the pidfd in hand: from here on the number cannot become another process's.
        if not record.is_orphan:
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        if not select.select([pidfd], [], [], _TERM_WAIT)[0]:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(pidfd)
    return True
