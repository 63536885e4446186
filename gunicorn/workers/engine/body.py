"""The source behind ``wsgi.input``: body bytes from a connection, pulled while the application waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gunicorn.errors import ProtocolError
from gunicorn.http.events import NEED_DATA, Data, EndOfMessage, InformationalResponse
from gunicorn.workers.engine.link import ClientGone, ClientSlow
from gunicorn.wsgi.input import InputError

if TYPE_CHECKING:
    from gunicorn.http.events import Event
    from gunicorn.workers.engine.link import Link

__all__ = ["Body"]

_CONTINUE = InformationalResponse(100)


class Body:
    """Returns the next bytes of the body at each call, ``b""`` at its end.

    ``100 Continue`` is sent at the first call and not before the application runs: an application that
    refuses the request by its head alone spares the client the upload (RFC 9110 10.1.1).

    Attributes:
        error: What went wrong, for the answer; every later call raises it again.
        trailers: After the end.
    """

    __slots__ = ("_decoded", "_link", "ended", "error", "trailers")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._decoded: list[bytes] = []
        self.ended = False
        self.error: ProtocolError | None = None
        self.trailers: tuple[tuple[bytes, bytes], ...] = ()

    def decode_received(self) -> None:
        """Decode what has arrived, before the application is called: no more than what was received.

        A body that is malformed in what came with its head never reaches an application, not even one that
        does not read it.

        Raises:
            ProtocolError: the body breaks a rule.
        """
        http = self._link.http
        whole = http.whole_body()
        if whole is not None:
            self._decoded.append(whole)
            self.ended = True
            return
        while (event := http.next_event()) is not NEED_DATA:
            if not isinstance(event, Data):
                self._end(event)
                return
            self._decoded.append(event.data)

    def _end(self, event: Event) -> None:
        self.ended = True
        self.trailers = event.trailers if isinstance(event, EndOfMessage) else ()

    def __call__(self) -> bytes:
        if self._decoded:
            return self._decoded.pop(0)
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
        if http is None:
            raise ClientGone("the request has been answered")
        if http.needs_continue and not http.response_started:
            link.write(http.send(_CONTINUE))
        while True:
            event = http.next_event()
            if event is NEED_DATA:
                http.receive_data(link.receive_wait())
            elif isinstance(event, Data):
                return event.data
            else:
                self._end(event)
                return b""
