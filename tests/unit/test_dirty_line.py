"""A caller's line: what it says when an answer does not come, and what it leaves behind."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gunicorn.dirty import line, protocol
from gunicorn.dirty.connection import Connection, Message
from gunicorn.dirty.errors import (
    DirtyConnectionError,
    DirtyProtocolError,
    DirtyQueueFullError,
    DirtyTimeoutError,
    DirtyWorkerError,
)
from gunicorn.dirty.frames import HANDED, Frame, FrameDecoder, Kind, header
from gunicorn.dirty.line import VAIN, Line

LEASE, CALL = 5, 6


class Pool:
    """The other ends: of the connection to the arbiter, and of the line to the worker."""

    def __init__(self) -> None:
        ours, self.arbiter = socket.socketpair()
        self.connection = Connection.__new__(Connection)
        self.connection._adopt(ours, "/pool", 1.0)
        theirs, self.worker = socket.socketpair()
        self.line = Line(theirs, self.connection, LEASE, "m:A")

    def send(self) -> None:
        self.line.send(Message.of(Kind.REQUEST, CALL, [b"payload"]), 1.0)

    def close(self) -> None:
        for end in (self.line, self.arbiter, self.worker):
            end.close()


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool()
    yield pool
    pool.close()


def frames(sock: socket.socket) -> list[Frame]:
    return FrameDecoder().feed(sock.recv(65536))


def test_an_answer(pool: Pool) -> None:
    pool.send()
    [request] = frames(pool.worker)
    assert (request.kind, request.request_id, request.payload) == (Kind.REQUEST, CALL, b"payload")
    pool.worker.sendall(protocol.response(CALL, "x"))
    assert protocol.result_of(pool.line.receive(CALL, 1.0)) == "x"


def test_an_answer_that_takes_longer_than_anybody_looks_for_it(pool: Pool, monkeypatch: Any) -> None:
    monkeypatch.setattr(line, "EAGER", 0.001)
    for _ in range(VAIN):
        with pytest.raises(DirtyTimeoutError):
            pool.line.receive(CALL, 0.01)
    monkeypatch.setattr(line, "EAGER", 60.0)
    started = time.monotonic()
    with pytest.raises(DirtyTimeoutError):
        pool.line.receive(CALL, 0.01)
    assert time.monotonic() - started < 30, "after that it sleeps at once"
    pool.worker.sendall(protocol.response(CALL, "x"))
    assert protocol.result_of(pool.line.receive(CALL, None)) == "x"


def test_a_timeout_is_told_to_the_arbiter(pool: Pool) -> None:
    pool.send()
    with pytest.raises(DirtyTimeoutError, match="m:A did not answer in time") as caught:
        pool.line.receive(CALL, 0.01)
    assert caught.value.timeout == 0.01
    [cancel] = frames(pool.arbiter)
    assert (cancel.kind, cancel.request_id) == (Kind.CANCEL, LEASE)


@pytest.mark.parametrize("error", [DirtyWorkerError("died", 7), DirtyTimeoutError("late", 1.0)])
def test_the_arbiter_says_why_there_is_no_answer(pool: Pool, error: Exception) -> None:
    pool.send()
    pool.arbiter.sendall(protocol.error(LEASE, error))
    pool.worker.close()
    with pytest.raises(type(error), match=str(error).partition(":")[0]):
        pool.line.receive(CALL, 1.0)


def test_the_arbiter_has_gone_too(pool: Pool) -> None:
    pool.send()
    pool.worker.close()
    pool.arbiter.close()
    with pytest.raises(DirtyConnectionError):
        pool.line.receive(CALL, 1.0)


def test_a_worker_that_leaves_a_call_unanswered(pool: Pool) -> None:
    pool.send()
    pool.worker.close()
    pool.arbiter.sendall(protocol.response(LEASE, 0))
    with pytest.raises(DirtyWorkerError, match="unanswered"):
        pool.line.receive(CALL, 1.0)


def test_an_arbiter_that_does_not_say_why_is_not_waited_for_long(pool: Pool, monkeypatch: Any) -> None:
    monkeypatch.setattr(line, "REASON_WAIT", 90.0)
    pool.send()
    pool.worker.close()
    started = time.monotonic()
    with pytest.raises(DirtyTimeoutError):
        pool.line.receive(CALL, 0.1)
    assert time.monotonic() - started < 60


def test_what_was_not_taken_can_be_sent_elsewhere(pool: Pool) -> None:
    pool.worker.close()
    with pytest.raises(DirtyConnectionError):
        pool.send()


@pytest.mark.parametrize(
    "outcome", [protocol.response(LEASE, 3), protocol.error(LEASE, DirtyQueueFullError())]
)
def test_the_connection_is_good_for_more_afterwards(pool: Pool, outcome: bytes) -> None:
    pool.arbiter.sendall(outcome)
    assert pool.line.give_back() is pool.connection
    assert pool.worker.recv(1) == b"", "the worker knows"
    pool.arbiter.sendall(protocol.response(CALL, "x"))
    assert protocol.result_of(pool.connection.receive(CALL, 1.0)) == "x"


def test_the_connection_is_closed_when_the_arbiter_does_not_answer(pool: Pool, monkeypatch: Any) -> None:
    monkeypatch.setattr(line, "WAIT", 0.01)
    assert pool.line.give_back() is None
    assert pool.arbiter.recv(1) == b""


def test_a_refusal_and_a_line_that_got_lost(pool: Pool) -> None:
    pool.arbiter.sendall(protocol.response(LEASE, None))
    assert pool.connection.ask_for_line("m:A", LEASE, 1.0) is None
    pool.arbiter.sendall(header(Kind.LEASE | HANDED, LEASE, 0))
    with pytest.raises(DirtyProtocolError):
        pool.connection.ask_for_line("m:A", LEASE, 1.0)
    assert [frame.kind for frame in frames(pool.arbiter)] == [Kind.LEASE, Kind.LEASE]
