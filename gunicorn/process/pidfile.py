"""The file that tells scripts which process is the arbiter."""

from __future__ import annotations

import contextlib
import os

from gunicorn.errors import ConfigError

__all__ = ["Pidfile"]


class Pidfile:
    """A pidfile at ``path``, mode 0644, replaced whole so that a reader never sees half a number."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._pid = os.getpid()

    def create(self, pid: int | None = None) -> None:
        """Write ``pid``, or this process's id. A file of a dead process, or without a number, is replaced.

        Raises:
            ConfigError: another living process has the file, or it cannot be written.
        """
        self._pid = os.getpid() if pid is None else pid
        holder = self.holder()
        if holder is not None and holder != self._pid and _is_alive(holder):
            raise ConfigError(f"pidfile: already running with pid {holder}, says {self.path}")
        try:
            self._write()
        except OSError as error:
            raise ConfigError(f"pidfile: cannot write {self.path}: {error.strerror}") from error

    def holder(self) -> int | None:
        """The pid in the file, or None when there is no file or no pid in it."""
        try:
            with open(self.path, encoding="ascii", errors="replace") as file:
                text = file.read(64).strip()
        except OSError:
            return None
        return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None

    def rename(self, path: str) -> None:
        """Go on at ``path``: a promoted server takes the name of the one it replaced.

        Raises:
            ConfigError: as ``create``.
        """
        self.unlink()
        self.path = path
        self.create(self._pid)

    def unlink(self) -> None:
        """Remove the file if it is still ours."""
        if self.holder() == self._pid:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)

    def _write(self) -> None:
        temporary = f"{self.path}.{os.getpid()}.tmp"
        # O_EXCL and O_NOFOLLOW: in a folder that others can write to, nobody can prepare the name as a link.
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        try:
            with os.fdopen(fd, "w", encoding="ascii") as file:
                os.fchmod(file.fileno(), 0o644)  # whatever the umask
                file.write(f"{self._pid}\n")
            os.rename(temporary, self.path)
        except OSError:
            os.unlink(temporary)
            raise


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        # Somebody else's process lives; a number that is no pid belongs to nobody.
        return pid < 2**31
    return True
