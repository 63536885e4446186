"""The life of an ASGI worker on asyncio: start the application, serve, drain, shut it down.

Accepting and handling are apart: the acceptor stops first, requests end by themselves or at the deadline,
and the lifespan ends last. Every task belongs to one of them and is waited for.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import TYPE_CHECKING, Any

from gunicorn.asgi.drain import STATE_KEY, DrainNotice
from gunicorn.asgi.lifespan import Lifespan, Mode
from gunicorn.errors import HaltServer
from gunicorn.workers.asgi.acceptor import Acceptor
from gunicorn.workers.asgi.alarms import Timer
from gunicorn.workers.asgi.lifespan import LifespanTask
from gunicorn.workers.asgi.overtime import Overtime
from gunicorn.workers.asgi.sockets import Sockets
from gunicorn.workers.asgi.startup import BOOT_FAILURE, StartupWatch
from gunicorn.workers.asgi.tls import TlsExtension
from gunicorn.workers.asgi.turns import Turns

if TYPE_CHECKING:
    from gunicorn.workers.asgi.cycle import Cycle
    from gunicorn.workers.asgi.protocol import Connection
    from gunicorn.workers.asgi.socket_cycle import SocketCycle
    from gunicorn.workers.asgi.worker import ASGIWorker

__all__ = ["Service"]


class Service:
    """What the connections of one worker share.

    Attributes:
        cycles: The applications that run.
        connections: The open ones.
        state: The lifespan's, copied into each scope.
        draining: No new work is taken.
    """

    def __init__(self, worker: ASGIWorker, loop: asyncio.AbstractEventLoop) -> None:
        cfg = worker.cfg
        self.worker = worker
        self.loop = loop
        self.log = worker.log
        self.app = worker.asgi
        self.policy = worker.policy
        self.ledger = worker.ledger
        self.tls = worker.tls
        self.tls_extension = TlsExtension(cfg, worker.tls)
        self.header_timeout: float = cfg.header_timeout
        self.body_timeout: float = cfg.body_timeout
        self.write_timeout: float = cfg.write_timeout
        self.handshake_timeout: float = cfg.handshake_timeout or 3600.0
        self.keepalive: float = cfg.keepalive
        self.disconnect_grace: float = cfg.asgi_disconnect_grace_period
        self.root_path: str = cfg.root_path
        self.send_files: bool = cfg.sendfile and worker.tls is None
        self.draining = False
        self.cycles: set[Cycle | SocketCycle] = set()
        self.connections: set[Connection] = set()
        self.timer = Timer(loop)
        self.notice = DrainNotice(asyncio.Event())
        self.sockets = Sockets(self)
        self.state: dict[str, Any] = {STATE_KEY: self.notice}
        self.turns = Turns(loop)
        self._context = contextvars.copy_context()
        self._acceptor = Acceptor(self, worker.sockets, cfg.worker_connections)
        self._stop = asyncio.Event()
        self._idle = asyncio.Event()
        self._awaits_connections = True
        self._beat_handle: asyncio.TimerHandle | None = None
        self._look_handle: asyncio.TimerHandle | None = None
        self._overtime = Overtime(worker, self.cycles) if cfg.request_timeout else None
        self._lifespan = self._new_lifespan(Mode(cfg.asgi_lifespan))

    # The worker's life

    async def main(self) -> None:
        """From the start of the application to the end of the worker.

        Raises:
            HaltServer: the application does not start.
        """
        worker = self.worker
        worker.on_wake(self._wake)
        try:
            if self._lifespan is not None:
                await self._start_application(self._lifespan)
            if worker.alive:
                worker.become_ready()
                await self._serve()
            await self._leave()
        finally:
            worker.on_wake(None)

    def _new_lifespan(self, mode: Mode) -> LifespanTask | None:
        if mode is Mode.OFF:
            return None
        return LifespanTask(Lifespan(mode, self.state), self.app, self._lifespan_died)

    async def _start_application(self, task: LifespanTask) -> None:
        """Wait for the application, or for a stop, whichever comes first."""
        watch = StartupWatch(self.worker)
        starting = self.loop.create_task(task.start())
        stopping = self.loop.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait(
                {starting, stopping}, timeout=watch.seconds or None, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            starting.cancel()
            stopping.cancel()
        if not done:
            raise HaltServer(watch.expire(), BOOT_FAILURE)
        watch.end()
        failure = task.lifespan.boot_failure
        if failure:
            self.log.error("%s", failure, exc_info=task.lifespan.error)
            raise HaltServer(failure, BOOT_FAILURE)

    def _lifespan_died(self) -> None:
        assert self._lifespan is not None
        lifespan = self._lifespan.lifespan
        self.log.error("The application's lifespan ended: %s", lifespan.failure, exc_info=lifespan.error)
        self.worker.leave("lifespan ended")

    async def _serve(self) -> None:
        worker = self.worker
        if worker.report is not None:
            self.loop.add_reader(worker.report.fileno(), self._report_ended, worker.report.fileno())
        self._beat()
        if self._overtime is not None:
            self._look(self._overtime)
        self._acceptor.start()
        await self._stop.wait()

    def _report_ended(self, fd: int) -> None:
        self.loop.remove_reader(fd)
        self.worker.arbiter_gone()

    def _beat(self) -> None:
        """From the loop itself: one that an application blocks does not beat."""
        self.worker.notify()
        self._beat_handle = self.loop.call_later(self.worker.beat_interval, self._beat)

    def _look(self, overtime: Overtime) -> None:
        overtime.look(self.loop.time())
        self._look_handle = self.loop.call_later(overtime.interval, self._look, overtime)

    def _wake(self) -> None:
        # May be a signal handler in the middle of anything.
        self.loop.call_soon_threadsafe(self._woken)

    def _woken(self) -> None:
        self._stop.set()
        if self.draining:
            self._hurry()

    def leave_with(self, error: BaseException) -> None:
        """An application called ``sys.exit``: the worker drains, and then it exits so."""
        self.worker.exit = error
        self.worker.stop()

    # Draining

    async def _leave(self) -> None:
        cancel_at, gone_at = self.worker.drain_times()
        self._begin_drain(cancel_at)
        await self._wait_idle(cancel_at)
        self._cancel_all()
        if self.worker.quick:
            gone_at = min(gone_at, self.worker.drain_times()[1])
        # Half of what is left for the cleanup of requests, the rest for the lifespan.
        await self._wait_idle(_halfway(gone_at), with_connections=False)
        if self._lifespan is not None:
            await self._stop_application(self._lifespan, gone_at)
        if not self.cycles:
            # Only clients are left: those that read their last bytes, or do not close.
            await self._wait_idle(_halfway(gone_at))
        for connection in list(self.connections):
            connection.cut()
        self.timer.close()
        for handle in (self._beat_handle, self._look_handle):
            if handle is not None:
                handle.cancel()

    def _begin_drain(self, cancel_at: float) -> None:
        self.draining = True
        self._acceptor.stop()
        self.notice.announce(cancel_at)
        for connection in list(self.connections):
            connection.begin_drain()
        if not self.worker.quick:
            self._acceptor.take_queued()
        self._go_away(cancel_at)

    def _hurry(self) -> None:
        """Another signal: the server itself ends (TERM), or at once (INT, QUIT)."""
        if self.worker.quick:
            self._idle.set()
        for connection in list(self.connections):
            connection.begin_drain()

    def _go_away(self, cancel_at: float) -> None:
        """Close WebSockets one after the other over the time there is; their clients come back at once."""
        sockets = [cycle for cycle in self.cycles if cycle.go_away is not None]
        window = max(0.0, cancel_at - time.monotonic()) / 2
        for index, cycle in enumerate(sockets):
            self.loop.call_later(window * index / len(sockets), cycle.go_away)

    async def _wait_idle(self, deadline: float, *, with_connections: bool = True) -> None:
        self._idle.clear()
        self._awaits_connections = with_connections
        self.check_idle()
        try:
            await asyncio.wait_for(self._idle.wait(), max(0.0, deadline - time.monotonic()))
        except asyncio.TimeoutError:
            return

    def check_idle(self) -> None:
        if self.draining and not self.cycles and (self._acceptor.idle or not self._awaits_connections):
            self._idle.set()

    def _cancel_all(self) -> None:
        self._acceptor.cancel()
        for connection in list(self.connections):
            connection.end_idle()
        for cycle in list(self.cycles):
            cycle.cancel("the worker leaves")

    async def _stop_application(self, task: LifespanTask, gone_at: float) -> None:
        try:
            await task.stop(max(0.1, gone_at - time.monotonic()))
        except TimeoutError:
            self.log.warning("The application's lifespan shutdown was cut off at graceful_timeout")
            return
        failure = task.lifespan.shutdown_failure
        if failure:
            self.log.error("Application shutdown failed: %s", failure, exc_info=task.lifespan.error)

    # For connections and cycles

    def start(self, cycle: Cycle | SocketCycle, scope: dict[str, Any]) -> None:
        """Run the application for ``cycle`` in a task, and in a context that no other request has touched."""
        self.cycles.add(cycle)
        self.turns.begun += 1
        # Through run(), because create_task() has a context argument only since Python 3.11; a copy,
        # because the base may be entered already.
        cycle.task = self._context.copy().run(self.loop.create_task, cycle.run(self.app, scope))

    def cycle_over(self, cycle: Cycle | SocketCycle) -> None:
        self.cycles.discard(cycle)
        if self.draining:
            self.check_idle()

    def connection_over(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._acceptor.closed()


def _halfway(deadline: float) -> float:
    """Between now and ``deadline``, monotonic seconds."""
    now = time.monotonic()
    return now + (deadline - now) / 2
