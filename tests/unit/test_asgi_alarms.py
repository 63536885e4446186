"""The deadlines of many connections on one timer, by a loop whose clock the test moves."""

from __future__ import annotations

import weakref
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.workers.asgi.alarms import Alarms, Timer, Wait


class Handle:
    def __init__(self, due, call):
        self.due, self.call, self.cancelled = due, call, False

    def cancel(self):
        self.cancelled = True


class Loop:
    """As much of an event loop as a timer needs."""

    def __init__(self):
        self.now = 100.0
        self.handles = []

    def time(self):
        return self.now

    def call_at(self, due, call):
        self.handles.append(Handle(due, call))
        return self.handles[-1]

    @property
    def armed(self):
        return [handle for handle in self.handles if not handle.cancelled]

    def advance(self, seconds):
        """Let time pass, from one timer to the next."""
        end = self.now + seconds
        while due := [handle for handle in self.armed if handle.due <= end]:
            first = min(due, key=lambda handle: handle.due)
            self.handles.remove(first)
            self.now = max(self.now, first.due)
            first.call()
        self.now = end


class Bells:
    """Notes who rang when."""

    def __init__(self):
        self.loop = Loop()
        self.timer = Timer(self.loop)
        self.rung = []

    def new(self, name="a"):
        return Alarms(self.timer, lambda wait: self.rung.append((name, wait, round(self.loop.now - 100, 3))))


@pytest.fixture
def bells():
    return Bells()


def test_each_wait_rings_once_at_its_time(bells):
    alarms = bells.new()
    alarms.set(Wait.BODY, 5)
    alarms.set(Wait.HEAD, 2)
    bells.loop.advance(20)
    assert bells.rung == [("a", Wait.HEAD, 2), ("a", Wait.BODY, 5)]
    assert not bells.loop.armed


def test_zero_is_never_and_takes_back_what_was_set(bells):
    alarms = bells.new()
    alarms.set(Wait.IDLE, 3)
    alarms.set(Wait.IDLE, 0)
    assert not alarms.is_set(Wait.IDLE)
    bells.loop.advance(20)
    assert bells.rung == []


def test_a_deadline_that_moves_away_arms_nothing(bells):
    alarms = bells.new()
    alarms.set(Wait.IDLE, 5)
    handles = list(bells.loop.handles)
    for _ in range(100):
        alarms.head_arrived()
        alarms.set(Wait.IDLE, 5)
        bells.loop.now += 0.01
    assert bells.loop.handles == handles
    bells.loop.advance(4.9)
    assert bells.rung == []
    bells.loop.advance(0.1)
    assert bells.rung == [("a", Wait.IDLE, 5.99)]


def test_a_nearer_deadline_rings_first(bells):
    alarms = bells.new()
    alarms.set(Wait.IDLE, 15)
    alarms.limit(Wait.IDLE, 2)
    alarms.limit(Wait.IDLE, 4)
    alarms.limit(Wait.HEAD, 1)
    bells.loop.advance(20)
    assert bells.rung == [("a", Wait.IDLE, 2)]


def test_all_connections_share_one_timer(bells):
    for number in range(50):
        bells.new(number).set(Wait.HEAD, 15 + number)
    assert len(bells.loop.armed) == 1
    bells.loop.advance(16)
    assert bells.rung == [(0, Wait.HEAD, 15), (1, Wait.HEAD, 16)]
    assert len(bells.loop.armed) == 1


def test_what_was_set_before_the_close_never_rings(bells):
    one, other = bells.new("one"), bells.new("other")
    one.set(Wait.HEAD, 2)
    other.set(Wait.HEAD, 3)
    one.close()
    one.set(Wait.GRACE, 4)  # the application's, whose client has left
    bells.loop.advance(20)
    assert bells.rung == [("other", Wait.HEAD, 3), ("one", Wait.GRACE, 4)]


def test_nothing_keeps_a_connection_that_has_ended():
    bells = Bells()

    def new():
        def ring(wait):
            raise AssertionError

        alarms = Alarms(bells.timer, ring)
        alarms.set(Wait.HEAD, 15)
        alarms.set(Wait.CLOSE, 2)
        alarms.close()
        return weakref.ref(ring)

    assert new()() is None


def test_closing_while_ringing_ends_the_round(bells):
    alarms = Alarms(bells.timer, lambda wait: (bells.rung.append(wait), alarms.close()))
    alarms.set(Wait.HEAD, 2)
    alarms.set(Wait.BODY, 2)
    bells.loop.advance(20)
    assert bells.rung == [Wait.HEAD]


def test_the_timer_keeps_little_of_connections_that_have_ended(bells):
    for _ in range(10_000):
        alarms = bells.new()
        alarms.set(Wait.HEAD, 15)
        alarms.close()
    assert len(bells.timer._heap) < 2500
    bells.new("last").set(Wait.HEAD, 15)
    bells.loop.advance(15)
    assert bells.rung == [("last", Wait.HEAD, 15)]


def test_a_closed_timer_arms_nothing_that_it_had(bells):
    bells.new().set(Wait.HEAD, 1)
    bells.timer.close()
    bells.loop.advance(20)
    assert bells.rung == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["set", "clear", "pass"]),
        st.integers(0, 3),
        st.sampled_from(list(Wait)),
        st.integers(0, 40),
    ),
    max_size=60,
)


@given(STEPS)
def test_everything_rings_when_it_is_due_and_nothing_else_does(steps):
    """As a table of deadlines that is looked at every tenth of a second."""
    bells = Bells()
    alarms = [bells.new(number) for number in range(4)]
    due = {}
    expected = []
    clock = count()
    now = next(clock)

    def pass_time(ticks):
        nonlocal now
        for _ in range(ticks):
            now = next(clock)
            expected.extend((*key, now) for key in sorted(due) if due[key] == now)
            for key in [key for key in due if due[key] == now]:
                del due[key]

    for action, number, wait, ticks in steps:
        if action == "pass":
            bells.loop.advance(ticks)
            pass_time(ticks)
        elif action == "set":
            alarms[number].set(wait, ticks)
            due.pop((number, wait), None)
            if ticks:
                due[number, wait] = now + ticks
        else:
            alarms[number].clear(wait)
            due.pop((number, wait), None)
    bells.loop.advance(100)
    pass_time(100)
    assert sorted(bells.rung) == sorted(expected)
    assert not bells.loop.armed
