"""One WebSocket as ASGI messages (RFC 6455; ASGI, "WebSocket", spec version 2.5).

``WebSocketSession`` stands between an application's ``receive`` and ``send`` and the bytes of a connection. It never
waits and has no clock: a driver writes what its methods return and tells it the time.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any

from gunicorn.asgi.errors import ClientDisconnected, MessageError
from gunicorn.asgi.scope import subprotocols
from gunicorn.asgi.websocket_frames import FRAGMENT, Closed, FrameCodec, InvalidFrame
from gunicorn.asgi.websocket_handshake import (
    WebSocketSettings,
    answer,
    is_websocket,
    refuse_handshake,
    switch,
)
from gunicorn.http.errors import LocalProtocolError
from gunicorn.http.events import Data, EndOfMessage, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gunicorn.http.connection import ServerConnection
    from gunicorn.http.events import Headers, Request

__all__ = [
    "CLOSE_WAIT",
    "WebSocketClosed",
    "WebSocketSession",
    "WebSocketSettings",
    "is_websocket",
    "refuse_handshake",
    "subprotocols",
]

Message = dict[str, Any]

CLOSE_WAIT = 5.0
"""Seconds that a client gets to answer a close (RFC 6455 7.1.1) before its connection is closed all the same."""

# What may wait for an application that does not receive; one message more can be as large as it is allowed to be.
_MAX_QUEUED = 32
_MAX_QUEUED_BYTES = 64 * 1024

# What a client that talks before the answer to its handshake may have waiting here.
_MAX_EARLY = 64 * 1024

_GOING_AWAY, _ABNORMAL, _INTERNAL_ERROR, _RESTART = 1001, 1006, 1011, 1012
# RFC 6455 5.5: a control frame has at most 125 bytes, two of which are the code.
_MAX_REASON = 123


class WebSocketClosed(ClientDisconnected, RuntimeError):
    """The connection is over, whoever ended it: what was sent has gone nowhere."""


class State(Enum):
    """Where the connection is."""

    CONNECTING = "before 'websocket.accept'"
    DENYING = "in the response that refuses the handshake"
    OPEN = "while the WebSocket is open"
    CLOSING = "after its close"
    CLOSED = "after its end"


class WebSocketSession:
    """The messages of one connection.

    Args:
        http: Has just returned ``request``, which ``refuse_handshake`` has let through.
        request: The handshake.
        settings: Limits and deadlines.

    Attributes:
        accepted: Whether 101 was sent.
        denied: The status of the answer that refused the handshake; 0 when there is none.
        paused: Enough is queued: receive nothing more until ``next_message`` has cleared this.
        closing: Our close is out; the client has ``CLOSE_WAIT`` seconds to answer it.
        must_close: After what has been returned so far the socket is to be closed.
        deadline: Monotonic seconds at which ``tick`` is to be called; ``inf`` is never.
    """

    __slots__ = (
        "_codec", "_early", "_http", "_ping_at", "_pong_by", "_queue", "_queued", "_request", "_senders", "_settings",
        "_state", "_the_end", "accepted", "deadline", "denied", "must_close", "paused",
    )  # fmt: skip

    def __init__(self, http: ServerConnection, request: Request, settings: WebSocketSettings) -> None:
        self._http = http
        self._request = request
        self._settings = settings
        self._codec: FrameCodec | None = None
        self._early = bytearray()
        self._queue: deque[tuple[Message, int]] = deque([({"type": "websocket.connect"}, 0)])
        self._queued = 0
        self._the_end: Message | None = None
        self._ping_at = self._pong_by = self.deadline = inf
        self.accepted = False
        self.denied = 0
        self.paused = False
        self.must_close = False
        self._enter(State.CONNECTING)

    def _enter(self, state: State) -> None:
        self._state = state
        self._senders = _SENDERS[state]
        if state in (State.CLOSING, State.CLOSED):
            self._ping_at = self._pong_by = self.deadline = inf
            self.paused = False
        if state is State.CLOSED:
            self.must_close = True

    @property
    def closing(self) -> bool:
        return self._state is State.CLOSING

    # For receive()

    def receive_data(self, data: bytes) -> bytes:
        """Take in what was received, ``b""`` for the end of it; what to write at once, ahead of everything."""
        if self._codec is None:
            return self._receive_early(data)
        if not data:
            self._end(_ABNORMAL, "")
            return b""
        self._pong_by = inf
        found, urgent = self._codec.receive(data)
        for item in found:
            if type(item) is Closed:
                self._end(item.code, item.reason)
            elif self._state is State.OPEN:
                self._put(item)
        return urgent

    def _receive_early(self, data: bytes) -> bytes:
        if not data:
            self._end(_ABNORMAL, "")
        else:
            self._early += data
            self.paused = len(self._early) >= _MAX_EARLY and self._state is not State.CLOSED
        return b""

    def _put(self, item: str | bytes | Closed) -> None:
        assert not isinstance(item, Closed)
        key = "text" if type(item) is str else "bytes"
        self._queue.append(({"type": "websocket.receive", key: item}, len(item)))
        self._queued += len(item)
        if len(self._queue) >= _MAX_QUEUED or self._queued >= _MAX_QUEUED_BYTES:
            self.paused = True

    def _end(self, code: int, reason: str) -> None:
        """Nothing more can be sent or received; the application learns it behind the messages before it."""
        if self._the_end is None:
            self._the_end = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self._enter(State.CLOSED)

    def next_message(self) -> Message | None:
        """What ``receive`` returns now; None: wait for bytes. The last one, a disconnect, is given again for ever."""
        if not self._queue:
            return self._the_end.copy() if self._the_end is not None else None
        message, size = self._queue.popleft()
        self._queued -= size
        if self.paused and len(self._queue) <= _MAX_QUEUED // 2 and self._queued <= _MAX_QUEUED_BYTES // 2:
            self.paused = self._codec is None and len(self._early) >= _MAX_EARLY
        return message

    # For send()

    def send(self, message: Message) -> Iterable[bytes]:
        """Take a message of the application: pieces to write in this order, one sender at a time.

        What is urgent may be written between two pieces. Pieces are made as they are asked for: stop asking, and
        the connection cannot go on.

        Raises:
            MessageError: the message is malformed, unknown, or not possible now. Nothing has changed.
            WebSocketClosed: nobody is there.
        """
        try:
            sender = self._senders[message["type"]]
        except (KeyError, TypeError):
            raise self._unexpected(message) from None
        return sender(self, message)

    def _unexpected(self, message: Any) -> Exception:
        kind = message.get("type") if isinstance(message, dict) else None
        if not isinstance(kind, str):
            return MessageError(f"a message must be a dict with a type, not {message!r:.100}")
        if kind not in _KNOWN:
            return MessageError(f"the application sent a message of unknown type {kind!r}")
        if self._state in (State.CLOSING, State.CLOSED):
            return WebSocketClosed(f"the application sent {kind!r} {self._describe_end()}")
        return MessageError(f"the application sent {kind!r} {self._state.value}")

    def _describe_end(self) -> str:
        if self._the_end is None:
            return "after its own 'websocket.close'"
        return f"after the connection ended with code {self._the_end['code']}"

    def _accept(self, message: Message) -> Iterable[bytes]:
        fields = _headers(message)
        for name, _ in fields:
            if name.lower() in _OURS:
                raise MessageError(f"websocket.accept: the header {name.decode('latin-1')!r} is the server's")
        subprotocol = message.get("subprotocol")
        if subprotocol is not None:
            fields.append((b"sec-websocket-protocol", _token(subprotocol)))
        try:
            head, extensions = switch(
                self._http, self._request, fields, compression=self._settings.compression
            )
        except (LocalProtocolError, TypeError) as error:
            raise MessageError(f"websocket.accept: {error}") from error
        self.accepted = True
        self._codec = FrameCodec(self._settings.max_message_size or None, extensions)
        self._enter(State.OPEN)
        return head, self._take_early()

    def _take_early(self) -> bytes:
        early, self._early = self._http.trailing_data + bytes(self._early), bytearray()
        self.paused = False
        return self.receive_data(early) if early else b""

    def _send(self, message: Message) -> Iterable[bytes]:
        text, data = message.get("text"), message.get("bytes")
        payload = _as_bytes(data) if text is None else _encoded(text)
        assert self._codec is not None
        if len(payload) <= FRAGMENT:
            return (self._codec.message(payload, text=text is not None),)
        return self._pieces(payload, text=text is not None)

    def _pieces(self, payload: bytes, *, text: bool) -> Iterator[bytes]:
        assert self._codec is not None
        complete = False
        try:
            for piece in self._codec.fragments(payload, text=text):
                if self._state is not State.OPEN:
                    raise WebSocketClosed(f"'websocket.send' was cut {self._describe_end()}")
                yield piece
            complete = True
        finally:
            if not complete and self._state is State.OPEN:
                # A cancelled send: whatever came next would be taken for the rest of this message.
                self._end(_ABNORMAL, "")

    def _close(self, message: Message) -> Iterable[bytes]:
        code, reason = message.get("code"), message.get("reason") or ""
        if not isinstance(reason, str):
            raise MessageError(f"websocket.close: reason must be str, not {type(reason).__name__}")
        assert self._codec is not None
        try:
            frame = self._codec.close(1000 if code is None else code, _clipped(reason))
        except (InvalidFrame, TypeError, ValueError) as error:
            raise MessageError(f"websocket.close: code {code!r} cannot be sent (RFC 6455 7.4)") from error
        self._enter(State.CLOSING)
        return (frame,)

    def _refuse(self, message: Message) -> Iterable[bytes]:
        """RFC 6455 4.2.2 and ASGI: a close before the accept is a 403."""
        return (self._deny(403, b"The application refused the connection.\n"),)

    def _deny(self, status: int, text: bytes, headers: Headers | None = None) -> bytes:
        self.denied = status
        data = answer(self._http, status, headers or [], text)
        self._end(_ABNORMAL, "")
        return data

    def _start_denial(self, message: Message) -> Iterable[bytes]:
        status = message.get("status")
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise MessageError(
                f"websocket.http.response.start: status must be 200 to 599, not {status!r:.100}"
            )
        self._http.announce_close()
        try:
            head = self._http.send(Response(status, b"", _headers(message)))
        except (LocalProtocolError, TypeError) as error:
            raise MessageError(f"websocket.http.response.start: {error}") from error
        self.denied = status
        self._enter(State.DENYING)
        return (head,)

    def _continue_denial(self, message: Message) -> Iterable[bytes]:
        body = self._http.send(Data(_as_bytes(message.get("body", b""), message["type"], "body")))
        if not message.get("more_body"):
            body += self._http.send(EndOfMessage())
            self._end(_ABNORMAL, "")
        return (body,)

    # For the driver

    def tick(self, now: float) -> bytes:
        """The accept, or ``deadline``, has come: what to write.

        Args:
            now: Monotonic seconds.
        """
        settings = self._settings
        if self._state is not State.OPEN or not settings.ping_interval:
            return b""
        assert self._codec is not None
        if self.paused:
            # The answer may lie in the socket, where nobody looks while the application does not receive.
            self._pong_by = inf
        if self._pong_by <= now:
            self._end(_INTERNAL_ERROR, "ping timeout")
            return self._codec.fail(_INTERNAL_ERROR, "ping timeout")
        first = self._ping_at == inf
        urgent = b""
        if self._ping_at <= now and not self.paused:
            urgent = self._codec.ping()
            if settings.ping_timeout:
                self._pong_by = min(self._pong_by, now + settings.ping_timeout)
        if first or self._ping_at <= now:
            self._ping_at = now + settings.ping_interval
        self.deadline = min(self._ping_at, self._pong_by)
        return urgent

    def progress(self, now: float) -> None:
        """The client has taken bytes after a wait: it is slow, but it lives, and our ping is still on its way."""
        if self._pong_by != inf:
            self._pong_by = now + self._settings.ping_timeout

    def go_away(self) -> bytes:
        """The worker leaves: what to write. The application gets a disconnect, and can send nothing any more."""
        if self._state is State.CONNECTING:
            return self._deny(503, b"This server is about to stop. Try again.\n", [(b"retry-after", b"1")])
        if self._state is not State.OPEN:
            return b""
        assert self._codec is not None
        frame = self._codec.close(_RESTART, "service restart")
        self._the_end = {"type": "websocket.disconnect", "code": _RESTART, "reason": "service restart"}
        self._enter(State.CLOSING)
        return frame

    def finish(self, *, failed: bool) -> bytes:
        """The application has returned, or ``failed`` with an exception: what to write."""
        if self._state is State.CONNECTING:
            return self._deny(500, b"Internal Server Error\n") if failed else self._deny(403, b"Forbidden\n")
        if self._state is State.DENYING:
            # Only the connection's end tells the client that the rest is missing.
            self._end(_ABNORMAL, "")
        if self._state is not State.OPEN:
            return b""
        assert self._codec is not None
        frame = self._codec.close(_INTERNAL_ERROR, "")
        self._enter(State.CLOSING)
        return frame


_OURS = frozenset(
    {
        b"connection",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-version",
        b"upgrade",
    }
)

_SENDERS: dict[State, dict[str, Callable[[WebSocketSession, Message], Iterable[bytes]]]] = {
    State.CONNECTING: {
        "websocket.accept": WebSocketSession._accept,
        "websocket.close": WebSocketSession._refuse,
        "websocket.http.response.start": WebSocketSession._start_denial,
    },
    State.DENYING: {"websocket.http.response.body": WebSocketSession._continue_denial},
    State.OPEN: {"websocket.send": WebSocketSession._send, "websocket.close": WebSocketSession._close},
    State.CLOSING: {},
    State.CLOSED: {},
}

_KNOWN = frozenset(kind for senders in _SENDERS.values() for kind in senders)


def _headers(message: Message) -> Headers:
    try:
        return [(name, value) for name, value in message.get("headers") or ()]
    except (TypeError, ValueError) as error:
        raise MessageError(f"{message['type']}: headers must be pairs of bytes ({error})") from error


def _token(subprotocol: Any) -> bytes:
    if not isinstance(subprotocol, str) or not subprotocol.isascii():
        raise MessageError(f"websocket.accept: subprotocol must be ASCII text, not {subprotocol!r:.100}")
    return subprotocol.encode("ascii")


def _encoded(text: Any) -> bytes:
    try:
        return text.encode("utf-8")  # type: ignore[no-any-return]
    except (AttributeError, UnicodeEncodeError) as error:
        raise MessageError(f"websocket.send: text must be str that UTF-8 can express ({error})") from error


def _as_bytes(data: Any, kind: str = "websocket.send", key: str = "bytes") -> bytes:
    if type(data) is bytes:
        return data
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    raise MessageError(f"{kind}: {key} must be bytes, not {type(data).__name__}")


def _clipped(reason: str) -> str:
    """What fits into a close frame: a shorter reason is better than another code because of a long one."""
    return reason.encode("utf-8", "replace")[:_MAX_REASON].decode("utf-8", "ignore")
