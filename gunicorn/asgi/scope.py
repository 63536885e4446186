"""From a request head to a scope (ASGI, "HTTP & WebSocket ASGI Message Format", spec version 2.5).

As for WSGI, what is the same for a connection is made once and copied; a request pays for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.wsgi.environ import unquote

if TYPE_CHECKING:
    from gunicorn.http.events import Peer, Request

__all__ = ["SPEC_VERSION", "Scope", "ScopeBase"]

Scope = dict[str, Any]
Address = tuple[str, int | None]

SPEC_VERSION = "2.5"
_ASGI = {"version": "3.0", "spec_version": SPEC_VERSION}
_OWS_AND_COMMA = b" \t,"
_WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss"}


class ScopeBase:
    """Makes the scopes of one connection.

    Args:
        peer: The socket's peer.
        server: Where the connection arrived: what ``getsockname`` says, (host, port, ...) or a path.
        root_path: The setting.
        state: The lifespan's state; each request gets a shallow copy.
        tls: The ``tls`` extension of a connection that is secured here.
        send_files: Whether the driver can send a file for ``http.response.pathsend``.
    """

    __slots__ = (
        "_base", "_extensions", "_http_1_0", "_made_of", "_peer", "_state", "_template",
        "_websocket_extensions",
    )  # fmt: skip

    def __init__(
        self,
        peer: Peer,
        server: object,
        *,
        root_path: str = "",
        state: dict[str, Any] | None = None,
        tls: dict[str, Any] | None = None,
        send_files: bool = True,
    ) -> None:
        self._peer = peer
        self._state = {} if state is None else state
        self._made_of: Request | None = None
        self._template: Scope = {}
        self._base: Scope = {
            "type": "http",
            "root_path": root_path,
            "client": client_address(peer),
            "server": server_address(server),
        }
        self._http_1_0, self._extensions, self._websocket_extensions = (
            _PLAIN[send_files] if tls is None else _extensions({"tls": tls}, send_files=send_files)
        )

    def http(self, request: Request) -> Scope:
        """The scope of ``request``; the application owns it."""
        # A connection that shares its requests gives the same one again for the same bytes: 0.4 us less.
        if request is not self._made_of:
            self._template, self._made_of = self._new_template(request), request
        scope = self._template.copy()
        scope["asgi"] = _ASGI.copy()
        scope["headers"] = request.headers.copy()
        scope["state"] = self._state.copy()
        scope["extensions"] = scope["extensions"].copy()
        return scope

    def _new_template(self, request: Request) -> Scope:
        scope = self._common(request)
        scope["method"] = request.method
        scope["scheme"] = request.scheme
        scope["extensions"] = self._extensions if request.version >= "1.1" else self._http_1_0
        return scope

    def websocket(self, request: Request) -> Scope:
        """The scope of a request that opens a WebSocket (RFC 6455 4.2)."""
        scope = self._common(request)
        scope["type"] = "websocket"
        scope["scheme"] = _WEBSOCKET_SCHEMES.get(request.scheme, request.scheme)
        scope["subprotocols"] = subprotocols(request)
        scope["asgi"] = _ASGI.copy()
        scope["headers"] = request.headers.copy()
        scope["state"] = self._state.copy()
        scope["extensions"] = self._websocket_extensions.copy()
        return scope

    def _common(self, request: Request) -> Scope:
        """What nobody changes in place. The rest is copied for each scope, because it is the application's,
        and requests that are the same share theirs.
        """
        scope = self._base.copy()
        path = request.path
        scope["http_version"] = request.version
        scope["path"] = (unquote(path) if b"%" in path else path).decode("utf-8", "replace")
        scope["raw_path"] = path
        scope["query_string"] = request.query
        if request.peer is not self._peer:
            scope["client"] = client_address(request.peer)
        return scope


def _extensions(common: dict[str, Any], *, send_files: bool) -> tuple[dict[str, Any], ...]:
    """What HTTP/1.0, HTTP/1.1 and WebSockets have."""
    # HTTP/1.0 has neither informational responses nor trailers.
    http_1_0 = {**common, "http.response.pathsend": {}} if send_files else common
    http = {**http_1_0, "http.response.early_hint": {}, "http.response.trailers": {}}
    return http_1_0, http, {**common, "websocket.http.response": {}}


# Without TLS they are the same for all connections: to make them takes a short one 1 us.
_PLAIN = (_extensions({}, send_files=False), _extensions({}, send_files=True))


def client_address(peer: Peer) -> Address | None:
    """(host, port) of who asks; None where nobody has an address, as on a unix socket."""
    if peer.proxy is not None and peer.proxy.source is not None:
        return peer.proxy.source
    return None if peer.host is None else (peer.host, peer.port or 0)


def server_address(name: object) -> Address | None:
    """A socket name as the scope has it: (host, port) or, of a unix socket, (path, None)."""
    if isinstance(name, tuple):
        # IPv6 names have two more parts, which the specification does not know.
        return (str(name[0]), int(name[1]))
    if isinstance(name, bytes):
        name = "@" + name[1:].decode("utf-8", "replace")  # Linux: abstract names begin with NUL
    return (str(name), None) if name else None


def subprotocols(request: Request) -> list[str]:
    """What the client offers, in its order of preference (RFC 6455 11.3.4)."""
    offered = b",".join(value for name, value in request.headers if name == b"sec-websocket-protocol")
    return [item.decode("latin-1") for part in offered.split(b",") if (item := part.strip(_OWS_AND_COMMA))]
