"""What the signals ask of the arbiter."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gunicorn.arbiter.actions import Action
    from gunicorn.arbiter.child import Child
    from gunicorn.arbiter.foundry import Foundry
    from gunicorn.arbiter.in_place import InPlace
    from gunicorn.arbiter.master import Master
    from gunicorn.arbiter.notify import Notifier
    from gunicorn.arbiter.reload import Reload
    from gunicorn.arbiter.roster import Roster
    from gunicorn.arbiter.upgrade import Upgrade
    from gunicorn.dirty.service import DirtyService

__all__ = ["QUICK", "Commands"]

#: How long workers have after INT or QUIT, seconds.
QUICK = 2.0


class Supervisor(Protocol):
    """What the commands need of the running server."""

    server: Master
    roster: Roster
    foundry: Foundry
    notifier: Notifier
    reload: Reload
    upgrade: Upgrade
    in_place: InPlace
    pool: DirtyService | None
    stopping: trio.Event
    children: dict[int, Child]

    def execute(self, actions: Sequence[Action]) -> None: ...
    def start_service(self, task: Callable[..., Awaitable[Any]], *args: Any) -> None: ...
    def start_among_workers(self, task: Callable[..., Awaitable[Any]], *args: Any) -> None: ...
    def stop(self, number: int, seconds: float) -> None: ...
    def reap(self) -> None: ...


class Commands:
    """One method for each signal."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._server = supervisor.server
        self._is_draining = False
        self._table: dict[int, Callable[[], None]] = {
            signal.SIGTERM: self.stop_gracefully,
            signal.SIGINT: self.stop_quickly,
            signal.SIGQUIT: self.stop_quickly,
            signal.SIGHUP: self.hang_up,
            signal.SIGUSR1: self.reopen_logs,
            signal.SIGUSR2: self.upgrade,
            signal.SIGTTIN: lambda: self.scale(+1),
            signal.SIGTTOU: lambda: self.scale(-1),
            signal.SIGWINCH: self.park,
            signal.SIGCHLD: supervisor.reap,
        }

    def obey(self, number: int) -> None:
        """Do what the signal asks for."""
        if number != signal.SIGCHLD:
            self._server.log.info("Handling signal: %s", signal.Signals(number).name[3:].lower())
        self._table[number]()

    @property
    def is_ending(self) -> bool:
        """The server was told to stop, though it may serve on for ``drain_delay``."""
        return self._is_draining or self._supervisor.stopping.is_set()

    def stop_gracefully(self) -> None:
        """TERM: after ``drain_delay``, requests in flight may take until ``graceful_timeout``."""
        seconds, graceful = self._server.cfg.drain_delay, self._server.cfg.graceful_timeout
        if not seconds or self.is_ending:
            self._supervisor.stop(signal.SIGTERM, graceful)
            return
        self._is_draining = True
        self._server.log.info("Serving for %g more seconds before the stop (drain_delay)", seconds)
        self._supervisor.notifier.draining(seconds, graceful)
        self._supervisor.start_among_workers(self._stop_later, seconds)

    async def _stop_later(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._supervisor.stop(signal.SIGTERM, self._server.cfg.graceful_timeout)

    def stop_quickly(self) -> None:
        """INT, QUIT: at once, also when a graceful stop is under way."""
        self._supervisor.stop(signal.SIGQUIT, QUICK)

    def hang_up(self) -> None:
        """HUP: reload."""
        supervisor = self._supervisor
        if self.is_ending:
            return
        self._server.log.info("Hang up: %s", self._server.master_name)
        supervisor.start_among_workers(supervisor.reload.run)
        if supervisor.pool is not None:
            supervisor.pool.send_signal(signal.SIGHUP)

    def upgrade(self) -> None:
        """USR2: become the new version, or start it beside this one."""
        supervisor = self._supervisor
        # Decided here and not in the task: the predecessor may be gone by the time that the task runs.
        way = supervisor.in_place if self._server.cfg.upgrade_in_place else supervisor.upgrade
        if not self.is_ending and way.claim():
            supervisor.start_service(way.run)

    def reopen_logs(self) -> None:
        """USR1: the log files were moved away."""
        supervisor = self._supervisor
        self._server.log.reopen_files()
        supervisor.start_service(supervisor.foundry.reopen_logs)
        if supervisor.pool is not None:
            supervisor.pool.send_signal(signal.SIGUSR1)
        for child in supervisor.children.values():
            child.reopen_logs()

    def scale(self, change: int) -> None:
        """TTIN, TTOU: one worker more or less, never under one."""
        supervisor = self._supervisor
        count = max(1, supervisor.roster.count + change)
        supervisor.execute(supervisor.roster.resize(count, trio.current_time()))
        self._server.scaled(supervisor.roster.count)

    def park(self) -> None:
        """WINCH: no workers, in a daemon; elsewhere it only means that a window was resized."""
        supervisor = self._supervisor
        if not self._server.cfg.daemon:
            self._server.log.debug("SIGWINCH ignored. Not daemonized")
            return
        self._server.log.info("graceful stop of workers")
        supervisor.execute(supervisor.roster.resize(0, trio.current_time()))
        self._server.scaled(0)
