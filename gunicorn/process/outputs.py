"""Where log lines go: files, the standard streams, syslog; and descriptors 1 and 2 when they are captured."""

from __future__ import annotations

import logging
import os
import re
import stat
import sys
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from gunicorn.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "SYSLOG_FACILITIES",
    "Owner",
    "SyslogTarget",
    "all_loggers",
    "capture",
    "file_handler",
    "file_handlers",
    "parse_syslog_address",
    "reopen",
    "syslog_handler",
]

# RFC 5424 table 1, by the names of syslog.conf; a copy, because logging.handlers costs 10 ms to import.
SYSLOG_FACILITIES = {
    "kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "security": 4, "syslog": 5, "lpr": 6, "news": 7,
    "uucp": 8, "cron": 9, "authpriv": 10, "ftp": 11,
    **{f"local{number}": 16 + number for number in range(8)},
}  # fmt: skip


class Owner(NamedTuple):
    """Whom log files belong to, so that a worker without privileges can reopen them. None: leave as it is."""

    uid: int | None = None
    gid: int | None = None

    def adopt(self, stream: IO[Any] | None) -> None:
        """Give the file behind ``stream`` to the owner; devices and pipes stay whose they are."""
        if stream is None or self.uid is None or self.gid is None:
            return
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            return
        try:
            os.fchown(stream.fileno(), self.uid, self.gid)
        except PermissionError:
            # Not root: the file is already the only user's that will ever open it.
            return


def file_handler(setting: str, path: str, owner: Owner) -> logging.FileHandler:
    """A handler that appends to ``path``.

    Raises:
        ConfigError: the file cannot be opened; names ``setting``.
    """
    try:
        # backslashreplace: a lone surrogate in an application's message must not lose the line.
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"{setting}: cannot append to {path!r}: {error.strerror or error}") from error
    owner.adopt(handler.stream)
    return handler


def all_loggers() -> Iterator[logging.Logger]:
    """The root logger and every other one that exists."""
    yield logging.getLogger()
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield logger


def file_handlers() -> list[logging.FileHandler]:
    """Every open file handler of every logger, each once."""
    handlers = {
        id(h): h for logger in all_loggers() for h in logger.handlers if isinstance(h, logging.FileHandler)
    }
    return [handler for handler in handlers.values() if handler.stream is not None]


def reopen(handler: logging.FileHandler) -> None:
    """Go on in a new file of the same name.

    Opens before it closes: where the new file cannot be opened, the old one stays in use.

    Raises:
        OSError: the new file cannot be opened.
    """
    handler.acquire()
    try:
        old, handler.stream = handler.stream, handler._open()
        if old is not None:
            old.close()
    finally:
        handler.release()


def capture(path: str, owner: Owner) -> IO[str]:
    """Send descriptors 1 and 2 to the end of ``path``; the file object that they now share.

    Raises:
        ConfigError: the file cannot be opened.
    """
    try:
        # A name for the file object outlives this call: it is the logger's ``logfile``.
        file = open(path, "a+", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    except OSError as error:
        raise ConfigError(f"capture_output: cannot append to {path!r}: {error.strerror or error}") from error
    owner.adopt(file)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    for fd in (1, 2):
        os.dup2(file.fileno(), fd)
    return file


_HOST_AND_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]+))?")


class SyslogTarget(NamedTuple):
    """Where a syslog daemon listens: a socket path, or a host and port.

    ``kind`` is tcp or udp; for a path stream, dgram, or either (whichever answers).
    """

    address: str | tuple[str, int]
    kind: str


def parse_syslog_address(text: str) -> SyslogTarget:
    """Read ``unix://PATH[#dgram|#stream]``, ``udp://HOST[:PORT]`` or ``tcp://HOST[:PORT]``.

    Raises:
        ConfigError: anything else.
    """
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "unix":
        path, _, kind = rest.partition("#")
        if path and kind in ("", "dgram", "stream"):
            return SyslogTarget(path, kind or "either")
    elif separator and scheme in ("udp", "tcp"):
        match = _HOST_AND_PORT.fullmatch(rest)
        port = int(match["port"] or 514) if match else 0
        if match and 0 < port < 65536:
            return SyslogTarget((match["v6"] or match["host"] or "localhost", port), scheme)
    raise ConfigError(
        f"syslog_addr: {text!r} is none of unix://PATH, unix://PATH#dgram, unix://PATH#stream,"
        " udp://HOST[:PORT] and tcp://HOST[:PORT]"
    )


def _facility(name: str) -> int:
    try:
        return SYSLOG_FACILITIES[name.lower()]
    except KeyError:
        raise ConfigError(
            f"syslog_facility: {name!r} is none of {', '.join(sorted(SYSLOG_FACILITIES))}"
        ) from None


def syslog_handler(address: str, facility: str) -> logging.Handler:
    """A handler that sends to the syslog daemon at ``address``.

    Raises:
        ConfigError: wrong address or facility, or nobody answers.
    """
    target, code = parse_syslog_address(address), _facility(facility)
    # Imported here: socket, pickle and queue are of no use to a server without syslog.
    import socket
    from logging.handlers import SysLogHandler

    kinds = {
        "tcp": socket.SOCK_STREAM,
        "stream": socket.SOCK_STREAM,
        "udp": socket.SOCK_DGRAM,
        "dgram": socket.SOCK_DGRAM,
    }
    try:
        return SysLogHandler(target.address, code, kinds.get(target.kind))
    except OSError as error:
        raise ConfigError(f"syslog_addr: cannot reach {address!r}: {error.strerror or error}") from error
