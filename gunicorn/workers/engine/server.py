"""The work that all threads of a worker share: claim, read, answer, park, reap, drain.

A connection is either *claimed* by one thread or *parked* (see ``waiting``). Nothing that waits for a
client's bytes between requests (a head in pieces, a TLS handshake, an idle or a closing connection) holds a
thread.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gunicorn.errors import ProtocolError
from gunicorn.http.events import NEED_DATA, Request
from gunicorn.workers.engine.acceptor import Acceptor
from gunicorn.workers.engine.body import Body
from gunicorn.workers.engine.exchange import Exchanges
from gunicorn.workers.engine.link import Phase, TlsLink
from gunicorn.workers.engine.poller import NOTHING_ODD, new_poller
from gunicorn.workers.engine.waiting import Waiting

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from gunicorn.http.policy import Policy
    from gunicorn.process.listeners import Listener
    from gunicorn.workers.base import Worker
    from gunicorn.workers.engine.deadlines import Running
    from gunicorn.workers.engine.link import Link

__all__ = ["Engine"]

# Members by name: CPython 3.11 takes 0.1 us to find one in its class.
_HANDSHAKE, _IDLE, _BODY, _LINGER = Phase.HANDSHAKE, Phase.IDLE, Phase.BODY, Phase.LINGER
_LINGER_BYTES = 64 * 1024
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
        self.log = worker.log
        self.exchanges = Exchanges(worker, policy, multithread=multithread)
        self.poller = new_poller(shared=multithread)
        self.poll = self.poller.poll
        self.waiting = Waiting(self.poller, worker.cfg, wake)
        self.acceptor = Acceptor(worker, policy, self.poller, tls=tls, set_alarm=self.waiting.set_alarm)
        self.watched: dict[int, Callable[[], object]] = {
            fd: partial(self._accept, listener) for fd, listener in self.acceptor.listeners.items()
        }
        self.draining = False
        self._claim, self._links = self.waiting.claimed.setdefault, self.waiting.links
        self.waiting.make_room(max(self.watched, default=0))
        self._park = self.waiting.park
        self._park_idle = self.waiting.park_idle
        self._answer = self.exchanges.answer
        self._wake = wake
        self._stop_by = 0.0
        self.acceptor.open()

    @property
    def alarm(self) -> float:
        """Monotonic seconds of the next ``reap``; inf = none."""
        return self.waiting.alarm

    # Events

    def watch(self, fd: int, callback: Callable[[], object]) -> None:
        """Have ``callback`` called while ``fd`` is readable."""
        self.watched[fd] = callback
        self.waiting.make_room(fd)
        self.poller.watch(fd)

    def dispatch(self, fd: int, kind: int, who: object = None) -> None:
        """Serve one event that ``poll`` returned.

        Args:
            who: The calling thread: the same object for all its events, and no other thread's.
        """
        if self._claim(fd, who) is not who:
            self.waiting.miss(fd)
            return
        link = self._links[fd]
        if link is None:
            del self.waiting.claimed[fd]
            if fd in self.watched:
                self.watched[fd]()
            else:
                self.waiting.miss(fd)
            return
        if kind > NOTHING_ODD:
            link.ended = True
        if link.phase is _LINGER:
            self._discard(link)
        elif link.phase is _HANDSHAKE:
            self._handshake(link)
        else:
            self._read(link)

    def _accept(self, listener: Listener) -> None:
        """Take one connection and its request, if that is here already."""
        link = self.acceptor.accept(listener)
        if link is None:
            return
        if isinstance(link, TlsLink):
            self._handshake(link)
        else:
            # Most clients send at once: this saves a round through the poller.
            self._read(link)

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
            # The time for the handshake has gone by; the one for the head begins.
            link.phase, link.deadline = Phase.FRESH, 0.0
            self._read(link)
        else:
            self._park(link, Phase.HANDSHAKE)

    def _read(self, link: Link) -> None:
        data = link.receive()
        if data is None:
            self._park(link, link.phase)
            return
        http = link.http
        if http is None:
            if not data:
                self.close(link)
                return
            http = link.front.lend(link)
            request = http.receive_again(data, link.known)
            if request is not None:
                if self._serve(link, request):
                    self._advance(link)
                return
            http.peer = link.peer
        else:
            http.receive_data(data)
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
                has_body = event.chunked or event.content_length
                if not (self._serve_with_body(link, event) if has_body else self._serve(link, event)):
                    return
            elif event is NEED_DATA:
                if link.hides_bytes and link.pending():
                    self._read(link)
                else:
                    self._wait_for_more(link)
                return
            else:
                self.close(link)
                return

    def _serve_with_body(self, link: Link, request: Request) -> bool:
        """Answer one request; whether to read on."""
        body = Body(link)
        try:
            body.decode_received()
        except ProtocolError as error:
            self.exchanges.refuse(link, error)
            self._linger(link)
            return False
        if not body.ended:
            # What arrives from here on is the application's to wait for, and no event for a thread.
            self._disarm(link)
        return self._serve(link, request, body)

    def _serve(self, link: Link, request: Request, body: Body | None = None) -> bool:
        try:
            complete = self._answer(link, request, body)
        except BaseException:
            self.close(link)
            raise
        if link.abandoned is not None:
            # What has been received is read before the close: else a reset would overtake the 504.
            self._linger(link)
            return False
        more = link.http.go_on() if complete else None
        return self._end(link, request, complete) if more is None else self._next(link, more)

    def _end(self, link: Link, request: Request, complete: bool) -> bool:
        """Read a body that the application left, or close; whether to read on."""
        http = link.http
        if complete and http.body_pending and not http.must_close:
            link.phase, link.deadline = _BODY, 0.0
            return self._skip_body(link)
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
        more = link.http.go_on() if skipped else None
        if more is not None:
            return self._next(link, more)
        if link.http.must_close:
            self._linger(link)
        elif link.pending():
            self._read(link)
        else:
            self._park(link, Phase.BODY)
        return False

    def _next(self, link: Link, more: bool) -> bool:
        """Read on if some of the next request is here, else park; whether to read on."""
        if more or (link.hides_bytes and link.pending()):
            link.phase, link.deadline = _IDLE, 0.0
            return True
        link.front.take_back(link)
        self._park_idle(link)
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
        self._disarm(link)
        self.waiting.drop(link)
        known = self.acceptor.release(link)
        link.front.take_all_back(link)
        link.close()
        if known:
            self._one_less()

    def _disarm(self, link: Link) -> None:
        if link.armed and self.poller.stays_armed:
            self.poller.forget(link.fd)
            link.armed = 0

    def abandon(self, running: Running) -> None:
        """End a request for its thread, which closes the connection when it comes back. May be never."""
        self.exchanges.time_out(running)
        if self.acceptor.release(running.link):
            self._one_less()

    def _one_less(self) -> None:
        if self.draining:
            if self.acceptor.queue_left:
                self._take_queued()
            if self.idle:
                self._wake()

    def reap(self, now: float) -> None:
        """End the waits whose deadline has come. For one thread only."""
        for link in self.waiting.due(now):
            if link.phase is Phase.HEAD:
                self.exchanges.refuse(
                    link, ProtocolError(408, "header_timeout", "the request head did not arrive in time")
                )
                self._linger(link)
            else:
                self.close(link)
        self.acceptor.resume(now)

    # Leaving

    @property
    def idle(self) -> bool:
        """Whether no connection is left, open or queued."""
        return not self.acceptor.links and not self.acceptor.queue_left

    def announce_close(self) -> None:
        """Have every answer from now on say ``Connection: close``. May be called by a signal handler."""
        self.acceptor.announce_close()

    def drain(self, deadline: float, *, idle_patience: float = _DRAIN_IDLE) -> None:
        """Serve what is here and what is queued, and nothing after it.

        Args:
            deadline: Monotonic seconds at which even unfinished work ends.
            idle_patience: Seconds that a connection without a request may stay, within its own deadline.
        """
        self._stop_by = deadline
        self.draining = True
        self.announce_close()
        self.waiting.drain(deadline, idle_patience)
        self._take_queued()

    def hurry(self) -> None:
        """The server stops, too: no more patience with idle clients. May be called by a signal handler."""
        self.waiting.drain(self._stop_by, _DRAIN_IDLE)

    def _take_queued(self) -> None:
        """Take over the connections that the kernel has queued: closing the listener would reset them."""
        for link in self.acceptor.take_queued():
            self._park(link, link.phase)

    def shut(self) -> None:
        """Drop whatever is left."""
        for link in list(self.acceptor.links.values()):
            self.acceptor.release(link)
            link.close()
        self.poller.close()
