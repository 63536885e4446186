"""The arbiter's side of the spawners, in memory: real channels, a fork server that the test plays."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from gunicorn.arbiter.actions import SpawnChild
from gunicorn.arbiter.foundry import Foundry
from gunicorn.arbiter.handle import SpawnError
from gunicorn.process.channel import Channel, ChannelClosed
from gunicorn.process.messages import MoldReady, Spawn, Spawned, StartMold


class Process:
    """A fork server that leaves when its channel ends."""

    pid = 77

    async def wait(self) -> None:
        return


async def never() -> None:
    raise AssertionError("there is nothing to restart")


@contextlib.asynccontextmanager
async def a_mold_that_was_asked_for_a_worker(
    outcome: list[str],
) -> AsyncIterator[tuple[Foundry, Channel]]:
    """A foundry, and the mold's end of its channel. What becomes of the order is added to ``outcome``."""
    root, root_end = Channel.pair()
    log = logging.getLogger("test.foundry")
    foundry = Foundry(root, Process(), restart=never, root_generation=1, log=log)

    async def ask(age: int) -> None:
        try:
            handle = await foundry.spawn(SpawnChild(3, age, 2))
        except SpawnError as error:
            outcome.append(error.reason)
        else:
            outcome.append(f"made {handle.pid}")
            handle.close()

    async with trio.open_nursery() as nursery:
        await nursery.start(foundry.run)
        nursery.start_soon(foundry.start_mold, 2, [])
        await trio.testing.wait_all_tasks_blocked()
        assert root_end.receive()[0] == StartMold(2)
        arbiters_end, mold_end = Channel.pair()
        root_end.send(MoldReady(2, 78), [arbiters_end.fileno()])
        arbiters_end.close()
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, 9)
        await trio.testing.wait_all_tasks_blocked()
        assert mold_end.receive()[0] == Spawn(3, 9, 2)
        foundry.retire_mold(2)
        with pytest.raises(ChannelClosed):
            mold_end.receive()
        nursery.start_soon(ask, 10)
        await trio.testing.wait_all_tasks_blocked()
        assert outcome == [UNWANTED], "asked too late"
        outcome.clear()
        yield foundry, mold_end
        await trio.testing.wait_all_tasks_blocked()
        await foundry.close()
    root_end.close()


UNWANTED = "generation 2 is not wanted any more"


@pytest.mark.trio
async def test_whoever_waits_for_a_worker_of_a_mold_that_was_given_up_hears_of_it(autojump_clock):
    """Else a reload that is called off would keep a place for a worker that never comes."""
    outcome: list[str] = []
    async with a_mold_that_was_asked_for_a_worker(outcome) as (_, mold_end):
        mold_end.close()
    assert outcome == [UNWANTED]


@pytest.mark.trio
async def test_a_worker_that_was_made_while_its_mold_was_given_up_is_not_lost(autojump_clock):
    """Else it would run beside those that take its place until it found out by itself."""
    outcome: list[str] = []
    report, workers_end = Channel.pair()
    stacks, stacks_end = os.pipe()
    pidfd = os.pidfd_open(os.getpid())
    async with a_mold_that_was_asked_for_a_worker(outcome) as (_, mold_end):
        mold_end.send(Spawned(3, 9, 4711), [report.fileno(), stacks, pidfd])
        mold_end.close()
    assert outcome == ["made 4711"]
    for fd in (stacks, stacks_end, pidfd):
        os.close(fd)
    report.close()
    workers_end.close()
