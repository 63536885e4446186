"""Who loads what, and who gets a call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gunicorn.dirty.allocation import Allocation
from gunicorn.dirty.apps import find_class, limits
from gunicorn.dirty.errors import DirtyNoWorkersAvailableError, DirtyQueueFullError
from gunicorn.dirty.pool import Lane, Pool, call_deadline
from gunicorn.dirty.specs import AppSpec, parse, parse_all
from gunicorn.errors import AppImportError, ConfigError


def test_specifications() -> None:
    assert parse("pkg.mod:Class") == AppSpec("pkg.mod:Class", None)
    assert parse(" m:C:3 ") == AppSpec("m:C", 3)
    assert parse_all(["m:C", "m:D:1"]) == [AppSpec("m:C", None), AppSpec("m:D", 1)]


@pytest.mark.parametrize(
    "text", ["", "m", "m:", ":C", "m:C:", "m:C:0", "m:C:x", "m:C:1:2", "m:C:-1", "a b:C", "m:C:²"]
)
def test_a_wrong_specification_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="dirty_apps"):
        parse(text)


def test_a_class_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="more than once"):
        parse_all(["m:C", "m:C:2"])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("no.such:C", "no module"),
        ("os:Nothing", "has no"),
        ("os:path", "no class with"),
        ("os:getcwd", "no class with"),
    ],
)
def test_a_class_that_cannot_be_used_is_named(path: str, reason: str) -> None:
    with pytest.raises(AppImportError, match=reason):
        find_class(path)


def test_the_class_says_its_limit_unless_the_configuration_does() -> None:
    assert limits([AppSpec("gunicorn.dirty.app:DirtyApp"), AppSpec("not.imported:C", 2)]) == {
        "gunicorn.dirty.app:DirtyApp": None,
        "not.imported:C": 2,
    }


def test_limited_classes_are_spread() -> None:
    """Nine processes for 2 + 2 + 4 + 1: one class each."""
    allocation = Allocation({"Email": 2, "Image": 2, "Data": 4, "Cron": 1}, 9)
    taken = [allocation.take(age) for age in range(1, 10)]
    assert [len(paths) for paths in taken] == [1] * 9
    assert sorted(path for paths in taken for path in paths).count("Data") == 4


def test_a_replacement_takes_what_the_dead_one_had() -> None:
    allocation = Allocation({"A": None, "B": 1, "C": 1}, 2)
    first, second = allocation.take(1), allocation.take(2)
    assert {*first, *second} == {"A", "B", "C"}
    assert allocation.leave(1) == []
    assert allocation.take(3) == first


def test_what_a_removed_process_alone_had_goes_to_another() -> None:
    allocation = Allocation({"B": 1, "C": 1}, 2)
    allocation.take(1)
    mine = allocation.take(2)
    allocation.resize(1)
    assert allocation.leave(2) == [(1, path) for path in mine]


def test_the_minimum_and_the_most_that_is_of_use() -> None:
    allocation = Allocation({"A": 3, "B": 1}, 2)
    assert (allocation.minimum, allocation.useful, allocation.short()) == (3, 4, ["A"])
    assert Allocation({"A": None, "B": 2}, 2).useful == float("inf")


class Seats(RuleBasedStateMachine):
    """Whatever the order of events: no class is left without a process while one is there to hold it."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = {"all": None, "one": 1, "two": 2, "five": 5}
        self.wanted = 3
        self.allocation = Allocation(self.limits, self.wanted)
        self.held: dict[int, set[str]] = {}
        self.age = 0

    def load(self, loads: list[tuple[int, str]]) -> None:
        for age, path in loads:
            assert path not in self.held[age], "loaded twice"
            self.held[age].add(path)

    @rule()
    def boot(self) -> None:
        self.age += 1
        self.held[self.age] = set()
        self.held[self.age] = set(self.allocation.take(self.age))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        age = data.draw(st.sampled_from(sorted(self.held)))
        del self.held[age]
        self.load(self.allocation.leave(age))

    @rule(wanted=st.integers(1, 6))
    def resize(self, wanted: int) -> None:
        self.wanted = wanted
        self.load(self.allocation.resize(wanted))

    @precondition(lambda self: self.held)
    @rule()
    def scale_down(self) -> None:
        """As the supervision does it: fewer wanted, and those go that are missed least."""
        self.wanted = max(1, self.wanted - 1)
        self.load(self.allocation.resize(self.wanted))
        while len(self.held) > self.wanted:
            age = self.allocation.dispensable(self.held)[0]
            del self.held[age]
            self.load(self.allocation.leave(age))

    @invariant()
    def every_class_has_its_processes(self) -> None:
        assert all("all" in paths for paths in self.held.values())
        if len(self.held) >= max(self.wanted, 1):
            for path, limit in self.limits.items():
                holders = sum(path in paths for paths in self.held.values())
                assert holders >= min(limit or 0, self.wanted, 1), (path, self.held)


TestSeats = Seats.TestCase


# Routing


def pool_of(*apps: set[str], limit: int = 2) -> Pool[int]:
    pool: Pool[int] = Pool()
    for age, paths in enumerate(apps, 1):
        pool.add(Lane(age, paths, limit))
    return pool


def test_round_robin_among_equals() -> None:
    pool = pool_of({"A"}, {"A"}, {"A"})
    assert [pool.choose("A").age for _ in range(6)] == [1, 2, 3, 1, 2, 3]


def test_the_least_backlog_first() -> None:
    pool = pool_of({"A"}, {"A"})
    pool.lanes[1].running = 1
    assert [pool.choose("A").age for _ in range(2)] == [2, 2]
    pool.lanes[2].queue.extend([1, 2])
    assert pool.choose("A").age == 1


def test_nobody_and_no_room() -> None:
    pool = pool_of({"A"}, limit=1)
    with pytest.raises(DirtyNoWorkersAvailableError, match="B"):
        pool.choose("B")
    pool.lanes[1].queue.append(1)
    with pytest.raises(DirtyQueueFullError, match="dirty_queue_size"):
        pool.choose("A")


def test_a_worker_that_leaves_gives_its_queue_back() -> None:
    pool = pool_of({"A"}, {"A"})
    pool.lanes[1].queue.extend([7, 8])
    assert pool.remove(1) == [7, 8]
    assert [pool.choose("A").age for _ in range(2)] == [2, 2]
    assert pool.remove(2) == []
    assert not pool.serves("A")


@given(st.lists(st.sampled_from(["call", "end"]), max_size=60), st.integers(1, 4))
def test_counts_stay_equal(events: list[str], workers: int) -> None:
    """With equal calls no worker is ever more than one ahead."""
    pool = pool_of(*[{"A"}] * workers, limit=1000)
    for event in events:
        if event == "call":
            pool.choose("A").running += 1
        else:
            busiest = max(pool.lanes.values(), key=lambda lane: lane.running)
            busiest.running = max(0, busiest.running - 1)
        running = [lane.running for lane in pool.lanes.values()]
        assert max(running) - min(running) <= 1


def test_deadlines() -> None:
    assert call_deadline(10, 5, None) == 15
    assert call_deadline(10, 5, 2) == 12
    assert call_deadline(10, 0, 2) == 12
    assert call_deadline(10, 0, None) == float("inf")
