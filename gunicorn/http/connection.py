"""One HTTP/1.1 server connection without a socket: bytes in, events out; events in, bytes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.http.errors import LocalProtocolError
from gunicorn.http.events import Data, EndOfMessage, InformationalResponse, Response
from gunicorn.http.grammar import CRLF
from gunicorn.http.receiving import Receiving
from gunicorn.http.response import Framing, ResponseHead, check_fields, has_no_body
from gunicorn.http.state import (
    CLIENT_TABLE,
    Client,
    ClientInput,
    Server,
    ServerInput,
    next_client,
    next_server,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gunicorn.http.engines import Engine
    from gunicorn.http.events import Peer, Request
    from gunicorn.http.known import KnownHeads
    from gunicorn.http.policy import Policy

__all__ = ["ServerConnection"]

Outgoing = InformationalResponse | Response | Data | EndOfMessage

# See gunicorn.http.receiving on names for members, and on transitions that are looked up here.
_IN_BODY = Client.BODY
_CLIENT_NEXT, _CLIENT_SWITCHES = ClientInput.NEXT_CYCLE, ClientInput.SWITCH
_RESPONSE_DUE, _RESPONDING, _RESPONDED = Server.HEAD, Server.BODY, Server.DONE
_RESPONSE, _DATA, _END, _SERVER_NEXT = (
    ServerInput.RESPONSE,
    ServerInput.DATA,
    ServerInput.END,
    ServerInput.NEXT_CYCLE,
)
_READ = tuple(state for state in Client if CLIENT_TABLE[state][_CLIENT_NEXT] is not None)
(_NEXT_READ,) = {next_client(state, _CLIENT_NEXT) for state in _READ}
_NEXT_RESPONSE = next_server(_RESPONDED, _SERVER_NEXT)
_NO_BODY, _LENGTH, _CHUNKED, _UNTIL_CLOSE = Framing.NONE, Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE

_END_OF_MESSAGE = EndOfMessage()
_LAST_CHUNK = b"0\r\n"


class ServerConnection(Receiving):
    """The server's side of one connection.

    A driver feeds what it receives and asks for events until it gets ``NEED_DATA`` or ``PAUSED``; it sends
    what ``send`` returns. After ``EndOfMessage`` both ways it calls ``start_next_cycle``, or closes when
    ``must_close`` is true. It should not feed more while ``wants_data`` is false: what was fed waits here.

    Args:
        policy: What is accepted, shared by all connections of a worker.
        peer: The socket's peer.
        engine: What splits field lines; by default the policy's choice.
        secure: TLS ends here.
        shares_requests: The driver and what it calls never change the headers of a request. A request that
            is byte for byte the one before is then the same object.
        heads: What this connection shares with others, instead of remembering the last request itself; with
            ``shares_requests``. A request from there (``known``) has no peer.
    """

    __slots__ = ("_closing", "_framing", "_response_left")

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
        super().__init__(
            policy, peer, engine=engine, secure=secure, shares_requests=shares_requests, heads=heads
        )
        self._closing = False
        self._framing = _NO_BODY
        self._response_left = 0

    def renew(self) -> None:
        """Be as new, for another connection with a peer (to be set) that is trusted as much as this one's."""
        self._begin()

    # What a driver asks before it goes on.

    @property
    def must_close(self) -> bool:
        """The connection cannot serve another request after the current one."""
        return not self._persistent or (self._eof and not self._buffer.data)

    @property
    def needs_continue(self) -> bool:
        """The client waits for 100 (Continue), or for the final response, before it sends the body.

        RFC 9110 10.1.1: 100 may be left out when some of the body has arrived already.
        """
        waits = self._client is _IN_BODY and self._continue_due and self._server < _RESPONDING
        return waits and not self._buffer.data

    @property
    def response_started(self) -> bool:
        """The head of the final response has been made: an error page can no longer be sent."""
        return self._server >= _RESPONDING

    @property
    def response_left(self) -> int | None:
        """Bytes of body that the response still has room for, or None: a driver clips ``frame`` to it."""
        return None if self._framing >= _CHUNKED else self._response_left

    def start_next_cycle(self) -> bool:
        """Get ready for the next request on the connection; whether some of it is here already.

        Raises:
            LocalProtocolError: this one is not over, or the connection must be closed.
        """
        more = self.go_on()
        if more is None:
            if self.must_close:
                raise LocalProtocolError("the connection must be closed")
            raise LocalProtocolError("the request has not been read to its end, or not been answered")
        return more

    def go_on(self) -> bool | None:
        """``start_next_cycle`` if it can be, else None. For drivers to whom that is nothing unusual."""
        if self._client not in _READ or self._server is not _RESPONDED or not self._persistent:
            return None
        more = self._buffer.data != b""
        if self._eof and not more:
            return None
        self._client, self._server = _NEXT_READ, _NEXT_RESPONSE
        return more

    def announce_close(self) -> None:
        """From now on a response says ``Connection: close`` (RFC 9112 9.6)."""
        self._closing = True

    # Events in, bytes out.

    def send(self, event: Outgoing) -> bytes:
        """The bytes that say ``event``.

        Raises:
            LocalProtocolError: it must not be said, or not now. Nothing has changed then.
        """
        return _SENDERS[type(event)](self, event)

    def send_whole(self, head: ResponseHead, body: bytes) -> bytes:
        """A response whose body is known: ``send_head``, ``Data`` and ``EndOfMessage`` at once.

        A Content-Length that the application left out is added.

        Raises:
            LocalProtocolError: as ``send``.
        """
        request = self._request
        length = head.length
        if (
            self._client is _IN_BODY
            or self._server is not _RESPONSE_DUE
            or not head.plain
            or request is None
            or request.method in _SPECIAL_METHODS
            or (length is not None and length != len(body))
        ):
            return self._send_in_steps(head, body)
        if head.close or self._closing:
            self._persistent = False
        self._server = _RESPONDED
        own = self._policy.own_fields()[self._persistent and not (self._eof and not self._buffer.data)]
        if length is None:
            return b"%b%b%bContent-Length: %d\r\n\r\n%b" % (
                head.first,
                own,
                b"".join(head.lines),
                len(body),
                body,
            )
        # One tuple, because other threads send the same head.
        made_with, start = head.ready
        if made_with is not own:
            start = b"".join((head.first, own, *head.lines, CRLF))
            head.ready = own, start
        return start + body

    def _send_in_steps(self, head: ResponseHead, body: bytes) -> bytes:
        if head.length is None and not has_no_body(head.status) and (body or not self._is_head()):
            head = head.with_length(len(body))
        return self.send_head(head) + self._send_data(Data(body)) + self._send_end(_END_OF_MESSAGE)

    def _is_head(self) -> bool:
        return self._request is not None and self._request.method == "HEAD"

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
            return self._send_switch(ResponseHead(101, b"", event.headers))
        if not 100 <= event.status < 200:
            raise LocalProtocolError(f"{event.status} is not an informational status")
        head = ResponseHead(event.status, b"", event.headers)
        self._server = next_server(self._server, ServerInput.INFORMATIONAL)
        if event.status == 100:
            self._continue_due = False
        # RFC 9110 15.2: never to an HTTP/1.0 client.
        if self._request is None or self._request.version < "1.1":
            return b""
        return b"".join((head.first, *head.lines, CRLF))

    def _send_response(self, event: Response) -> bytes:
        keep = self._policy.keep_app_server_and_date
        return self.send_head(
            ResponseHead(event.status, event.reason, event.headers, keep_server_and_date=keep)
        )

    def send_head(self, head: ResponseHead) -> bytes:
        """As ``send`` of a ``Response``, for a head that has been checked already."""
        if head.status == 101:
            return self._send_switch(head)
        following = next_server(self._server, _RESPONSE)
        request = self._request
        if request is None:
            raise LocalProtocolError("a response without a request")
        lines = head.lines
        tunnel = request.method == "CONNECT" and 200 <= head.status < 300
        if tunnel:
            lines = head.without_length()
            self._client = next_client(self._client, _CLIENT_SWITCHES)
            self._persistent = False
        self._choose_framing(head, request, tunnel=tunnel)
        self._server = following
        if (
            self._framing is _UNTIL_CLOSE
            or head.close
            or self._closing
            or self._leaves_body()
            or self.must_close
        ):
            self._persistent = False
        return b"".join((head.first, self._own_fields(head), *lines, CRLF))

    def _choose_framing(self, head: ResponseHead, request: Request, *, tunnel: bool) -> None:
        self._response_left = 0
        if tunnel:
            # RFC 9110 9.3.6: neither Content-Length nor Transfer-Encoding; what follows is the tunnel.
            self._framing = _UNTIL_CLOSE
        elif request.method == "HEAD" or has_no_body(head.status):
            self._framing = _NO_BODY
        elif head.length is not None:
            self._framing = _LENGTH
            self._response_left = head.length
        else:
            self._framing = _CHUNKED if request.version >= "1.1" else _UNTIL_CLOSE

    def _leaves_body(self) -> bool:
        """Whether more of the request's body is to come than is worth reading to throw it away."""
        return self._client is _IN_BODY and (self._continue_due or self._body_left > self._policy.drain_limit)

    def _own_fields(self, head: ResponseHead) -> bytes:
        policy = self._policy
        coding = b"Transfer-Encoding: chunked\r\n" if self._framing is _CHUNKED else b""
        if head.upgrade is None and not (head.has_server or head.has_date):
            return policy.own_fields()[self._persistent] + coding
        option = b"keep-alive" if self._persistent else b"close"
        if head.upgrade is not None:
            option = b"upgrade, " + option
        server = b"" if head.has_server else b"Server: %b\r\n" % policy.server
        date = b"" if head.has_date else b"Date: %b\r\n" % policy.date()
        return b"%b%bConnection: %b\r\n%b" % (server, date, option, coding)

    def _send_switch(self, head: ResponseHead) -> bytes:
        """RFC 9110 7.8: from here on both ways carry another protocol, which the driver takes over."""
        following = next_server(self._server, ServerInput.SWITCH)
        if self._request is None or self._request.upgrade is None:
            raise LocalProtocolError("101 (Switching Protocols) to a request that did not ask for it")
        self._client = next_client(self._client, _CLIENT_SWITCHES)
        self._server = following
        self._persistent = False
        self._framing = _UNTIL_CLOSE
        return b"".join((head.first, b"Connection: upgrade\r\n", *head.lines, CRLF))

    def _send_data(self, event: Data) -> bytes:
        return self.send_data(event.data)

    def send_data(self, data: bytes) -> bytes:
        """As ``send`` of a ``Data``, which a driver with many pieces need not make."""
        if self._server is not _RESPONDING:
            self._server = next_server(self._server, _DATA)
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
        trailers = check_fields(event.trailers) if event.trailers else b""
        self._server = next_server(self._server, _END)
        if self._framing is _LENGTH and self._response_left:
            # The client waits for the rest; only the end of the connection tells it that there is none.
            self._persistent = False
        return _LAST_CHUNK + trailers + CRLF if self._framing is _CHUNKED else b""


# Their responses are framed by more than the head that the application gives.
_SPECIAL_METHODS = frozenset(("HEAD", "CONNECT"))

_SENDERS: dict[type, Callable[[ServerConnection, Any], bytes]] = {
    InformationalResponse: ServerConnection._send_informational,
    Response: ServerConnection._send_response,
    Data: ServerConnection._send_data,
    EndOfMessage: ServerConnection._send_end,
}
