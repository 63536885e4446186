"""Listening sockets: opened from ``bind``, inherited, handed on, closed."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import time
from typing import TYPE_CHECKING, Any

from gunicorn.config.sources import DEFAULT
from gunicorn.errors import ConfigError, HaltServer
from gunicorn.process import systemd
from gunicorn.process.privileges import chown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Listener", "adopt", "close_listeners", "create_listeners", "inherited_fds"]

Address = tuple[str, int] | str | int
"""``(host, port)``, the path of a unix socket (``\\0name`` when abstract), or an inherited descriptor."""

_ATTEMPTS = 5
_PAUSE = 1.0  # seconds between attempts
_TRANSIENT = {errno.EADDRINUSE: "Connection in use: %s", errno.EADDRNOTAVAIL: "Invalid address: %s"}
# A socket file that everybody may connect to lets everybody on the machine past the proxy in front. The owner
# and the group (of the `user` and `group` settings) are who needs it; an explicit `umask` says otherwise.
_DEFAULT_SOCKET_UMASK = 0o117


class Listener(socket.socket):
    """A socket in the listening state, non-blocking and closed on exec.

    A subclass of ``socket.socket``, so that ``asyncio.create_server(sock=...)`` and the like take it as it
    is.

    Attributes:
        configured: The address as ``bind`` gave it; tells after a reload which listeners stay.
        is_tls: Whether connections start with a TLS handshake.
    """

    def __init__(
        self, configured: Address, is_tls: bool, family: int = -1, fileno: int | None = None
    ) -> None:
        super().__init__(
            family, -1 if fileno is not None else socket.SOCK_STREAM, -1 if fileno is not None else 0, fileno
        )
        self.configured = configured
        self.is_tls = is_tls
        self._file: tuple[int, int] | None = None

    @property
    def address(self) -> tuple[str, int] | str:
        """``(host, port)`` as bound, or the path of a unix socket (``\\0name`` when abstract)."""
        name = self.getsockname()
        if isinstance(name, tuple):
            return name[0], name[1]
        return os.fsdecode(name)

    @property
    def sock(self) -> Listener:
        """Itself, for classes written for a wrapper around a socket."""
        return self

    @property
    def is_unix(self) -> bool:
        return self.family == socket.AF_UNIX

    def remember_file(self) -> None:
        """Note which file is ours, so that ``unlink`` cannot remove that of a server which came later."""
        address = self.address
        if isinstance(address, str) and address and not address.startswith("\0"):
            with contextlib.suppress(OSError):
                self._file = _identity(address)

    def unlink(self) -> None:
        """Remove the socket file, if there is one and it is still ours."""
        if self._file is None:
            return
        path = str(self.address)
        with contextlib.suppress(FileNotFoundError):
            if _identity(path) == self._file:
                os.unlink(path)

    def __str__(self) -> str:
        address = self.address
        if isinstance(address, str):
            return "unix:" + address.replace("\0", "@", 1)
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{'https' if self.is_tls else 'http'}://{host}:{address[1]}"

    def __repr__(self) -> str:
        return f"<Listener {self if self.fileno() >= 0 else 'closed'}>"


def create_listeners(
    cfg: Any,
    log: Any,
    fds: Sequence[int] | None = None,
    current: Sequence[Listener] = (),
    attempts: int = _ATTEMPTS,
) -> list[Listener]:
    """The listeners of the server.

    Args:
        fds: Inherited descriptors (see ``inherited_fds``); when given, ``bind`` is ignored.
        current: Listeners of the running server, at a reload: one whose address is still wanted is kept as it
            is. attempts: How often an address in use is tried, a second apart. This blocks, which suits a
            process without a
            loop; a server that is already serving passes 1.

    Raises:
        ConfigError: an address that can never be bound; one line, not yet logged.
        HaltServer: an address that is in use or not available; already logged. Status 1.
    """
    if fds:
        return [adopt(fd, cfg.is_ssl) for fd in fds]
    # An address may be there more than once: each 127.0.0.1:0 is another port.
    kept = list(current)
    listeners: list[Listener] = []
    try:
        for address in cfg.address:
            found = next((listener for listener in kept if listener.configured == address), None)
            if found is None:
                found = _open_patiently(address, cfg, log, attempts)
            else:
                kept.remove(found)
            listeners.append(found)
    except BaseException:
        close_listeners([listener for listener in listeners if listener not in current], unlink=True)
        raise
    return listeners


def adopt(fd: int, is_tls: bool, configured: Address | None = None) -> Listener:
    """Take over an inherited socket, and have it listen if it does not yet.

    Raises:
        ConfigError: ``fd`` is not an open stream socket.
    """
    try:
        listener = Listener(fd if configured is None else configured, is_tls, fileno=fd)
    except OSError as error:
        raise ConfigError(f"bind: fd://{fd} is not an open socket ({error.strerror})") from error
    if listener.type != socket.SOCK_STREAM:
        listener.detach()
        raise ConfigError(f"bind: fd://{fd} is not a stream socket")
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.listen()
    listener.set_inheritable(False)
    listener.setblocking(False)
    listener.remember_file()
    return listener


def close_listeners(listeners: Sequence[Listener], unlink: bool) -> None:
    """Close all; ``unlink`` also removes the files of unix sockets.

    Pass False under systemd, and while an upgraded server still uses the same sockets.
    """
    for listener in listeners:
        if unlink and listener.fileno() >= 0:
            listener.unlink()
        listener.close()


def inherited_fds(environ: Mapping[str, str] | None = None) -> list[int]:
    """Descriptors from systemd (``LISTEN_FDS``) or from a server that upgrades itself (``GUNICORN_FD``).

    Raises:
        ConfigError: ``GUNICORN_FD`` is not a list of numbers.
    """
    fds = systemd.listen_fds()
    if fds:
        return fds
    text = (os.environ if environ is None else environ).get("GUNICORN_FD", "")
    try:
        return [int(number) for number in text.split(",") if number.strip()]
    except ValueError:
        raise ConfigError(f"GUNICORN_FD: expected descriptor numbers with commas, not {text!r}") from None


def _open_patiently(address: Address, cfg: Any, log: Any, attempts: int) -> Listener:
    for attempt in range(1, attempts + 1):
        try:
            return _open(address, cfg)
        except OSError as error:
            if error.errno not in _TRANSIENT:
                raise ConfigError(
                    f"bind: cannot listen on {_shown(address)}: {error.strerror or error}"
                ) from error
            log.error(_TRANSIENT[error.errno], _shown(address))
        if attempt < attempts:
            log.info("Retrying in 1 second.")
            # The process has no loop yet and nobody else to serve: see `attempts` of create_listeners.
            time.sleep(_PAUSE)
    log.error("Can't connect to %s", _shown(address))
    raise HaltServer(f"cannot listen on {_shown(address)}", 1)


def _open(address: Address, cfg: Any) -> Listener:
    if isinstance(address, int):
        return adopt(address, cfg.is_ssl)
    if isinstance(address, str):
        return _open_unix(address, cfg)
    return _open_tcp(address, cfg)


def _open_tcp(address: tuple[str, int], cfg: Any) -> Listener:
    host, port = address
    # A name means its IPv4 address, as it always has: one bind is one socket.
    listener = Listener(address, cfg.is_ssl, socket.AF_INET6 if ":" in host else socket.AF_INET)
    with _closed_on_error(listener):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if cfg.reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if host == "::" and ("0.0.0.0", port) in cfg.address:
            # Alone, [::] takes what the system's bindv6only says (both, on Linux); beside 0.0.0.0 it has to
            # leave IPv4.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        return _listening(listener, cfg)


def _open_unix(path: str, cfg: Any) -> Listener:
    listener = Listener(path, cfg.is_ssl, socket.AF_UNIX)
    with _closed_on_error(listener):
        if path.startswith("\0"):
            listener.bind(path.encode())
            return _listening(listener, cfg)
        _remove_stale(path)
        # The umask and not a chmod afterwards: there is no moment at which the file is more open than it
        # should be.
        previous = os.umask(cfg.umask if _is_explicit(cfg, "umask") else _DEFAULT_SOCKET_UMASK)
        try:
            listener.bind(path)
        finally:
            os.umask(previous)
        listener.remember_file()
        try:
            chown(path, cfg.uid, cfg.gid)
            return _listening(listener, cfg)
        except BaseException:
            listener.unlink()
            raise


def _listening(listener: Listener, cfg: Any) -> Listener:
    listener.setblocking(False)
    listener.listen(cfg.backlog)
    return listener


@contextlib.contextmanager
def _closed_on_error(listener: Listener) -> Iterator[None]:
    try:
        yield
    except BaseException:
        listener.close()
        raise


def _remove_stale(path: str) -> None:
    """Make room for a socket file.

    Raises:
        ConfigError: the file is something else, which must not be removed.
        OSError: ``EADDRINUSE``, a server listens there.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"bind: {path} exists and is not a socket")
    if _is_alive(path):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    os.unlink(path)


def _is_alive(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        # Only a refused connection shows that nobody listens. A full backlog (EAGAIN) or a forbidden file is
        # in use.
        return probe.connect_ex(path) not in (errno.ECONNREFUSED, errno.ENOENT)


def _is_explicit(cfg: Any, name: str) -> bool:
    """Whether somebody chose the value, be it the same as the default."""
    return cfg.sources[name] is not DEFAULT


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _shown(address: Address) -> str:
    if isinstance(address, int):
        return f"fd://{address}"
    return address.replace("\0", "@", 1) if isinstance(address, str) else str(address)
