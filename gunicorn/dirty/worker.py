"""The life of a process of the pool."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

from gunicorn.dirty.apps import Apps, limits
from gunicorn.dirty.link import WorkerLink
from gunicorn.dirty.specs import parse_all
from gunicorn.process.messages import Hello
from gunicorn.process.titles import set_title
from gunicorn.workers.base import Worker

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["CANCEL_SIGNAL", "DirtyWorker"]

#: Has a worker look at its links for a cancellation.
CANCEL_SIGNAL = signal.SIGUSR2


class DirtyWorker(Worker):
    """Runs the configured classes: as many calls at a time as it has threads, the first in the main thread.

    Attributes:
        apps: The instances, by class path.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.apps = Apps()
        self._links: list[WorkerLink] = []
        self._is_busy = False

    def init_signals(self) -> None:
        super().init_signals()
        signal.signal(CANCEL_SIGNAL, self.handle_cancel)
        # The main thread waits in a system call for its next call, and has to come out of it for a handler.
        signal.siginterrupt(signal.SIGTERM, True)
        signal.siginterrupt(signal.SIGUSR1, True)

    def load_wsgi(self) -> None:
        """Ask the arbiter which of the configured classes belong here, and make their instances."""
        set_title("dirty worker", self.cfg.proc_name)
        found = limits(parse_all(self.cfg.dirty_apps))
        threads = max(1, self.cfg.dirty_threads)
        self._links = [self._connect(ours) for ours in self._make_links(threads)]
        for path in self._links[0].claim(found, threads):
            self.apps.load(path)
        self.cfg.dirty_worker_init(self)

    def _make_links(self, count: int) -> list[socket.socket]:
        """Sockets to the arbiter, whose ends travel on the report channel.

        No path in a folder, so nobody else can connect, whatever user this process has become.
        """
        pairs = [socket.socketpair() for _ in range(count)]
        assert self.report is not None
        self.report.send(Hello(os.getpid()), [theirs.fileno() for _, theirs in pairs])
        for _, theirs in pairs:
            theirs.close()
        return [ours for ours, _ in pairs]

    def _connect(self, sock: socket.socket) -> WorkerLink:
        return WorkerLink(sock, self.apps, self.slot, lambda: not self.alive)

    def run(self) -> None:
        """Serve all links until they end, or until TERM and the end of the calls at work."""
        others = [threading.Thread(target=link.serve, name="dirty") for link in self._links[1:]]
        for thread in others:
            thread.start()
        try:
            self._links[0].serve()
        finally:
            # An exit in the main thread, as TERM causes it there, must not cut off the calls of the others.
            self.alive = False
            for link in self._links:
                link.leave()
            for thread in others:
                thread.join()
            self.apps.close(self.log)

    # Signals

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """TERM: finish the calls at work, then leave."""
        self.alive = False
        if not self._links or not self.booted:
            raise SystemExit(0)
        # No exit from here, also when there is nothing to do: a call may have just been received.
        self._links[0].leave()

    def handle_cancel(self, sig: int, frame: FrameType | None) -> None:
        """USR2 from the dirty arbiter: a call at work has been cancelled."""
        for link in self._links:
            link.cancel()
