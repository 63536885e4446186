"""The policy of supervision: first by example, then as a machine whose invariants hold after every event."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

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
from gunicorn.arbiter.backoff import BACKOFF_LIMIT, HEALTHY_AFTER
from gunicorn.arbiter.members import Member, State, Wanted
from gunicorn.arbiter.roster import PLANNED_SPACING, Roster

CRASH = ChildExit(signal=11)
BOOT_FAILURE = ChildExit(code=3, reason="no module named app")


def started(count: int, **options: int) -> Roster:
    """A roster with ``count`` workers that serve."""
    roster = Roster(count, 16, **options)
    for action in roster.tick(0.0):
        assert isinstance(action, SpawnChild)
    for age in range(1, count + 1):
        assert roster.ready(age, 0.0) == []
    return roster


def test_first_tick_asks_for_all_workers_in_the_lowest_slots():
    assert Roster(3, 16).tick(0.0) == [SpawnChild(0, 1, 1), SpawnChild(1, 2, 1), SpawnChild(2, 3, 1)]


def test_a_dead_worker_is_replaced_at_once_in_its_slot():
    roster = started(2)
    assert roster.exited(1, CRASH, 5.0) == [SpawnChild(0, 3, 1)]


def test_a_worker_that_leaves_is_replaced_before_it_is_retired():
    roster = started(2)
    assert roster.leaving(1, 1.0) == [SpawnChild(2, 3, 1)]
    assert roster.ready(3, 2.0) == [Retire(1)]
    assert roster.exited(1, ChildExit(code=0), 3.0) == []


def test_two_that_leave_together_share_one_surge():
    roster = started(2)
    assert roster.leaving(1, 1.0) == [SpawnChild(2, 3, 1)]
    assert roster.leaving(2, 1.0) == []
    assert roster.ready(3, 2.0) == [Retire(1), Wake(2.0 + PLANNED_SPACING)]
    assert roster.exited(1, ChildExit(code=0), 2.5) == [Wake(2.0 + PLANNED_SPACING)]
    assert roster.tick(2.0 + PLANNED_SPACING) == [SpawnChild(0, 4, 1)]


def test_without_surge_one_may_be_missing():
    roster = started(2, surge=0, unavailable=1)
    assert roster.leaving(1, 1.0) == [Retire(1), SpawnChild(2, 3, 1)]


def test_reload_starts_with_one_worker_and_retires_nobody_before_it_serves():
    roster = started(3)
    assert roster.reload(Wanted(2, 3), 1.0) == [SpawnChild(3, 4, 2)]
    assert roster.ready(4, 2.0) == [Promoted(2), Retire(1)]
    # Who drains still needs its memory.
    assert roster.exited(1, ChildExit(code=0), 2.5) == [SpawnChild(0, 5, 2)]
    assert roster.ready(5, 3.0) == [Retire(2)]
    assert roster.exited(2, ChildExit(code=0), 3.5) == [SpawnChild(1, 6, 2)]
    assert roster.ready(6, 4.0) == [Retire(3)]


def test_a_crash_is_made_up_for_whoever_drains():
    roster = started(2)
    roster.reload(Wanted(2, 2), 1.0)
    assert roster.ready(3, 2.0) == [Promoted(2), Retire(1)]
    assert roster.exited(3, CRASH, 9.0) == [SpawnChild(2, 4, 2)]


def test_reload_whose_first_worker_fails_is_abandoned():
    roster = started(2)
    roster.reload(Wanted(2, 5), 1.0)
    assert roster.exited(3, BOOT_FAILURE, 2.0) == [Abandoned(2, "exit code 3: no module named app")]
    assert roster.count == 2
    assert roster.exited(1, CRASH, 9.0) == [SpawnChild(0, 4, 1)]


def test_old_generation_is_kept_up_while_the_new_one_boots():
    roster = started(2)
    roster.reload(Wanted(2, 2), 1.0)
    assert roster.exited(1, CRASH, 9.0) == [SpawnChild(0, 4, 1)]


def test_second_reload_supersedes_the_first():
    roster = started(1)
    roster.reload(Wanted(2, 1), 1.0)
    assert roster.reload(Wanted(3, 1), 1.5) == [Retire(2)]
    assert roster.exited(2, ChildExit(signal=15), 1.6) == [SpawnChild(1, 3, 3)]
    assert roster.ready(3, 2.0) == [Promoted(3), Retire(1)]


def test_one_less_retires_the_oldest():
    roster = started(3)
    assert roster.resize(2, 1.0) == [Retire(1)]


def test_nobody_wanted_retires_all_and_a_reload_brings_them_back():
    roster = started(2)
    assert roster.resize(0, 1.0) == [Retire(1), Retire(2)]
    assert roster.reload(Wanted(2, 2), 2.0) == [SpawnChild(2, 3, 2)]
    assert roster.ready(3, 3.0) == [Promoted(2), SpawnChild(3, 4, 2)]


def test_failed_first_boot_ends_the_server():
    roster = Roster(2, 16)
    roster.tick(0.0)
    assert roster.exited(1, BOOT_FAILURE, 0.1) == [Halt(3, "no module named app")]
    assert roster.exited(2, BOOT_FAILURE, 0.1) == []


def test_application_refused_by_the_loader_is_exit_four():
    roster = Roster(1, 16)
    roster.tick(0.0)
    assert roster.exited(1, ChildExit(code=4), 0.1) == [Halt(4, "App failed to load.")]


def test_worker_killed_in_its_first_boot_is_tried_again():
    roster = Roster(1, 16)
    roster.tick(0.0)
    looping, wake = roster.exited(1, ChildExit(signal=9), 0.1)
    assert looping == CrashLooping(wake.at - 0.1, 1)
    assert isinstance(wake, Wake)
    assert roster.tick(wake.at) == [SpawnChild(0, 2, 1)]


def test_workers_that_die_together_wait_once():
    roster = started(4)
    for age in (1, 2, 3, 4):
        roster.exited(age, CRASH, 0.1)
    assert roster.backoff.strikes == 2


def test_planned_ends_are_one_at_a_time_whatever_the_surge():
    roster = started(4, surge=4)
    asked = [roster.leaving(age, 5.0) for age in (1, 2, 3, 4)]
    assert asked == [[SpawnChild(4, 5, 1)], [], [], []]
    now = 6.0
    for leaves in (1, 2, 3, 4):
        actions = roster.ready(4 + leaves, now)
        assert actions[0] == Retire(leaves)
        assert roster.serving == 4
        now += PLANNED_SPACING
        assert len(roster.tick(now)) == (leaves < 4)


def test_one_that_asked_to_leave_and_died_is_not_waited_for():
    roster = started(2)
    roster.leaving(1, 5.0)
    roster.leaving(2, 5.0)
    roster.exited(2, CRASH, 5.1)
    roster.ready(3, 5.2)
    roster.ready(4, 5.3)
    roster.tick(10.0)
    assert {m.age for m in roster.members.values() if m.state is State.READY} == {3, 4}


def test_members_of_another_image_serve_until_they_are_replaced():
    roster = Roster(2, 16)
    members = [Member(7, 0, 3, State.READY), Member(9, 1, 3, State.READY)]
    roster.take_over(members, Wanted(3, 2), age=11)
    assert roster.reload(Wanted(4, 2), 1.0) == [SpawnChild(2, 12, 4)]
    assert roster.exited(12, BOOT_FAILURE, 2.0)[0] == Abandoned(4, str(BOOT_FAILURE))
    assert roster.serving == 2


def test_later_boot_failures_never_end_the_server_and_slow_down():
    roster = started(1)
    now, waits = 10.0, []
    assert roster.exited(1, CRASH, now) == [SpawnChild(0, 2, 1)]
    for age in range(2, 12):
        looping, wake = roster.exited(age, BOOT_FAILURE, now)
        assert looping.seconds == wake.at - now
        assert roster.is_crash_looping
        waits.append(wake.at - now)
        now = wake.at
        assert roster.tick(now - 0.01) == [Wake(now)]
        assert roster.tick(now) == [SpawnChild(0, age + 1, 1)]
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert waits[-1] == BACKOFF_LIMIT
    roster.ready(12, now)
    assert roster.exited(12, CRASH, now + HEALTHY_AFTER) == [SpawnChild(0, 13, 1)]


def test_no_action_after_stop():
    roster = started(2)
    roster.stop()
    assert roster.exited(1, CRASH, 1.0) == []
    assert roster.tick(2.0) == []


def test_a_full_table_keeps_a_slot_for_replacements():
    roster = Roster(9, 4)
    assert len(roster.tick(0.0)) == roster.count == 3


class Supervision(RuleBasedStateMachine):
    """Any events in any order; the machine plays children that obey, crash, or fail to boot."""

    SLOTS = 8

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.generation = 1
        self.halted = False
        self.failing = 0
        self.roster = Roster(2, self.SLOTS)
        self.retired: set[int] = set()
        self.apply(self.roster.tick(self.now))

    def apply(self, actions: list) -> None:
        for action in actions:
            if isinstance(action, Retire):
                assert action.age in self.roster.members, "retired somebody who is not there"
                assert action.age not in self.retired, "retired twice"
                self.retired.add(action.age)
            elif isinstance(action, Halt):
                self.halted = True

    def some(self, *states: State) -> list[int]:
        return [member.age for member in self.roster.members.values() if member.state in states]

    @rule(seconds=st.floats(0.01, 40))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.apply(self.roster.tick(self.now))

    @precondition(lambda self: self.some(State.BOOTING))
    @rule(data=st.data())
    def becomes_ready(self, data: st.DataObject) -> None:
        self.apply(self.roster.ready(data.draw(st.sampled_from(self.some(State.BOOTING))), self.now))

    @precondition(lambda self: self.some(State.READY))
    @rule(data=st.data())
    def wants_to_leave(self, data: st.DataObject) -> None:
        self.apply(self.roster.leaving(data.draw(st.sampled_from(self.some(State.READY))), self.now))

    @precondition(lambda self: self.roster.members)
    @rule(
        data=st.data(),
        ended=st.sampled_from([CRASH, BOOT_FAILURE, ChildExit(code=0), ChildExit(code=1, timed_out=True)]),
    )
    def exits(self, data: st.DataObject, ended: ChildExit) -> None:
        age = data.draw(st.sampled_from(sorted(self.roster.members)))
        self.apply(self.roster.exited(age, ended, self.now))

    @rule(count=st.integers(0, 6))
    def is_resized(self, count: int) -> None:
        self.apply(self.roster.resize(count, self.now))

    @rule(count=st.integers(0, 6), surge=st.integers(0, 2), unavailable=st.integers(0, 2))
    def is_reloaded(self, count: int, surge: int, unavailable: int) -> None:
        self.generation += 1
        wanted = Wanted(self.generation, count)
        self.apply(self.roster.reload(wanted, self.now, surge=surge, unavailable=unavailable))

    @invariant()
    def slots_are_never_shared(self) -> None:
        slots = [member.slot for member in self.roster.members.values()]
        assert len(slots) == len(set(slots))
        assert all(0 <= slot < self.SLOTS for slot in slots)

    @invariant()
    def never_more_than_count_and_surge(self) -> None:
        living = [m for m in self.roster.members.values() if m.state is not State.RETIRING]
        assert len(living) <= self.SLOTS

    @invariant()
    def retirement_follows_a_replacement(self) -> None:
        """Checked where it is decided: nobody who serves was retired below the floor."""
        roster = self.roster
        serving = [m for m in roster.members.values() if m.state is State.READY]
        if len(serving) < roster.wanted.count - roster.unavailable:
            # Fewer serve than wanted: then somebody must be on the way, or a back-off or the table's end
            # explains it.
            booting = self.some(State.BOOTING)
            assert (
                booting
                or self.halted
                or self.now < roster.backoff.not_before
                or len(roster.members) == self.SLOTS
            )

    def teardown(self) -> None:
        """Left alone, with children that obey and boot, the wanted number of the wanted generation serves."""
        if self.halted:
            return
        for _ in range(200):
            self.now += BACKOFF_LIMIT
            self.apply(self.roster.tick(self.now))
            for age in self.some(State.RETIRING):
                self.apply(self.roster.exited(age, ChildExit(code=0), self.now))
            for age in self.some(State.BOOTING):
                self.apply(self.roster.ready(age, self.now))
        roster = self.roster
        assert roster.candidate is None
        members = list(roster.members.values())
        assert [m.state for m in members] == [State.READY] * roster.count
        assert {m.generation for m in members} <= {roster.wanted.generation}


class PlannedOnly(Supervision):
    """Without crashes: the number that serve never falls below what is wanted (both before and after the
    change).
    """

    def __init__(self) -> None:
        super().__init__()
        for age in (1, 2):
            self.apply(self.roster.ready(age, self.now))

    def apply(self, actions: list) -> None:
        super().apply(actions)
        retirements = [action for action in actions if isinstance(action, Retire)]
        serving = len(self.some(State.READY))
        for action in retirements:
            assert self.roster.members[action.age].state is State.RETIRING
        if (
            retirements
            and not self.roster.unavailable
            and any(a in self.served for a in self.ages(retirements))
        ):
            assert serving >= self.roster.wanted.count

    @property
    def served(self) -> set[int]:
        return {
            member.age for member in self.roster.members.values() if member.ready_at or member.age in (1, 2)
        }

    @staticmethod
    def ages(retirements: list[Retire]) -> set[int]:
        return {action.age for action in retirements}

    @precondition(lambda self: self.some(State.RETIRING))
    @rule(data=st.data())
    def exits(self, data: st.DataObject) -> None:
        age = data.draw(st.sampled_from(self.some(State.RETIRING)))
        self.apply(self.roster.exited(age, ChildExit(code=0), self.now))


TestSupervision = Supervision.TestCase
TestSupervision.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestPlannedOnly = PlannedOnly.TestCase
TestPlannedOnly.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
