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
from gunicorn.arbiter.child import Child, StopPlan, Timing
from gunicorn.arbiter.foundry import Foundry, MoldError
from gunicorn.arbiter.handle import Handle
from gunicorn.arbiter.in_place import InPlace
from gunicorn.arbiter.master import WorkerView
from gunicorn.arbiter.notify import Notifier
from gunicorn.arbiter.processes import Forked, start_fork_server
from gunicorn.arbiter.reaper import reap_strangers
from gunicorn.arbiter.reload import Reload
from gunicorn.arbiter.roster import Member, Roster, State, Wanted
from gunicorn.arbiter.upgrade import Upgrade
from gunicorn.process.channel import Channel
from gunicorn.process.memory import OomKills
from gunicorn.process.messages import StartMold

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from gunicorn.arbiter.actions import Action
    from gunicorn.arbiter.boot import Boot
    from gunicorn.arbiter.foundry import Process
    from gunicorn.arbiter.handover import Handover, Heir
    from gunicorn.arbiter.master import Master

__all__ = ["Supervisor", "run"]

#: How long workers have after INT or QUIT, seconds.
QUICK = 2.0
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
        self._is_draining = False
        self.plan = StopPlan()
        self.children: dict[int, Child] = {}
        self.notifier = Notifier()
        self.foundry = self._make_foundry()
        self.reload = Reload(self)
        self.upgrade = Upgrade(server, boot)
        self.in_place = InPlace(self)
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
        self._signals: dict[int, Callable[[], None]] = {
            signal.SIGTERM: self.stop_gracefully,
            signal.SIGINT: self.stop_quickly,
            signal.SIGQUIT: self.stop_quickly,
            signal.SIGHUP: self._hang_up,
            signal.SIGUSR1: self._reopen_logs,
            signal.SIGUSR2: self._upgrade,
            signal.SIGTTIN: lambda: self._scale(+1),
            signal.SIGTTOU: lambda: self._scale(-1),
            signal.SIGWINCH: self._park,
            signal.SIGCHLD: self._reap,
        }

    # --- the task ---

    async def run(self) -> int:
        """Serve until told to stop; the exit status."""
        with trio.open_signal_receiver(*SIGNALS, signal.SIGCHLD) as signals:
            async with trio.open_nursery() as self._services:
                await self._services.start(self.foundry.run)
                self._services.start_soon(self.notifier.watchdog, self.roster)
                self._services.start_soon(self.upgrade.watch_predecessor)
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
                self._inherit(self.boot.inheritance)
            elif self.boot.needs_mold:
                self._workers.start_soon(self._load_first_generation)
            else:
                self._adopt_first_generation()
            for number in self.boot.early:
                self._handle(number)
            self._reap()
            try:
                await self.stopping.wait()
            finally:
                if not self.plan.hands_over:
                    # Also when a bug ends this nursery: the children's shields need their deadline.
                    self._stop(signal.SIGTERM, self.server.cfg.graceful_timeout)
                self._workers.cancel_scope.cancel()

    async def _take_signals(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            self._handle(number)

    def _handle(self, number: int) -> None:
        if number != signal.SIGCHLD:
            self.server.log.info("Handling signal: %s", signal.Signals(number).name[3:].lower())
        self._signals[number]()

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
            self._adopt(order)

    def _inherit(self, inheritance: Handover) -> None:
        """Go on with the workers of the image before this one, and replace them."""
        heirs = inheritance.heirs
        members = [Member(heir.age, heir.slot, heir.generation, State(heir.state)) for heir in heirs]
        wanted = Wanted(inheritance.generation, inheritance.wanted)
        self.roster.take_over(members, wanted, inheritance.age)
        inherited = {fd for fd, _ in inheritance.listeners}
        self.foundry.inherit(inheritance.spawners, sorted(inherited))
        for heir in heirs:
            self._adopt_heir(heir)
        self._workers.start_soon(self.reload.take_over, self.boot.generation, self.boot.former_listeners)

    def _adopt_heir(self, heir: Heir) -> None:
        report = Channel.from_fd(heir.report)
        report.setblocking(False)
        handle = Handle(heir.pid, report, heir.stacks, heir.pidfd)

        async def spawn(order: SpawnChild) -> Handle:
            return handle

        child = self._adopt(SpawnChild(heir.slot, heir.age, heir.generation), spawn)
        if heir.state != State.BOOTING.value:
            child.is_serving_already()
        if heir.state == State.RETIRING.value:
            child.retire()

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
        with trio.move_on_after(FORK_SERVER_WAIT):
            await self.foundry.close()

    # --- what the roster decides ---

    def execute(self, actions: Sequence[Action]) -> None:
        """Take the actions, in order."""
        for action in actions:
            self._actions[type(action)](action)
        if not self.stopping.is_set():
            self.notifier.update(self.roster)

    def _start_child(self, order: SpawnChild) -> None:
        prepare_slot(self.boot.slots[order.slot], order.generation, boot_seconds(self.server.cfg))
        self._adopt(order)

    def _adopt(
        self, order: SpawnChild, spawn: Callable[[SpawnChild], Awaitable[Handle]] | None = None
    ) -> Child:
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
        self._stop(signal.SIGTERM, self.server.cfg.graceful_timeout)

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
        self._reap()

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
        self._reap()

    def only_generation(self, generation: int) -> bool:
        """Whether every child is of this generation."""
        return all(child.order.generation == generation for child in self.children.values())

    # --- signals ---

    @property
    def _is_ending(self) -> bool:
        return self._is_draining or self.stopping.is_set()

    def stop_gracefully(self) -> None:
        """TERM: after ``drain_delay``, requests in flight may take until ``graceful_timeout``."""
        seconds = self.server.cfg.drain_delay
        if not seconds or self._is_draining:
            self._stop(signal.SIGTERM, self.server.cfg.graceful_timeout)
            return
        self._is_draining = True
        self.server.log.info("Serving for %g more seconds before the stop (drain_delay)", seconds)
        self.notifier.draining(seconds, self.server.cfg.graceful_timeout)
        self._workers.start_soon(self._stop_later, seconds)

    async def _stop_later(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._stop(signal.SIGTERM, self.server.cfg.graceful_timeout)

    def stop_quickly(self) -> None:
        """INT, QUIT: at once, also when a graceful stop is under way."""
        self._stop(signal.SIGQUIT, QUICK)

    def _stop(self, number: int, seconds: float) -> None:
        if self.stopping.is_set() and number == signal.SIGTERM:
            return
        self.plan.signal = number
        self.plan.deadline = min(self.plan.deadline, trio.current_time() + seconds)
        self.roster.stop()
        for child in self.children.values():
            child.hurry()
        if not self.stopping.is_set():
            self.notifier.stopping()
        self.stopping.set()

    def _hang_up(self) -> None:
        if not self._is_ending:
            self.server.log.info("Hang up: %s", self.server.master_name)
            self._workers.start_soon(self.reload.run)

    def _upgrade(self) -> None:
        # Decided here and not in the task: the predecessor may be gone by the time that the task runs.
        way = self.in_place if self.server.cfg.upgrade_in_place else self.upgrade
        if not self._is_ending and way.claim():
            self.start_service(way.run)

    def _reopen_logs(self) -> None:
        self.server.log.reopen_files()
        self.start_service(self.foundry.reopen_logs)
        for child in self.children.values():
            child.reopen_logs()

    def _scale(self, change: int) -> None:
        count = max(1, self.roster.count + change)
        self.execute(self.roster.resize(count, trio.current_time()))
        self.server.scaled(self.roster.count)

    def _park(self) -> None:
        if not self.server.cfg.daemon:
            self.server.log.debug("SIGWINCH ignored. Not daemonized")
            return
        self.server.log.info("graceful stop of workers")
        self.execute(self.roster.resize(0, trio.current_time()))
        self.server.scaled(0)

    def _reap(self) -> None:
        # While a worker is being made its pid is not known yet, and it may have ended already.
        if not self.foundry.is_forking:
            reap_strangers(self._is_ours)

    def _is_ours(self, pid: int) -> bool:
        return pid in self.server.WORKERS or pid in (self.foundry.pid, self.boot.successor)

    # --- services ---

    def start_service(self, task: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run something beside the workers that ends with the server."""
        self._services.start_soon(task, *args)

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
