"""What is recorded of a request: its slot, the hooks, the access log, and what a failure means in the error
log.

Synchronous and without a loop, so that every driver uses the same.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gunicorn.asgi.errors import ClientDisconnected
from gunicorn.http.error_page import error_page
from gunicorn.http.status import reason_phrase
from gunicorn.process.slots import ERRORS
from gunicorn.wsgi.message import RefusedRequest, RequestView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gunicorn.asgi.http import HttpExchange
    from gunicorn.errors import ProtocolError
    from gunicorn.http.events import Peer, Request
    from gunicorn.http.policy import Policy
    from gunicorn.workers.base import Worker

__all__ = ["Entry", "Ledger"]

_BODILESS = (204, 304)


class Entry:
    """One request that has begun.

    Attributes:
        request: The head.
        started: Monotonic seconds.
        index: Of the slot's table of requests in flight.
        view: What the hooks get as ``req``, when there are any.
    """

    __slots__ = ("answered", "index", "peer", "request", "started", "view")

    def __init__(self, request: Request, peer: Peer, index: int, started: float) -> None:
        self.request = request
        self.peer = peer
        self.index = index
        self.started = started
        self.view: RequestView | None = None
        self.answered = False

    def __str__(self) -> str:
        return f"{self.request.method} {self.request.path.decode('latin-1')}"


class Ledger:
    """The records of one worker.

    Args:
        worker: Gives configuration, log and slot.
        policy: Gives the Date of error pages.
    """

    def __init__(self, worker: Worker, policy: Policy) -> None:
        log = worker.log
        self.worker = worker
        self.log = log
        self.date = policy.date
        self.slot = worker.slot
        self._table = None if worker.slot is None else worker.slot.table
        self.pre_request = _hook(worker, "pre_request")
        self.post_request = _hook(worker, "post_request")
        self.access = log.access if getattr(log, "access_enabled", True) else None
        self._observed = bool(self.pre_request or self.post_request or self.access)

    def begin(self, request: Request, peer: Peer) -> Entry:
        """A request has arrived.

        Args:
            peer: The socket's peer.
        """
        table = self._table
        index = -1 if table is None else table.begin(request.method, request.path)
        return Entry(request, peer, index, time.monotonic() if self._observed else 0.0)

    def enter(self, entry: Entry) -> None:
        """The application is about to be called: ``pre_request``, which may raise."""
        if self.pre_request is not None:
            self.pre_request(self.worker, self._view(entry))

    def answered(self, entry: Entry, exchange: HttpExchange) -> None:
        """The response is over, one way or another; the application may still run."""
        entry.answered = True
        if self.access is not None:
            answer = _Answer(exchange.status, exchange.headers, exchange.body_sent)
            self.access(answer, self._view(entry), _environ(entry), _since(entry.started))
        if exchange.dropped:
            self._warn_dropped(entry, exchange)
        elif exchange.short:
            self.log.error(
                "%s: the body has %s bytes, fewer than its Content-Length", entry, exchange.body_sent
            )
        worker, slot = self.worker, self.slot
        worker.nr = nr = worker.nr + 1 if slot is None else slot.finish(-1, exchange.body_sent)
        if nr == worker.max_requests:
            self.log.info("Autorestarting worker after current request.")
            worker.leave("max_requests")

    def end(self, entry: Entry, exchange: HttpExchange) -> None:
        """The application has returned."""
        if not entry.answered:
            self.answered(entry, exchange)
        if self._table is not None:
            self._table.end(entry.index)
        if self.post_request is not None:
            answer = _Answer(exchange.status, exchange.headers, exchange.body_sent)
            try:
                self.post_request(self.worker, self._view(entry), _environ(entry), answer)
            except Exception:
                # The hook is the user's, and the answer has been sent already.
                self.log.exception("Exception in post_request hook")

    def socket_over(
        self,
        entry: Entry,
        status: int,
        error: BaseException | None = None,
        reason: str = "",
        *,
        gone: bool = False,
    ) -> None:
        """A WebSocket has ended, or was refused. It counts neither for ``max_requests`` nor for the hooks.

        Args:
            status: 101, or that of the answer which refused it.
            error: What the application raised.
            reason: Why the driver cancelled it; empty when it did not.
            gone: The client had left, or was leaving.
        """
        if self.slot is not None:
            self.slot.table.end(entry.index)
        if self.access is not None:
            self.access(_Answer(status, [], 0), self._view(entry), _environ(entry), _since(entry.started))
        if reason:
            self.log.debug("%s: cancelled, because %s", entry, reason)
        elif error is not None and not (gone and _is_disconnect(error)):
            if self.slot is not None:
                self.slot.add(ERRORS)
            self.log.error("Error handling WebSocket %s", entry, exc_info=error)

    def _view(self, entry: Entry) -> RequestView:
        if entry.view is None:
            entry.view = RequestView(entry.request, entry.peer, None, closes=not entry.request.keep_alive)
        return entry.view

    def _warn_dropped(self, entry: Entry, exchange: HttpExchange) -> None:
        if entry.request.method == "HEAD":
            return  # frameworks answer HEAD as they answer GET, and leave the difference to the server
        reason = "which has no body" if exchange.status in _BODILESS else "more than its Content-Length"
        self.log.warning(
            "%s: %s bytes of the body were not sent: the status is %s, %s",
            entry,
            exchange.dropped,
            exchange.status,
            reason,
        )

    # Failures

    def conclude(
        self, entry: Entry, exchange: HttpExchange, error: BaseException | None, reason: str = ""
    ) -> bytes:
        """The application raised ``error``, or returned (None) without completing its response.

        Args:
            reason: Why the driver cancelled it; empty when it did not.

        Returns:
            What to write before the connection is closed: an error page, where one is still possible.
        """
        status = self._judge(entry, exchange, error, reason)
        return b"" if exchange.complete else exchange.abandon(status, date=self.date())

    def _judge(self, entry: Entry, exchange: HttpExchange, error: BaseException | None, reason: str) -> int:
        if reason:
            self.log.debug("%s: cancelled, because %s", entry, reason)
            return 503
        if exchange.disconnected and (error is None or _is_disconnect(error)):
            self.log.debug("%s: the client left before the end of the response", entry)
            return 500
        if exchange.fault is not None and not exchange.head_sent:
            # The body was bad, and the application did not cope: the client's fault, not the application's.
            self._warn(entry.peer, exchange.fault)
            return exchange.fault.status
        if self.slot is not None:
            self.slot.add(ERRORS)
        if error is None:
            self.log.error("%s: the application returned without %s", entry, _missing(exchange))
        else:
            self.log.error("Error handling request %s", entry, exc_info=error)
        return 500

    def refuse(self, peer: Peer, error: ProtocolError) -> bytes:
        """A request broke the protocol: one line in the log, an access line like any other, and the answer
        to write.
        """
        self._warn(peer, error)
        if self.access is not None:
            environ = {"REMOTE_ADDR": peer.host or ""}
            answer = _Answer(error.status, [], 0)
            self.access(answer, RefusedRequest(), environ, _since(time.monotonic()))
        return error_page(error.status, date=self.date())

    def _warn(self, peer: Peer, error: ProtocolError) -> None:
        self.log.warning("Invalid request from %s: %s (answered %s)", name_of(peer), error, error.status)


class _Answer:
    """The response as hooks and the access log see it."""

    __slots__ = ("_headers", "sent", "status", "status_code")

    def __init__(self, status: int, headers: Iterable[tuple[bytes, bytes]], sent: int) -> None:
        self.status_code = status
        self.status = f"{status} {reason_phrase(status).decode('latin-1')}"
        self._headers = headers
        self.sent = sent

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._headers]


def name_of(peer: Peer) -> str:
    """Whom a log line is about."""
    return peer.host or ("unix socket" if peer.is_unix else "unknown peer")


def _environ(entry: Entry) -> dict[str, Any]:
    """What of a WSGI environ the access log and ``post_request`` read."""
    request = entry.request
    source = request.peer.proxy.source if request.peer.proxy is not None else None
    environ: dict[str, Any] = {
        "REMOTE_ADDR": (source[0] if source is not None else request.peer.host) or "",
        "REQUEST_METHOD": request.method,
        "RAW_URI": request.target.decode("latin-1"),
        "PATH_INFO": request.path.decode("latin-1"),
        "QUERY_STRING": request.query.decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{request.version}",
        "wsgi.url_scheme": request.scheme,
    }
    for name, value in request.headers:
        environ["HTTP_" + name.decode("latin-1").upper().replace("-", "_")] = value.decode("latin-1")
    return environ


def _missing(exchange: HttpExchange) -> str:
    return "completing its response" if exchange.status else "a response"


def _is_disconnect(error: BaseException | None) -> bool:
    """Whether ``error`` is what ``send`` raised for a client that left, or was raised because of it."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, ClientDisconnected):
            return True
        error = error.__cause__ or error.__context__
        seen += 1
    return False


def _hook(worker: Worker, name: str) -> Callable[..., Any] | None:
    """The user's hook; None for the default, which would only cost a call."""
    function: Callable[..., Any] = getattr(worker.cfg, name)
    settings = getattr(worker.cfg, "settings", {})
    if name in settings and settings[name].value is settings[name].default:
        import logging

        # The default pre_request logs at this level; nothing else would show that it was left out.
        return (
            function if name == "pre_request" and worker.log.error_log.isEnabledFor(logging.DEBUG) else None
        )
    return function


def _since(started: float) -> timedelta:
    return timedelta(seconds=time.monotonic() - started)
