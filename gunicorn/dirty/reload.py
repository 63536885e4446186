"""HUP to the dirty arbiter: new configuration and new code, if they load; else it goes on as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import trio

from gunicorn.arbiter.members import Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gunicorn.arbiter.actions import Abandoned, Action, Promoted
    from gunicorn.arbiter.foundry import Foundry
    from gunicorn.dirty.arbiter import DirtyArbiter
    from gunicorn.dirty.dispatcher import Dispatcher
    from gunicorn.dirty.members import DirtyRoster
    from gunicorn.dirty.server import Server

__all__ = ["Reload"]


class Supervisor(Protocol):
    """What a reload needs of the running pool."""

    server: DirtyArbiter
    foundry: Foundry
    roster: DirtyRoster
    dispatcher: Dispatcher
    calls: Server

    def execute(self, actions: Sequence[Action]) -> None: ...


class Reload:
    """The replacement of all workers by ones with fresh code."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._generation = 1
        self._before: Any = None

    async def run(self) -> None:
        """Read the configuration again, load the code, and have the roster replace the workers."""
        supervisor, server = self._supervisor, self._supervisor.server
        before = server.cfg
        self._generation += 1
        generation = self._generation
        try:
            server.app.reload()
            server.cfg = server.app.cfg
            paths = server.paths
            await supervisor.foundry.start_mold(generation, [])
        except (Exception, SystemExit) as error:  # noqa: BLE001
            # The configuration is a program of the user: whatever it raises, the old one still serves.
            server.cfg = server.app.cfg = before
            server.log.error("Dirty arbiter: the reload failed, the pool goes on as before: %s", error)
            return
        self._before = before
        supervisor.dispatcher.paths = frozenset(paths) | supervisor.dispatcher.paths
        server.num_workers = server.cfg.dirty_workers
        wanted = Wanted(generation, server.cfg.dirty_workers)
        supervisor.execute(supervisor.roster.reload(wanted, trio.current_time()))

    def promoted(self, action: Promoted) -> None:
        """The new workers serve: what is about calls follows the new configuration."""
        supervisor, cfg = self._supervisor, self._supervisor.server.cfg
        supervisor.foundry.promote(action.generation)
        supervisor.dispatcher.paths = frozenset(supervisor.server.paths)
        supervisor.dispatcher.queue_limit = cfg.dirty_queue_size
        supervisor.calls.limit, supervisor.calls.cancels_abandoned = (
            cfg.dirty_timeout,
            cfg.dirty_cancel_abandoned,
        )

    def abandoned(self, action: Abandoned) -> None:
        """The new workers fail: back to what was before."""
        supervisor, server = self._supervisor, self._supervisor.server
        server.log.error("Dirty arbiter: the new workers fail, the old ones stay: %s", action.reason)
        server.cfg = server.app.cfg = self._before
        server.num_workers = supervisor.roster.count
        supervisor.foundry.retire_mold(action.generation)
