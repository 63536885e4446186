"""One request and its answer: application, hooks, access log, and what happens when any of them fails."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from gunicorn.http.error_page import error_page
from gunicorn.http.status import reason_phrase
from gunicorn.process.slots import ERRORS
from gunicorn.workers.engine.link import ClientGone
from gunicorn.wsgi.environ import (
    ScriptNameMismatch,
    add_client,
    add_line,
    add_proxy,
    fields_environ,
    listener_environ,
    request_environ,
    worker_environ,
)
from gunicorn.wsgi.input import Input
from gunicorn.wsgi.message import RefusedRequest, RequestView
from gunicorn.wsgi.response import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from gunicorn.errors import ProtocolError
    from gunicorn.http.events import Peer, Request
    from gunicorn.http.known import KnownHead
    from gunicorn.http.policy import Policy
    from gunicorn.workers.base import Worker
    from gunicorn.workers.engine.body import Body
    from gunicorn.workers.engine.deadlines import RequestDeadlines, Running
    from gunicorn.workers.engine.front import Front
    from gunicorn.workers.engine.link import Link

__all__ = ["Exchanges"]

Environ = dict[str, Any]


class Exchanges:
    """Answers the requests of one worker; called by all its threads.

    Args:
        worker: Gives the application, configuration, log and slot.
        policy: Gives the Date of error pages.
        multithread: For ``wsgi.multithread``.
    """

    def __init__(self, worker: Worker, policy: Policy, *, multithread: bool) -> None:
        cfg, log = worker.cfg, worker.log
        self.date = policy.date
        self.worker = worker
        self.log = log
        self.app = worker.wsgi
        self.environ = worker_environ(cfg, log.error_log, multithread=multithread)
        self.slot = slot = worker.slot
        counts = _Counts() if slot is None else slot
        self._begin, self._finish = counts.table.begin, counts.finish
        self.deadlines = _deadlines(cfg)
        self.pre_request = _hook(worker, "pre_request")
        self.post_request = _hook(worker, "post_request")
        self.access = log.access if getattr(log, "access_enabled", True) else None
        self._elapsed = _stopwatch() if self.access else (lambda started: None)
        self._last = worker.max_requests
        self._work: Callable[[Link, Request, Body | None, Response], bool] = self._answer
        if self.pre_request or self.post_request or self.access:
            self._work = self._answer_observed
        if self.deadlines is not None:
            self._in_time, self._work = self._work, self._answer_in_time

    def answer(self, link: Link, request: Request, body: Body | None) -> bool:
        """Have the application answer ``request``; whether the connection may go on.

        Raises:
            BaseException: what is not an ``Exception`` ends the worker; the client has got its answer,
            if it could.
        """
        response = Response(link, request.method)
        index = self._begin(request.method, request.path)
        try:
            return self._work(link, request, body, response)
        finally:
            # The slot's counter is exact among threads, the attribute is for everybody who reads it.
            self.worker.nr = number = self._finish(index, response.sent)
            if number == self._last:
                self.log.info("Autorestarting worker after current request.")
                self.worker.leave("max_requests")

    def _answer_in_time(self, link: Link, request: Request, body: Body | None, response: Response) -> bool:
        deadlines = self.deadlines
        assert deadlines is not None
        deadlines.begin(link, request, response)
        try:
            return self._in_time(link, request, body, response)
        finally:
            if not deadlines.end(link):
                # Claimed, though the one who did so may not have got to the link yet.
                link.abandoned = link.abandoned or ""

    def _answer(
        self,
        link: Link,
        request: Request,
        body: Body | None,
        response: Response,
        record: _Record | None = None,
    ) -> bool:
        try:
            environ = self._environ_of(link, request)
            environ["wsgi.early_hints"] = response.early_hints
            if body is not None:
                environ["wsgi.input"] = Input(body)
            if record is not None:
                self._begin_record(record, link, request, environ, body)
            result = self.app(environ, response.start_response)
            try:
                response.send(result)
            finally:
                if type(result) is not list and hasattr(result, "close"):
                    result.close()
        except ClientGone as error:
            self.log.debug("Client %s left: %s", _name(_client(link)), error)
            return False
        except Exception as error:  # noqa: BLE001 - the boundary of the application's code, answered and logged
            self._fail(link, request, response, body, error)
            return False
        except BaseException:
            # sys.exit, or a handler's way out of the application: the worker ends, but the client may know.
            if not response.headers_sent:
                self._send_page(link, request, response, 500)
            raise
        return True

    def _environ_of(self, link: Link, request: Request) -> Environ:
        """The environ of ``request``: a copy, where the very same was asked for before, by whomever."""
        known = link.http.known
        if known is None:
            environ = fields_environ(link.front.environ or self._base(link.front), request)
            add_line(environ, request)
        elif known.environ is None:
            environ = self._environ_of_known(link.front, known)
        else:
            environ = known.environ.copy()
        add_client(environ, link.sock, link.host, link.port)
        if link.front.is_proxied:
            add_proxy(environ, link.http.peer)
        return environ

    def _environ_of_known(self, front: Front, known: KnownHead) -> Environ:
        fields = known.fields
        if fields.environ is None:
            fields.environ = fields_environ(front.environ or self._base(front), known.request)
        environ = request_environ(fields.environ, known.request)
        if not known.met:
            known.met = True
            return environ
        # For the second time, so that there may be a third one.
        known.environ = environ
        return environ.copy()

    def _base(self, front: Front) -> Environ:
        front.environ = environ = listener_environ(self.environ, front.listener.address)
        return environ

    # Failures

    def _fail(
        self, link: Link, request: Request, response: Response, body: Body | None, error: Exception
    ) -> None:
        """Log what the application raised, and answer it if no answer has begun."""
        if body is not None and body.error is not None:
            # The body was bad, and the application did not cope: the client's fault, not the application's.
            self._warn(_client(link), body.error)
            status = body.error.status
        else:
            if isinstance(error, ScriptNameMismatch):
                self.log.error("Error handling request %s: %s", _path(request), error)
            else:
                self.log.exception("Error handling request %s", _path(request))
            status = 500
            if self.slot is not None:
                self.slot.add(ERRORS)
        if not response.headers_sent:
            self._send_page(link, request, response, status)

    def _send_page(self, link: Link, request: Request, response: Response, status: int) -> None:
        page = error_page(status, date=self.date(), body=request.method != "HEAD")
        response.status, response.headers = _status(status), ()
        response.sent = _body_size(page)
        try:
            link.write(page)
        except ClientGone as error:
            self.log.debug("Client %s left: %s", _name(_client(link)), error)

    def refuse(self, link: Link, error: ProtocolError) -> None:
        """Answer a request that broke the protocol: one line in the log, and an access line as always."""
        self._warn(link.peer, error)
        page = error_page(error.status, date=self.date())
        if self.access is not None:
            environ = {"REMOTE_ADDR": link.peer.host or ""}
            refusal = _Refusal(_status(error.status), _body_size(page))
            self.access(refusal, RefusedRequest(), environ, self._elapsed(time.monotonic()))
        try:
            link.write(page)
        except ClientGone:
            return  # it did not wait for the answer

    def time_out(self, running: Running) -> None:
        """Answer 504 for a thread that is stuck in the application, or cut off the answer that it began."""
        _, link, request, response, _ = running
        self.log.error("Request %s took longer than request_timeout", _path(request))
        # First the flag, then the look: the thread sets the one that is looked at before it reads the flag.
        link.abandoned = status = _status(504)
        if response.headers_sent:
            link.abandon("", b"")
        else:
            link.abandon(status, error_page(504, date=self.date(), body=request.method != "HEAD"))
        if self.slot is not None:
            self.slot.add(ERRORS)

    def _warn(self, peer: Peer, error: ProtocolError) -> None:
        self.log.warning("Invalid request from %s: %s (answered %s)", _name(peer), error, error.status)

    # Hooks and the access log

    def _answer_observed(self, link: Link, request: Request, body: Body | None, response: Response) -> bool:
        record = _Record(response)
        try:
            return self._answer(link, request, body, response, record)
        finally:
            self._end_record(record, link, request)

    def _begin_record(
        self, record: _Record, link: Link, request: Request, environ: Environ, body: Body | None
    ) -> None:
        record.environ = environ
        record.request = view = _view(link, request, environ["wsgi.input"], body)
        if self.pre_request is not None:
            self.pre_request(self.worker, view)

    def _end_record(self, record: _Record, link: Link, request: Request) -> None:
        response = record.response
        if link.abandoned:
            response.status, response.headers, response.sent = link.abandoned, (), 0
        view = record.request or _view(link, request, None, None)
        if self.access is not None:
            self.access(response, view, record.environ, self._elapsed(record.started))
        if self.post_request is not None:
            try:
                self.post_request(self.worker, view, record.environ, response)
            except Exception:
                # The hook is the user's, and the answer has been sent already.
                self.log.exception("Exception in post_request hook")


class _Counts:
    """Stands for the slot of a worker that has none."""

    def __init__(self) -> None:
        self.table = self
        self._requests = 0
        self._lock = threading.Lock()

    def begin(self, method: str, path: bytes) -> int:
        return -1

    def finish(self, index: int, sent: int) -> int:
        with self._lock:
            self._requests += 1
            return self._requests


class _Record:
    """What is remembered about a request when somebody will ask."""

    __slots__ = ("environ", "request", "response", "started")

    def __init__(self, response: Response) -> None:
        self.response = response
        self.environ: Environ | None = None
        self.request: RequestView | None = None
        self.started = time.monotonic()


class _Refusal:
    """The answer to a refused request, for the access log."""

    headers: tuple[tuple[str, str], ...] = ()

    def __init__(self, status: str, sent: int) -> None:
        self.status = status
        self.sent = sent


def _view(link: Link, request: Request, source: Input | None, body: Body | None) -> RequestView:
    trailers = None if body is None else lambda: body.trailers
    proxy = link.http.peer.proxy if link.front.is_proxied else None
    closes = not request.keep_alive
    return RequestView(request, link.peer, source, closes=closes, trailers=trailers, proxy=proxy)


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


def _deadlines(cfg: Any) -> RequestDeadlines | None:
    """The table of ``request_timeout``; without it neither the table nor the module is there."""
    if not cfg.request_timeout:
        return None
    from gunicorn.workers.engine.deadlines import RequestDeadlines

    return RequestDeadlines(cfg.request_timeout, cfg.graceful_timeout)


def _stopwatch() -> Callable[[float], Any]:
    """Tells how long it is since a monotonic time, as custom loggers expect it."""
    from datetime import timedelta  # only where something is logged: the import takes a millisecond

    return lambda started: timedelta(0, time.monotonic() - started)


def _status(code: int) -> str:
    return f"{code} {reason_phrase(code).decode('latin-1')}"


def _body_size(page: bytes) -> int:
    return len(page) - page.index(b"\r\n\r\n") - 4


def _client(link: Link) -> Peer:
    """Who asks: a request that many clients make does not say."""
    return link.http.peer if link.front.is_proxied else link.peer


def _path(request: Request) -> str:
    return request.path.decode("latin-1")


def _name(peer: Peer) -> str:
    return peer.host or ("unix socket" if peer.is_unix else "unknown peer")
