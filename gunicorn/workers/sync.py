"""``sync``: one request at a time, in the main thread.

The beat counts only while the loop turns, so that a request which takes longer than ``timeout`` gets the
worker killed.
Slow clients do not count: a connection between requests holds no thread, not even the only one.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from gunicorn.workers.engine.worker import EngineWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gunicorn.workers.engine.server import Engine

__all__ = ["SyncWorker"]

_EVENTS = 64


class SyncWorker(EngineWorker):
    """The engine with the main thread as its only thread."""

    def run(self) -> None:
        engine = self.new_engine(wake=lambda: None)
        engine.watch(self.PIPE[0], self.clear_wakeups)
        if self.report is not None:
            engine.watch(self.report.fileno(), partial(self._on_report, engine, self.report.fileno()))
        with self._watchdog(engine):
            while self.alive:
                self._turn(engine, self.next_beat)
            deadline = self.drain(engine)
            while not engine.idle and time.monotonic() < deadline:
                self._turn(engine, min(self.next_beat, deadline))
        engine.shut()

    @contextmanager
    def _watchdog(self, engine: Engine) -> Iterator[None]:
        """With ``request_timeout``: a second thread, since the only one cannot answer for itself."""
        if engine.exchanges.deadlines is None:
            yield
            return
        done = threading.Event()
        watchdog = threading.Thread(target=self._watch, args=(engine, done), name="gunicorn-watchdog")
        watchdog.start()
        try:
            yield
        finally:
            done.set()
            watchdog.join()

    def _watch(self, engine: Engine, done: threading.Event) -> None:
        look = 0.0
        while not done.wait(max(0.0, look - time.monotonic())):
            look = self.enforce_deadlines(engine, time.monotonic())

    def _on_report(self, engine: Engine, fd: int) -> None:
        engine.poller.forget(fd)
        self.arbiter_gone()

    def _turn(self, engine: Engine, until: float) -> None:
        now = time.monotonic()
        self.beat(now)
        if engine.alarm <= now:
            engine.reap(now)
        for fd, kind in engine.poll(max(0.0, min(self.next_beat, until, engine.alarm) - now), _EVENTS):
            engine.dispatch(fd, kind)
            if time.monotonic() >= self.next_beat:
                self.beat(time.monotonic())
