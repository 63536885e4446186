"""The loop of the arbiter: nurseries, and the execution of what the roster decides.

Two nurseries, so that the end has an order: the workers' tasks are cancelled first, while the outer nursery
still takes signals (a second Ctrl-C hurries), hears the spawners, and reaps. Listeners are closed after the
last worker has left: connections that are queued on them belong to workers that still accept until then.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import trio

from gunicorn.arbiter.actions import (
    Abandoned,
    ChildExit,
    CrashLooping,
    Halt,
    Promoted,
    Retire,
    SpawnChild,
    Wake,
)
from gunicorn.arbiter.ageing import Limits
from gunicorn.arbiter.boot import SIGNALS, boot_seconds, prepare_slot
from gunicorn.arbiter.child import Child
from gunicorn.arbiter.commands import Commands
from gunicorn.arbiter.control import Control
from gunicorn.arbiter.foundry import Foundry, MoldError
from gunicorn.arbiter.in_place import InPlace, inherit
from gunicorn.arbiter.master import WorkerView
from gunicorn.arbiter.notify import Notifier
from gunicorn.arbiter.processes import Forked, start_fork_server
from gunicorn.arbiter.reaper import reap_strangers
from gunicorn.arbiter.reload import Reload
from gunicorn.arbiter.roster import Roster
from gunicorn.arbiter.timing import StopPlan, Timing
from gunicorn.arbiter.upgrade import Upgrade
from gunicorn.process.memory import OomKills
from gunicorn.process.messages import StartMold

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from gunicorn.arbiter.actions import Action
    from gunicorn.arbiter.boot import Boot
    from gunicorn.arbiter.foundry import Process
    from gunicorn.arbiter.handle import Handle
    from gunicorn.arbiter.master import Master
    from gunicorn.dirty.service import DirtyService
    from gunicorn.process.channel import Channel

__all__ = ["Supervisor", "run"]

#: How long the fork server has to leave after its channel is closed, seconds.
FORK_SERVER_WAIT = 0.5


def run(server: Master, boot: Boot) -> int:
    """Run the event loop to the end of the server; the exit status."""
    return trio.run(Supervisor(server, boot).run)


class Supervisor:
    """The running server."""

    def __init__(self, server: Master, boot: Boot) -> None:
        self.server = server
        self.boot = boot
        cfg = server.cfg
        self.roster = Roster(
            cfg.workers, len(boot.slots), surge=cfg.reload_surge, unavailable=cfg.reload_unavailable
        )
        self.oom_kills = OomKills.of_this_process()
        self._limits: tuple[Any, Limits] = (cfg, Limits.from_config(cfg))
        self.plan = StopPlan()
        self.children: dict[int, Child] = {}
        self.notifier = Notifier()
        self.foundry = self._make_foundry()
        self.commands = Commands(self)
        self.control = Control(self, obey=self.commands.obey)
        self.reload = Reload(self)
        self.upgrade = Upgrade(server, boot)
        self.in_place = InPlace(self)
        self.pool = self._make_pool()
        self.stopping = trio.Event()
        self.exit_status = 0
        self._workers: trio.Nursery
        self._services: trio.Nursery
        self._timer = trio.CancelScope()
        self._actions: dict[type[Any], Callable[[Any], None]] = {
            SpawnChild: self._start_child,
            Retire: lambda action: self.children[action.age].retire(),
            Promoted: lambda action: self.reload.promoted(action.generation),
            Abandoned: lambda action: self.reload.abandoned(action.generation, action.reason),
            CrashLooping: self._slow_down,
            Halt: self._halt,
            Wake: self._set_timer,
        }

    # --- the task ---

    async def run(self) -> int:
        """Serve until told to stop; the exit status."""
        with trio.open_signal_receiver(*SIGNALS, signal.SIGCHLD) as signals:
            async with trio.open_nursery() as self._services:
                await self._services.start(self.foundry.run)
                self._services.start_soon(self.notifier.watchdog, self.roster)
                self._services.start_soon(self.control.server.run)
                self._services.start_soon(self._watch_predecessor)
                if self.pool is not None:
                    self._services.start_soon(self.pool.run)
                await self._run_workers(signals)
                if self.plan.hands_over:
                    self.boot.bequest = self.in_place.describe()
                else:
                    await self._finish()
                self._services.cancel_scope.cancel()
        return self.exit_status

    async def _run_workers(self, signals: AsyncIterator[int]) -> None:
        async with trio.open_nursery() as self._workers:
            # In the outer nursery, so that signals are heard while this one waits for its end.
            self._services.start_soon(self._take_signals, signals)
            self._workers.start_soon(self._keep_time)
            if self.boot.inheritance is not None:
                inherit(self, self.boot.inheritance)
                self.start_among_workers(
                    self.reload.take_over, self.boot.generation, self.boot.former_listeners
                )
            elif self.boot.needs_mold:
                self._workers.start_soon(self._load_first_generation)
            else:
                self._adopt_first_generation()
            for number in self.boot.early:
                self.commands.obey(number)
            self.reap()
            try:
                await self.stopping.wait()
            finally:
                if not self.plan.hands_over:
                    # Also when a bug ends this nursery: the children's shields need their deadline.
                    self.stop(signal.SIGTERM, self.server.cfg.graceful_timeout)
                self._workers.cancel_scope.cancel()

    async def _watch_predecessor(self) -> None:
        if self.boot.predecessor:
            await self.upgrade.watch_predecessor()
            self.control.server.promoted()

    async def _take_signals(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            self.commands.obey(number)

    async def _keep_time(self) -> None:
        """Wake the roster up at the time that it asked for."""
        while True:
            with trio.CancelScope() as self._timer:
                await trio.sleep_forever()
            self.execute(self.roster.tick(trio.current_time()))

    def _adopt_first_generation(self) -> None:
        """Those that the start has asked for, which are the same that the roster asks for."""
        for order in self.roster.tick(trio.current_time()):
            assert isinstance(order, SpawnChild)
            self.adopt(order)

    async def _load_first_generation(self) -> None:
        """``preload_app``: workers come after the mold that has imported the application."""
        try:
            await self.foundry.start_mold(1, [listener.fileno() for listener in self.server.LISTENERS])
        except MoldError as error:
            self._halt(Halt(error.exit_code, error.reason))
            return
        self.execute(self.roster.tick(trio.current_time()))

    async def _finish(self) -> None:
        self.server.log.info("Shutting down: %s", self.server.master_name)
        if self.boot.successor:
            self.notifier.successor(self.boot.successor)
        if self.pool is not None:
            # After the web workers: their last requests may still need it.
            await self.pool.stop(self.plan.signal)
        with trio.move_on_after(FORK_SERVER_WAIT):
            await self.foundry.close()

    # --- what the roster decides ---

    def execute(self, actions: Sequence[Action]) -> None:
        """Take the actions, in order."""
        for action in actions:
            self._actions[type(action)](action)
        self.control.executed(actions)
        if not self.stopping.is_set():
            self.notifier.update(self.roster)

    def _start_child(self, order: SpawnChild) -> None:
        prepare_slot(self.boot.slots[order.slot], order.generation, boot_seconds(self.server.cfg))
        self.adopt(order)

    def adopt(
        self, order: SpawnChild, spawn: Callable[[SpawnChild], Awaitable[Handle]] | None = None
    ) -> Child:
        """Supervise the worker that was asked for, or that ``spawn`` has."""
        cfg = self.server.cfg
        if self._limits[0] is not cfg:
            self._limits = cfg, Limits.from_config(cfg)
        timing = Timing(cfg.timeout, cfg.graceful_timeout, boot_seconds(cfg))
        self.children[order.age] = child = Child(
            order,
            self.boot.slots[order.slot],
            spawn=spawn or self.foundry.spawn,
            observer=self,
            plan=self.plan,
            timing=timing,
            log=self.server.log,
            clock=time.monotonic,
            limits=self._limits[1],
            out_of_memory=self.oom_kills.claim,
        )
        self._workers.start_soon(child.run)
        return child

    def _halt(self, action: Halt) -> None:
        self.exit_status = action.exit_status
        self.server.log.error("Reason: %s", action.reason)
        self.stop(signal.SIGTERM, self.server.cfg.graceful_timeout)

    def _slow_down(self, action: CrashLooping) -> None:
        self.server.log.error(
            "Workers are crash-looping, next try in %.1f s (%s failures in a row)",
            action.seconds,
            action.failures,
        )

    def _set_timer(self, action: Wake) -> None:
        self._timer.deadline = action.at

    # --- what the children do ---

    def child_spawned(self, child: Child) -> None:
        order = child.order
        view = WorkerView(child.pid, child.age, order.slot, order.generation)
        self.server.WORKERS[child.pid] = view
        self.reap()

    def child_ready(self, child: Child) -> None:
        self.execute(self.roster.ready(child.age, trio.current_time()))

    def child_leaving(self, child: Child, reason: str) -> None:
        self.server.log.info("Worker (pid:%s) will be replaced: %s", child.pid, reason)
        self.execute(self.roster.leaving(child.age, trio.current_time()))

    def child_exited(self, child: Child, ended: ChildExit) -> None:
        del self.children[child.age]
        if child.death is not None:
            self.server.deaths.append(child.death)
        view = self.server.WORKERS.pop(child.pid, None)
        if view is not None:
            self.server.call_hook("child_exit", self.server, view)
        self.execute(self.roster.exited(child.age, ended, trio.current_time()))
        self.reload.close_outdated()
        self.reap()

    def only_generation(self, generation: int) -> bool:
        """Whether every child is of this generation."""
        return all(child.order.generation == generation for child in self.children.values())

    # --- the end ---

    def stop(self, number: int, seconds: float) -> None:
        """Stop all workers with the signal ``number``; they have ``seconds``."""
        if self.stopping.is_set() and number == signal.SIGTERM:
            return
        self.plan.signal = number
        self.plan.deadline = min(self.plan.deadline, trio.current_time() + seconds)
        self.roster.stop()
        for child in self.children.values():
            child.hurry()
        if self.pool is not None and number == signal.SIGQUIT:
            self.pool.hurry()
        if not self.stopping.is_set():
            self.notifier.stopping()
        self.stopping.set()

    # --- children ---

    def reap(self) -> None:
        """Reap what is not ours."""
        # While a worker is being made its pid is not known yet, and it may have ended already.
        if not self.foundry.is_forking:
            reap_strangers(self._is_ours)

    def _is_ours(self, pid: int) -> bool:
        pool = self.pool.pid if self.pool is not None else 0
        return pid in self.server.WORKERS or pid in (self.foundry.pid, self.boot.successor, pool)

    # --- services ---

    def _make_pool(self) -> DirtyService | None:
        """The dirty arbiter's task. Without a pool nothing of it is imported."""
        if self.boot.pool is None:
            return None
        from gunicorn.dirty.service import DirtyService

        return DirtyService(
            self.boot.launch, self.boot.pool, self.server.log, lambda: self.server.cfg.dirty_graceful_timeout
        )

    def start_service(self, task: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run something beside the workers that ends with the server."""
        self._services.start_soon(task, *args)

    def start_among_workers(self, task: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run something that ends when the workers are told to."""
        self._workers.start_soon(task, *args)

    def _make_foundry(self) -> Foundry:
        boot, server = self.boot, self.server

        async def restart() -> tuple[Channel, Process]:
            return await start_fork_server(boot.launch, boot.slots, server.LISTENERS)

        foundry = Foundry(
            boot.fork_server.channel,
            Forked(boot.fork_server.pid),
            restart=restart,
            root_generation=None if boot.needs_mold else boot.generation,
            log=server.log,
        )
        for order in boot.orders:
            foundry.already_sent(order)
        if boot.needs_mold and boot.inheritance is None:
            foundry.already_sent(StartMold(1), [listener.fileno() for listener in server.LISTENERS])
        return foundry
