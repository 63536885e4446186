"""One HTTP/1.1 server connection without a socket: bytes in, events out; events in, bytes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.errors import ProtocolError
from gunicorn.http.buffer import ReceiveBuffer
from gunicorn.http.chunked import ChunkedDecoder
from gunicorn.http.errors import LocalProtocolError
from gunicorn.http.events import (
    NEED_DATA,
    PAUSED,
    ConnectionClosed,
    Data,
    EndOfMessage,
    InformationalResponse,
    Response,
)
from gunicorn.http.grammar import CRLF
from gunicorn.http.head import HeadScanner, lines_at_once
from gunicorn.http.policy import ProxyMode
from gunicorn.http.proxy import read_proxy_header
from gunicorn.http.request import RequestReader
from gunicorn.http.response import Framing, ResponseFields, field_block, has_no_body, status_line
from gunicorn.http.state import Client, ClientInput, Server, ServerInput, next_client, next_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gunicorn.http.engines import Engine
    from gunicorn.http.events import Event, Peer, Request
    from gunicorn.http.policy import Policy

__all__ = ["ServerConnection"]

Outgoing = InformationalResponse | Response | Data | EndOfMessage

# Bound to names, because CPython 3.11 takes 0.1 us to find a member of an Enum class, and a request needs
# thirty.
_AWAITING_HEAD, _IN_BODY, _CLIENT_CLOSED = Client.IDLE, Client.BODY, Client.CLOSED
_REQUEST_ENDS, _END_TAKEN, _CLIENT_NEXT = ClientInput.REQUEST, ClientInput.END_TAKEN, ClientInput.NEXT_CYCLE
_RESPONDING, _SERVER_SWITCHED = Server.BODY, Server.SWITCHED
_REQUEST_BEGINS, _RESPONSE, _SERVER_NEXT = ServerInput.REQUEST, ServerInput.RESPONSE, ServerInput.NEXT_CYCLE
_DATA, _END = ServerInput.DATA, ServerInput.END
_NO_BODY, _LENGTH, _CHUNKED, _UNTIL_CLOSE = Framing.NONE, Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE

_CONNECTION_CLOSED = ConnectionClosed()
_END_OF_MESSAGE = EndOfMessage()
_LAST_CHUNK = b"0\r\n"


class ServerConnection:
    """The server's side of one connection.

    A driver feeds what it receives and asks for events until it gets ``NEED_DATA`` or ``PAUSED``; it sends
    what ``send`` returns. After ``EndOfMessage`` both ways it calls ``start_next_cycle``, or closes when
    ``must_close`` is true. It should not feed more while ``wants_data`` is false: what was fed waits here.

    Args:
        policy: What is accepted, shared by all connections of a worker.
        peer: The socket's peer.
        engine: What splits field lines; by default the policy's choice.
        secure: TLS ends here.
    """

    __slots__ = (
        "_body_left",
        "_buffer",
        "_client",
        "_closing",
        "_continue_due",
        "_decoder",
        "_drained",
        "_eof",
        "_fault",
        "_framing",
        "_leading_crlf",
        "_persistent",
        "_policy",
        "_reader",
        "_request",
        "_response_left",
        "_scanner",
        "_server",
    )

    def __init__(
        self, policy: Policy, peer: Peer, *, engine: Engine | None = None, secure: bool = False
    ) -> None:
        self._policy = policy
        self._reader = RequestReader(policy, engine or policy.new_engine(), peer, secure=secure)
        self._buffer = ReceiveBuffer()
        self._client = _AWAITING_HEAD if policy.proxy_protocol is ProxyMode.OFF else Client.OPENING
        self._server = Server.IDLE
        self._eof = False
        self._closing = False
        self._fault: ProtocolError | None = None
        self._begin_cycle()

    def _begin_cycle(self) -> None:
        self._scanner: HeadScanner | None = None
        self._decoder: ChunkedDecoder | None = None
        self._request: Request | None = None
        self._leading_crlf = False
        self._continue_due = False
        self._persistent = True
        self._body_left = 0
        self._drained = 0
        self._framing = _NO_BODY
        self._response_left = 0

    # What a driver asks before it waits.

    @property
    def idle(self) -> bool:
        """Between requests, with nothing received of the next one."""
        return self._client <= _AWAITING_HEAD and not len(self._buffer)

    @property
    def waiting_for_head(self) -> bool:
        """Some of a request head, or of a PROXY header, has arrived."""
        return self._client <= _AWAITING_HEAD and len(self._buffer) > 0

    @property
    def body_pending(self) -> bool:
        """The request's body has not been read to its end."""
        return self._client is _IN_BODY

    @property
    def needs_continue(self) -> bool:
        """The client waits for 100 (Continue), or for the final response, before it sends the body.

        RFC 9110 10.1.1: 100 may be left out when some of the body has arrived already.
        """
        waits = self._continue_due and self._client is _IN_BODY and self._server < _RESPONDING
        return waits and not self._buffer.data

    @property
    def wants_data(self) -> bool:
        """More bytes can lead to an event of the current request."""
        return self._client <= _IN_BODY and not self._eof

    @property
    def must_close(self) -> bool:
        """The connection cannot serve another request after the current one."""
        if not self._persistent or self._client >= _CLIENT_CLOSED or self._server >= _SERVER_SWITCHED:
            return True
        return self._eof and not len(self._buffer)

    @property
    def response_started(self) -> bool:
        """The head of the final response has been made: an error page can no longer be sent."""
        return self._server >= _RESPONDING

    @property
    def response_left(self) -> int | None:
        """Bytes of body that the response still has room for, or None: a driver clips ``frame`` to it."""
        return None if self._framing >= _CHUNKED else self._response_left

    @property
    def buffered(self) -> int:
        """Bytes received that nobody has taken yet: a driver stops receiving above its limit."""
        return len(self._buffer)

    @property
    def trailing_data(self) -> bytes:
        """Bytes received behind the current request: of the next one, or of another protocol."""
        return self._buffer.peek(len(self._buffer))

    # Bytes in, events out.

    def receive_data(self, data: bytes) -> None:
        """Take in what was received; ``b""`` is the end of the peer's stream."""
        if not data:
            self._eof = True
        elif self._fault is None:
            if self._buffer.data:
                self._buffer.append(data)
            else:
                self._buffer.data = data

    def next_event(self) -> Event:
        """The next thing that the received bytes say.

        Raises:
            ProtocolError: they break a rule. Answer with ``error_response`` unless ``response_started``, and
            close.
        """
        if self._fault is not None:
            raise self._fault
        try:
            return _RECEIVERS[self._client](self)
        except ProtocolError as error:
            self._fault = error
            self._client = next_client(self._client, ClientInput.FAULT)
            raise

    def discard_body(self) -> bool:
        """Throw away what has arrived of a body that nobody will read.

        Returns:
            True when the request has been read to its end. False when more has to be received first, or when
            it is not worth it (``Policy.drain_limit``): then ``must_close`` is true.

        Raises:
            ProtocolError: the body is malformed.
        """
        while self._client is _IN_BODY:
            event = self.next_event()
            if not isinstance(event, Data):
                break
            self._drained += len(event.data)
            if self._drained > self._policy.drain_limit:
                self._persistent = False
                return False
        return self._client is not _IN_BODY

    def start_next_cycle(self) -> None:
        """Get ready for the next request on the connection.

        Raises:
            LocalProtocolError: this one is not over, or the connection must be closed.
        """
        if self.must_close:
            raise LocalProtocolError("the connection must be closed")
        self._client = next_client(self._client, _CLIENT_NEXT)
        self._server = next_server(self._server, _SERVER_NEXT)
        self._begin_cycle()

    def announce_close(self) -> None:
        """From now on a response says ``Connection: close`` (RFC 9112 9.6)."""
        self._closing = True

    def _receive_opening(self) -> Event:
        consumed = read_proxy_header(self._buffer.data, self._policy, self._reader.peer)
        if consumed is None:
            return self._need_head()
        size, self._reader.peer = consumed
        self._buffer.skip(size)
        self._client = next_client(self._client, ClientInput.OPENED)
        return self._receive_head()

    def _need_head(self) -> Event:
        if not self._eof:
            return NEED_DATA
        if len(self._buffer):
            raise ProtocolError(400, "RFC 9112 8: incomplete request head")
        self._client = next_client(self._client, ClientInput.EOF)
        return _CONNECTION_CLOSED

    def _receive_head(self) -> Event:
        lines = self._next_lines()
        if lines is None:
            return self._need_head()
        request = self._request = self._reader.read(lines)
        self._begin_body(request)
        self._server = next_server(self._server, _REQUEST_BEGINS)
        self._persistent = request.keep_alive
        return request

    def _next_lines(self) -> list[bytes] | None:
        buffer = self._buffer
        if not buffer.data:
            return None
        if buffer.data[buffer.position] == 0x0D and not (self._leading_crlf or self._skip_leading_crlf()):
            return None
        data, origin = buffer.data, buffer.position
        if self._scanner is None:
            end = data.find(b"\r\n\r\n", origin)
            lines = lines_at_once(bytes(data[origin:end]), self._policy) if end >= 0 else None
            if lines is not None:
                buffer.skip(end + 4 - origin)
                return lines
            self._scanner = HeadScanner(self._policy)
        size = self._scanner.scan(data, origin)
        return None if size is None else buffer.take(size)[:-4].split(CRLF)

    def _skip_leading_crlf(self) -> bool:
        """RFC 9112 2.2: ignore an empty line before a request. One, for clients that end a body with it.

        Returns:
            Whether something is left to look at.
        """
        buffer = self._buffer
        if buffer.peek(2) == CRLF:
            buffer.skip(2)
            self._leading_crlf = True
            return len(buffer) > 0
        return len(buffer) > 1

    def _begin_body(self, request: Request) -> None:
        if request.chunked:
            self._decoder = ChunkedDecoder(self._policy)
        elif not request.content_length:
            self._client = next_client(self._client, _REQUEST_ENDS)
            return
        self._body_left = request.content_length or 0
        self._client = next_client(self._client, ClientInput.REQUEST_WITH_BODY)
        self._continue_due = request.expect_continue

    def _receive_body(self) -> Event:
        data = self._decode_body()
        if data:
            # RFC 9110 10.1.1: a client that has started to send does not wait any more.
            self._continue_due = False
            return Data(data)
        if self._decoder.complete if self._decoder else not self._body_left:
            self._client = next_client(self._client, ClientInput.BODY_END)
            return self._receive_end()
        if self._eof:
            raise ProtocolError(400, "RFC 9112 8: incomplete request body")
        return NEED_DATA

    def _decode_body(self) -> bytes:
        if self._decoder is not None:
            return self._decoder.decode(self._buffer)
        data = self._buffer.take(self._body_left)
        self._body_left -= len(data)
        return data

    def _receive_end(self) -> Event:
        self._client = next_client(self._client, _END_TAKEN)
        if self._decoder is not None and self._decoder.trailers:
            return EndOfMessage(tuple(self._decoder.trailers))
        return _END_OF_MESSAGE

    def _receive_nothing(self) -> Event:
        """Until the next cycle only the end of the stream can be told."""
        if len(self._buffer):
            return PAUSED
        if not self._eof:
            return NEED_DATA
        if self._client is Client.DONE:
            self._client = next_client(self._client, ClientInput.EOF)
        return _CONNECTION_CLOSED

    # Events in, bytes out.

    def send(self, event: Outgoing) -> bytes:
        """The bytes that say ``event``.

        Raises:
            LocalProtocolError: it must not be said, or not now. Nothing has changed then.
        """
        return _SENDERS[type(event)](self, event)

    def frame(self, size: int) -> tuple[bytes, bytes]:
        """What goes before and behind ``size`` bytes of body that are sent by other means.

        Raises:
            LocalProtocolError: the response is not at its body, or has no room for them (``response_left``).
        """
        self._server = next_server(self._server, _DATA)
        if self._framing is _CHUNKED and size:
            return b"%x\r\n" % size, CRLF
        if self._framing <= _LENGTH:
            if size > self._response_left:
                raise LocalProtocolError(f"{size} bytes of body, with room for {self._response_left}")
            self._response_left -= size
        return b"", b""

    def _send_informational(self, event: InformationalResponse) -> bytes:
        if event.status == 101:
            return self._send_switch(event.status, b"", event.headers)
        if not 100 <= event.status < 200:
            raise LocalProtocolError(f"{event.status} is not an informational status")
        fields = ResponseFields(event.status, event.headers, self._policy)
        head = status_line(event.status) + field_block(fields.pieces) + CRLF
        self._server = next_server(self._server, ServerInput.INFORMATIONAL)
        if event.status == 100:
            self._continue_due = False
        # RFC 9110 15.2: never to an HTTP/1.0 client.
        return b"" if self._request is None or self._request.version < "1.1" else head

    def _send_response(self, event: Response) -> bytes:
        if event.status == 101:
            return self._send_switch(event.status, event.reason, event.headers)
        following = next_server(self._server, _RESPONSE)
        first = status_line(event.status, event.reason)
        request = self._request
        if request is None:
            raise LocalProtocolError("a response without a request")
        tunnel = request.method == "CONNECT" and 200 <= event.status < 300
        fields = ResponseFields(event.status, event.headers, self._policy, tunnel=tunnel)
        block = field_block(fields.pieces)
        if tunnel:
            self._client = next_client(self._client, ClientInput.SWITCH)
        self._choose_framing(event.status, fields, request, tunnel=tunnel)
        self._server = following
        if (
            self._framing is _UNTIL_CLOSE
            or fields.close
            or self._closing
            or self._leaves_body()
            or self.must_close
        ):
            self._persistent = False
        return b"".join((first, self._own_fields(fields), block, CRLF))

    def _choose_framing(self, status: int, fields: ResponseFields, request: Request, *, tunnel: bool) -> None:
        self._response_left = 0
        if tunnel:
            # RFC 9110 9.3.6: neither Content-Length nor Transfer-Encoding; what follows is the tunnel.
            self._framing = _UNTIL_CLOSE
        elif request.method == "HEAD" or has_no_body(status):
            self._framing = _NO_BODY
        elif fields.length is not None:
            self._framing = _LENGTH
            self._response_left = fields.length
        else:
            self._framing = _CHUNKED if request.version >= "1.1" else _UNTIL_CLOSE

    def _leaves_body(self) -> bool:
        """Whether more of the request's body is to come than is worth reading to throw it away."""
        return self._client is _IN_BODY and (self._continue_due or self._body_left > self._policy.drain_limit)

    def _own_fields(self, fields: ResponseFields) -> bytes:
        policy = self._policy
        option = b"keep-alive" if self._persistent else b"close"
        if fields.upgrade is not None:
            option = b"upgrade, " + option
        coding = b"Transfer-Encoding: chunked\r\n" if self._framing is _CHUNKED else b""
        if not policy.keep_app_server_and_date:
            return b"Server: %b\r\nDate: %b\r\nConnection: %b\r\n%b" % (
                policy.server,
                policy.date(),
                option,
                coding,
            )
        server = b"" if fields.has_server else b"Server: %b\r\n" % policy.server
        date = b"" if fields.has_date else b"Date: %b\r\n" % policy.date()
        return b"%b%bConnection: %b\r\n%b" % (server, date, option, coding)

    def _send_switch(self, status: int, reason: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """RFC 9110 7.8: from here on both ways carry another protocol, which the driver takes over."""
        following = next_server(self._server, ServerInput.SWITCH)
        if self._request is None or self._request.upgrade is None:
            raise LocalProtocolError("101 (Switching Protocols) to a request that did not ask for it")
        fields = ResponseFields(status, headers, self._policy)
        head = status_line(status, reason) + b"Connection: upgrade\r\n" + field_block(fields.pieces) + CRLF
        self._client = next_client(self._client, ClientInput.SWITCH)
        self._server = following
        self._framing = _UNTIL_CLOSE
        return head

    def _send_data(self, event: Data) -> bytes:
        self._server = next_server(self._server, _DATA)
        data = event.data
        if self._framing is _LENGTH:
            # Never more than was announced: the rest would be taken for the next response.
            data = data[: self._response_left]
            self._response_left -= len(data)
        elif self._framing is _CHUNKED and data:
            return b"%x\r\n%b\r\n" % (len(data), data)
        elif self._framing is _NO_BODY:
            return b""
        return data

    def _send_end(self, event: EndOfMessage) -> bytes:
        pieces: list[bytes] = []
        for name, value in event.trailers:
            pieces += (name, b": ", value, CRLF)
        trailers = field_block(pieces) if pieces else b""
        self._server = next_server(self._server, _END)
        if self._framing is _LENGTH and self._response_left:
            # The client waits for the rest; only the end of the connection tells it that there is none.
            self._persistent = False
        return _LAST_CHUNK + trailers + CRLF if self._framing is _CHUNKED else b""


_RECEIVERS = (
    ServerConnection._receive_opening,
    ServerConnection._receive_head,
    ServerConnection._receive_body,
    ServerConnection._receive_end,
    ServerConnection._receive_nothing,
    ServerConnection._receive_nothing,
    ServerConnection._receive_nothing,
    ServerConnection._receive_nothing,
)

_SENDERS: dict[type, Callable[[ServerConnection, Any], bytes]] = {
    InformationalResponse: ServerConnection._send_informational,
    Response: ServerConnection._send_response,
    Data: ServerConnection._send_data,
    EndOfMessage: ServerConnection._send_end,
}
