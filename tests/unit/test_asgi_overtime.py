"""``request_timeout`` of ASGI workers: who is late, once, and who does not end at all."""

from __future__ import annotations

from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.process.slots import ERRORS
from gunicorn.workers.asgi.overtime import Overtime


@define(eq=False)
class Cycle:
    entry: str
    answered: bool = False
    timed_out: int = 0

    def time_out(self) -> bool:
        if self.answered:
            return False
        self.timed_out += 1
        return True


class Worker:
    def __init__(self, timeout: float, grace: float = 10.0) -> None:
        self.cfg = self
        self.request_timeout, self.graceful_timeout = timeout, grace
        self.log = self.slot = self
        self.errors = 0
        self.lines: list[str] = []
        self.left: list[str] = []

    def error(self, line: str, *args: object) -> None:
        self.lines.append(line % args)

    def add(self, counter: int) -> None:
        assert counter == ERRORS
        self.errors += 1

    def leave(self, reason: str) -> None:
        self.left.append(reason)


def test_a_request_is_ended_once_and_said_once():
    cycle, worker = Cycle("GET /slow"), Worker(5.0)
    overtime = Overtime(worker, {cycle})
    for now in range(10):
        overtime.look(now)
    assert cycle.timed_out == 1
    assert worker.lines == ["Request GET /slow took longer than request_timeout (5 s)"]
    assert worker.errors == 1
    assert worker.left == []


def test_what_was_answered_is_neither_ended_nor_counted():
    worker = Worker(1.0)
    overtime = Overtime(worker, {Cycle("GET /background", answered=True)})
    for now in range(100):
        overtime.look(now)
    assert worker.lines == worker.left == []


def test_one_that_does_not_end_costs_the_worker_once():
    worker = Worker(1.0, grace=3.0)
    cycles = {Cycle("GET /a"), Cycle("GET /b")}
    overtime = Overtime(worker, cycles)
    for now in (0, 1, 2, 3.5):
        overtime.look(now)
    assert worker.left == []
    overtime.look(4)
    overtime.look(50)
    assert worker.left == ["request_timeout"]
    assert sum("does not end" in line for line in worker.lines) == 1


def test_one_that_ends_in_its_grace_costs_nothing():
    worker, cycle = Worker(1.0, grace=3.0), Cycle("GET /")
    cycles = {cycle}
    overtime = Overtime(worker, cycles)
    for now in (0, 1, 2):
        overtime.look(now)
    cycles.clear()
    for now in (3, 4, 5):
        overtime.look(now)
    assert cycle.timed_out == 1
    assert worker.left == []


@given(
    timeout=st.floats(0.05, 3600),
    births=st.lists(st.floats(0, 100), max_size=20),
)
def test_never_early_and_at_most_two_looks_late(timeout, births):
    """A request that begins at any moment lives for ``timeout`` and two intervals at most."""
    worker, cycles = Worker(timeout), set()
    overtime = Overtime(worker, cycles)
    assert 0 < overtime.interval <= max(timeout / 5, 0.01)
    interval = overtime.interval
    # Births are counted in looks, so that a long timeout does not need more of them.
    born = {Cycle(f"GET /{number}"): birth * interval for number, birth in enumerate(births)}
    looks = int((100 * interval + timeout) / interval) + 4
    for number in range(min(looks, 400)):
        now = number * interval
        before = {cycle for cycle in born if cycle.timed_out}
        cycles |= {cycle for cycle, birth in born.items() if birth <= now}
        overtime.look(now)
        for cycle, birth in born.items():
            if cycle.timed_out and cycle not in before:
                assert timeout - 1e-6 <= now - birth <= timeout + 2 * interval + 1e-6
