"""Who should be running: the policy of supervision, without a process, a clock or an event loop.

The roster is told what happened (``ready``, ``leaving``, ``exited``, …) together with the time, and answers
with the actions that bring the real children closer to the wanted ones. It compares, it does not remember
plans: after every event the same three rules look at the whole table (fill what is missing, replace what
should go, retire what has been replaced), so an event that comes in an odd order can delay a step but never
lose one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from gunicorn.arbiter.actions import (
    Abandoned,
    Action,
    ChildExit,
    CrashLooping,
    Halt,
    Promoted,
    Retire,
    SpawnChild,
    Wake,
)
from gunicorn.arbiter.backoff import HEALTHY_AFTER, Backoff
from gunicorn.arbiter.members import Member, State, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PLANNED_SPACING", "Roster"]

#: Seconds between two planned ends (``max_requests``, age, memory). Workers that were started together reach
#: their limits together, and an application that boots has no processor to spare for serving.
PLANNED_SPACING = 1.0

#: What a worker exits with when its application could not be loaded; any other own exit during the first
#: boot counts as this.
WORKER_BOOT_ERROR = 3
APP_LOAD_ERROR = 4


class Roster:
    """The table of children and the rules over it.

    Args:
        count: Workers wanted.
        slots: Slot numbers that exist, 0 to ``slots - 1``. Old and new generation never share a number, so
            this bounds both together.
        surge: Workers above ``count`` that may exist while one is being replaced (``reload_surge``).
        unavailable: Workers below ``count`` that may be missing while one is being replaced
            (``reload_unavailable``).
        generation: Generation of the first workers.

    Every method that reports an event returns the actions in the order in which to take them.
    """

    def __init__(
        self, count: int, slots: int, *, surge: int = 1, unavailable: int = 0, generation: int = 1
    ) -> None:
        self.slots = slots
        self.surge = surge
        self.unavailable = unavailable
        self.members: dict[int, Member] = {}
        self.wanted = Wanted(generation, 0)
        self.candidate: Wanted | None = None
        self.canary: int | None = None
        self.booted = False
        self.stopping = False
        self.backoff = Backoff()
        self._asked_to_leave: list[int] = []
        self._next_planned = float("-inf")
        self._age = 0
        self.wanted = Wanted(generation, self._clamp(count))

    # --- what is asked ---

    @property
    def count(self) -> int:
        """Workers wanted, as soon as a reload in the air is through."""
        return (self.candidate or self.wanted).count

    @property
    def serving(self) -> int:
        """Workers that serve."""
        return sum(member.state is State.READY for member in self.members.values())

    @property
    def is_settled(self) -> bool:
        """All that are wanted serve, and nobody else is left to be replaced."""
        fresh = self._fresh()
        all_serve = len(fresh) == self.wanted.count and all(m.state is State.READY for m in fresh)
        return all_serve and self.candidate is None and not self._outdated()

    @property
    def is_crash_looping(self) -> bool:
        """Workers kept dying, and none has stayed alive since."""
        return self.backoff.not_before > 0

    @property
    def age(self) -> int:
        """Of the youngest worker so far."""
        return self._age

    def take_over(self, members: Iterable[Member], wanted: Wanted, age: int) -> None:
        """``members``, the youngest of which was ``age``, were made by another image of this process.

        They serve until a reload replaces them.
        """
        self.members = {member.age: member for member in members}
        self.wanted = wanted
        self._age = age
        self.booted = True

    def tick(self, now: float) -> list[Action]:
        """Time has passed (or the server starts)."""
        return self._reconcile(now)

    def resize(self, count: int, now: float) -> list[Action]:
        """``count`` workers from now on, as far as there are slots for them; also while a reload is in the
        air.
        """
        self.wanted = attrs.evolve(self.wanted, count=self._clamp(count))
        if self.candidate is not None:
            self.candidate = attrs.evolve(self.candidate, count=self.wanted.count)
        return self._reconcile(now)

    def reload(self, wanted: Wanted, now: float, *, surge: int = 1, unavailable: int = 0) -> list[Action]:
        """Roll over to ``wanted``, whose spawner is ready. A reload still in the air is superseded."""
        self.surge, self.unavailable = surge, unavailable
        self.candidate = attrs.evolve(wanted, count=self._clamp(wanted.count))
        superseded = self._retire_canary()
        self.backoff.reset()
        return superseded + self._reconcile(now)

    def call_off(self, now: float) -> list[Action]:
        """Give the reload up that is still in the air, if there is one."""
        self.candidate = None
        return self._retire_canary() + self._reconcile(now)

    def stop(self) -> None:
        """No more replacements.

        Ending the children is the shell's part: their tasks are cancelled together.
        """
        self.stopping = True

    # --- what happened ---

    def ready(self, age: int, now: float) -> list[Action]:
        """The child serves."""
        member = self.members.get(age)
        if member is None or member.state is not State.BOOTING:
            return []
        member.state, member.ready_at = State.READY, now
        self.booted = True
        promoted = self._promote() if age == self.canary else []
        return promoted + self._reconcile(now)

    def leaving(self, age: int, now: float) -> list[Action]:
        """The child would like to be replaced; it serves until it is retired."""
        if age in self.members and age not in self._asked_to_leave:
            self._asked_to_leave.append(age)
        return self._reconcile(now)

    def exited(self, age: int, ended: ChildExit, now: float) -> list[Action]:
        """The child is gone, or could never be made."""
        member = self.members.pop(age, None)
        if member is None or self.stopping:
            return []
        if age == self.canary:
            return [*self._abandon(str(ended)), *self._reconcile(now)]
        if self._ends_the_server(member, ended):
            self.stopping = True
            return [_halt(ended)]
        looping = self._count_failure(member, now) if member.state is not State.RETIRING else []
        return looping + self._reconcile(now)

    # --- rules ---

    def _reconcile(self, now: float) -> list[Action]:
        if self.stopping:
            return []
        served = [m.ready_at for m in self.members.values() if m.state is not State.BOOTING]
        if any(self.backoff.proven(ready_at, now) for ready_at in served):
            self.backoff.reset()
        if now < self.backoff.not_before:
            return [*self._retire(now), Wake(self.backoff.not_before)]
        self._admit(now)
        actions = [*self._send_canary(), *self._fill()]
        retired = self._retire(now)
        # With no surge the place below the count is free only now.
        return actions + retired + (self._fill() if retired else []) + self._wake(now)

    def _admit(self, now: float) -> None:
        """Let the next one go of those that asked to: one at a time, and not right after the last."""
        if now < self._next_planned or any(m.leaving for m in self._living()):
            return
        while self._asked_to_leave:
            member = self.members.get(self._asked_to_leave.pop(0))
            if member is not None and member.state is not State.RETIRING:
                member.leaving = True
                return

    def _wake(self, now: float) -> list[Action]:
        return [Wake(self._next_planned)] if self._asked_to_leave and now < self._next_planned else []

    def _send_canary(self) -> list[Action]:
        if self.candidate is None or self.canary is not None:
            return []
        if self.candidate.count == 0:
            return self._promote()
        all_there = len(self._living()) >= self.candidate.count
        if all_there and len(self.members) >= max(self._most(), self.wanted.count + 1):
            return []
        spawned = self._spawn(self.candidate.generation)
        self.canary = self._age if spawned else None
        return spawned

    def _fill(self) -> list[Action]:
        """Missing workers at once; replacements for those that should go as far as the surge allows.

        What drains counts, for it holds its memory still. While a reload is in the air nobody is replaced who
        would have to be replaced again.
        """
        actions: list[Action] = []
        most = self._most() if self.candidate is None else 0
        while len(self._fresh()) < self.wanted.count:
            if len(self._living()) >= self.wanted.count and len(self.members) >= most:
                break
            spawned = self._spawn(self.wanted.generation)
            if not spawned:
                break
            actions += spawned
        return actions

    def _most(self) -> int:
        """How many processes there may be while some are replaced on purpose."""
        # Neither surge nor unavailable would mean that nothing can ever be replaced.
        return self.wanted.count + (self.surge if self.surge or self.unavailable else 1)

    def _retire(self, now: float) -> list[Action]:
        """Retire what should go, as long as enough workers that serve remain.

        One that does not serve yet is no loss.
        """
        actions: list[Action] = []
        for member in self._outdated() + self._surplus():
            if member.state is State.READY and self._ready() <= self._floor():
                continue
            member.state = State.RETIRING
            if member.leaving:
                self._next_planned = now + PLANNED_SPACING
            actions.append(Retire(member.age))
        return actions

    def _floor(self) -> int:
        """How many must serve while workers are replaced on purpose."""
        return self.wanted.count - self.unavailable

    def _fresh(self) -> list[Member]:
        """Those that should stay, oldest first."""
        return [m for m in self._living() if m.generation == self.wanted.generation and not m.leaving]

    def _outdated(self) -> list[Member]:
        """Those that should be replaced, oldest first."""
        return [m for m in self._living() if m.generation != self.wanted.generation or m.leaving]

    def _surplus(self) -> list[Member]:
        """The oldest of those above the count."""
        fresh = self._fresh()
        return fresh[: max(len(fresh) - self.wanted.count, 0)]

    def _living(self) -> list[Member]:
        return [m for m in self.members.values() if m.state is not State.RETIRING and m.age != self.canary]

    def _ready(self) -> int:
        return sum(m.state is State.READY for m in self._living())

    # --- steps ---

    def _spawn(self, generation: int) -> list[Action]:
        taken = {member.slot for member in self.members.values()}
        slot = next((number for number in range(self.slots) if number not in taken), None)
        if slot is None:
            return []
        self._age += 1
        self.members[self._age] = Member(self._age, slot, generation)
        return [SpawnChild(slot, self._age, generation)]

    def _promote(self) -> list[Action]:
        assert self.candidate is not None
        self.wanted, self.candidate, self.canary = self.candidate, None, None
        return [Promoted(self.wanted.generation)]

    def _abandon(self, reason: str) -> list[Action]:
        assert self.candidate is not None
        failed, self.candidate, self.canary = self.candidate, None, None
        return [Abandoned(failed.generation, reason)]

    def _retire_canary(self) -> list[Action]:
        member = self.members.get(self.canary) if self.canary is not None else None
        self.canary = None
        if member is None:
            return []
        member.state = State.RETIRING
        return [Retire(member.age)]

    def _ends_the_server(self, member: Member, ended: ChildExit) -> bool:
        """Only an exit of its own before anyone ever served: a signal or a deadline may not come again, an
        ImportError will.
        """
        is_own_exit = ended.signal is None and not ended.timed_out
        return not self.booted and member.state is State.BOOTING and is_own_exit

    def _count_failure(self, member: Member, now: float) -> list[Action]:
        was_ready = member.state is State.READY
        if was_ready and now - member.ready_at >= HEALTHY_AFTER:
            return []
        if not self.backoff.strike(now, was_ready=was_ready):
            return []
        return [CrashLooping(self.backoff.not_before - now, self.backoff.strikes)]

    def _clamp(self, count: int) -> int:
        """Keep a slot for each replacement, or a full server could never be reloaded."""
        return max(0, min(count, self.slots - max(self.surge, 1)))


def _halt(ended: ChildExit) -> Halt:
    """A child that said why it failed has said the status too; one that just left has failed to boot."""
    if ended.code and (ended.reason or ended.code == APP_LOAD_ERROR):
        return Halt(ended.code, ended.reason or "App failed to load.")
    return Halt(WORKER_BOOT_ERROR, ended.reason or "Worker failed to boot.")
