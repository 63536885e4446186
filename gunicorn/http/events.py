"""What passes between a connection's bytes and its driver: events, no behaviour.

Named tuples and not attrs classes: they are on the way to the first answer of every worker, and ``import
attrs`` alone takes longer than all of this package. They are told apart by type, never by ``==``.

Header names are lower-case bytes, values are bytes without outer blanks; both are as policy left them.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "NEED_DATA",
    "PAUSED",
    "ConnectionClosed",
    "Data",
    "EndOfMessage",
    "Event",
    "Headers",
    "InformationalResponse",
    "Peer",
    "ProxyInfo",
    "Request",
    "Response",
    "Sentinel",
]

Headers = list[tuple[bytes, bytes]]


class Sentinel(Enum):
    """Answers of ``next_event`` that carry no data."""

    NEED_DATA = "need data"
    PAUSED = "paused"


NEED_DATA: Final = Sentinel.NEED_DATA
PAUSED: Final = Sentinel.PAUSED


class ProxyInfo(NamedTuple):
    """Addresses that a PROXY protocol header announced (haproxy proxy-protocol.txt, 2.1 and 2.2)."""

    version: int
    source: tuple[str, int] | None
    destination: tuple[str, int] | None


class Peer(NamedTuple):
    """Who is at the other end: the socket's peer, or the one that a trusted proxy announced."""

    host: str | None = None
    port: int | None = None
    is_unix: bool = False
    proxy: ProxyInfo | None = None


class Request(NamedTuple):
    """A complete, acceptable request head (RFC 9112 section 3)."""

    method: str
    target: bytes
    path: bytes
    query: bytes
    version: str
    headers: Headers
    scheme: str = "http"
    content_length: int | None = None
    chunked: bool = False
    expect_continue: bool = False
    keep_alive: bool = True
    upgrade: bytes | None = None
    peer: Peer = Peer()


class InformationalResponse(NamedTuple):
    """A 1xx answer before the final one (RFC 9110 section 15.2)."""

    status: int
    headers: Iterable[tuple[bytes, bytes]] = ()


class Response(NamedTuple):
    """The head of the final answer; framing is chosen by the connection."""

    status: int
    reason: bytes = b""
    headers: Iterable[tuple[bytes, bytes]] = ()


class Data(NamedTuple):
    """Body bytes, either way."""

    data: bytes


class EndOfMessage(NamedTuple):
    """The body is complete."""

    trailers: tuple[tuple[bytes, bytes], ...] = ()


class ConnectionClosed(NamedTuple):
    """The peer will send nothing more."""


Event = Request | Data | EndOfMessage | ConnectionClosed | Sentinel
