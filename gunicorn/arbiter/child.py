"""One worker is one task: it asks for the process, watches its deadlines, hears its reports, and reaps it.

Cancelling the task *is* stopping the worker: TERM, a wait with a deadline, KILL, reap. No process outlives
its task.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from gunicorn.arbiter.actions import ChildExit, SpawnChild
from gunicorn.arbiter.ageing import Limits, until_worn_out
from gunicorn.arbiter.death import DeathRecord, signal_name
from gunicorn.arbiter.evidence import Evidence
from gunicorn.arbiter.handle import SpawnError, receive, receive_pending
from gunicorn.process.channel import ChannelClosed
from gunicorn.process.messages import BootFailed, WorkerLeaving, WorkerReady
from gunicorn.process.slots import SlotState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gunicorn.arbiter.handle import Handle
    from gunicorn.arbiter.log import Log
    from gunicorn.arbiter.timing import StopPlan, Timing
    from gunicorn.process.channel import Channel
    from gunicorn.process.messages import Message
    from gunicorn.process.slots import Slot

__all__ = ["Child", "Observer"]

#: From the moment at which a worker is found to hang until SIGKILL, seconds. Its stacks are taken first, then
#: SIGABRT gives ``worker_abort`` the rest. With the reaping it stays under a second.
ABORT_WAIT = 0.9
#: For a worker that is stopped before it serves, seconds.
BOOTING_WAIT = 2.0
#: For the kernel to end a process after SIGKILL, seconds. One in uninterruptible sleep may take for ever.
KILL_WAIT = 1.0
#: A wake-up this late (seconds) means that this process did not run either: suspended, stopped or starved.
SUSPENDED = 1.0


class Observer(Protocol):
    """Who is told what becomes of a child."""

    def child_spawned(self, child: Child) -> None:
        """The process exists: ``child.pid``."""

    def child_ready(self, child: Child) -> None:
        """It serves."""

    def child_leaving(self, child: Child, reason: str) -> None:
        """It would like to be replaced."""

    def child_exited(self, child: Child, ended: ChildExit) -> None:
        """It is gone and reaped, or was never made."""


_NO_LIMITS = Limits()


class Child:
    """The life of one worker.

    Args:
        order: Slot, age and generation.
        slot: Its shared memory.
        spawn: Makes the process; raises ``SpawnError``.
        limits: Of its age and memory.
        clock: The clock of ``slot.deadline``, ``time.monotonic`` in production.
        out_of_memory: Asked once when it was killed from outside: whether the kernel did, None if unknown.

    Attributes:
        death: Once it has ended, unless as planned.
    """

    def __init__(
        self,
        order: SpawnChild,
        slot: Slot,
        *,
        spawn: Callable[[SpawnChild], Awaitable[Handle]],
        observer: Observer,
        plan: StopPlan,
        timing: Timing,
        log: Log,
        clock: Callable[[], float],
        limits: Limits = _NO_LIMITS,
        out_of_memory: Callable[[], bool | None] = lambda: None,
    ) -> None:
        self.order = order
        self.age = order.age
        self.pid = 0
        self.slot = slot
        self._spawn = spawn
        self._observer = observer
        self._plan = plan
        self._timing = timing
        self._log = log
        self._clock = clock
        self._limits = limits
        self.death: DeathRecord | None = None
        self._evidence = Evidence(order, slot, out_of_memory)
        self._scope = trio.CancelScope()
        self._grace = trio.CancelScope()
        self._stop_by = plan.deadline
        self._reopens_late = False
        self._became_ready = trio.Event()
        self._handle: Handle | None = None
        self._boot_failure: BootFailed | None = None
        self._ended = ChildExit(code=0, reason="stopped before it was made")

    @property
    def is_ready(self) -> bool:
        """It has said that it serves."""
        return self._evidence.is_ready

    # --- commands ---

    def retire(self) -> None:
        """Stop this one: it has ``graceful_timeout`` to finish its requests."""
        if self.is_ready:
            # So that it can tell this TERM from the end of the server, which does not wait for idle clients.
            self.slot.state = SlotState.DRAINING
        self._stop_by = min(self._stop_by, trio.current_time() + self._timing.graceful)
        self._grace.deadline = self._stop_by
        self._scope.cancel()

    def hurry(self) -> None:
        """The shared plan has changed: follow it, also when this one is stopping already."""
        self._stop_by = self._grace.deadline = min(self._stop_by, self._plan.deadline)
        if self._scope.cancel_called:
            self.send_signal(self._plan.signal)

    def send_signal(self, number: int) -> None:
        """Pass a signal on, if there is a process."""
        if self._handle is not None:
            self._handle.send_signal(number)

    async def stacks(self) -> str:
        """The stacks of all its threads, as text: at once, or what came within a second."""
        return await self._handle.look_at_stacks() if self._handle is not None else ""

    def is_serving_already(self) -> None:
        """To be called before ``run`` for a worker that another image of this process has made."""
        self._evidence.is_ready = True
        self._became_ready.set()

    def give_away(self) -> tuple[int, int, int, int]:
        """Process id, report channel, stacks and pidfd, for another image; its task has ended, it has not."""
        assert self._handle is not None
        return self.pid, *self._handle.give_away()

    def reopen_logs(self) -> None:
        """Have it reopen its log files, as soon as it has the handler for that."""
        if self.is_ready:
            self.send_signal(signal.SIGUSR1)
        else:
            self._reopens_late = True

    # --- the task ---

    async def run(self) -> None:
        """Live one worker's life. Whatever happens, the observer is told of its end exactly once."""
        try:
            with self._scope:
                await self._live()
        finally:
            if self._handle is None or not self._plan.hands_over:
                self._bury()

    async def _live(self) -> None:
        self._handle = handle = await self._make()
        if handle is None:
            return
        self.pid = handle.pid
        self._observer.child_spawned(self)
        ended = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, handle)
                nursery.start_soon(self._listen, handle.report)
                nursery.start_soon(self._grow_old)
                ended = await handle.wait()
                nursery.cancel_scope.cancel()
        finally:
            if ended is not None or not self._plan.hands_over:
                self._ended = ended or await self._stop(handle)

    async def _make(self) -> Handle | None:
        """Ask for the process.

        A stop waits for the answer: what is made by then may be serving a request already.
        """
        try:
            with self._shield():
                return await self._spawn(self.order)
        except SpawnError as error:
            if not self._scope.cancel_called:
                self._log.error("A worker cannot be made: %s", error.reason)
            self._ended = ChildExit(code=error.exit_code, reason=error.reason)
        return None

    def _shield(self) -> trio.CancelScope:
        """Whoever cancels has set ``_stop_by`` before, or sets it now (``retire``, ``hurry``)."""
        self._grace = trio.CancelScope(shield=True, deadline=self._stop_by)
        return self._grace

    async def _stop(self, handle: Handle) -> ChildExit:
        handle.send_signal(self._plan.signal)
        self._hear_last_words(handle.report)
        if not self.is_ready:
            # It has no request to finish, and an import that hangs does not look at signals.
            self._stop_by = min(self._stop_by, trio.current_time() + BOOTING_WAIT)
        with self._shield():
            return await handle.wait()
        self._evidence.killed = True
        self._log.warning("Worker (pid:%s) did not stop in time and is killed.", self.pid)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + KILL_WAIT / 2):
            await self._evidence.look_at(handle)
        handle.send_signal(signal.SIGKILL)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + KILL_WAIT):
            return await handle.wait()
        self._log.error("Worker (pid:%s) cannot be killed; the kernel holds it.", self.pid)
        return ChildExit(signal=signal.SIGKILL)

    async def _watch(self, handle: Handle) -> None:
        """End a worker that passes its own deadline."""
        while await self._is_late():
            # This process did not run when the deadline passed, so the worker may not have run either.
            await trio.sleep(self._timing.liveness)
            if self.slot.deadline <= self._clock():
                break
        self._evidence.timed_out = self._evidence.killed = True
        self._log.critical("WORKER TIMEOUT (pid:%s)", self.pid)
        kill_at = trio.current_time() + ABORT_WAIT
        await self._evidence.look_at(handle)
        handle.send_signal(signal.SIGABRT)
        await trio.sleep_until(kill_at)
        handle.send_signal(signal.SIGKILL)

    async def _grow_old(self) -> None:
        """Ask for its replacement when it has had its time."""
        await self._became_ready.wait()
        reason = await until_worn_out(self.pid, self._limits, self._log)
        self._observer.child_leaving(self, reason)

    async def _is_late(self) -> bool:
        """Wait until the deadline in the slot has passed; whether that was noticed far too late."""
        while (deadline := self.slot.deadline) > self._clock():
            with trio.move_on_after(deadline - self._clock()):
                if self.is_ready:
                    await trio.sleep_forever()
                # A booting worker may have no deadline, and gets one when it is ready: look again then.
                await self._became_ready.wait()
        return self._clock() - deadline > SUSPENDED

    async def _listen(self, report: Channel) -> None:
        """Hear reports until the worker has no more to say; its exit is another task's to see."""
        try:
            while True:
                message, fds = await receive(report)
                self._take(message, fds)
        except ChannelClosed:
            return

    def _take(self, message: Message, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)
        if isinstance(message, WorkerReady):
            self._evidence.is_ready = True
            self._became_ready.set()
            if self._reopens_late:
                self.send_signal(signal.SIGUSR1)
            self._observer.child_ready(self)
        elif isinstance(message, WorkerLeaving):
            self._observer.child_leaving(self, message.reason)
        elif isinstance(message, BootFailed):
            self._boot_failure = message

    # --- the end ---

    def _bury(self) -> None:
        handle = self._handle
        if handle is not None:
            self._hear_last_words(handle.report)
            self._write_record(handle)
            self._handle = None
            handle.close()
        # The table of requests had to outlive the worker for the record; the next one starts clean.
        self.slot.reset()
        self._observer.child_exited(self, self._conclude())

    def _write_record(self, handle: Handle) -> None:
        ended = self._conclude()
        cause = self._evidence.cause(ended, self._plan.signal)
        if cause is not None:
            seconds = self._timing.liveness if self.is_ready else self._timing.boot
            self.death = self._evidence.record(cause, ended, handle, seconds)
            self._log.error("%s", self.death)
        elif ended.signal is not None:
            self._log.info("Worker (pid:%s) was sent %s!", self.pid, signal_name(ended.signal))

    def _hear_last_words(self, report: Channel) -> None:
        """The exit can be noticed before what was sent ahead of it has been read."""
        try:
            while (pending := receive_pending(report)) is not None:
                self._take(*pending)
        except ChannelClosed:
            return

    def _conclude(self) -> ChildExit:
        if self._boot_failure is not None and not self.is_ready:
            code, reason = self._boot_failure.exit_code, self._boot_failure.reason
            return attrs.evolve(
                self._ended, code=code, signal=None, reason=reason, timed_out=self._evidence.timed_out
            )
        return attrs.evolve(self._ended, timed_out=self._evidence.timed_out)
