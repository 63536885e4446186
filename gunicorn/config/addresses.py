"""Addresses to listen on, as the ``bind`` setting writes them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Address", "FdAddress", "TcpAddress", "UnixAddress", "classic", "parse_address"]


class TcpAddress(NamedTuple):
    """A host (name, IPv4, or IPv6 without brackets; lower case) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(NamedTuple):
    """A socket file, or a name in Linux's abstract namespace when it starts with a NUL character."""

    path: str

    @property
    def is_abstract(self) -> bool:
        return self.path.startswith("\0")

    def __str__(self) -> str:
        return "unix:" + self.path.replace("\0", "@", 1)


class FdAddress(NamedTuple):
    """A descriptor that was inherited, already bound."""

    fd: int

    def __str__(self) -> str:
        return f"fd://{self.fd}"


Address = TcpAddress | UnixAddress | FdAddress


def parse_address(text: str, default_port: int = 8000) -> Address:
    """Parses one address of the ``bind`` list.

    The forms are ``HOST``, ``HOST:PORT``, ``[IPv6]:PORT``, ``:PORT``, ``tcp://…``, ``unix:PATH``, ``unix://PATH``
    and ``fd://NUMBER``.

    Raises:
        ValueError: The text is none of these; the message says what was expected.
    """
    address = text.strip()
    if address.startswith("unix:"):
        return _parse_unix(address[len("unix:") :])
    if address.startswith("fd://"):
        return _parse_fd(address[len("fd://") :])
    if address.startswith("tcp://"):
        address = address[len("tcp://") :]
    return _parse_tcp(address, default_port)


def _parse_unix(path: str) -> UnixAddress:
    path = path.removeprefix("//")
    if not path:
        raise ValueError("expected a path after 'unix:'")
    return UnixAddress(path)


def _parse_fd(number: str) -> FdAddress:
    if not (number.isascii() and number.isdigit()):
        raise ValueError("expected the number of a descriptor after 'fd://'")
    return FdAddress(int(number))


def _parse_tcp(text: str, default_port: int) -> TcpAddress:
    if "/" in text:
        raise ValueError("expected HOST:PORT, [IPv6]:PORT, unix:PATH or fd://NUMBER")
    host, port = _split_host(text)
    if any(sign.isspace() or sign in "[]" for sign in host):
        raise ValueError("expected HOST:PORT, [IPv6]:PORT, unix:PATH or fd://NUMBER")
    return TcpAddress(host.lower() or "0.0.0.0", default_port if port is None else _parse_port(port))


def _split_host(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not host or (rest and not rest.startswith(":")):
            raise ValueError("expected [IPv6]:PORT")
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        raise ValueError("expected brackets around an IPv6 address, as in [::1]:8000")
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise ValueError(f"expected a port from 0 to 65535, not {text!r}")
    return int(text)


def classic(address: Address) -> tuple[str, int] | str | int:
    """The value that ``cfg.address`` has always held: ``(host, port)``, a path, or a descriptor."""
    if isinstance(address, TcpAddress):
        return address.host, address.port
    return address.path if isinstance(address, UnixAddress) else address.fd
