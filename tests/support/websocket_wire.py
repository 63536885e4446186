"""A WebSocket session for tests, and the client's side of the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from gunicorn.asgi.websocket import WebSocketSession, WebSocketSettings, refuse_handshake
from gunicorn.http.connection import ServerConnection
from gunicorn.http.events import NEED_DATA, Peer, Request
from gunicorn.http.policy import Policy

DEFLATE = "permessage-deflate; client_max_window_bits"
_POLICY = Policy(keep_app_server_and_date=True)


def handshake(
    method: str = "GET", version: str = "1.1", **fields: str | None
) -> tuple[ServerConnection, Request]:
    """A handshake as the RFC has it, some fields changed or (None) left out."""
    head = {
        "host": "example.com",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
        **fields,
    }
    lines = [f"{method} /chat HTTP/{version}", *(f"{name}: {value}" for name, value in head.items() if value)]
    return _request("\r\n".join([*lines, "", ""]).encode("latin-1"))


def _request(data: bytes) -> tuple[ServerConnection, Request]:
    http = ServerConnection(_POLICY, Peer("192.0.2.1", 1))
    http.receive_data(data)
    event = http.next_event()
    assert isinstance(event, Request)
    assert event is not NEED_DATA
    return http, event


class CLIENT:
    """The ``websockets`` client's protocol, without a network."""

    def __init__(self, extensions: str, **parameters: Any) -> None:
        self.protocol = ClientProtocol(parse_uri("ws://example.com/chat"), max_size=None)
        if extensions:
            offer = ClientPerMessageDeflateFactory(**(parameters or {"client_max_window_bits": True}))
            self.protocol.available_extensions = [offer]
        self.protocol.send_request(self.protocol.connect())
        self.opcodes: list[Opcode] = []
        self._messages: list[tuple[Opcode, bytes]] = []

    def data_to_send(self) -> bytes:
        return b"".join(self.protocol.data_to_send())

    def receive_data(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        assert self.protocol.handshake_exc is None
        assert self.protocol.parser_exc is None

    def _take(self, event: Frame) -> None:
        self.opcodes.append(event.opcode)
        if event.opcode is Opcode.CONT:
            opcode, data = self._messages.pop()
            self._messages.append((opcode, data + bytes(event.data)))
        elif event.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._messages.append((event.opcode, bytes(event.data)))

    def messages(self) -> list[str | bytes]:
        """The whole messages so far."""
        return [data.decode() if opcode is Opcode.TEXT else data for opcode, data in self._messages]


def new_session(settings: WebSocketSettings | None = None, **fields: Any) -> WebSocketSession:
    """A session before the accept."""
    http, request = handshake(**fields)
    assert refuse_handshake(http, request) is None
    return WebSocketSession(http, request, settings or WebSocketSettings())


def accepted(client: CLIENT | None = None, settings: WebSocketSettings | None = None) -> WebSocketSession:
    """A session after the accept, its connect taken; with ``client``, that one's."""
    if client is None:
        session = new_session(settings)
        join(session.send({"type": "websocket.accept"}))
    else:
        http, request = _request(client.data_to_send())
        session = WebSocketSession(http, request, settings or WebSocketSettings())
        client.receive_data(join(session.send({"type": "websocket.accept"})))
    assert session.next_message() == {"type": "websocket.connect"}
    return session


def join(pieces: Iterable[bytes]) -> bytes:
    return b"".join(pieces)


def frame(opcode: Opcode, data: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
    """A client's frame."""
    head = bytes([(0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode])
    return head + Frame(Opcode.BINARY, data).serialize(mask=True)[1:]


def close_code(data: bytes) -> int:
    """The code in a server's close frame, which must be all there is."""
    assert data[0] == 0x88
    assert len(data) == 2 + data[1]
    return int.from_bytes(data[2:4], "big")
