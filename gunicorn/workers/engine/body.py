"""The source behind ``wsgi.input``: body bytes from a connection, pulled while the application waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gunicorn.errors import ProtocolError
from gunicorn.http.events import NEED_DATA, Data, EndOfMessage, InformationalResponse
from gunicorn.workers.engine.link import ClientGone, ClientSlow
from gunicorn.wsgi.input import InputError

if TYPE_CHECKING:
    from gunicorn.workers.engine.link import Link

__all__ = ["Body", "no_body"]

_CONTINUE = InformationalResponse(100)


def no_body() -> bytes:
    """The source of a request that has none."""
    return b""


class Body:
    """Returns the next bytes of the body at each call, ``b""`` at its end.

    ``100 Continue`` is sent at the first call and not before the application runs: an application that
    refuses the request by its head alone spares the client the upload (RFC 9110 10.1.1).

    Attributes:
        error: What went wrong, for the answer; every later call raises it again.
        trailers: After the end.
    """

    __slots__ = ("_link", "ended", "error", "trailers")

    def __init__(self, link: Link) -> None:
        self._link = link
        self.ended = False
        self.error: ProtocolError | None = None
        self.trailers: tuple[tuple[bytes, bytes], ...] = ()

    def __call__(self) -> bytes:
        if self.ended:
            return b""
        if self.error is None:
            try:
                return self._next()
            except ProtocolError as error:
                self.error = error
            except ClientSlow as error:
                self.error = ProtocolError(408, "body_timeout", str(error))
            except ClientGone as error:
                self.error = ProtocolError(400, "body cut off", str(error))
        raise InputError(str(self.error)) from self.error

    def _next(self) -> bytes:
        link = self._link
        http = link.http
        if http.needs_continue and not http.response_started:
            link.write(http.send(_CONTINUE))
        while True:
            event = http.next_event()
            if event is NEED_DATA:
                http.receive_data(link.receive_wait())
            elif isinstance(event, Data):
                return event.data
            else:
                self.ended = True
                self.trailers = event.trailers if isinstance(event, EndOfMessage) else ()
                return b""
