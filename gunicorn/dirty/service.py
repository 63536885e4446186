"""The main arbiter's side: the dirty arbiter is a child and one task, and is started again when it dies."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import trio

from gunicorn.arbiter.processes import execute
from gunicorn.dirty.boot import VARIABLE
from gunicorn.dirty.home import SOCKET_VARIABLE
from gunicorn.process.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from gunicorn.arbiter.launch import Launch
    from gunicorn.arbiter.log import Log
    from gunicorn.dirty.home import Home

__all__ = ["DirtyService"]

#: First and longest pause before a dirty arbiter is started again that died right after its start, seconds.
RESTART_FIRST, RESTART_LIMIT = 0.1, 30.0
#: One that lived this long, seconds, is started again at once.
HEALTHY_AFTER = 5.0
#: After the workers' own time: for the dirty arbiter to leave, seconds.
LEAVE_WAIT = 2.0


class DirtyService:
    """Keeps one dirty arbiter running.

    Args:
        home: The socket of the pool, which outlives every dirty arbiter.
        graceful: ``dirty_graceful_timeout``, asked for when the pool is stopped, seconds.
    """

    def __init__(self, launch: Launch, home: Home, log: Log, graceful: Callable[[], float]) -> None:
        self._launch = launch
        self._home = home
        self._log = log
        self._graceful = graceful
        self._process: trio.Process | None = None
        self._stopping = trio.CancelScope()
        self._stopped = trio.Event()
        self._signal = signal.SIGTERM

    @property
    def pid(self) -> int:
        """Process id of the dirty arbiter, 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    def send_signal(self, number: int) -> None:
        """Pass a signal on."""
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, number)

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop the pool: TERM lets calls finish within ``dirty_graceful_timeout``, QUIT does not."""
        self._signal = signal.Signals(number)
        self._stopping.cancel()
        await self._stopped.wait()

    def hurry(self) -> None:
        """Stop it quickly, also when a graceful stop is under way."""
        self._signal = signal.SIGQUIT
        if self._stopping.cancel_called:
            self.send_signal(signal.SIGQUIT)

    async def run(self) -> None:
        """Start it, wait for its end, start it again; until stopped or cancelled."""
        pause = RESTART_FIRST
        try:
            with self._stopping:
                while True:
                    started = trio.current_time()
                    await self._live()
                    if trio.current_time() - started > HEALTHY_AFTER:
                        pause = RESTART_FIRST
                    await trio.sleep(pause)
                    pause = min(pause * 2, RESTART_LIMIT)
        finally:
            self._stopped.set()

    async def _live(self) -> None:
        """The life of one dirty arbiter."""
        ours, theirs = Channel.pair()
        try:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + LEAVE_WAIT):
                self._process = process = await self._start(theirs)
            theirs.close()
            await self._wait(process)
        except OSError as error:
            self._log.error("The dirty arbiter cannot be started: %s", error)
        finally:
            ours.close()
            theirs.close()
            self._process = None

    async def _start(self, theirs: Channel) -> trio.Process:
        fds = (theirs.fileno(), self._home.listener.fileno())
        variables = {VARIABLE: ",".join(map(str, fds)), SOCKET_VARIABLE: self._home.path}
        process = await execute(self._launch.argv, self._launch, variables, fds)
        self._log.info("Dirty arbiter with pid: %s", process.pid)
        return process

    async def _wait(self, process: trio.Process) -> None:
        try:
            code = await process.wait()
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._log.error("Dirty arbiter (pid:%s) ended with %s; starting another one.", process.pid, how)
        finally:
            if process.returncode is None:
                await self._end(process)

    async def _end(self, process: trio.Process) -> None:
        self.send_signal(self._signal)
        seconds = self._graceful() + LEAVE_WAIT
        with trio.CancelScope(shield=True, deadline=trio.current_time() + seconds):
            await process.wait()
            return
        self._log.warning("Dirty arbiter (pid:%s) did not stop in time and is killed.", process.pid)
        process.kill()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + LEAVE_WAIT):
            await process.wait()
