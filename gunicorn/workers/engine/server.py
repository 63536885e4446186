"""The work that all threads of a worker share: accept, claim, read, answer, park.

A connection is either *claimed* by one thread or *parked*: in ``parked`` with a deadline, and armed in
the poller. ``parked.pop`` is the claim; it is atomic, so an event and a deadline that meet never both win.
Nothing that waits for a client's bytes between requests (a head in pieces, a TLS handshake, an idle or a
closing connection) holds a thread.
"""

from __future__ import annotations

import errno
import math
import threading
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from gunicorn.errors import ProtocolError
from gunicorn.http.connection import ServerConnection
from gunicorn.http.events import NEED_DATA, Request
from gunicorn.process.slots import CONNECTIONS
from gunicorn.workers.engine.body import Body
from gunicorn.workers.engine.exchange import Exchanges
from gunicorn.workers.engine.link import Link, Phase, TlsLink, peer_of
from gunicorn.workers.engine.poller import new_poller

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from gunicorn.http.policy import Policy
    from gunicorn.process.listeners import Listener
    from gunicorn.workers.base import Worker
    from gunicorn.workers.engine.deadlines import Running

__all__ = ["Engine"]

# Members by name: CPython 3.11 takes 0.1 us to find one in its class.
_HANDSHAKE, _IDLE, _BODY, _LINGER = Phase.HANDSHAKE, Phase.IDLE, Phase.BODY, Phase.LINGER
_LINGER_BYTES = 64 * 1024
_LINGER_SECONDS = 2.0
# Deadlines this close together are served by one look at all parked connections.
_GRAIN = 0.05
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SHORTAGE_PAUSE = 1.0
# When the server stops: a client that is about to send has a moment, one that is merely connected must not
# hold up the stop.
_DRAIN_IDLE = 2.0


class Engine:
    """Connections of one worker.

    Args:
        worker: Gives listeners, configuration, log, slot and application.
        policy: What is accepted.
        multithread: Whether several threads call ``dispatch``.
        tls: The context, when the listeners speak TLS.
        wake: Called from any thread when whoever calls ``reap`` should look at ``alarm`` or ``idle`` again.

    Attributes:
        alarm: Monotonic seconds of the next ``reap``; inf = none.
        draining: Set by ``drain``: every answer closes its connection.
    """

    def __init__(
        self,
        worker: Worker,
        policy: Policy,
        *,
        multithread: bool,
        tls: ssl.SSLContext | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        cfg = worker.cfg
        self.log = worker.log
        self.slot = worker.slot
        self.policy = policy
        self.exchanges = Exchanges(worker, policy, multithread=multithread)
        self.tls = tls
        self.poller = new_poller(shared=multithread)
        self.poll = self.poller.poll
        self._arm, self._rearm = self.poller.arm, self.poller.rearm
        self._stays_armed = self.poller.stays_armed
        self.links: dict[int, Link] = {}
        self.parked: dict[int, Link] = {}
        self.watched: dict[int, Callable[[], object]] = {}
        self.listeners: dict[int, Listener] = {}
        self.alarm = math.inf
        self.draining = False
        self._closing = False
        self._wake = wake
        self._limit = cfg.worker_connections
        self._open = False
        self._paused_until = math.inf
        self._lock = threading.RLock()
        self._drain_deadline = math.inf
        self._idle_patience = _DRAIN_IDLE
        self._queue_left = False
        self._options = {
            "can_send_files": cfg.sendfile,
            "body_timeout": cfg.body_timeout,
            "write_timeout": cfg.write_timeout,
        }
        self._waits = {
            Phase.HANDSHAKE: cfg.handshake_timeout or math.inf,
            Phase.FRESH: cfg.header_timeout or math.inf,
            Phase.HEAD: cfg.header_timeout or math.inf,
            Phase.IDLE: cfg.keepalive or math.inf,
            Phase.BODY: cfg.body_timeout or math.inf,
            Phase.LINGER: _LINGER_SECONDS,
        }
        for listener in worker.sockets:
            listener.setblocking(False)
            self.listeners[listener.fileno()] = listener
        self._open_listeners()

    # Events

    def watch(self, fd: int, callback: Callable[[], object]) -> None:
        """Have ``callback`` called while ``fd`` is readable."""
        self.watched[fd] = callback
        self.poller.watch(fd)

    def dispatch(self, fd: int) -> None:
        """Serve one event that ``poll`` returned."""
        link = self.parked.pop(fd, None)
        if link is None:
            if fd in self.watched:
                self.watched[fd]()
            # Otherwise the deadline came first, and the connection is gone.
        elif link.phase is _LINGER:
            self._discard(link)
        elif link.phase is _HANDSHAKE:
            self._handshake(link)
        else:
            self._read(link)

    # Accepting

    def _open_listeners(self) -> None:
        with self._lock:
            if self._open:
                return
            self._open, self._paused_until = True, math.inf
            for fd, listener in self.listeners.items():
                self.watched[fd] = partial(self.accept, listener)
                self.poller.watch(fd)

    def _close_listeners(self) -> None:
        with self._lock:
            if self._open:
                self._open = False
                for fd in self.listeners:
                    self.poller.forget(fd)

    def accept(self, listener: Listener) -> bool:
        """Take one connection and its request, if that is here already; False when no connection waits."""
        link = self._accept(listener)
        if link is None:
            return False
        if self.tls is not None:
            self._handshake(link)
        else:
            # Most clients send at once: this saves a round through the poller.
            self._read(link)
        return True

    def _accept(self, listener: Listener) -> Link | None:
        try:
            sock, address = listener.accept()
        except BlockingIOError:
            return None
        except OSError as error:
            self._accept_failed(error)
            return None
        sock.setblocking(False)
        try:
            link = self._new_link(sock, listener, address)
        except (OSError, ValueError) as error:
            self.log.debug("Connection from %s dropped: %s", address, error)
            sock.close()
            return None
        self.links[link.fd] = link
        if self.slot is not None:
            self.slot.add(CONNECTIONS, 1)
        if len(self.links) >= self._limit:
            self._close_listeners()
        return link

    def _new_link(self, sock: socket.socket, listener: Listener, address: Any) -> Link:
        peer = peer_of(address)
        http = ServerConnection(self.policy, peer, secure=self.tls is not None)
        if self._closing:
            http.announce_close()
        if self.tls is None:
            return Link(sock, listener, peer, http, **self._options)
        secured = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return TlsLink(secured, listener, peer, http, **self._options)

    def _accept_failed(self, error: OSError) -> None:
        if error.errno in _NO_DESCRIPTORS:
            # The connection stays in the queue, so the listener would be reported for ever.
            self.log.error("Cannot accept: %s; trying again in %s s", error.strerror, _SHORTAGE_PAUSE)
            self._close_listeners()
            self._paused_until = monotonic() + _SHORTAGE_PAUSE
            self._set_alarm(self._paused_until)
        # Otherwise the client gave up while it was in the queue.

    # Serving

    def _handshake(self, link: Link) -> None:
        assert isinstance(link, TlsLink)
        try:
            done = link.handshake()
        except (OSError, ValueError) as error:
            self.log.debug("TLS handshake with %s failed: %s", link.peer.host, error)
            self.close(link)
            return
        if done:
            link.phase = Phase.FRESH
            link.deadline = monotonic() + self._waits[Phase.FRESH]
            self._read(link)
        else:
            self._park(link, Phase.HANDSHAKE)

    def _read(self, link: Link) -> None:
        data = link.receive()
        if data is None:
            self._park(link, link.phase)
            return
        link.http.receive_data(data)
        if link.phase is not _BODY or self._skip_body(link):
            self._advance(link)

    def _advance(self, link: Link) -> None:
        """Serve all requests that are complete, then park."""
        http = link.http
        while True:
            try:
                event = http.next_event()
            except ProtocolError as error:
                self.exchanges.refuse(link, error)
                self._linger(link)
                return
            if type(event) is Request:
                if not self._serve(link, event):
                    return
            elif event is NEED_DATA:
                if link.pending():
                    self._read(link)
                else:
                    self._wait_for_more(link)
                return
            else:
                self.close(link)
                return

    def _serve(self, link: Link, request: Request) -> bool:
        """Answer one request; whether to read on."""
        body = None
        if request.chunked or request.content_length:
            body = Body(link)
            try:
                body.decode_received()
            except ProtocolError as error:
                self.exchanges.refuse(link, error)
                self._linger(link)
                return False
        try:
            complete = self.exchanges.answer(link, request, body)
        except BaseException:
            self.close(link)
            raise
        http = link.http
        if link.abandoned is not None:
            self.close(link)
            return False
        if complete and not http.must_close:
            if body is not None and http.body_pending:
                link.phase, link.deadline = _BODY, 0.0
                return self._skip_body(link)
            return self._next_cycle(link)
        if complete and not (request.keep_alive or http.body_pending or http.trailing_data):
            # The client has said that it sends nothing more: no reset can hit the answer.
            self.close(link)
        else:
            self._linger(link)
        return False

    def _skip_body(self, link: Link) -> bool:
        """Throw away what the application left unread of a body; whether to read on."""
        try:
            skipped = link.http.discard_body()
        except ProtocolError as error:
            self.log.debug("Bad rest of a body from %s: %s", link.peer.host, error)
            self._linger(link)
            return False
        if skipped and not link.http.must_close:
            return self._next_cycle(link)
        if link.http.must_close:
            self._linger(link)
        elif link.pending():
            self._read(link)
        else:
            self._park(link, Phase.BODY)
        return False

    def _next_cycle(self, link: Link) -> bool:
        """Go on to the next request; whether some of it is here, else the connection is parked."""
        link.phase, link.deadline = _IDLE, 0.0
        if link.http.start_next_cycle() or link.pending():
            return True
        self._park(link, _IDLE)
        return False

    # Parking

    def _wait_for_more(self, link: Link) -> None:
        phase = link.phase
        if link.http.waiting_for_head:
            if phase is Phase.IDLE:
                link.deadline = 0.0
            # From FRESH on the deadline goes on: it is for the whole head, from the accept.
            phase = Phase.HEAD
        self._park(link, phase)

    def _park(self, link: Link, phase: Phase) -> None:
        """Give the connection back to the poller. From here on any thread may claim it."""
        link.phase = phase
        deadline = link.deadline or monotonic() + self._waits[phase]
        if self.draining:
            deadline = self._drained_by(phase, deadline)
        link.deadline = deadline
        fd, want, armed = link.fd, link.want, link.armed
        link.armed = want
        self.parked[fd] = link
        if not armed:
            self._arm(fd, want)
        elif armed != want or not self._stays_armed:
            self._rearm(fd, want)
        if deadline < self.alarm:
            self._set_alarm(deadline)

    def _set_alarm(self, deadline: float) -> None:
        with self._lock:
            if deadline < self.alarm:
                self.alarm = deadline
                self._wake()

    # Closing

    def _linger(self, link: Link) -> None:
        """Close without a reset: our end now, the rest when the client has closed or had its time."""
        link.half_close()
        link.phase, link.deadline, link.budget = Phase.LINGER, 0.0, _LINGER_BYTES
        self._discard(link)

    def _discard(self, link: Link) -> None:
        while True:
            data = link.receive()
            if data is None:
                self._park(link, Phase.LINGER)
                return
            link.budget -= len(data)
            if not data or link.budget <= 0:
                self.close(link)
                return

    def close(self, link: Link) -> None:
        """Close a claimed connection."""
        if link.armed and self.poller.stays_armed:
            self.poller.forget(link.fd)
            link.armed = 0
        # Out of the table first: the next connection may get the number of the descriptor.
        known = self.links.get(link.fd) is link and self.links.pop(link.fd, None) is not None
        link.close()
        if known:
            self._one_less()

    def abandon(self, running: Running) -> None:
        """End a request for its thread, which closes the connection when it comes back. May be never."""
        self.exchanges.time_out(running)
        if self.links.pop(running.link.fd, None) is not None:
            self._one_less()

    def _one_less(self) -> None:
        if self.slot is not None:
            self.slot.add(CONNECTIONS, -1)
        if self.draining:
            if self._queue_left:
                self._accept_queued()
            if self.idle:
                self._wake()
        elif not self._open and self._paused_until == math.inf:
            self._open_listeners()

    def reap(self, now: float) -> None:
        """End the waits whose deadline has come, and set the next ``alarm``. For one thread only."""
        with self._lock:
            # First inf, then the look: whoever parks after the look finds inf and sets the alarm itself.
            self.alarm = math.inf
            waiting = list(self.parked.items())
            soonest = min((link.deadline for _, link in waiting if link.deadline > now), default=math.inf)
            soonest = min(soonest, self._paused_until if self._paused_until > now else math.inf)
            if soonest < self.alarm:
                self.alarm = max(soonest, now + _GRAIN)
        for fd, link in waiting:
            if link.deadline <= now:
                self._expire(fd, now)
        if self._paused_until <= now and not self.draining:
            self._open_listeners()

    def _expire(self, fd: int, now: float) -> None:
        link = self.parked.pop(fd, None)
        if link is None:
            return
        if link.deadline > now:
            # Somebody served it since the look. An event may have come while it was not parked: arm it
            # once more.
            self._park(link, link.phase)
            return
        self.poller.forget(fd)
        link.armed = 0
        if link.phase is Phase.HEAD:
            self.exchanges.refuse(
                link, ProtocolError(408, "header_timeout", "the request head did not arrive in time")
            )
            self._linger(link)
        else:
            self.close(link)

    # Leaving

    @property
    def idle(self) -> bool:
        """Whether no connection is left, open or queued."""
        return not self.links and not self._queue_left

    def announce_close(self) -> None:
        """Have every answer from now on say ``Connection: close``. May be called by a signal handler."""
        self._closing = True
        for link in list(self.links.values()):
            link.http.announce_close()

    def drain(self, deadline: float, *, idle_patience: float = _DRAIN_IDLE) -> None:
        """Serve what is here and what is queued, and nothing after it.

        Args:
            deadline: Monotonic seconds at which even unfinished work ends.
            idle_patience: Seconds that a connection without a request may stay, within its own deadline.
        """
        self._drain_deadline = deadline
        self._idle_patience = idle_patience
        self.draining = True
        self._close_listeners()
        self.announce_close()
        self._accept_queued()
        for link in list(self.parked.values()):
            link.deadline = self._drained_by(link.phase, link.deadline)
        self.reap(monotonic())

    def _drained_by(self, phase: Phase, deadline: float) -> float:
        patience = self._idle_patience if phase in (Phase.IDLE, Phase.FRESH) else math.inf
        return min(deadline, monotonic() + patience, self._drain_deadline)

    def _accept_queued(self) -> None:
        """Take over the connections that the kernel has queued: closing the listener would reset them."""
        with self._lock:
            for listener in self.listeners.values():
                misses = 0
                while misses < 2 and len(self.links) < self._limit:
                    link = self._accept(listener)
                    if link is None:
                        misses += 1
                    else:
                        self._park(link, link.phase)
            self._queue_left = len(self.links) >= self._limit

    def shut(self) -> None:
        """Drop whatever is left."""
        for link in list(self.links.values()):
            self.links.pop(link.fd, None)
            link.close()
        self.poller.close()
