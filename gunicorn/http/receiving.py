"""The receiving half of a server connection: bytes in, events out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gunicorn.errors import ProtocolError
from gunicorn.http.buffer import ReceiveBuffer
from gunicorn.http.chunked import ChunkedDecoder
from gunicorn.http.events import NEED_DATA, PAUSED, ConnectionClosed, Data, EndOfMessage
from gunicorn.http.grammar import CRLF
from gunicorn.http.head import HeadScanner, lines_at_once
from gunicorn.http.policy import ProxyMode
from gunicorn.http.proxy import read_proxy_header
from gunicorn.http.request import RequestReader
from gunicorn.http.state import Client, ClientInput, Server, ServerInput, next_client, next_server

if TYPE_CHECKING:
    from gunicorn.http.engines import Engine
    from gunicorn.http.events import Event, Peer, Request
    from gunicorn.http.known import KnownHead, KnownHeads
    from gunicorn.http.policy import Policy

__all__ = ["Receiving"]

# Bound to names, because CPython 3.11 takes 0.1 us to find a member of an Enum class. Where a step is only
# ever taken from one state, what the table says of it is looked up here, once.
_AWAITING_HEAD, _IN_BODY = Client.IDLE, Client.BODY
_WITHOUT_BODY = next_client(Client.IDLE, ClientInput.REQUEST)
_WITH_BODY = next_client(Client.IDLE, ClientInput.REQUEST_WITH_BODY)
_END_GIVEN = next_client(Client.END, ClientInput.END_TAKEN)
_BODY_GIVEN = next_client(next_client(Client.BODY, ClientInput.BODY_END), ClientInput.END_TAKEN)
_RESPONSE_DUE = next_server(Server.IDLE, ServerInput.REQUEST)

_HEAD_END = b"\r\n\r\n"
_CONNECTION_CLOSED = ConnectionClosed()
_END_OF_MESSAGE = EndOfMessage()


class Receiving:
    """See ``gunicorn.http.connection.ServerConnection``, which adds the other half."""

    __slots__ = (
        "_body_left",
        "_buffer",
        "_client",
        "_continue_due",
        "_decoder",
        "_drained",
        "_eof",
        "_fault",
        "_heads",
        "_leading_crlf",
        "_persistent",
        "_policy",
        "_reader",
        "_request",
        "_scanner",
        "_server",
        "fields_repeated",
        "known",
    )

    def __init__(
        self,
        policy: Policy,
        peer: Peer,
        *,
        engine: Engine | None = None,
        secure: bool = False,
        shares_requests: bool = False,
        heads: KnownHeads | None = None,
    ) -> None:
        self._policy = policy
        self._heads = heads
        self._reader = RequestReader(
            policy,
            engine or policy.new_engine(),
            peer,
            secure=secure,
            shares_requests=shares_requests,
            known=heads,
        )
        self._buffer = ReceiveBuffer()
        self.known: KnownHead | None = None
        """The head of the request, where it is one of the shared ``heads``."""
        self._begin()

    def _begin(self) -> None:
        self._buffer.skip_to(len(self._buffer.data))
        self._client = _AWAITING_HEAD if self._policy.proxy_protocol is ProxyMode.OFF else Client.OPENING
        # The other half's, but it is a request that moves it first.
        self._server = Server.IDLE
        self._eof = False
        self._fault: ProtocolError | None = None
        self._scanner: HeadScanner | None = None
        self._leading_crlf = False
        self._request: Request | None = None
        self.fields_repeated = False
        """The request has the very same fields as the one before it: what was made of them is good again.
        A driver that gave ``heads`` asks for ``known`` instead."""
        # What follows is set anew by each request, or by each that has a body.
        self._persistent = True
        self._decoder: ChunkedDecoder | None = None
        self._continue_due = False
        self._body_left = 0
        self._drained = 0

    # What a driver asks before it waits.

    @property
    def failed(self) -> bool:
        """The peer broke a rule."""
        return self._fault is not None

    @property
    def peer(self) -> Peer:
        """The socket's peer, or the one that a PROXY header announced."""
        return self._reader.peer

    @peer.setter
    def peer(self, peer: Peer) -> None:
        self._reader.peer = peer

    @property
    def idle(self) -> bool:
        """Between requests, with nothing received of the next one."""
        return not self._buffer.data and self._client <= _AWAITING_HEAD

    @property
    def waiting_for_head(self) -> bool:
        """Some of a request head, or of a PROXY header, has arrived."""
        return len(self._buffer) > 0 and self._client <= _AWAITING_HEAD

    @property
    def body_pending(self) -> bool:
        """The request's body has not been read to its end."""
        return self._client is _IN_BODY

    @property
    def wants_data(self) -> bool:
        """More bytes can lead to an event of the current request."""
        return self._client <= _IN_BODY and not self._eof

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

    def receive_again(self, data: bytes, guess: KnownHead | None) -> Request | None:
        """``receive_data`` and ``next_event`` at once, if ``data`` is that request and nothing else.

        Only for a connection that is ``idle``, and whose driver gave ``heads``.

        Args:
            guess: What the connection has said last (``known``).

        Returns:
            None: ask for events.
        """
        self.known = guess
        if guess is None or data != guess.whole:
            self.receive_data(data)
            return None
        self._request = request = guess.request
        # No head is known that ends the connection.
        self._client, self._server, self._persistent, self._decoder = _WITHOUT_BODY, _RESPONSE_DUE, True, None
        return request

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
            self._persistent = False
            self._client = next_client(self._client, ClientInput.FAULT)
            raise

    def whole_body(self) -> bytes | None:
        """The body of a request with a Content-Length, if all of it is here: ``Data`` and ``EndOfMessage``.

        None: ask for events.
        """
        size = self._body_left
        if self._client is not _IN_BODY or self._decoder is not None or len(self._buffer) < size:
            return None
        self._client, self._body_left, self._continue_due = _BODY_GIVEN, 0, False
        return self._buffer.take(size)

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
        self._persistent = False
        return _CONNECTION_CLOSED

    def _receive_head(self) -> Event:
        if self._scanner is not None:
            # The head came in pieces: the scanner, which counts from its start, must be the one to finish.
            request = self.known = None
        elif self._heads is None:
            request = self._reader.read_again(self._buffer)
        else:
            request = self._read_known(self._heads)
        self.fields_repeated = request is not None
        if request is None:
            request = self._read_head()
            if request is None:
                return self._need_head()
        self._leading_crlf = False
        self._request = request
        self._server = _RESPONSE_DUE
        self._persistent = request.keep_alive
        if request.chunked or request.content_length:
            self._begin_body(request)
        else:
            self._client = _WITHOUT_BODY
            self._decoder = None
        return request

    def _read_known(self, heads: KnownHeads) -> Request | None:
        self.known = known = heads.find(self._buffer, self.known)
        return None if known is None else known.request

    def _read_head(self) -> Request | None:
        buffer = self._buffer
        if not buffer.data:
            return None
        if buffer.data[buffer.position] == 0x0D and not (self._leading_crlf or self._skip_leading_crlf()):
            return None
        if self._scanner is None:
            found = self._lines_at_once()
            if found is not None:
                lines, head = found
                buffer.skip_to(buffer.position + len(head))
                return self._reader.read(lines, head)
            self._scanner = HeadScanner(self._policy)
        data, origin = buffer.data, buffer.position
        size = self._scanner.scan(data, origin)
        if size is None:
            return None
        self._scanner = None
        return self._reader.read(buffer.take(size)[:-4].split(CRLF))

    def _lines_at_once(self) -> tuple[list[bytes], bytes] | None:
        """The lines of the next head, and all of it, if it is complete and without fault."""
        data, origin = self._buffer.data, self._buffer.position
        # Most often nothing else is here: then its end need not be searched for.
        if not origin and data.endswith(_HEAD_END) and (lines := lines_at_once(bytes(data), self._policy)):
            return lines, bytes(data)
        end = data.find(_HEAD_END, origin) + len(_HEAD_END)
        if end < len(_HEAD_END):
            return None
        head = bytes(data[origin:end])
        lines = lines_at_once(head, self._policy)
        return None if lines is None else (lines, head)

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
        self._client = _WITH_BODY
        self._decoder = ChunkedDecoder(self._policy) if request.chunked else None
        self._body_left = request.content_length or 0
        self._drained = 0
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
        self._client = _END_GIVEN
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
            self._persistent = False
        return _CONNECTION_CLOSED


# In the order of Client.
_RECEIVERS = (
    Receiving._receive_opening,
    Receiving._receive_head,
    Receiving._receive_body,
    Receiving._receive_end,
    Receiving._receive_nothing,
    Receiving._receive_nothing,
    Receiving._receive_nothing,
    Receiving._receive_nothing,
)
