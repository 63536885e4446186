"""The deadlines of connections, on a clock that jumps."""

from __future__ import annotations

from math import inf

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gunicorn.workers.asgi.trio_deadlines import Deadlines


class Connection:
    """As much of a connection as ``Deadlines`` looks at."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.alarm = None
        self.due = inf
        self.expired = []
        self._deadlines = deadlines

    def expect(self, due: float) -> None:
        self.due = due
        if self.alarm is None or due < self.alarm.at:
            self._deadlines.watch(self)

    def expire(self) -> None:
        self.expired.append(trio.current_time())
        self.due = inf


def play(scenario) -> None:
    """Run ``scenario(connection, another)`` beside the deadlines' task, from time 0 on."""

    async def main() -> None:
        deadlines = Deadlines()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deadlines.run)
            await wait_all_tasks_blocked()
            await scenario(Connection(deadlines), Connection(deadlines))
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def after(seconds: float) -> float:
    return trio.current_time() + seconds


def test_what_is_due_expires_in_order():
    async def scenario(first, second):
        first.expect(after(10))
        second.expect(after(5))
        await trio.sleep(20)
        assert [round(time) for time in (*second.expired, *first.expired)] == [5, 10]

    play(scenario)


def test_a_deadline_that_moves_away_is_found_later():
    async def scenario(first, _):
        for _ in range(10):
            first.expect(after(10))
            await trio.sleep(9)
        assert first.expired == []
        await trio.sleep(2)
        assert len(first.expired) == 1

    play(scenario)


def test_a_deadline_that_comes_nearer_counts_once():
    async def scenario(first, _):
        first.expect(after(10))
        first.expect(after(3))
        await trio.sleep(20)
        assert [round(time) for time in first.expired] == [3]

    play(scenario)


@pytest.mark.parametrize("forget", [True, False])
def test_what_is_not_waited_for_does_not_expire(forget):
    async def scenario(first, _):
        first.expect(after(3))
        if forget:
            first._deadlines.forget(first)
        else:
            first.due = inf
        await trio.sleep(20)
        assert first.expired == []
        assert first.alarm is None
        first.expect(after(3))
        await trio.sleep(4)
        assert len(first.expired) == 1

    play(scenario)
