"""How threads share the events of one poller, and what one that tells of edges needs: ``engine.shift``."""

from __future__ import annotations

import os
import threading
import time
from types import SimpleNamespace

import pytest

from gunicorn.workers.engine.link import Phase
from gunicorn.workers.engine.poller import READ, new_poller
from gunicorn.workers.engine.shift import Shift
from gunicorn.workers.engine.waiting import Waiting

TIMEOUTS = SimpleNamespace(handshake_timeout=0, header_timeout=0, keepalive=0, body_timeout=0)


class FakeEngine:
    """A real poller, and pipes in place of connections."""

    def __init__(self):
        self.poller = new_poller()
        self.poll = self.poller.poll
        self.watched = {}

    def watch(self, fd, callback):
        self.watched[fd] = callback
        self.poller.watch(fd)


class FakePoller:
    """Remembers what it was told."""

    stays_armed = True

    def __init__(self):
        self.calls = []

    def arm(self, fd, want):
        self.calls.append(("arm", fd))

    def rearm(self, fd, want):
        self.calls.append(("rearm", fd))

    def forget(self, fd):
        self.calls.append(("forget", fd))


@pytest.fixture
def engine():
    engine = FakeEngine()
    yield engine
    engine.poller.close()


@pytest.fixture
def pipes():
    pipes = [os.pipe() for _ in range(3)]
    yield pipes
    for fd in sum(pipes, ()):
        os.close(fd)


def parked(fd=7, **state):
    defaults = {"fd": fd, "want": READ, "armed": READ, "deadline": 0.0, "unread": False, "ended": False}
    return SimpleNamespace(**{**defaults, **state})


def test_a_request_that_takes_long_holds_up_nobody_while_a_thread_is_free(engine, pipes):
    """Three events come at once, and the thread that got them is stuck in the first one."""
    shift = Shift(engine)
    served, all_served, release = [], threading.Event(), threading.Event()
    readers = {reader for reader, _ in pipes}

    def serve():
        while not all_served.is_set():
            event = shift.take()
            if event is None:
                continue
            fd, _ = event
            if fd in engine.watched:
                engine.watched[fd]()
                continue
            served.append(fd)
            if len(served) == 3:
                all_served.set()
                release.set()
            elif len(served) == 1:
                assert release.wait(10)

    for reader, writer in pipes:
        os.write(writer, b"x")
        engine.poller.arm(reader, READ)
    threads = [threading.Thread(target=serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert all_served.wait(10)
    stop, stopper = os.pipe()
    engine.watch(stop, lambda: None)
    os.write(stopper, b"x")
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert set(served) == readers
    shift.close()
    os.close(stop)
    os.close(stopper)


def test_a_sleeping_thread_is_called_once_until_it_comes(engine, pipes):
    shift = Shift(engine)
    for reader, writer in pipes:
        os.write(writer, b"x")
        engine.poller.arm(reader, READ)
    shift._asleep.append(None)
    taken = {shift.take()[0] for _ in pipes}
    assert taken == {reader for reader, _ in pipes}
    fd, _ = shift.take()
    (called,) = engine.watched
    assert fd == called
    engine.watched[fd]()
    assert engine.poll(0, 16) == []  # there was one call to answer
    shift.close()


@pytest.fixture(params=["the general way", "the short way"])
def park(request):
    """Park for the next request."""
    if request.param == "the short way":
        return Waiting.park_idle
    return lambda waiting, link: waiting.park(link, Phase.IDLE)


def test_a_connection_is_armed_once_and_then_only_parked(park):
    poller = FakePoller()
    waiting = Waiting(poller, TIMEOUTS, wake=lambda: None)
    park(waiting, parked(armed=0))
    park(waiting, parked())
    assert poller.calls == [("arm", 7)]


def test_both_ways_to_park_wait_equally_long(park):
    alarms, timeouts = [], SimpleNamespace(**{**vars(TIMEOUTS), "keepalive": 30})
    waiting = Waiting(FakePoller(), timeouts, wake=lambda: alarms.append(waiting.alarm))
    before = time.monotonic()
    park(waiting, parked(fd=7))
    park(waiting, parked(fd=8))
    assert [before + 30 <= link.deadline < before + 60 for link in waiting.parked.values()] == [True, True]
    assert alarms == [waiting.parked[7].deadline]
    waiting.drain(before + 20, idle_patience=2)
    park(waiting, parked(fd=9))
    assert all(link.deadline < before + 20 for link in waiting.parked.values())


@pytest.mark.parametrize("state", [{"unread": True}, {"ended": True}])
def test_what_was_left_unread_is_asked_for_again(state, park):
    """No further edge will come for it: the client waits for us."""
    poller = FakePoller()
    park(Waiting(poller, TIMEOUTS, wake=lambda: None), parked(**state))
    assert poller.calls == [("rearm", 7)]


def test_an_event_for_a_claimed_connection_is_asked_for_again_when_it_is_parked(park):
    poller = FakePoller()
    waiting = Waiting(poller, TIMEOUTS, wake=lambda: None)
    waiting.miss(7)
    assert poller.calls == []
    park(waiting, parked())
    park(waiting, parked())
    assert poller.calls == [("rearm", 7)]


def test_an_event_that_was_missed_a_moment_before_the_parking_is_not_lost():
    poller = FakePoller()
    waiting = Waiting(poller, TIMEOUTS, wake=lambda: None)
    waiting.park(parked(), Phase.IDLE)
    waiting.miss(7)
    assert poller.calls == [("rearm", 7)]


def test_a_connection_that_another_thread_has_closed_meanwhile_is_let_go():
    """It is parked before it is armed again, and it was armed all the time."""

    class Closed(FakePoller):
        def rearm(self, fd, want):
            raise FileNotFoundError(fd)

    waiting = Waiting(Closed(), TIMEOUTS, wake=lambda: None)
    waiting.park(parked(ended=True), Phase.LINGER)
    waiting.miss(7)
