"""Calls that wait: their deadlines, their order, and their end, on a clock that jumps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from gunicorn.dirty.calls import Call
from gunicorn.dirty.crews import Crew
from gunicorn.dirty.dispatcher import Dispatcher
from gunicorn.dirty.errors import (
    DirtyAppNotFoundError,
    DirtyError,
    DirtyNoWorkersAvailableError,
    DirtyQueueFullError,
    DirtyTimeoutError,
)
from gunicorn.dirty.frames import Frame, FrameDecoder, Kind
from gunicorn.dirty.protocol import result_of


class Caller:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.errors: list[tuple[float, DirtyError]] = []
        self.done = 0

    def write(self, parts: Sequence[Any], handed: object = None) -> None:
        for frame in FrameDecoder().feed(b"".join(parts)):
            with pytest.raises(DirtyError) as caught:
                result_of(frame)
            self.errors.append((trio.current_time(), caught.value))

    def drop(self) -> None:
        raise AssertionError("nobody was slow")

    def finished(self, call: Call) -> None:
        self.done += 1


class Worker:
    age = 1
    pid = 100


def call_of(caller: Caller, app: str = "m:A", seconds: float = math.inf) -> Call:
    deadline = trio.current_time() + seconds
    return Call(caller, 1, app, Frame(Kind.REQUEST, 1, b""), seconds, deadline)


def busy_crew() -> Crew:
    """A worker whose threads all work: nothing but its queue is left."""
    crew = Crew(Worker(), [], 2, lambda: None)  # type: ignore[arg-type]
    crew.open(["m:A"])
    return crew


@pytest.mark.trio
async def test_a_call_that_waits_gets_its_error_at_its_deadline(autojump_clock: Any, nursery: Any) -> None:
    dispatcher, caller = Dispatcher(["m:A"], 10), Caller()
    await nursery.start(dispatcher.run)
    start = trio.current_time()
    for seconds in (5, 1, 3):
        dispatcher.submit(call_of(caller, seconds=seconds))
    await trio.sleep(10)
    assert [(at - start, type(error)) for at, error in caller.errors] == [
        (1, DirtyTimeoutError), (3, DirtyTimeoutError), (5, DirtyTimeoutError),
    ]  # fmt: skip
    assert dispatcher.is_idle


@pytest.mark.trio
async def test_queues_are_bounded(autojump_clock: Any, nursery: Any) -> None:
    dispatcher, caller = Dispatcher(["m:A", "m:B"], 2), Caller()
    await nursery.start(dispatcher.run)
    dispatcher.ready(busy_crew())
    for app in ("m:A", "m:B"):
        for _ in range(2):
            dispatcher.submit(call_of(caller, app))
        with pytest.raises(DirtyQueueFullError):
            dispatcher.submit(call_of(caller, app))
    with pytest.raises(DirtyAppNotFoundError):
        dispatcher.submit(call_of(caller, "m:C"))


@pytest.mark.trio
async def test_what_a_worker_had_not_begun_goes_elsewhere(autojump_clock: Any, nursery: Any) -> None:
    dispatcher, caller = Dispatcher(["m:A"], 10), Caller()
    await nursery.start(dispatcher.run)
    dispatcher.ready(busy_crew())
    call = call_of(caller)
    dispatcher.submit(call)
    dispatcher.gone(1)
    assert not call.is_done
    second = busy_crew()
    dispatcher.ready(second)
    assert list(second.lane.queue) == [call]


@pytest.mark.trio
async def test_nobody_waits_for_workers_that_keep_failing(autojump_clock: Any, nursery: Any) -> None:
    dispatcher, caller = Dispatcher(["m:A"], 10), Caller()
    await nursery.start(dispatcher.run)
    dispatcher.submit(call_of(caller))
    dispatcher.fail("no model file")
    await trio.testing.wait_all_tasks_blocked()
    [(_, error)] = caller.errors
    assert isinstance(error, DirtyNoWorkersAvailableError)
    assert "no model file" in error.message
    with pytest.raises(DirtyNoWorkersAvailableError, match="no model file"):
        dispatcher.submit(call_of(caller))
    dispatcher.ready(busy_crew())
    dispatcher.submit(call_of(caller))


@pytest.mark.trio
async def test_draining_waits_for_the_last_call(autojump_clock: Any, nursery: Any) -> None:
    dispatcher, caller = Dispatcher(["m:A"], 10), Caller()
    await nursery.start(dispatcher.run)
    dispatcher.submit(call_of(caller, seconds=7))
    start = trio.current_time()
    await dispatcher.drain()
    assert trio.current_time() - start == 7
    with pytest.raises(DirtyNoWorkersAvailableError, match="stopping"):
        dispatcher.submit(call_of(caller))


@pytest.mark.trio
async def test_a_caller_that_left_is_not_waited_for(autojump_clock: Any, nursery: Any) -> None:
    dispatcher, caller = Dispatcher(["m:A"], 10), Caller()
    await nursery.start(dispatcher.run)
    crew = busy_crew()
    dispatcher.ready(crew)
    call = call_of(caller, seconds=5)
    dispatcher.submit(call)
    dispatcher.abandon(call, cancel=False)
    assert not crew.lane.queue
    await trio.sleep(10)
    assert caller.errors == []
