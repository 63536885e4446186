"""One HTTP request and its answer as ASGI messages (ASGI, "HTTP", spec version 2.5).

``HttpExchange`` stands between an application's ``receive`` and ``send`` and a ``ServerConnection``. It
never waits: a driver asks for the next message, waits for bytes when there is none, and writes what
``send`` returns.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

from attrs import frozen

from gunicorn.asgi.errors import ClientDisconnected, MessageError
from gunicorn.errors import ProtocolError
from gunicorn.http.error_page import error_page
from gunicorn.http.errors import LocalProtocolError
from gunicorn.http.events import NEED_DATA, Data, EndOfMessage, InformationalResponse
from gunicorn.http.grammar import TOKEN
from gunicorn.http.response import OctetHeads, ResponseHead, check_fields, has_no_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from gunicorn.http.connection import ServerConnection
    from gunicorn.http.events import Headers, Request

__all__ = ["After", "FileBody", "HttpExchange", "Stage"]

Message = dict[str, Any]

_CONTINUE = InformationalResponse(100)
_END = EndOfMessage()
_DISCONNECT = "http.disconnect"

# Of all applications of a worker: 1.1 us less for each response whose head was sent before.
_HEADS = OctetHeads()

# RFC 9110 6.5.1: fields that frame, route or authenticate must not come as trailers.
_NOT_IN_TRAILERS = frozenset(
    {
        b"authorization",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
    }
    | {b"content-type", b"host", b"set-cookie", b"te", b"trailer", b"transfer-encoding", b"www-authenticate"}
)


class Stage(IntEnum):
    """What the application may send next."""

    HEAD = 0
    BODY = 1
    TRAILERS = 2
    DONE = 3


class After(Enum):
    """What a driver does with the connection when an exchange is over."""

    NEXT = "serve the next request"
    SKIP_BODY = "receive and throw away the rest of the request's body"
    CLOSE = "close"
    LINGER = "close our end, and wait a little for the client's"


@frozen
class FileBody:
    """The body, or the rest of it, is the content of the file at ``path``."""

    path: str


# Bound to names: see gunicorn.http.connection.
_AT_HEAD, _AT_BODY, _AT_END = Stage.HEAD, Stage.BODY, Stage.DONE
_NEXT = After.NEXT


class HttpExchange:
    """The messages of one request.

    Args:
        connection: Has just returned ``request``.
        request: The head.

    Attributes:
        stage: What may be sent next.
        disconnected: Whether ``send`` raises: the client is gone for certain.
        fault: What is wrong with the body of the request, once somebody tried to read it.
        status: Of the response, 0 before its head.
        headers: Of the response, as the application gave them.
        body_sent: Bytes of response body.
        dropped: Bytes of body that the application sent and the response had no room for.
        unfinished: The client did not get the whole response.
        short: The application ended the body before its Content-Length.
    """

    # Slots with all their stores, and no defaults on the class: a store takes 5 ns, and every look at a
    # default 18 ns instead of 5. That is 0.5 us for each request.
    __slots__ = (
        "_body_ended", "_connection", "_cut_off", "_head", "_notice", "_request", "_trailers",
        "_wants_trailers", "body_sent", "disconnected", "dropped", "fault", "head_sent", "headers", "short",
        "stage", "status", "trailers", "unfinished",
    )  # fmt: skip

    def __init__(self, connection: ServerConnection, request: Request) -> None:
        self._connection = connection
        self._request = request
        self.stage: Stage = _AT_HEAD
        self.head_sent = False
        self.disconnected = False
        self.fault: ProtocolError | None = None
        self.trailers: tuple[tuple[bytes, bytes], ...] = ()
        self.status = 0
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        self.body_sent = 0
        self.dropped = 0
        self.unfinished = False
        self.short = False
        self._head: ResponseHead | None = None
        self._body_ended = False
        self._notice = False
        self._wants_trailers = False
        self._cut_off = False
        self._trailers: Headers | None = None

    # For receive()

    def begin_body(self) -> bytes:
        """What to write before waiting for the body: 100 (Continue) where the client waits for it."""
        connection = self._connection
        if connection.needs_continue and self.stage is _AT_HEAD and not self.disconnected:
            return connection.send(_CONTINUE)
        return b""

    def next_message(self) -> Message | None:
        """What ``receive`` returns now; None: the driver waits for bytes, for the end of the response or of
        the
        client, and asks again.

        Nothing is taken out of the connection before this call, so a ``receive`` that is cancelled while it
        waits loses nothing.
        """
        if self.disconnected or self.fault is not None or self.stage is _AT_END:
            return {"type": _DISCONNECT}
        if self._body_ended:
            # Behind the body: a client that ends its side with its request has sent all of that.
            return {"type": _DISCONNECT} if self._notice else None
        connection = self._connection
        # Most bodies are here, or there is none: a third of the time of asking for events.
        body = connection.whole_body() if connection.body_pending else b""
        if body is None:
            return self._next_body()
        self._body_ended = True
        return {"type": "http.request", "body": body, "more_body": False}

    def _next_body(self) -> Message | None:
        pieces: list[bytes] = []
        try:
            while isinstance(event := self._connection.next_event(), Data):
                pieces.append(event.data)
        except ProtocolError as error:
            self.fail_body(error)
            return {"type": _DISCONNECT}
        if event is NEED_DATA:
            if not pieces:
                return None
        else:
            self._body_ended = True
            self.trailers = event.trailers if isinstance(event, EndOfMessage) else ()
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return {"type": "http.request", "body": body, "more_body": not self._body_ended}

    @property
    def body_wanted(self) -> bool:
        """A ``receive`` that gets None waits for bytes (``body_timeout``), not for a disconnect."""
        gone = self.disconnected or self.fault is not None or self.stage is _AT_END
        return not self._body_ended and not gone

    def fail_body(self, error: ProtocolError) -> None:
        """The body can never be read to its end: ``receive`` says http.disconnect; an answer may still be
        sent.
        """
        self.fault = error

    def notice_disconnect(self) -> None:
        """The client has ended its side. ``receive`` says so; what is sent may still reach it (a
        half-close).
        """
        self._notice = True

    def disconnect(self) -> None:
        """The client is gone: ``receive`` says so and ``send`` raises."""
        self.disconnected = True
        if self.stage is not _AT_END:
            self.unfinished = True

    # For send()

    def send(self, message: Message) -> bytes | FileBody:
        """Take a message of the application: the bytes to write (maybe none), or a file to send
        (``begin_file``).

        The head of the response is kept until the first body message (ASGI, "Response Start"): both leave
        together, and an application that fails in between can still be answered by an error page.

        Raises:
            MessageError: the message is malformed, unknown, or not possible now. Nothing has changed.
            ClientDisconnected: nobody is there.
        """
        if self.disconnected:
            raise ClientDisconnected
        try:
            handler = _SENDERS[self.stage][message["type"]]
        except (KeyError, TypeError):
            raise self._unexpected(message) from None
        return handler(self, message)

    def _unexpected(self, message: Any) -> MessageError:
        kind = message.get("type") if isinstance(message, dict) else None
        if not isinstance(kind, str):
            return MessageError(f"a message must be a dict with a type, not {message!r:.100}")
        if kind not in _EXPECTED:
            return MessageError(f"the application sent a message of unknown type {kind!r}")
        return MessageError(f"the application sent {kind!r} {_WHEN[self.stage]}")

    def _send_start(self, message: Message) -> bytes:
        try:
            status, headers = message["status"], tuple(message.get("headers", ()))
            if status < 200:
                raise LocalProtocolError(f"the status must be 200 to 999, not {status}")
            try:
                self._head = _HEADS[status, headers]
            except TypeError:
                # Fields that are lists cannot be looked up. ASGI leaves Server and Date to the application
                # where it gives them.
                self._head = ResponseHead(status, b"", headers, keep_server_and_date=True)
        except (LookupError, TypeError, ValueError) as error:
            raise _malformed(message, error) from error
        self.status = status
        self.headers = headers
        if message.get("trailers"):
            self._wants_trailers = True
        self.stage = _AT_BODY
        return b""

    def _send_informational(self, message: Message) -> bytes:
        try:
            return self._informational(message["status"], list(message.get("headers", ())))
        except (LookupError, TypeError, ValueError) as error:
            raise _malformed(message, error) from error

    def _send_early_hint(self, message: Message) -> bytes:
        try:
            return self._informational(103, [(b"link", link) for link in message["links"]])
        except (LookupError, TypeError, ValueError) as error:
            raise _malformed(message, error) from error

    def _send_late_hint(self, message: Message) -> bytes:
        # ASGI, "Early Hints": after the start, whose head waits here for the body. Behind that is too late.
        return self._send_early_hint(message) if self._head is not None else b""

    def _informational(self, status: int, headers: Headers) -> bytes:
        if not 102 <= status <= 199:
            # 100 is the server's (receive), 101 would hand the connection over.
            raise LocalProtocolError(f"the status must be 102 to 199, not {status}")
        return self._connection.send(InformationalResponse(status, headers))

    def _send_body(self, message: Message) -> bytes:
        body = message.get("body", b"")
        if type(body) is not bytes:
            body = _as_bytes(message, body)
        more = message.get("more_body", False)
        if self._head is not None:
            if not more and not self._wants_trailers:
                return self._send_whole(self._head, body)
            data = self._send_head()
            if body:
                data += self._send_part(body)
        else:
            data = self._send_part(body) if body else b""
        return data if more else data + self._end_body()

    def _send_whole(self, head: ResponseHead, body: bytes) -> bytes:
        """A response of one part, which is most of them."""
        data = self._connection.send_whole(head, body)
        self._head = None
        self.head_sent = True
        self.stage = _AT_END
        size = len(body)
        if head.length == size and head.plain and self._request.method != "HEAD":
            self.body_sent = size
        else:
            self._account(head, size)
        return data

    def _account(self, head: ResponseHead, size: int) -> None:
        """How much of a response of one part had room in it."""
        if self._request.method == "HEAD" or has_no_body(head.status):
            self.dropped = size
        elif head.length is None:
            self.body_sent = size
        else:
            self.body_sent = min(size, head.length)
            self.dropped = size - self.body_sent
            self.short = self.unfinished = size < head.length

    def _send_part(self, body: bytes) -> bytes:
        data = self._connection.send_data(body)
        # Framed it is longer than the body, and shorter only where the response had no room.
        size, sent = len(body), len(data)
        if sent < size:
            self.dropped += size - sent
            size = sent
        self.body_sent += size
        return data

    def _send_head(self) -> bytes:
        head = self._head
        if head is None:
            return b""
        data = self._connection.send_head(head)
        self._head = None
        self.head_sent = True
        return data

    def _send_path(self, message: Message) -> FileBody:
        path = message.get("path")
        if not isinstance(path, str) or not path.startswith("/"):
            raise MessageError(f"http.response.pathsend: path must be an absolute path, not {path!r:.100}")
        return FileBody(path)

    def _send_trailers(self, message: Message) -> bytes:
        try:
            trailers = [_trailer(name, value) for name, value in message.get("headers", ())]
            # Here and not on the wire: what is wrong is wrong for clients that take no trailers, too.
            check_fields(trailers)
        except (TypeError, ValueError) as error:
            raise _malformed(message, error) from error
        self._trailers = [*(self._trailers or ()), *trailers]
        return b"" if message.get("more_trailers") else self._end()

    def begin_file(self, size: int) -> tuple[bytes, int, bytes]:
        """After a ``FileBody``: what to write, how many of the file's ``size`` bytes to send, what to write
        then.
        """
        head = self._send_head()
        left = self._connection.response_left
        count = size if left is None else min(size, left)
        self.dropped += size - count
        self.body_sent += count
        before, after = self._connection.frame(count)
        return head + before, count, after + self._end_body()

    def _end_body(self) -> bytes:
        if self._wants_trailers:
            self.stage = Stage.TRAILERS
            return b""
        return self._end()

    def _end(self) -> bytes:
        connection = self._connection
        # Fewer bytes than announced: only the end of the connection can say so.
        self.short = self.unfinished = bool(connection.response_left)
        self.stage = _AT_END
        if self._trailers and _takes_trailers(self._request):
            return connection.send(EndOfMessage(tuple(self._trailers)))
        return connection.send(_END)

    # When the application has returned or raised

    @property
    def complete(self) -> bool:
        """Whether the application has sent all of its response."""
        return self.stage is _AT_END

    def abandon(self, status: int = 500, *, date: bytes = b"") -> bytes:
        """The application will send nothing more of a response that is not complete: what to write before
        closing.

        An error page when nothing of the response has been written; else nothing, and the connection's end
        tells the client that the rest is missing.
        """
        self.stage = _AT_END
        self.unfinished = True
        self._head = None
        if self.head_sent or self.disconnected:
            return b""
        self.head_sent = True
        self.status, self.headers = status, ()
        return error_page(status, date=date, body=self._request.method != "HEAD")

    def cut_off(self, status: int, *, date: bytes = b"") -> bytes:
        """As ``abandon`` for an application that still runs: from here on, nobody is there for it."""
        data = self.abandon(status, date=date)
        self._cut_off = self.disconnected = True
        return data

    def after(self) -> After:
        """What becomes of the connection. ``SKIP_BODY``: ask ``connection.discard_body()`` after each
        arrival.
        """
        connection = self._connection
        if self.disconnected and not self._cut_off:
            return After.CLOSE
        try:
            read = not self.unfinished and not connection.must_close and connection.discard_body()
            # Asked again: of a client that has closed its end, the rest of the body may have been the last.
            if read and not connection.must_close:
                return _NEXT
        except ProtocolError as error:
            self.fault = error
            return After.LINGER
        if self.unfinished or connection.must_close:
            clean = not (self._request.keep_alive or connection.body_pending or connection.trailing_data)
            return After.CLOSE if clean else After.LINGER
        return After.SKIP_BODY


def _malformed(message: Message, error: Exception) -> MessageError:
    """One line that names the message and what is wrong with it."""
    kind = message["type"]
    if isinstance(error, LocalProtocolError):
        return MessageError(f"{kind}: {error}")
    if isinstance(error, KeyError):
        return MessageError(f"{kind}: the key {error} is missing")
    status = message.get("status")
    if "status" in message and not isinstance(status, int):
        return MessageError(f"{kind}: status must be int, not {type(status).__name__}")
    return MessageError(f"{kind}: names and values must be pairs of bytes ({error})")


def _as_bytes(message: Message, body: Any) -> bytes:
    if isinstance(body, (bytes, bytearray, memoryview)):
        # A copy: what is not taken at once is kept, and the application may change what it gave.
        return bytes(body)
    raise MessageError(f"{message['type']}: body must be bytes, not {type(body).__name__}")


def _takes_trailers(request: Request) -> bool:
    """Whether the client said ``TE: trailers`` (RFC 9110 6.5.1; ASGI, "HTTP Trailers", makes it a must)."""
    return any(
        coding.partition(b";")[0].strip().lower() == b"trailers"
        for name, value in request.headers
        if name == b"te"
        for coding in value.split(b",")
    )


def _trailer(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if not TOKEN.fullmatch(name):
        raise LocalProtocolError(f"invalid name {name!r}")
    if name.lower() in _NOT_IN_TRAILERS:
        raise LocalProtocolError(f"{name.decode('ascii')} is not allowed in trailers (RFC 9110 6.5.1)")
    return name, value


_SENDERS: tuple[dict[str, Callable[[HttpExchange, Message], bytes | FileBody]], ...] = (
    {
        "http.response.start": HttpExchange._send_start,
        "http.response.informational": HttpExchange._send_informational,
        "http.response.early_hint": HttpExchange._send_early_hint,
    },
    {
        "http.response.body": HttpExchange._send_body,
        "http.response.pathsend": HttpExchange._send_path,
        "http.response.early_hint": HttpExchange._send_late_hint,
    },
    {"http.response.trailers": HttpExchange._send_trailers},
    {},
)

_EXPECTED = frozenset(kind for stage in _SENDERS for kind in stage)

_WHEN = {
    Stage.HEAD: "before 'http.response.start'",
    Stage.BODY: "where only 'http.response.body' is possible",
    Stage.TRAILERS: "where only 'http.response.trailers' is possible",
    Stage.DONE: "after the response was complete",
}
