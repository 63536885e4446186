"""Pieces of a streamed response: those of a burst leave together, none waits for the loop, all in order."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.workers.asgi import flow as module
from gunicorn.workers.asgi.flow import FlowControl


class Transport:
    def __init__(self):
        self.writes = []
        self.closing = False

    def write(self, data):
        self.writes.append(data)

    def writelines(self, pieces):
        self.writes.append(b"".join(pieces))

    def is_closing(self):
        return self.closing


class Loop:
    """A loop that turns when it is told to."""

    def __init__(self):
        self.soon = []

    def call_soon(self, callback):
        self.soon.append(callback)

    def turn(self):
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


@pytest.fixture
def flow():
    made = FlowControl()
    made.transport = Transport()
    made.service = SimpleNamespace(loop=Loop())
    return made


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


def test_the_pieces_of_a_burst_leave_in_two_writes(flow, clock):
    for number in range(10):
        flow.write_piece(b"%d" % number)
    assert flow.transport.writes == [b"0"]
    flow.service.loop.turn()
    assert flow.transport.writes == [b"0", b"123456789"]


def test_an_application_that_blocks_the_loop_keeps_no_piece(flow, clock):
    for number in range(3):
        flow.write_piece(b"%d" % number)
        clock[0] += 1.0
    assert flow.transport.writes == [b"0", b"1", b"2"]


def test_no_more_is_held_than_one_write_takes(flow, clock):
    for _ in range(64):
        flow.write_piece(b"x" * 4096)
    assert len(flow.transport.writes) == 4
    assert sum(map(len, flow.held)) < 64 * 1024


def test_a_piece_as_large_as_a_write_is_not_held_and_waits_for_nothing_but_what_is(flow, clock):
    large = b"x" * 64 * 1024
    for piece in (large, large, b"a", b"b", large, b"c"):
        flow.write_piece(piece)
    assert flow.transport.writes == [large, large, b"a", b"b" + large]
    flow.service.loop.turn()
    assert b"".join(flow.transport.writes) == large + large + b"ab" + large + b"c"


def test_nothing_is_written_to_a_connection_that_closes(flow, clock):
    flow.write_piece(b"a")
    flow.write_piece(b"b")
    flow.transport.closing = True
    flow.service.loop.turn()
    assert flow.transport.writes == [b"a"]
    assert flow.held == []


STEPS = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=40_000).map(lambda data: ("write_piece", data)),
        st.binary(min_size=1, max_size=10).map(lambda data: ("write", data)),
        st.just(("turn", b"")),
        st.just(("wait", b"")),
    )
)


@given(STEPS)
def test_everything_leaves_in_order(steps):
    flow = FlowControl()
    flow.transport = Transport()
    flow.service = SimpleNamespace(loop=Loop())
    for step, data in steps:
        if step == "turn":
            flow.service.loop.turn()
        elif step == "wait":
            flow._wrote_at -= 1.0
        else:
            getattr(flow, step)(data)
    flow.flush()
    assert b"".join(flow.transport.writes) == b"".join(data for _, data in steps)
    assert flow._wrote_at <= time.monotonic()
