"""The loop of the dirty arbiter: supervision of its workers, and the execution of what the roster decides."""

from __future__ import annotations

import math
import signal
import time
from typing import TYPE_CHECKING, Any

import trio

from gunicorn.arbiter.actions import Abandoned, CrashLooping, Halt, Promoted, Retire, SpawnChild, Wake
from gunicorn.arbiter.boot import prepare_slot
from gunicorn.arbiter.foundry import Foundry
from gunicorn.arbiter.handle import receive
from gunicorn.arbiter.processes import Forked, execute
from gunicorn.arbiter.reaper import reap_strangers
from gunicorn.arbiter.timing import StopPlan, Timing
from gunicorn.dirty import protocol, tlv
from gunicorn.dirty.allocation import Allocation, Load
from gunicorn.dirty.arbiter import DirtyArbiter, DirtyWorkerView
from gunicorn.dirty.boot import POOL, SIGNALS, VARIABLE
from gunicorn.dirty.calls import Call
from gunicorn.dirty.crews import Crew
from gunicorn.dirty.desk import Desk
from gunicorn.dirty.dispatcher import Dispatcher
from gunicorn.dirty.frames import Frame, Kind, pack
from gunicorn.dirty.loading import Loading
from gunicorn.dirty.members import DirtyChild, DirtyRoster
from gunicorn.dirty.reload import Reload
from gunicorn.dirty.server import Server
from gunicorn.process import forkserver
from gunicorn.process.channel import Channel, ChannelClosed

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from gunicorn.arbiter.actions import Action, ChildExit
    from gunicorn.arbiter.child import Child
    from gunicorn.arbiter.foundry import Process
    from gunicorn.dirty.boot import Boot

__all__ = ["Supervisor", "run"]

#: How long workers have after INT or QUIT, and when the main arbiter is gone, seconds.
QUICK = 1.0
#: How long the fork server has to leave after its channel is closed, seconds.
FORK_SERVER_WAIT = 0.5


def run(server: DirtyArbiter, boot: Boot) -> int:
    """Run the event loop to the end of the pool; the exit status."""
    return trio.run(Supervisor(server, boot).run)


class Supervisor:
    """The running pool.

    Attributes:
        children: Age to child, from the request to make it until it is reaped.
        crews: Age to the links of the child.
    """

    def __init__(self, server: DirtyArbiter, boot: Boot) -> None:
        cfg = server.cfg
        self.server = server
        self.boot = boot
        self.plan = StopPlan()
        self.children: dict[int, DirtyChild] = {}
        self.crews: dict[int, Crew] = {}
        self.roster = DirtyRoster(server.num_workers, len(boot.slots), dispensable=self._dispensable)
        # A first boot that fails never ends this server: the roster tries again, with a growing pause.
        self.roster.booted = True
        self.allocations: dict[int, Allocation] = {}
        self.dispatcher = Dispatcher(server.paths, cfg.dirty_queue_size)
        self.calls = Server(
            self.dispatcher, Desk(self), server.log, limit=cfg.dirty_timeout,
            cancels_abandoned=cfg.dirty_cancel_abandoned,
        )  # fmt: skip
        self.foundry = self._make_foundry()
        self.stopping = trio.Event()
        self.reload = Reload(self)
        self._workers: trio.Nursery
        self._services: trio.Nursery
        self._timer = trio.CancelScope()
        self._draining = trio.CancelScope()
        self._actions: dict[type[Any], Callable[[Any], None]] = {
            SpawnChild: self._start_child,
            Retire: self._retire,
            Promoted: self.reload.promoted,
            Abandoned: self.reload.abandoned,
            CrashLooping: self._slow_down,
            Halt: lambda action: None,
            Wake: self._set_timer,
        }
        self._signals: dict[int, Callable[[], object]] = {
            signal.SIGTERM: lambda: self.stop(signal.SIGTERM, self.server.cfg.dirty_graceful_timeout),
            signal.SIGINT: lambda: self.stop(signal.SIGQUIT, QUICK),
            signal.SIGQUIT: lambda: self.stop(signal.SIGQUIT, QUICK),
            signal.SIGHUP: self._hang_up,
            signal.SIGUSR1: self._reopen_logs,
            signal.SIGTTIN: lambda: self.scale(+1),
            signal.SIGTTOU: lambda: self.scale(-1),
            signal.SIGCHLD: self._reap,
        }

    # --- the task ---

    async def run(self) -> int:
        """Serve until told to stop; the exit status."""
        with trio.open_signal_receiver(*SIGNALS, signal.SIGCHLD) as signals:
            async with trio.open_nursery() as self._services:
                await self._services.start(self.foundry.run)
                await self._services.start(self.dispatcher.run)
                self._services.start_soon(self._follow_master)
                self._services.start_soon(self.calls.serve, self.boot.listener)
                await self._run_workers(signals)
                with trio.move_on_after(FORK_SERVER_WAIT):
                    await self.foundry.close()
                self._services.cancel_scope.cancel()
        self.server.log.info("Dirty arbiter exiting (pid: %s)", self.server.pid)
        return 0

    async def _run_workers(self, signals: AsyncIterator[int]) -> None:
        async with trio.open_nursery() as self._workers:
            self._services.start_soon(self._take_signals, signals)
            self._workers.start_soon(self._keep_time)
            self.server.log.info("Dirty arbiter starting (pid: %s)", self.server.pid)
            self.execute(self.roster.tick(trio.current_time()))
            for number in self.boot.early:
                self._handle(number)
            self._reap()
            try:
                await self.stopping.wait()
                with self._draining:
                    self._draining.deadline = self.plan.deadline
                    await self.dispatcher.drain()
            finally:
                # Also when a bug ends this nursery: the children's shields need their deadline.
                self.stop(signal.SIGTERM, self.server.cfg.dirty_graceful_timeout)
                self._workers.cancel_scope.cancel()

    async def _follow_master(self) -> None:
        """The end of the main arbiter is the end of the pool."""
        self.boot.master.setblocking(False)
        try:
            while True:
                await receive(self.boot.master)
        except ChannelClosed:
            self.stop(signal.SIGQUIT, QUICK)

    async def _take_signals(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            self._handle(number)

    def _handle(self, number: int) -> None:
        if number != signal.SIGCHLD:
            self.server.log.debug("Dirty arbiter: handling signal: %s", signal.Signals(number).name)
        self._signals[number]()

    async def _keep_time(self) -> None:
        """Wake the roster up at the time that it asked for."""
        while True:
            with trio.CancelScope() as self._timer:
                await trio.sleep_forever()
            self.execute(self.roster.tick(trio.current_time()))

    # --- what the roster decides ---

    def execute(self, actions: Sequence[Action]) -> None:
        """Take the actions, in order."""
        for action in actions:
            self._actions[type(action)](action)

    def _start_child(self, order: SpawnChild) -> None:
        cfg, slot = self.server.cfg, self.boot.slots[order.slot]
        prepare_slot(slot, order.generation, cfg.dirty_timeout)
        timing = Timing(
            liveness=cfg.dirty_timeout, graceful=cfg.dirty_graceful_timeout, boot=cfg.dirty_timeout
        )
        self.children[order.age] = child = DirtyChild(
            order, slot, spawn=self.foundry.spawn, observer=self, plan=self.plan, timing=timing,
            log=self.server.log, clock=time.monotonic, linked=self._linked, nursery=self._services,
        )  # fmt: skip
        self._workers.start_soon(child.run)

    def _retire(self, action: Retire) -> None:
        self.dispatcher.retire(action.age)
        self._leave_seat(action.age)
        self.children[action.age].retire()

    def _slow_down(self, action: CrashLooping) -> None:
        self.server.log.error(
            "Dirty workers keep failing (%s in a row); the next try is in %.1f s",
            action.failures, action.seconds,
        )  # fmt: skip

    def _set_timer(self, action: Wake) -> None:
        self._timer.deadline = action.at

    def _dispensable(self, ages: Iterable[int]) -> list[int]:
        allocation = self.allocations.get(self.roster.wanted.generation)
        return allocation.dispensable(ages) if allocation else sorted(ages)

    # --- what the children do ---

    def child_spawned(self, child: Child) -> None:
        self.server.workers[child.pid] = view = DirtyWorkerView(child.pid, child.age)
        self.server.call_hook("dirty_post_fork", self.server, view)
        self._reap()

    def _linked(self, child: DirtyChild, socks: list[socket.socket]) -> None:
        crew = Crew(child, socks, self.dispatcher.queue_limit, self.dispatcher.look_whether_idle)
        self.crews[child.age] = crew
        self._services.start_soon(self._run_links, child, crew)

    async def _run_links(self, child: DirtyChild, crew: Crew) -> None:
        try:
            await crew.links[0].converse(lambda frame: self._assign(child, crew, frame))
        except (OSError, trio.ClosedResourceError):
            # It has ended while it booted, which its own task tells.
            return
        async with trio.open_nursery() as nursery:
            for link in crew.links:
                nursery.start_soon(link.run)

    def _assign(self, child: DirtyChild, crew: Crew, frame: Frame) -> bytes:
        """A worker that boots has said what there is; what of it belongs there."""
        generation = child.order.generation
        allocation = self.allocations.get(generation)
        if allocation is None:
            limits = dict(protocol.decode_dict(frame.payload)["apps"])
            allocation = self.allocations[generation] = Allocation(limits, self.roster.count)
            for path in allocation.short():
                self.server.log.warning(
                    "%s asks for more workers than dirty_workers (%s)", path, self.roster.count
                )
        paths = allocation.take(child.age)
        crew.lane.apps.update(paths)
        return pack(Kind.ASSIGN, 0, tlv.encode({"apps": paths}))

    def child_ready(self, child: Child) -> None:
        crew = self.crews.get(child.age)
        if crew is not None:
            crew.open(())
            self.dispatcher.ready(crew)
        self.execute(self.roster.ready(child.age, trio.current_time()))

    def child_leaving(self, child: Child, reason: str) -> None:
        self.execute(self.roster.leaving(child.age, trio.current_time()))

    def child_exited(self, child: Child, ended: ChildExit) -> None:
        self.children.pop(child.age, None)
        crew = self.crews.pop(child.age, None)
        self.dispatcher.gone(child.age)
        if crew is not None:
            crew.close()
        self._leave_seat(child.age)
        view = self.server.workers.pop(child.pid, None)
        if view is not None:
            self.server.call_hook("dirty_worker_exit", self.server, view)
        if not child.is_ready and not self.stopping.is_set():
            self.dispatcher.fail(f"the last worker failed to boot ({ended})")
        self.execute(self.roster.exited(child.age, ended, trio.current_time()))
        self._forget_generations()
        self._reap()

    # --- seats ---

    def _leave_seat(self, age: int) -> None:
        for allocation in self.allocations.values():
            self._load(allocation.leave(age))

    def _load(self, loads: Iterable[Load]) -> None:
        """Have running workers load what nobody else holds any more."""
        for age, path in loads:
            crew = self.crews.get(age)
            if crew is not None and not self.stopping.is_set():
                frame = Frame(Kind.LOAD, 0, tlv.encode({"app_path": path}))
                loading = Loading(path, crew, self.dispatcher, self.server.log)
                crew.take(Call(loading, 0, path, frame, math.inf, math.inf))

    def _forget_generations(self) -> None:
        living = {child.order.generation for child in self.children.values()}
        wanted = self.roster.wanted.generation
        if living <= {wanted}:
            self.foundry.close_unwanted_molds()
            self.allocations = {g: a for g, a in self.allocations.items() if g >= wanted}

    def scale(self, change: int) -> int:
        """That many workers more or fewer, never fewer than the classes ask for; by how many it was."""
        before = self.roster.count
        allocation = self.allocations.get(self.roster.wanted.generation)
        floor = min(before, allocation.minimum) if allocation else 1
        wanted = max(before + change, floor)
        if wanted > before + change:
            self.server.log.warning("dirty_workers stays at %s or more: dirty_apps asks for that", floor)
        now = trio.current_time()
        if allocation is not None:
            self._load(allocation.resize(wanted))
        self.execute(self.roster.resize(wanted, now))
        self.server.num_workers = self.roster.count
        return self.roster.count - before

    # --- signals ---

    def stop(self, number: int, seconds: float) -> None:
        """Stop the pool: calls at work, and queued ones, have ``seconds``."""
        self.plan.signal = signal.SIGTERM if number == signal.SIGTERM else signal.SIGQUIT
        self.plan.deadline = min(self.plan.deadline, trio.current_time() + seconds)
        self.roster.stop()
        self.stopping.set()
        self._draining.deadline = self.plan.deadline
        for child in self.children.values():
            child.hurry()

    def _hang_up(self) -> None:
        if not self.stopping.is_set():
            self._workers.start_soon(self.reload.run)

    def _reopen_logs(self) -> None:
        self.server.log.reopen_files()
        self._services.start_soon(self.foundry.reopen_logs)
        for child in self.children.values():
            child.reopen_logs()

    def _reap(self) -> None:
        # While a worker is being made its pid is not known yet, and it may have ended already.
        if not self.foundry.is_forking:
            reap_strangers(lambda pid: pid in self.server.workers or pid == self.foundry.pid)

    # --- services ---

    def _make_foundry(self) -> Foundry:
        boot = self.boot

        async def restart() -> tuple[Channel, Process]:
            ours, theirs = Channel.pair()
            variables, fds = forkserver.replacement_environment(theirs, boot.slots, [])
            try:
                variables[VARIABLE] = POOL
                return ours, await execute(boot.launch.argv, boot.launch, variables, fds)
            finally:
                theirs.close()

        return Foundry(
            boot.fork_server.channel, Forked(boot.fork_server.pid), restart=restart, root_generation=1,
            log=self.server.log,
        )  # fmt: skip
