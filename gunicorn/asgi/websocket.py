"""One WebSocket as ASGI messages (RFC 6455; ASGI, "WebSocket", spec version 2.5).

``WebSocketSession`` stands between an application's ``receive`` and ``send`` and the bytes of a connection.
It never waits and has no clock: a driver writes what its methods return, and tells it the time.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from gunicorn.asgi.errors import ClientDisconnected, MessageError
from gunicorn.asgi.scope import subprotocols
from gunicorn.asgi.websocket_closed import Closed
from gunicorn.asgi.websocket_frames import FRAGMENT, FrameCodec, InvalidFrame
from gunicorn.asgi.websocket_handshake import (
    WebSocketSettings,
    answer,
    is_websocket,
    refuse_handshake,
    switch,
)
from gunicorn.asgi.websocket_inbox import Inbox
from gunicorn.asgi.websocket_keepalive import Due, Keepalive
from gunicorn.asgi.websocket_message import (
    accept_fields,
    body,
    close_fields,
    header_fields,
    payload,
    status,
)
from gunicorn.http.errors import LocalProtocolError
from gunicorn.http.events import Data, EndOfMessage, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gunicorn.http.connection import ServerConnection
    from gunicorn.http.events import Request

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
"""Seconds that a client gets to answer a close (RFC 6455 7.1.1); then its connection ends all the same."""

# Up to here a message for a client that has never kept us waiting is one frame: what is taken at once holds
# up no pong, and each frame more costs a system call and a turn of the loop.
_WHOLE = 1024 * 1024

# What a client that does not wait for the answer to its handshake may have lying here.
_MAX_EARLY = 64 * 1024

_ABNORMAL, _INTERNAL_ERROR, _RESTART = 1006, 1011, 1012


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
        must_close: After what has been returned so far, the socket is to be closed.
        leaving: ``go_away`` began the end.
        open: Whether messages go both ways now.
    """

    __slots__ = (
        "_codec", "_early", "_http", "_inbox", "_keepalive", "_request", "_senders", "_settings", "_slow",
        "_state", "accepted", "denied", "leaving", "must_close", "open",
    )  # fmt: skip

    def __init__(self, http: ServerConnection, request: Request, settings: WebSocketSettings) -> None:
        self._http = http
        self._request = request
        self._settings = settings
        self._codec: FrameCodec | None = None
        self._early = b""
        self._slow = False
        self._inbox = Inbox()
        self._keepalive = Keepalive(settings.ping_interval, settings.ping_timeout)
        self.accepted = False
        self.denied = 0
        self.must_close = False
        self.leaving = False
        self._enter(State.CONNECTING)

    def _enter(self, state: State) -> None:
        self._state = state
        self._senders = _SENDERS[state]
        self.open = state is State.OPEN

    # For the reader

    @property
    def paused(self) -> bool:
        """Enough is queued: receive nothing more until ``next_message`` or the accept has cleared this."""
        if self._codec is None:
            return len(self._early) >= _MAX_EARLY and self._state is not State.CLOSED
        return self._inbox.paused

    @property
    def closing(self) -> bool:
        """Our close is out; the client has ``CLOSE_WAIT`` seconds to answer it."""
        return self._state is State.CLOSING

    def receive_data(self, data: bytes) -> bytes:
        """Take in what was received, ``b""`` for the end of it: what to write at once, before all else."""
        if not data:
            self._end(_ABNORMAL, "")
            return b""
        if self._codec is None:
            if self._state is not State.CLOSED:
                self._early += data
            return b""
        self._keepalive.heard()
        found, urgent = self._codec.receive(data)
        for item in found:
            if isinstance(item, Closed):
                self._end(item.code, item.reason)
            elif self.open:
                self._inbox.put(item)
        return urgent

    def _end(self, code: int, reason: str) -> None:
        """Nothing more can be sent or received; the application learns it behind the messages before it."""
        self._inbox.end(code, reason)
        self._keepalive.stop()
        self._enter(State.CLOSED)
        self.must_close = True

    def next_message(self) -> Message | None:
        """What ``receive`` returns now; None: wait for bytes. A disconnect is given again for ever."""
        return self._inbox.next()

    # For send()

    def send(self, message: Message) -> Iterable[bytes]:
        """Take a message of the application: pieces to write in this order, one sender at a time.

        What is urgent may be written between two pieces. A piece is made when it is asked for: stop asking,
        and the connection cannot go on.

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
        code = self._inbox.end_code
        return "after the close" if code is None else f"after the connection ended with code {code}"

    def _accept(self, message: Message) -> Iterable[bytes]:
        fields = accept_fields(message)
        compression = self._settings.compression
        try:
            head, extensions = switch(self._http, self._request, fields, compression=compression)
        except (LocalProtocolError, TypeError) as error:
            raise MessageError(f"websocket.accept: {error}") from error
        self.accepted = True
        self._codec = FrameCodec(self._settings.max_message_size or None, extensions)
        self._enter(State.OPEN)
        early, self._early = self._http.trailing_data + self._early, b""
        return (head, self.receive_data(early)) if early else (head,)

    def _send(self, message: Message) -> Iterable[bytes]:
        data, text = payload(message)
        assert self._codec is not None
        if len(data) <= (FRAGMENT if self._slow else _WHOLE):
            return (self._codec.message(data, text=text),)
        return self._pieces(self._codec.fragments(data, text=text))

    def _pieces(self, fragments: Iterator[bytes]) -> Iterator[bytes]:
        complete = False
        try:
            for piece in fragments:
                if self._state is not State.OPEN:
                    raise WebSocketClosed(f"'websocket.send' was cut short {self._describe_end()}")
                yield piece
            complete = True
        finally:
            if not complete and self._state is State.OPEN:
                # A cancelled send: whatever came next would be taken for the rest of this message.
                self._end(_ABNORMAL, "")

    def _close(self, message: Message) -> Iterable[bytes]:
        code, reason = close_fields(message)
        assert self._codec is not None
        try:
            frame = self._codec.close(code, reason)
        except InvalidFrame as error:
            raise MessageError(f"websocket.close: code {code} must not be sent (RFC 6455 7.4)") from error
        self._begin_close()
        return (frame,)

    def _begin_close(self) -> None:
        self._keepalive.stop()
        self._inbox.paused = False
        self._enter(State.CLOSING)

    def _refuse(self, message: Message) -> Iterable[bytes]:
        # ASGI, "Close": before the accept it is a 403.
        return (self._deny(403, b"The application refused the connection.\n"),)

    def _deny(self, code: int, text: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
        self.denied = code
        data = answer(self._http, code, list(headers), text)
        self._end(_ABNORMAL, "")
        return data

    def _start_denial(self, message: Message) -> Iterable[bytes]:
        code, fields = status(message), header_fields(message)
        self._http.announce_close()
        try:
            head = self._http.send(Response(code, b"", fields))
        except LocalProtocolError as error:
            raise MessageError(f"websocket.http.response.start: {error}") from error
        self.denied = code
        self._enter(State.DENYING)
        return (head,)

    def _continue_denial(self, message: Message) -> Iterable[bytes]:
        data = self._http.send(Data(body(message)))
        if not message.get("more_body"):
            data += self._http.send(EndOfMessage())
            self._end(_ABNORMAL, "")
        return (data,)

    # For the driver

    @property
    def deadline(self) -> float:
        """Monotonic seconds at which ``tick`` is to be called; ``inf`` is never."""
        return self._keepalive.deadline

    def tick(self, now: float) -> bytes:
        """The accept has been written, or the ``deadline`` has come: what to write at once.

        Args:
            now: Monotonic seconds.
        """
        if self._state is not State.OPEN:
            return b""
        assert self._codec is not None
        due = self._keepalive.tick(now, paused=self._inbox.paused)
        if due is Due.GIVE_UP:
            self._end(_INTERNAL_ERROR, "ping timeout")
            return self._codec.fail(_INTERNAL_ERROR, "ping timeout")
        return self._codec.ping() if due is Due.PING else b""

    def progress(self, now: float) -> None:
        """The client has taken bytes after a wait, which counts as a sign of life."""
        self._slow = True
        self._keepalive.progress(now)

    def go_away(self) -> bytes:
        """The worker leaves: what to write. The application gets a disconnect, and can send nothing more."""
        self.leaving = True
        if self._state is State.CONNECTING:
            text = b"This server is about to stop. Try again.\n"
            return self._deny(503, text, ((b"retry-after", b"1"),))
        if self._state is not State.OPEN:
            return b""
        assert self._codec is not None
        frame = self._codec.close(_RESTART, "service restart")
        self._inbox.end(_RESTART, "service restart")
        self._begin_close()
        return frame

    def finish(self, *, failed: bool) -> bytes:
        """The application has returned, or ``failed`` with an exception: what to write."""
        if self._state is State.CONNECTING:
            text = (
                b"Internal Server Error\n" if failed else b"The application did not accept the connection.\n"
            )
            return self._deny(500 if failed else 403, text)
        if self._state is State.DENYING:
            # Only the connection's end tells the client that the rest is missing.
            self._end(_ABNORMAL, "")
        if self._state is not State.OPEN:
            return b""
        assert self._codec is not None
        frame = self._codec.close(_INTERNAL_ERROR, "")
        self._begin_close()
        return frame


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
