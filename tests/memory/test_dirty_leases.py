"""The arbiter's side of leases: when they are given, and what ends them; on a clock that jumps."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import trio
import trio.testing

from gunicorn.dirty import protocol
from gunicorn.dirty.calls import Call
from gunicorn.dirty.crews import Crew
from gunicorn.dirty.dispatcher import Dispatcher
from gunicorn.dirty.errors import (
    DirtyCancelledError,
    DirtyQueueFullError,
    DirtyTimeoutError,
    DirtyWorkerError,
)
from gunicorn.dirty.frames import Frame, FrameDecoder, Kind
from gunicorn.dirty.handing import receive_into
from gunicorn.dirty.lanes import CANCEL_GRACE
from gunicorn.dirty.lease import PAUSE, SECONDS, Event, Lease, State

APP = "m:A"
QUEUE = 2


class Caller:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.done = 0

    def write(self, parts: Sequence[Any]) -> None:
        self.frames += FrameDecoder().feed(b"".join(parts))

    def drop(self) -> None:
        raise AssertionError("nobody was slow")

    def finished(self, call: Call) -> None:
        self.done += 1


class Worker:
    """A worker of one thread that does nothing by itself."""

    age, pid = 1, 100

    def __init__(self) -> None:
        self.arbiter_end, self.link = socket.socketpair()
        self.link.setblocking(False)
        self.decoder = FrameDecoder()
        self.line: socket.socket | None = None
        self.interrupts = 0
        self.killed: list[str] = []

    def interrupt(self) -> None:
        self.interrupts += 1

    def kill(self, app_path: str) -> None:
        self.killed.append(app_path)

    def hear(self) -> list[Frame]:
        """The frames that are there; a line is taken."""
        frames = []
        while True:
            while (frame := self.decoder.next_frame()) is not None:
                frames.append(frame)
                if frame.handed is not None:
                    self.line = socket.socket(fileno=frame.handed.detach())
                    self.line.setblocking(False)
            try:
                receive_into(self.link, self.decoder)
            except BlockingIOError:
                return frames

    def say(self, data: bytes) -> None:
        self.link.send(data)

    @property
    def line_has_ended(self) -> bool:
        assert self.line is not None
        try:
            return self.line.recv(1) == b""
        except BlockingIOError:
            return False

    def close(self) -> None:
        for sock in (self.link, self.line):
            if sock is not None:
                sock.close()


class Pool:
    """One worker, and a dispatcher."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.worker = Worker()
        self.dispatcher = Dispatcher([APP], QUEUE)
        self.crew = Crew(self.worker, [self.worker.arbiter_end], QUEUE, self.dispatcher.look_whether_idle)
        self.crew.open([APP])
        self.dispatcher.ready(self.crew)
        nursery.start_soon(self.crew.links[0].run)

    def lend(self, budget: float = math.inf) -> tuple[bool, Call, Caller]:
        caller, lease = Caller(), Lease()
        end = trio.current_time() + SECONDS
        call = Call(caller, 7, APP, lease.order(), budget, end, lease)
        granted = self.dispatcher.lend(call)
        if not granted:
            lease.take(Event.RETURNED)
        return granted, call, caller

    def call(self, number: int = 1) -> Caller:
        caller = Caller()
        frame = Frame(Kind.REQUEST, number, b"")
        self.dispatcher.submit(Call(caller, number, APP, frame, math.inf, math.inf))
        return caller

    async def leased(self, budget: float = math.inf) -> tuple[Call, Caller, int]:
        """A lease that the worker has begun: with its number there."""
        granted, call, caller = self.lend(budget)
        assert granted
        [frame] = self.worker.hear()
        assert frame.kind == Kind.LEASE
        return call, caller, frame.request_id

    async def give_back(self, number: int, count: int = 0) -> None:
        self.worker.say(protocol.response(number, count))
        await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
def pool(autojump_clock: Any, nursery: trio.Nursery) -> Iterator[Pool]:
    pool = Pool(nursery)
    yield pool
    pool.worker.close()


@pytest.mark.trio
async def test_a_lease_ends_by_itself(autojump_clock: Any, pool: Pool) -> None:
    _, caller, number = await pool.leased()
    await trio.sleep(SECONDS * 0.9)
    assert not pool.worker.line_has_ended
    await trio.sleep(SECONDS * 0.2)
    assert pool.worker.line_has_ended
    assert not caller.done
    await pool.give_back(number, 321)
    assert caller.done == 1
    assert pool.crew.answered == 321
    assert pool.dispatcher.is_idle


@pytest.mark.trio
async def test_who_comes_next_takes_the_worker_back_at_once(autojump_clock: Any, pool: Pool) -> None:
    call, _, number = await pool.leased()
    other = pool.call()
    assert call.lease is not None
    assert call.lease.state is State.ENDING
    assert pool.worker.line_has_ended
    assert pool.worker.hear() == [], "the worker still has a call of the one before"
    await pool.give_back(number)
    [request] = pool.worker.hear()
    assert request.kind == Kind.REQUEST
    await pool.give_back(request.request_id)
    assert other.done == 1


@pytest.mark.trio
async def test_a_lease_takes_no_room_in_the_queue(autojump_clock: Any, pool: Pool) -> None:
    _, _, number = await pool.leased()
    callers = [pool.call(number) for number in range(1 + QUEUE)]
    with pytest.raises(DirtyQueueFullError):
        pool.call(9)
    await pool.give_back(number)
    with pytest.raises(DirtyQueueFullError):
        pool.call(9)
    for _ in callers:
        [request] = pool.worker.hear()
        await pool.give_back(request.request_id)
    assert [caller.done for caller in callers] == [1] * len(callers)


@pytest.mark.trio
async def test_nobody_gets_a_worker_that_others_want(autojump_clock: Any, pool: Pool) -> None:
    first = pool.call(1)
    assert not pool.lend()[0], "it is busy"
    second = pool.call(2)
    for _ in range(2):
        [request] = pool.worker.hear()
        await pool.give_back(request.request_id)
    assert (first.done, second.done) == (1, 1)
    assert not pool.lend()[0], "somebody had to wait just now"
    await trio.sleep(PAUSE)
    assert pool.lend()[0]


@pytest.mark.trio
async def test_a_stop_ends_leases_and_gives_none(
    autojump_clock: Any, pool: Pool, nursery: trio.Nursery
) -> None:
    _, _, number = await pool.leased()
    nursery.start_soon(pool.dispatcher.drain)
    await trio.testing.wait_all_tasks_blocked()
    assert pool.worker.line_has_ended
    await pool.give_back(number)
    assert pool.dispatcher.is_idle
    assert not pool.lend()[0]


@pytest.mark.trio
async def test_a_worker_that_is_retired_leaves_after_its_lease(autojump_clock: Any, pool: Pool) -> None:
    _, caller, number = await pool.leased()
    pool.dispatcher.retire(1)
    assert pool.worker.line_has_ended
    await pool.give_back(number, 5)
    assert caller.done == 1
    assert pool.worker.link.recv(1) == b"", "its link is closed"


@pytest.mark.trio
async def test_a_call_that_takes_too_long_is_cancelled_and_its_worker_killed_in_the_end(
    autojump_clock: Any, pool: Pool
) -> None:
    call, caller, number = await pool.leased(budget=3)
    await trio.sleep(SECONDS + 2.9)
    assert not caller.done
    await trio.sleep(0.2)
    [frame] = caller.frames
    with pytest.raises(DirtyTimeoutError) as caught:
        protocol.result_of(frame)
    assert (frame.request_id, caught.value.timeout) == (7, 3)
    assert call.lease is not None
    assert call.lease.state is State.CUT
    [cancel] = pool.worker.hear()
    assert (cancel.kind, cancel.request_id, pool.worker.interrupts) == (Kind.CANCEL, number, 1)
    await trio.sleep(CANCEL_GRACE + 0.1)
    assert pool.worker.killed == [APP]


@pytest.mark.trio
async def test_a_caller_that_leaves_gives_the_worker_free(autojump_clock: Any, pool: Pool) -> None:
    call, caller, number = await pool.leased()
    pool.dispatcher.abandon(call, cancel=False)
    assert pool.worker.line_has_ended
    assert pool.worker.line is not None
    with pytest.raises(BrokenPipeError):
        pool.worker.line.send(b"nobody reads this")
    assert pool.worker.hear() == []
    await pool.give_back(number, 1)
    assert caller.frames == []
    assert pool.dispatcher.is_idle
    assert pool.lend()[0]


@pytest.mark.trio
async def test_a_cancelled_lease_is_one_call_that_is_cancelled(autojump_clock: Any, pool: Pool) -> None:
    call, _, number = await pool.leased()
    pool.dispatcher.abandon(call, cancel=True)
    [cancel] = pool.worker.hear()
    assert (cancel.kind, cancel.request_id) == (Kind.CANCEL, number)
    pool.worker.say(protocol.error(number, DirtyCancelledError("in the middle")))
    await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(2 * CANCEL_GRACE)
    assert pool.worker.killed == []
    assert pool.dispatcher.is_idle


@pytest.mark.trio
async def test_the_end_of_the_worker_is_told(autojump_clock: Any, pool: Pool) -> None:
    call, caller, _ = await pool.leased()
    pool.worker.close()
    await trio.testing.wait_all_tasks_blocked()
    [frame] = caller.frames
    with pytest.raises(DirtyWorkerError, match="100"):
        protocol.result_of(frame)
    assert call.lease is not None
    assert call.lease.state is State.OVER


@pytest.mark.trio
async def test_a_call_whose_caller_has_left_still_has_its_deadline(autojump_clock: Any, pool: Pool) -> None:
    call = Call(Caller(), 1, APP, Frame(Kind.REQUEST, 1, b""), 2.0, trio.current_time() + 2.0)
    pool.dispatcher.submit(call)
    pool.dispatcher.abandon(call, cancel=False)
    pool.worker.hear()
    await trio.sleep(1.9)
    assert pool.worker.hear() == []
    await trio.sleep(0.2)
    assert [frame.kind for frame in pool.worker.hear()] == [Kind.CANCEL]
    await trio.sleep(CANCEL_GRACE)
    assert pool.worker.killed == [APP]
