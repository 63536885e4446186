"""The request as hooks and the access log see it: the classic attribute names over the parsed head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gunicorn.http.events import Peer, ProxyInfo, Request

__all__ = ["RefusedRequest", "RequestView"]


class RequestView:
    """Made only when a hook or the access log wants it; converts when asked.

    Attributes:
        body: ``wsgi.input`` of the request, None where there is no environ.
        peer_addr: The socket's peer: ``(host, port)``, or ``""`` on a unix socket.
    """

    __slots__ = ("_closes", "_proxy", "_request", "_trailers", "body", "peer_addr")

    def __init__(
        self,
        request: Request,
        peer: Peer,
        body: Any,
        *,
        closes: bool,
        trailers: Any = None,
        proxy: ProxyInfo | None = None,
    ) -> None:
        self._request = request
        self._proxy = proxy
        self._closes = closes
        self._trailers = trailers
        self.body = body
        self.peer_addr = "" if peer.is_unix else (peer.host, peer.port)

    @property
    def method(self) -> str:
        return self._request.method

    @property
    def uri(self) -> str:
        return self._request.target.decode("latin-1")

    @property
    def path(self) -> str:
        return self._request.path.decode("latin-1")

    @property
    def query(self) -> str:
        return self._request.query.decode("latin-1")

    @property
    def fragment(self) -> str:
        """Always empty: a fragment does not belong into a request target (RFC 9112 3.2)."""
        return ""

    @property
    def version(self) -> tuple[int, int]:
        major, _, minor = self._request.version.partition(".")
        return int(major), int(minor or 0)

    @property
    def scheme(self) -> str:
        return self._request.scheme

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Names in upper case."""
        return [
            (name.decode("latin-1").upper(), value.decode("latin-1")) for name, value in self._request.headers
        ]

    @property
    def trailers(self) -> list[tuple[str, str]]:
        """Of a chunked body that was read to its end."""
        pairs = self._trailers() if self._trailers is not None else ()
        return [(name.decode("latin-1").upper(), value.decode("latin-1")) for name, value in pairs]

    @property
    def remote_addr(self) -> Any:
        """Who asked: the PROXY protocol's source where there is one, else ``peer_addr``."""
        proxy = self._proxy
        return proxy.source if proxy is not None and proxy.source is not None else self.peer_addr

    def should_close(self) -> bool:
        return self._closes


class RefusedRequest:
    """What stands for the request in the access log when there was none that could be understood."""

    headers: tuple[tuple[str, str], ...] = ()
    method = None
    body = None
