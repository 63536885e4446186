"""``gthread``: ``threads`` threads serve, the main thread supervises.

The main thread never runs the application: it takes signals, beats, ends waits whose deadline has come,
and drains. So a long request does not look like a worker that hangs.
"""

from __future__ import annotations

import math
import os
import select
import threading
import time
from typing import TYPE_CHECKING, Any

from gunicorn.workers.engine.shift import Shift
from gunicorn.workers.engine.worker import EngineWorker

if TYPE_CHECKING:
    from gunicorn.workers.engine.server import Engine

__all__ = ["ThreadWorker"]


class ThreadWorker(EngineWorker):
    """The engine with a pool of threads."""

    multithread = True

    def run(self) -> None:
        self.failure: BaseException | None = None
        self.stopping = False
        engine = self.new_engine(wake=self._wake)
        self.shift = Shift(engine)
        stop_reader, stop_writer = os.pipe()
        engine.watch(stop_reader, lambda: None)
        self.threads: dict[int, threading.Thread] = {}
        self.lost: set[int] = set()
        for _ in range(self.cfg.threads):
            self._start_thread(engine)
        self._supervise(engine)
        deadline = self._drain(engine)
        self.stopping = True
        os.write(stop_writer, b"\0")
        for thread in self.threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        if not self.lost and not any(thread.is_alive() for thread in self.threads.values()):
            engine.shut()
            os.close(stop_reader)
            os.close(stop_writer)
            self.shift.close()
        if self.failure is not None:
            raise self.failure

    def _start_thread(self, engine: Engine) -> None:
        # A daemon only in that a quick stop (QUIT) does not wait for it; the graceful way joins it.
        thread = threading.Thread(target=self._serve, args=(engine,), name="gunicorn", daemon=True)
        thread.start()
        assert thread.ident is not None
        self.threads[thread.ident] = thread

    def thread_lost(self, engine: Engine, thread: int) -> None:
        # Not joined at the end: it may never come back. If it does, it finds itself replaced.
        if self.threads.pop(thread, None) is not None:
            self.lost.add(thread)
            self._start_thread(engine)

    def _serve(self, engine: Engine) -> None:
        """One thread of the pool: one event at a time, from the event to the last byte of the answer."""
        take, dispatch, lost = self.shift.take, engine.dispatch, self.lost
        me = object()
        try:
            while not self.stopping:
                event = take()
                if event is not None:
                    dispatch(*event, me)
                if lost and threading.get_ident() in lost:
                    # The number may be given to another thread from here on.
                    lost.discard(threading.get_ident())
                    return
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            if not self.stopping:
                self.failure = error
                self.alive = False
                self._wake()

    def _wake(self) -> None:
        try:
            os.write(self.PIPE[1], b"\0")
        except BlockingIOError:
            return  # full of earlier reasons to wake up

    def _supervise(self, engine: Engine) -> None:
        poll = self._poll()
        while self.alive:
            self._turn(engine, poll, math.inf)

    def _drain(self, engine: Engine) -> float:
        deadline = self.drain(engine)
        poll = self._poll()
        while not engine.idle and time.monotonic() < deadline:
            self._turn(engine, poll, deadline)
        return deadline

    def _poll(self) -> Any:
        poll = select.poll()
        poll.register(self.PIPE[0], select.POLLIN)
        if self.report is not None and not self.orphaned:
            poll.register(self.report.fileno(), select.POLLIN)
        return poll

    def _turn(self, engine: Engine, poll: Any, until: float) -> None:
        """Sleep until the next beat, deadline, signal, or word from a thread."""
        now = time.monotonic()
        self.beat(now)
        if engine.alarm <= now:
            engine.reap(now)
        look = self.enforce_deadlines(engine, now)
        wait = max(0.0, min(self.next_beat, engine.alarm, until, look) - now)
        for fd, _ in poll.poll(math.ceil(wait * 1000)):
            if fd == self.PIPE[0]:
                self.clear_wakeups()
            else:
                poll.unregister(fd)
                self.arbiter_gone()
