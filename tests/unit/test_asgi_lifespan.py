"""The lifespan as a state machine, and the notice of draining, without a loop."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.asgi.drain import DrainNotice
from gunicorn.asgi.errors import MessageError
from gunicorn.asgi.lifespan import Lifespan, Mode, Phase

COMPLETE = {"type": "lifespan.startup.complete"}
FAILED = {"type": "lifespan.startup.failed", "message": "no database"}
DOWN = {"type": "lifespan.shutdown.complete"}
DOWN_FAILED = {"type": "lifespan.shutdown.failed", "message": "it hurts"}


def started(mode: Mode = Mode.AUTO) -> Lifespan:
    lifespan = Lifespan(mode, {})
    assert lifespan.next_message() == {"type": "lifespan.startup"}
    lifespan.send(COMPLETE)
    return lifespan


def test_a_whole_life():
    lifespan = started()
    assert (lifespan.settled, lifespan.boot_failure, lifespan.next_message()) == (True, "", None)
    assert lifespan.begin_shutdown()
    assert lifespan.next_message() == {"type": "lifespan.shutdown"}
    assert lifespan.next_message() is None
    lifespan.send(DOWN)
    lifespan.ended(None)
    assert (lifespan.phase, lifespan.shutdown_failure) == (Phase.STOPPED, "")


def test_the_scope_has_the_state_itself():
    state = {"a": 1}
    scope = Lifespan(Mode.AUTO, state).scope()
    assert scope["type"] == "lifespan"
    assert scope["state"] is state


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.ON])
def test_a_failed_startup_is_fatal_in_every_mode(mode):
    lifespan = Lifespan(mode, {})
    lifespan.next_message()
    lifespan.send(FAILED)
    lifespan.ended(None)
    assert lifespan.boot_failure == "Application startup failed: no database"


@pytest.mark.parametrize("received", [True, False])
@pytest.mark.parametrize("error", [ValueError("none here"), None])
def test_an_application_without_lifespan(received, error):
    for mode, fatal in ((Mode.AUTO, False), (Mode.ON, True)):
        lifespan = Lifespan(mode, {})
        if received:
            lifespan.next_message()
        lifespan.ended(error)
        assert lifespan.settled
        assert bool(lifespan.boot_failure) is fatal
        assert not lifespan.begin_shutdown()
        assert lifespan.shutdown_failure == ""


def test_who_raises_later_has_died_and_who_returns_has_not():
    lifespan = started()
    lifespan.ended(ValueError("background"))
    assert (lifespan.died, lifespan.failure) == (True, "ValueError: background")
    assert not lifespan.begin_shutdown()
    lifespan = started()
    lifespan.ended(None)
    assert (lifespan.died, lifespan.failure) == (False, "")


@pytest.mark.parametrize(
    ("end", "failure"),
    [
        (lambda one: one.send(DOWN_FAILED), "it hurts"),
        (lambda one: one.ended(ValueError("x")), "ValueError: x"),
        (lambda one: one.ended(None), "returned without lifespan.shutdown.complete"),
    ],
)
def test_a_bad_end(end, failure):
    lifespan = started()
    lifespan.begin_shutdown()
    lifespan.next_message()
    end(lifespan)
    lifespan.ended(None)
    assert lifespan.shutdown_failure == failure


@given(
    st.lists(
        st.sampled_from(
            ["next", "down", "ended", "raised", COMPLETE, FAILED, DOWN, DOWN_FAILED, {}, {"type": "x"}]
        )
    )
)
def test_any_order_is_an_outcome_or_a_named_error(steps):
    lifespan = Lifespan(Mode.ON, {})
    shutdowns = 0
    faults: list[tuple[str, Phase, Phase]] = []
    for step in steps:
        if step == "next":
            message = lifespan.next_message()
            shutdowns += message == {"type": "lifespan.shutdown"}
        elif step == "down":
            lifespan.begin_shutdown()
        elif step in ("ended", "raised"):
            lifespan.ended(ValueError("x") if step == "raised" else None)
        else:
            phase = lifespan.phase
            try:
                lifespan.send(step)
            except MessageError as error:
                faults.append((str(error), phase, lifespan.phase))
    assert shutdowns <= 1
    assert all(before is after and before.value in text for text, before, after in faults)
    if lifespan.phase is Phase.FAILED:
        assert lifespan.boot_failure


def test_the_notice_of_draining():
    async def main() -> None:
        notice = DrainNotice(asyncio.Event())
        assert (notice.is_set(), notice.deadline) == (False, math.inf)
        waiting = [asyncio.ensure_future(notice.wait()), asyncio.ensure_future(_await(notice))]
        await asyncio.sleep(0)
        notice.announce(10.0)
        await asyncio.gather(*waiting)
        notice.announce(20.0)
        assert (notice.is_set(), notice.deadline) == (True, 10.0)
        await notice

    asyncio.run(main())


async def _await(notice: DrainNotice) -> None:
    await notice
