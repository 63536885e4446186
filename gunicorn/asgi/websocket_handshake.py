"""The opening handshake of a WebSocket: what is refused, and the answer that accepts (RFC 6455 4.2)."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from attrs import frozen
from websockets.exceptions import InvalidHeaderFormat, NegotiationError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension
from websockets.typing import ExtensionName

from gunicorn.http.events import Data, EndOfMessage, InformationalResponse, Response

if TYPE_CHECKING:
    from websockets.extensions import Extension

    from gunicorn.http.connection import ServerConnection
    from gunicorn.http.events import Headers, Request

__all__ = ["WebSocketSettings", "answer", "is_websocket", "refuse_handshake", "switch"]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_DEFLATE = ExtensionName("permessage-deflate")

# A window of 4 KiB and a small compressor: 50 kB for each connection instead of 107 kB, for messages that
# become a little longer.
_COMPRESSION = ServerPerMessageDeflateFactory(
    server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
)


@frozen
class WebSocketSettings:
    """What a setting can move.

    Args:
        max_message_size: Bytes, also after inflation; 0 is no limit.
        compression: Whether permessage-deflate (RFC 7692) is used with clients that offer it.
        ping_interval: Seconds between two pings; 0 sends none.
        ping_timeout: Seconds after a ping in which anything must arrive; 0 waits for ever.
    """

    max_message_size: int = 16 * 1024 * 1024
    compression: bool = True
    ping_interval: float = 20.0
    ping_timeout: float = 20.0

    @classmethod
    def from_config(cls, cfg: Any) -> WebSocketSettings:
        """The settings of a worker; ``cfg`` is a ``gunicorn.config.Config`` or has its attributes."""
        return cls(
            max_message_size=cfg.websocket_max_message_size,
            compression=cfg.websocket_compression == "on",
            ping_interval=cfg.websocket_ping_interval,
            ping_timeout=cfg.websocket_ping_timeout,
        )


def is_websocket(request: Request) -> bool:
    """Whether ``request`` asks for a WebSocket. Other methods may ignore Upgrade (RFC 9110 7.8) and do."""
    upgrade = request.upgrade
    if upgrade is None or request.method != "GET":
        return False
    return b"websocket" in (protocol.strip() for protocol in upgrade.lower().split(b","))


def refuse_handshake(
    http: ServerConnection, request: Request, *, draining: bool = False, retry_after: int = 1
) -> bytes | None:
    """The whole answer to a handshake that must not reach the application; None when it may.

    Args:
        http: The connection that has just returned ``request``; it closes after the answer.
        draining: The worker will stop: 503, and the client finds another one.
        retry_after: Seconds that such a client should wait.
    """
    refusal = _draining(retry_after) if draining else _fault(request)
    if refusal is None:
        return None
    status, headers, text = refusal
    return answer(http, status, headers, text)


def answer(http: ServerConnection, status: int, headers: Headers, text: bytes) -> bytes:
    """A complete answer that is not 101; the connection ends with it."""
    http.announce_close()
    fields = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
    head = http.send(Response(status, b"", [*headers, *fields]))
    return head + http.send(Data(text)) + http.send(EndOfMessage())


def _draining(retry_after: int) -> tuple[int, Headers, bytes]:
    return 503, [(b"retry-after", b"%d" % retry_after)], b"This server is about to stop. Try again.\n"


def _fault(request: Request) -> tuple[int, Headers, bytes] | None:
    fields = request.headers
    if _values(fields, b"sec-websocket-version") != [b"13"]:
        # RFC 6455 4.4: the answer says which version is spoken here.
        needed = [(b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")]
        return 426, needed, b"WebSocket version 13 is needed.\n"
    keys = _values(fields, b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        return 400, [], b"Sec-WebSocket-Key must be 16 bytes in base64.\n"
    if request.chunked or request.content_length:
        # Nobody could tell whether what follows the head is a body or frames.
        return 400, [], b"A WebSocket handshake has no body.\n"
    try:
        _offers(request)
    except InvalidHeaderFormat:
        return 400, [], b"Sec-WebSocket-Extensions is malformed.\n"
    return None


def _values(fields: Headers, wanted: bytes) -> list[bytes]:
    return [value for name, value in fields if name == wanted]


def _is_key(value: bytes) -> bool:
    try:
        return len(b64decode(value, validate=True)) == 16
    except Base64Error:
        return False


def _offers(request: Request) -> list[tuple[Any, Any]]:
    values = _values(request.headers, b"sec-websocket-extensions")
    return list(parse_extension(b", ".join(values).decode("latin-1"))) if values else []


def switch(
    http: ServerConnection, request: Request, headers: Headers, *, compression: bool
) -> tuple[bytes, list[Extension]]:
    """The answer 101 and the extensions that it agrees on.

    Args:
        headers: The application's, with the subprotocol.

    Raises:
        LocalProtocolError: a header cannot go on the wire. Nothing has changed then.
    """
    key = _values(request.headers, b"sec-websocket-key")[0]
    fields = [(b"upgrade", b"websocket"), (b"sec-websocket-accept", b64encode(sha1(key + _GUID).digest()))]
    extensions: list[Extension] = []
    agreed = _negotiate(request) if compression else None
    if agreed is not None:
        parameters, extension = agreed
        extensions = [extension]
        value = build_extension([(_DEFLATE, parameters)]).encode("ascii")
        fields.append((b"sec-websocket-extensions", value))
    return http.send(InformationalResponse(101, [*fields, *headers])), extensions


def _negotiate(request: Request) -> tuple[list[Any], Extension] | None:
    """The first acceptable offer of permessage-deflate (RFC 7692 5)."""
    for name, parameters in _offers(request):
        if name == _DEFLATE:
            try:
                return _COMPRESSION.process_request_params(parameters, [])
            except NegotiationError:
                continue
    return None
