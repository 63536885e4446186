"""The arbiter's side of the spawners, in memory: real channels, a fork server that the test plays."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing

from gunicorn.arbiter.actions import SpawnChild
from gunicorn.arbiter.foundry import Foundry
from gunicorn.arbiter.handle import SpawnError
from gunicorn.process.channel import Channel
from gunicorn.process.messages import MoldReady, Spawn, StartMold


class Process:
    """A fork server that leaves when its channel ends."""

    pid = 77

    async def wait(self) -> None:
        return


async def never() -> None:
    raise AssertionError("there is nothing to restart")


@pytest.mark.trio
async def test_whoever_waits_for_a_worker_of_a_mold_that_was_given_up_hears_of_it(autojump_clock):
    """Else a reload that is called off would keep a place for a worker that never comes."""
    root, root_end = Channel.pair()
    foundry = Foundry(
        root, Process(), restart=never, root_generation=1, log=logging.getLogger("test.foundry")
    )
    outcome: list[str] = []

    async def ask() -> None:
        try:
            await foundry.spawn(SpawnChild(3, 9, 2))
        except SpawnError as error:
            outcome.append(error.reason)

    async with trio.open_nursery() as nursery:
        await nursery.start(foundry.run)
        nursery.start_soon(foundry.start_mold, 2, [])
        await trio.testing.wait_all_tasks_blocked()
        assert root_end.receive()[0] == StartMold(2)
        arbiters_end, mold_end = Channel.pair()
        root_end.send(MoldReady(2, 78), [arbiters_end.fileno()])
        arbiters_end.close()
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert mold_end.receive()[0] == Spawn(3, 9, 2)
        foundry.retire_mold(2)
        await trio.testing.wait_all_tasks_blocked()
        assert outcome == ["generation 2 is not wanted any more"]
        await foundry.close()
    root_end.close()
    mold_end.close()
