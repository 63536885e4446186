"""How threads share the events of one poller, and what one that tells of edges needs: ``engine.shift``."""

from __future__ import annotations

import errno
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


def new_link(fd=7, **state):
    defaults = {"fd": fd, "want": READ, "armed": 0, "deadline": 0.0, "unread": False, "ended": False}
    return SimpleNamespace(**{**defaults, **state})


def claimed(waiting, fd=7, **state):
    """A connection that was parked before, and that somebody has claimed."""
    link = waiting.links[fd] if fd < len(waiting.links) else None
    if link is None:
        link = new_link(fd)
        waiting.park(link, Phase.IDLE)
        waiting._arm.__self__.calls.clear()
    assert waiting.claimed.setdefault(fd, "somebody") == "somebody"
    vars(link).update(state)
    return link


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
    park(waiting, new_link())
    assert poller.calls == [("arm", 7)]
    park(waiting, claimed(waiting))
    assert poller.calls == [("arm", 7)]


def test_both_ways_to_park_wait_equally_long(park):
    alarms, timeouts = [], SimpleNamespace(**{**vars(TIMEOUTS), "keepalive": 30})
    waiting = Waiting(FakePoller(), timeouts, wake=lambda: alarms.append(waiting.alarm))
    before = time.monotonic()
    links = [new_link(fd) for fd in (7, 8)]
    for link in links:
        park(waiting, link)
    assert alarms == [links[0].deadline]
    for link in links:
        park(waiting, claimed(waiting, link.fd))
    assert [before + 30 <= link.deadline < before + 60 for link in links] == [True, True]
    waiting.drain(before + 20, idle_patience=2)
    links.append(new_link(9))
    park(waiting, links[2])
    assert all(link.deadline < before + 20 for link in links)


@pytest.mark.parametrize("state", [{"unread": True}, {"ended": True}])
def test_what_was_left_unread_is_asked_for_again(state, park):
    """No further edge will come for it: the client waits for us."""
    poller = FakePoller()
    waiting = Waiting(poller, TIMEOUTS, wake=lambda: None)
    park(waiting, claimed(waiting, **state))
    assert poller.calls == [("rearm", 7)]


def test_an_event_for_a_claimed_connection_is_asked_for_again_when_it_is_parked(park):
    poller = FakePoller()
    waiting = Waiting(poller, TIMEOUTS, wake=lambda: None)
    link = claimed(waiting)
    waiting.miss(7)
    assert poller.calls == []
    park(waiting, link)
    park(waiting, claimed(waiting))
    assert poller.calls == [("rearm", 7)]


def test_a_late_event_of_a_closed_connection_is_nobodys():
    waiting = Waiting(poller := FakePoller(), TIMEOUTS, wake=lambda: None)
    waiting.drop(claimed(waiting))
    assert not waiting.claimed
    waiting.miss(7)
    waiting.park(new_link(7), Phase.FRESH)
    assert poller.calls == [("arm", 7)]


def test_who_looks_for_a_closed_connection_keeps_the_next_one_with_its_number_from_others():
    """A thread has a late event and thinks that it is the new connection's, which is parked meanwhile."""
    waiting = Waiting(FakePoller(), TIMEOUTS, wake=lambda: None)
    waiting.drop(claimed(waiting))
    assert waiting.claimed.setdefault(7, "late") == "late"
    waiting.park(new_link(7), Phase.FRESH)
    assert waiting.claimed.setdefault(7, "other") == "late"


def test_a_new_connection_that_another_thread_has_served_and_closed_before_it_was_armed_is_let_go():
    """The thread had a late event for a connection with the same number."""

    class Closed(FakePoller):
        def arm(self, fd, want):
            raise OSError(errno.EBADF, "closed")

    waiting = Waiting(Closed(), TIMEOUTS, wake=lambda: None)
    waiting.park(new_link(7), Phase.FRESH)
    assert not waiting.claimed


def test_an_event_that_was_missed_a_moment_before_the_parking_is_not_lost():
    poller = FakePoller()
    waiting = Waiting(poller, TIMEOUTS, wake=lambda: None)
    waiting.park(claimed(waiting), Phase.IDLE)
    waiting.miss(7)
    assert poller.calls == [("rearm", 7)]


def test_a_connection_that_another_thread_has_closed_meanwhile_is_let_go():
    """It is parked before it is armed again, and it was armed all the time."""

    class Closed(FakePoller):
        def rearm(self, fd, want):
            raise FileNotFoundError(fd)

    waiting = Waiting(Closed(), TIMEOUTS, wake=lambda: None)
    waiting.park(claimed(waiting, ended=True), Phase.LINGER)
    waiting.miss(7)
