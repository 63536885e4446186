"""The listeners of a worker and the table of the connections that came through them.

Accepting stops at ``worker_connections`` and while the system is out of descriptors; what waits then stays in
the kernel's queue.
"""

from __future__ import annotations

import errno
import math
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from gunicorn.process.slots import CONNECTIONS
from gunicorn.workers.engine.front import Front
from gunicorn.workers.engine.link import Link, TlsLink, peer_of

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator

    from gunicorn.http.policy import Policy
    from gunicorn.process.listeners import Listener
    from gunicorn.workers.base import Worker
    from gunicorn.workers.engine.poller import Poller

__all__ = ["Acceptor"]

_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SHORTAGE_PAUSE = 1.0


class Acceptor:
    """Makes links of connections, and knows all that are open.

    Args:
        worker: Gives listeners, configuration, log and slot.
        policy: What is accepted.
        poller: Reports the listeners.
        tls: The context, when the listeners speak TLS.
        set_alarm: Called with the monotonic seconds at which ``resume`` has to be called.

    Attributes:
        listeners: By descriptor.
        links: All open connections, by descriptor.
        queue_left: After ``take_queued``: there may be more in the queues than may be open.
    """

    def __init__(
        self,
        worker: Worker,
        policy: Policy,
        poller: Poller,
        *,
        tls: ssl.SSLContext | None,
        set_alarm: Callable[[float], None],
    ) -> None:
        self._cfg = cfg = worker.cfg
        self.links: dict[int, Link] = {}
        self.listeners: dict[int, Listener] = {}
        self.queue_left = False
        self._log = worker.log
        self._slot = worker.slot
        self._policy = policy
        self._poller = poller
        self._tls = tls
        self._set_alarm = set_alarm
        self._limit = cfg.worker_connections
        self._fronts: dict[tuple[Listener, bool], Front] = {}
        self._open = False
        self._paused_until = math.inf
        self._draining = False
        self._closing = False
        self._lock = threading.RLock()
        for listener in worker.sockets:
            listener.setblocking(False)
            self.listeners[listener.fileno()] = listener

    def open(self) -> None:
        """Have the listeners reported."""
        with self._lock:
            if not self._open and not self._draining:
                self._open, self._paused_until = True, math.inf
                for fd in self.listeners:
                    self._poller.watch(fd)

    def close(self) -> None:
        """Have the listeners reported no more. They stay open: closing the last copy resets its queue."""
        with self._lock:
            if self._open:
                self._open = False
                for fd in self.listeners:
                    self._poller.forget(fd)

    def resume(self, now: float) -> None:
        """Try again after a shortage, if it is time."""
        if self._paused_until <= now:
            self.open()
        elif self._paused_until < math.inf:
            self._set_alarm(self._paused_until)

    def accept(self, listener: Listener) -> Link | None:
        """The next connection; None when there is none, or none that can be served."""
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
            self._log.debug("Connection from %s dropped: %s", address, error)
            sock.close()
            return None
        self.links[link.fd] = link
        if self._slot is not None:
            self._slot.add(CONNECTIONS, 1)
        if len(self.links) >= self._limit:
            self.close()
        return link

    def _new_link(self, sock: socket.socket, listener: Listener, address: Any) -> Link:
        peer = peer_of(address)
        key = listener, self._policy.forwarded_allow_ips.trusts(peer)
        front = self._fronts.get(key) or self._new_front(key)
        if self._tls is None:
            return Link(sock, front, peer)
        secured = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return TlsLink(secured, front, peer)

    def _new_front(self, key: tuple[Listener, bool]) -> Front:
        front = Front(key[0], self._policy, self._cfg, secure=self._tls is not None)
        front = self._fronts.setdefault(key, front)
        # Last the look: ``announce_close`` looks last at the fronts.
        front.closing = self._closing
        return front

    def _accept_failed(self, error: OSError) -> None:
        if error.errno in _NO_DESCRIPTORS:
            # The connection stays in the queue, so the listener would be reported for ever.
            self._log.error("Cannot accept: %s; trying again in %s s", error.strerror, _SHORTAGE_PAUSE)
            self.close()
            self._paused_until = monotonic() + _SHORTAGE_PAUSE
            self._set_alarm(self._paused_until)
        # Otherwise the client gave up while it was in the queue.

    def release(self, link: Link) -> bool:
        """Take ``link`` out of the table, before its descriptor is closed; False when it is not there."""
        # By identity: the number may be that of another connection already.
        if self.links.get(link.fd) is not link or self.links.pop(link.fd, None) is None:
            return False
        if self._slot is not None:
            self._slot.add(CONNECTIONS, -1)
        if not self._open and self._paused_until == math.inf:
            self.open()
        return True

    def announce_close(self) -> None:
        """Have every answer from now on say ``Connection: close``. May be called by a signal handler."""
        self._closing = True
        for front in list(self._fronts.values()):
            front.closing = True
        for link in list(self.links.values()):
            http = link.http
            if http is not None:
                http.announce_close()

    def take_queued(self) -> Iterator[Link]:
        """The connections that the kernel has queued, as many as may be open; none are accepted later."""
        self._draining = True
        self.close()
        with self._lock:
            for listener in self.listeners.values():
                misses = 0
                # A second look, because a miss may be one client that gave up.
                while misses < 2 and len(self.links) < self._limit:
                    link = self.accept(listener)
                    if link is None:
                        misses += 1
                    else:
                        yield link
            self.queue_left = len(self.links) >= self._limit
