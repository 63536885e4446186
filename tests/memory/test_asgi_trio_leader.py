"""Who serves the connections that wait for a request: one leader at a time, over sockets in memory."""

from __future__ import annotations

import logging
import socket
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gunicorn.workers.asgi.trio_leader import Leaders

SECONDS = 20


class Connection:
    """As much of a connection as leaders see; what it does with what arrives is ``work``."""

    def __init__(self, leaders: Leaders, work=None) -> None:
        self.client, self.server = socket.socketpair()
        self.server.setblocking(False)
        self.link = SimpleNamespace(fd=self.server.fileno())
        self.leaders = leaders
        self.work = work
        self.served: list[tuple[bytes, trio.lowlevel.Task]] = []
        self.ended: list[bool] = []

    async def lead(self, leader) -> None:
        self.served.append((self.server.recv(100), trio.lowlevel.current_task()))
        if self.work is not None:
            await self.work(self, leader)

    def led_to_its_end(self, cycle, *, cancelled: bool) -> None:
        self.ended.append(cancelled)
        self.leaders.resume(self, cycle)

    def close(self) -> None:
        self.client.close()
        self.server.close()


async def suspend(connection: Connection, leader) -> None:
    """As an application that waits for something, here for the end of its client."""
    leader.step_down("a cycle")
    connection.leaders.take(connection)
    await trio.lowlevel.wait_readable(connection.server.fileno())


def play(scenario, *works) -> None:
    """Run ``scenario(leaders, *connections)``, with a connection for each of ``works``."""

    async def main() -> None:
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                leaders = Leaders(nursery, logging.getLogger("nobody"))
                leaders.begin()
                connections = [Connection(leaders, work) for work in works]
                await scenario(leaders, *connections)
                for connection in connections:
                    connection.close()
                nursery.cancel_scope.cancel()
            leaders.close()

    trio.run(main)


@contextmanager
def waiting(nursery: trio.Nursery, leaders: Leaders, *connections: Connection):
    """The tasks of ``connections`` wait; what they were given at the end of it, in any order."""
    results: list[object] = []

    async def wait(connection: Connection) -> None:
        results.append(await leaders.wait(connection))

    for connection in connections:
        nursery.start_soon(wait, connection)
    yield results


async def until_served(connection: Connection, times: int) -> None:
    while len(connection.served) < times:
        await trio.lowlevel.checkpoint()


def test_what_suspends_for_nothing_is_all_served_by_one_task():
    async def scenario(leaders, first, second):
        async with trio.open_nursery() as nursery:
            with waiting(nursery, leaders, first, second):
                await wait_all_tasks_blocked()
                for round_ in range(3):
                    for connection in (first, second):
                        connection.client.send(b"x")
                        await until_served(connection, round_ + 1)
            nursery.cancel_scope.cancel()
        assert [data for data, _ in first.served + second.served] == [b"x"] * 6
        assert len({task for _, task in first.served + second.served}) == 1

    play(scenario, None, None)


def test_a_connection_gets_its_own_task_back():
    async def hand_over(connection, leader):
        connection.leaders.resume(connection, "go on")

    async def scenario(leaders, connection):
        async with trio.open_nursery() as nursery:
            with waiting(nursery, leaders, connection) as results:
                await wait_all_tasks_blocked()
                connection.client.send(b"x")
        assert results == ["go on"]
        # Nobody looks at it any more: what it receives is its own matter.
        connection.client.send(b"y")
        await wait_all_tasks_blocked()
        assert connection.server.recv(100) == b"y"
        assert len(connection.served) == 1

    play(scenario, hand_over)


def test_while_one_is_suspended_another_leader_serves_the_rest():
    async def scenario(leaders, slow, quick):
        async with trio.open_nursery() as nursery:
            with waiting(nursery, leaders, slow, quick) as results:
                await wait_all_tasks_blocked()
                # Both at once: the first leader learns of both, and can serve one.
                slow.client.send(b"x")
                quick.client.send(b"x")
                await until_served(slow, 1)
                await until_served(quick, 1)
                assert not slow.ended
                quick.client.send(b"y")
                await until_served(quick, 2)
                slow.client.close()
                while not results:
                    await trio.lowlevel.checkpoint()
                assert (results, slow.ended) == (["a cycle"], [False])
            nursery.cancel_scope.cancel()

    for _ in range(10):  # whichever of the two is told of first
        play(scenario, suspend, None)


def test_a_suspended_application_is_cancelled_alone():
    scopes = []

    async def suspend_in_reach(connection, leader):
        scopes.append(leader.scope)
        await suspend(connection, leader)

    async def scenario(leaders, slow, quick):
        async with trio.open_nursery() as nursery:
            with waiting(nursery, leaders, slow, quick) as results:
                await wait_all_tasks_blocked()
                slow.client.send(b"x")
                await until_served(slow, 1)
                scopes[0].cancel()
                while not results:
                    await trio.lowlevel.checkpoint()
                assert (results, slow.ended) == (["a cycle"], [True])
                quick.client.send(b"x")
                await until_served(quick, 1)
            nursery.cancel_scope.cancel()

    play(scenario, suspend_in_reach, None)


def test_a_fault_in_one_connection_is_raised_in_its_own_task_and_harms_no_other():
    async def fail(connection, leader):
        raise ZeroDivisionError

    async def scenario(leaders, faulty, sound):
        async with trio.open_nursery() as nursery:
            with waiting(nursery, leaders, sound):
                await wait_all_tasks_blocked()
                faulty.client.send(b"x")
                with pytest.raises(ZeroDivisionError):
                    await leaders.wait(faulty)
                sound.client.send(b"x")
                await until_served(sound, 1)
            nursery.cancel_scope.cancel()

    play(scenario, fail, None)


def test_who_is_cancelled_while_it_waits_is_forgotten():
    async def scenario(leaders, connection):
        with trio.move_on_after(0.01) as wait:
            await leaders.wait(connection)
        assert wait.cancelled_caught
        connection.client.send(b"x")
        await wait_all_tasks_blocked()
        assert not connection.served
        leaders.resume(connection, "too late")
        # It may come back.
        async with trio.open_nursery() as nursery:
            with waiting(nursery, leaders, connection):
                await until_served(connection, 1)
            nursery.cancel_scope.cancel()

    play(scenario, None)
