"""What is known about the end of a worker, gathered while it happens, and the verdict."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import attrs

from gunicorn.arbiter.death import Cause, DeathRecord, Request, in_flight
from gunicorn.process.memory import Memory, measure

if TYPE_CHECKING:
    from collections.abc import Callable

    from gunicorn.arbiter.actions import ChildExit, SpawnChild
    from gunicorn.arbiter.handle import Handle
    from gunicorn.process.slots import Slot

__all__ = ["Evidence"]

_KILLERS = {
    True: Cause.OUT_OF_MEMORY,
    False: Cause.KILLED,
    None: Cause.KILLED_OR_OUT_OF_MEMORY,
}


@attrs.frozen
class LastMoments:
    """What can only be learned while the process is there."""

    in_flight: tuple[Request, ...]
    memory: Memory | None
    stacks: str


@attrs.define
class Evidence:
    """About one worker.

    Attributes:
        order: Which worker.
        slot: What it told about itself.
        out_of_memory: Asked once when it was killed from outside: whether the kernel did, None if unknown.
        is_ready: It has served.
        timed_out: It passed a deadline.
        killed: The arbiter killed it, for that or for another reason.
        verdict: Why, where who killed it knows better than can be told from these.
    """

    order: SpawnChild
    slot: Slot
    out_of_memory: Callable[[], bool | None]
    is_ready: bool = False
    timed_out: bool = False
    killed: bool = False
    verdict: Cause | None = None
    last_moments: LastMoments | None = None

    async def look_at(self, handle: Handle) -> None:
        """Before it is aborted: a worker that can still unwind clears its table on the way out."""
        requests, memory = in_flight(self.slot.table.snapshot()), measure(handle.pid)
        self.last_moments = LastMoments(requests, memory, await handle.dump_stacks())

    def cause(self, ended: ChildExit, stop_signal: int) -> Cause | None:
        """Why it ended; None when that was asked for."""
        if self.verdict is not None:
            return self.verdict
        if self.timed_out:
            return Cause.TIMEOUT if self.is_ready else Cause.BOOT_TIMEOUT
        if self.killed:
            return Cause.STUCK if self.is_ready else None
        if ended.signal == signal.SIGKILL:
            return _KILLERS[self.out_of_memory()]
        if ended.signal is not None:
            return None if ended.signal in (signal.SIGTERM, stop_signal) else Cause.SIGNAL
        if ended.code:
            return Cause.EXIT if self.is_ready else Cause.BOOT
        return None

    def record(self, cause: Cause, ended: ChildExit, handle: Handle, seconds: float) -> DeathRecord:
        """All of it. ``seconds``: the deadline that was passed, if one was."""
        last = self.last_moments or LastMoments(
            in_flight(self.slot.table.snapshot()), None, handle.read_stacks()
        )
        return DeathRecord(
            cause=cause,
            at=time.time(),
            pid=handle.pid,
            number=self.order.age,
            slot=self.order.slot,
            generation=self.order.generation,
            exit_code=ended.code,
            signal=ended.signal,
            seconds=seconds,
            reason=ended.reason,
            lived=time.monotonic() - self.slot.started,
            requests=self.slot.requests,
            memory=last.memory,
            peak_memory=ended.peak_memory,
            in_flight=last.in_flight,
            stacks=last.stacks,
        )
