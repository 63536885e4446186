"""What ``sync`` and ``gthread`` have in common: the TLS context, the beat, and the reasons to stop."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from gunicorn.http.policy import Policy
from gunicorn.process.slots import SlotState
from gunicorn.workers.base import Worker
from gunicorn.workers.engine.server import Engine

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import FrameType

__all__ = ["EngineWorker"]

# From the end of the arbiter to the end of this worker. Whoever waits for the port waits for this long.
_ORPHANED = 0.8
_BEAT = 1.0


class EngineWorker(Worker):
    """A worker around an :class:`~gunicorn.workers.engine.server.Engine`."""

    engine: Engine | None = None
    orphaned = False
    tls: ssl.SSLContext | None = None
    multithread = False
    next_beat = 0.0

    def init_process(self) -> None:
        if self.cfg.is_ssl:
            from gunicorn.workers.engine.tls import new_context

            # Before the privileges go: the key belongs to root more often than not. Once, and before this
            # worker is ready: a certificate that cannot be used must stop the boot, not the first client.
            self.tls = new_context(self.cfg)
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        # Here because this still is the boot: a parser that cannot be imported must not show after "ready".
        self.policy = Policy.from_config(self.cfg)

    def watch_arbiter(self) -> None:
        """Nothing to install: the end of the report channel is one of the events that ``run`` waits for."""

    def new_engine(self, wake: Callable[[], None]) -> Engine:
        self.engine = Engine(self, self.policy, multithread=self.multithread, tls=self.tls, wake=wake)
        return self.engine

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self.engine is not None:
            # Now and not when the loop gets to it: a request may be running, and its answer can still say so.
            self.engine.announce_close()

    def beat(self, now: float) -> None:
        """Notify, but not more often than the deadline needs."""
        if now >= self.next_beat:
            timeout = self.cfg.timeout
            self.next_beat = now + (min(_BEAT, timeout / 20) if timeout else _BEAT)
            self.notify()

    def clear_wakeups(self) -> None:
        """Empty the pipe that signals write to; the handlers have run."""
        try:
            os.read(self.PIPE[0], 4096)
        except BlockingIOError:
            return

    def arbiter_gone(self) -> None:
        """The report channel ended: nobody is left to replace this worker or to stop it later."""
        self.alive = False
        self.log.info("Parent changed, shutting down: %s", self)
        self.orphaned = True

    def drain_deadline(self) -> float:
        """Monotonic seconds; starts the clock of a graceful stop."""
        if self.slot is not None:
            self.slot.state = SlotState.DRAINING
        patience: float = self.cfg.graceful_timeout
        return time.monotonic() + (min(patience, _ORPHANED) if self.orphaned else patience)
