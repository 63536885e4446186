"""The life of an ASGI worker on trio: start the application, serve, drain, shut it down.

Three nurseries, from the outside in: the application's lifespan, which ends last; the connections; and
accepting, which ends first.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from gunicorn.asgi.drain import STATE_KEY, DrainNotice
from gunicorn.asgi.lifespan import Lifespan, Mode
from gunicorn.errors import HaltServer
from gunicorn.workers.asgi.overtime import Overtime
from gunicorn.workers.asgi.startup import BOOT_FAILURE, StartupWatch
from gunicorn.workers.asgi.tls import TlsExtension
from gunicorn.workers.asgi.trio_acceptor import Acceptor
from gunicorn.workers.asgi.trio_connection import Connection
from gunicorn.workers.asgi.trio_deadlines import Deadlines
from gunicorn.workers.asgi.trio_leader import Leaders
from gunicorn.workers.asgi.trio_lifespan import LifespanTask
from gunicorn.workers.asgi.trio_link import Link, TlsLink
from gunicorn.workers.engine.link import peer_of
from gunicorn.workers.engine.tls import wrap

if TYPE_CHECKING:
    import socket

    from gunicorn.asgi.websocket import WebSocketSettings
    from gunicorn.http.events import Request
    from gunicorn.workers.asgi.trio_cycle import Cycle
    from gunicorn.workers.asgi.trio_socket import SocketCycle
    from gunicorn.workers.asgi.worker import ASGIWorker

__all__ = ["Service"]

# For the lifespan's shutdown, whatever came before it; seconds.
_LAST_MOMENT = 0.1


class Service:
    """What the connections of one worker share. To be made inside ``trio.run``.

    Attributes:
        cycles: The applications that run.
        connections: The open ones.
        state: The lifespan's, copied into each scope.
        draining: No new work is taken.
        leaders: Serve the connections that wait for a request.
    """

    leaders: Leaders

    def __init__(self, worker: ASGIWorker) -> None:
        cfg = worker.cfg
        self.worker = worker
        self.log = worker.log
        self.app = worker.asgi
        self.policy = worker.policy
        self.ledger = worker.ledger
        self.tls = worker.tls
        self.tls_extension = TlsExtension(cfg, worker.tls)
        self.header_timeout: float = cfg.header_timeout
        self.body_timeout: float = cfg.body_timeout
        self.keepalive: float = cfg.keepalive
        self.disconnect_grace: float = cfg.asgi_disconnect_grace_period
        self.root_path: str = cfg.root_path
        self.draining = False
        self.cycles: set[Cycle | SocketCycle] = set()
        self.connections: set[Connection] = set()
        self.deadlines = Deadlines()
        self.notice = DrainNotice(trio.Event())
        self.state: dict[str, Any] = {STATE_KEY: self.notice}
        self._handshake_timeout: float = cfg.handshake_timeout or 3600.0
        self._link_options: dict[str, Any] = {"write_timeout": cfg.write_timeout, "send_files": cfg.sendfile}
        self._acceptor = Acceptor(self, worker.sockets, cfg.worker_connections, self._handle)
        self._stop = trio.Event()
        self._patience = trio.CancelScope()
        self._changes = trio.lowlevel.ParkingLot()
        self._websocket_settings: WebSocketSettings | None = None
        self._handlers: trio.Nursery | None = None
        mode = Mode(cfg.asgi_lifespan)
        self._lifespan = (
            None
            if mode is Mode.OFF
            else LifespanTask(Lifespan(mode, self.state), self.app, self._lifespan_died)
        )

    # The worker's life

    async def main(self) -> None:
        """From the start of the application to the end of the worker.

        Raises:
            HaltServer: the application does not start.
        """
        token = trio.lowlevel.current_trio_token()
        # The wake may come from a signal handler, in the middle of anything.
        self.worker.on_wake(lambda: token.run_sync_soon(self._woken, idempotent=True))
        failure = ""
        try:
            async with trio.open_nursery() as nursery:
                if self._lifespan is not None:
                    failure = await self._start_application(nursery, self._lifespan)
                if not failure and self.worker.alive:
                    await self._serve(nursery)
                elif not failure:
                    await self._stop_application(trio.current_time() + self.worker.cfg.graceful_timeout)
                nursery.cancel_scope.cancel()
        finally:
            self.worker.on_wake(None)
        if failure:
            raise HaltServer(failure, BOOT_FAILURE)

    def _woken(self) -> None:
        self._stop.set()
        if self.draining:
            self._hurry()

    async def _start_application(self, nursery: trio.Nursery, task: LifespanTask) -> str:
        """Wait for the application, or for a stop, whichever comes first; why the worker cannot serve."""
        watch = StartupWatch(self.worker)
        nursery.start_soon(task.run)
        with trio.move_on_after(watch.seconds or inf) as in_time:
            async with trio.open_nursery() as waiting:
                waiting.start_soon(self._cancel_at_stop, waiting.cancel_scope)
                await task.started()
                waiting.cancel_scope.cancel()
        if in_time.cancelled_caught:
            return watch.expire()
        watch.end()
        failure = task.lifespan.boot_failure
        if failure:
            self.log.error("%s", failure, exc_info=task.lifespan.error)
        return failure

    async def _cancel_at_stop(self, scope: trio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()

    def _lifespan_died(self) -> None:
        assert self._lifespan is not None
        lifespan = self._lifespan.lifespan
        self.log.error("The application's lifespan ended: %s", lifespan.failure, exc_info=lifespan.error)
        self.worker.leave("lifespan ended")

    async def _serve(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._beat)
        nursery.start_soon(self.deadlines.run)
        if self.worker.cfg.request_timeout:
            nursery.start_soon(self._look_for_overtime)
        if self.worker.report is not None:
            nursery.start_soon(self._watch_arbiter, self.worker.report.fileno())
        self.worker.become_ready()
        async with trio.open_nursery() as self._handlers:
            self.leaders = Leaders(self._handlers, self.log)
            self.leaders.begin()
            async with trio.open_nursery() as accepting:
                accepting.start_soon(self._acceptor.run)
                await self._stop.wait()
                accepting.cancel_scope.cancel()
            await self._leave(self._handlers)
        self.leaders.close()

    async def _beat(self) -> None:
        """From the loop itself: one that an application blocks does not beat."""
        while True:
            self.worker.notify()
            await trio.sleep(self.worker.beat_interval)

    async def _look_for_overtime(self) -> None:
        overtime = Overtime(self.worker, self.cycles)
        while True:
            overtime.look(trio.current_time())
            await trio.sleep(overtime.interval)

    async def _watch_arbiter(self, fd: int) -> None:
        await trio.lowlevel.wait_readable(fd)
        self.worker.arbiter_gone()

    def leave_with(self, error: BaseException) -> None:
        """An application called ``sys.exit``: the worker drains, and then it exits so."""
        self.worker.exit = error
        self.worker.stop()

    # Draining

    async def _leave(self, handlers: trio.Nursery) -> None:
        cancel_at, gone_at = self.worker.drain_times()
        self._begin_drain(cancel_at)
        difference = trio.current_time() - time.monotonic()
        cancel_at, gone_at = cancel_at + difference, gone_at + difference
        handlers.start_soon(self._go_away, cancel_at)
        with trio.move_on_at(cancel_at) as self._patience:
            await self._until_idle()
        self._cancel_all()
        if self.worker.quick:
            gone_at = min(gone_at, self.worker.drain_times()[1] + difference)
        # Half of what is left for the cleanup of requests, the rest for the lifespan.
        with trio.move_on_at(_halfway(gone_at)):
            while self.cycles:
                await self._changes.park()
        await self._stop_application(gone_at)
        if not self.cycles:
            # Only clients are left: those that read their last bytes, or do not close.
            with trio.move_on_at(_halfway(gone_at)):
                await self._until_idle()
        handlers.cancel_scope.cancel()

    def _begin_drain(self, cancel_at: float) -> None:
        self.draining = True
        self.notice.announce(cancel_at)
        for connection in list(self.connections):
            connection.begin_drain()
        if not self.worker.quick:
            self._acceptor.take_queued()

    def _hurry(self) -> None:
        """Another signal: the server itself ends (TERM), or at once (INT, QUIT)."""
        if self.worker.quick:
            self._patience.cancel()
        for connection in list(self.connections):
            connection.begin_drain()

    async def _go_away(self, cancel_at: float) -> None:
        """Close WebSockets one after the other: their clients come back as soon as they are closed."""
        sockets = [cycle.go_away for cycle in self.cycles if cycle.go_away is not None]
        window = max(0.0, cancel_at - trio.current_time()) / 2
        for go_away in sockets:
            go_away()
            await trio.sleep(window / len(sockets))

    async def _until_idle(self) -> None:
        while self.cycles or not self._acceptor.idle:
            await self._changes.park()

    def _cancel_all(self) -> None:
        self._acceptor.give_up()
        for connection in list(self.connections):
            connection.end_idle()
        for cycle in list(self.cycles):
            cycle.cancel("the worker leaves")

    async def _stop_application(self, gone_at: float) -> None:
        """The lifespan's end. Shielded: what is cancelled around it are the connections."""
        if self._lifespan is None:
            return
        soon = trio.current_time() + _LAST_MOMENT
        with trio.move_on_at(max(gone_at, soon), shield=True) as wait:
            failure = await self._lifespan.stop()
            if failure:
                error = self._lifespan.lifespan.error
                self.log.error("Application shutdown failed: %s", failure, exc_info=error)
        if wait.cancelled_caught:
            self.log.warning("The application's lifespan shutdown was cut off at graceful_timeout")

    # Connections

    def _handle(self, sock: socket.socket, address: Any) -> None:
        assert self._handlers is not None
        self._handlers.start_soon(self._serve_connection, sock, address)

    async def _serve_connection(self, sock: socket.socket, address: Any) -> None:
        connection = None
        try:
            link = await self._new_link(sock)
            connection = Connection(self, link, peer_of(address), link.sock.getsockname())
            self.connections.add(connection)
            await connection.serve()
        except (OSError, ValueError) as error:
            self.log.debug("Connection from %s dropped: %s", address, error)
        except Exception:
            # A fault of ours, in one connection: the others go on.
            self.log.exception("Error in the connection from %s", address)
        finally:
            sock.close()
            if connection is None:
                self.connection_over(None)
            self.wake()

    async def _new_link(self, sock: socket.socket) -> Link:
        if self.tls is None:
            return Link(sock, **self._link_options)
        link = TlsLink(wrap(self.tls, sock), **self._link_options)
        try:
            with trio.fail_after(self._handshake_timeout):
                await link.handshake()
        except trio.TooSlowError:
            link.close()
            raise OSError("the TLS handshake took too long") from None
        except BaseException:
            link.close()
            raise
        return link

    def connection_over(self, connection: Connection | None) -> None:
        """A socket was closed; None: before anything was received."""
        if connection is not None:
            self.connections.discard(connection)
        self._acceptor.closed()
        self.wake()

    def wake(self) -> None:
        """Something has ended: whoever waits for all looks again."""
        self._changes.unpark_all()

    def is_websocket(self, request: Request) -> bool:
        from gunicorn.asgi.websocket import is_websocket

        return is_websocket(request)

    def websocket_settings(self) -> WebSocketSettings:
        from gunicorn.asgi.websocket import WebSocketSettings

        if self._websocket_settings is None:
            self._websocket_settings = WebSocketSettings.from_config(self.worker.cfg)
        return self._websocket_settings


def _halfway(deadline: float) -> float:
    """Between now and ``deadline``, seconds of trio's clock."""
    now = trio.current_time()
    return now + (deadline - now) / 2
