"""What ``sync`` and ``gthread`` have in common: the TLS context, the beat, and the reasons to stop."""

from __future__ import annotations

import contextlib
import math
import os
import time
from typing import TYPE_CHECKING, Any

from gunicorn.errors import ConfigError
from gunicorn.http.engines import engine_factory
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
    is_stuck = False
    stop_signals = 0
    tls: ssl.SSLContext | None = None
    multithread = False
    next_beat = 0.0

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """In the process that forks: import the parser there, so that all workers share its memory."""
        # What cannot be imported fails the boot, which says so.
        with contextlib.suppress(ConfigError):
            engine_factory(cfg.http_parser)

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

    def enforce_deadlines(self, engine: Engine, now: float) -> float:
        """Apply ``request_timeout``; monotonic seconds of the next look. For one thread only."""
        deadlines = engine.exchanges.deadlines
        if deadlines is None:
            return math.inf
        for running in deadlines.take_overdue(now):
            engine.abandon(running)
            self.thread_lost(engine, running.thread)
        if not self.is_stuck and deadlines.is_stuck(now):
            # It holds memory, and maybe a lock, for ever: nothing less than the end of the process frees it.
            self.is_stuck = True
            self.log.error("A request does not end after request_timeout; asking for another worker")
            self.leave("request_timeout")
        return deadlines.next_look(now)

    def thread_lost(self, engine: Engine, thread: int) -> None:
        """The thread with this number does not come back in time; a class with several starts another."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.stop_signals += 1
        if self.engine is not None:
            # Now and not when the loop gets to it: a request may be running, and its answer can still say so.
            self.engine.announce_close()
            if self.engine.draining:
                self.engine.hurry()

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

    def drain(self, engine: Engine) -> float:
        """Begin a graceful stop; the monotonic seconds at which it is over.

        The arbiter marks the slot of a worker that leaves while the server lives on. Nobody waits for the end
        of such a worker, so its idle connections stay until their ``keepalive`` is over: each gets one more
        answer, and no client's next request meets a reset.
        """
        retired = False
        if self.slot is not None:
            retired = self.slot.state is SlotState.DRAINING and self.stop_signals < 2
            self.slot.state = SlotState.DRAINING
        patience: float = self.cfg.graceful_timeout
        deadline = time.monotonic() + (min(patience, _ORPHANED) if self.orphaned else patience)
        if retired:
            engine.drain(deadline, idle_patience=math.inf)
        else:
            engine.drain(deadline)
        return deadline
