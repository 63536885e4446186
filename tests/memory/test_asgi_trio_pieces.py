"""Pieces of a streamed response on trio: those of a burst leave together, and in order."""

from __future__ import annotations

import socket

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from gunicorn.asgi.errors import ClientDisconnected
from gunicorn.workers.asgi import trio_link as module
from gunicorn.workers.asgi.trio_link import Link

LIMIT = 64 * 1024


class Pair:
    """A link and its client."""

    def __init__(self) -> None:
        self.client, server = socket.socketpair()
        self.client.setblocking(False)
        server.setblocking(False)
        self.link = Link(server, write_timeout=30, send_files=False)

    async def send(self, piece: bytes) -> None:
        """As a ``send`` that is followed by another."""
        if not self.link.hold(piece):
            await self.link.write(piece)

    def arrived(self) -> bytes:
        data = b""
        try:
            while chunk := self.client.recv(LIMIT):
                data += chunk
        except BlockingIOError:
            pass
        return data

    def close(self) -> None:
        self.client.close()
        self.link.sock.close()


def play(scenario) -> None:
    async def main() -> None:
        pair = Pair()
        try:
            with trio.fail_after(20):
                await scenario(pair)
        finally:
            pair.close()

    trio.run(main)


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


def test_the_first_of_a_burst_leaves_at_once_and_the_others_together(clock):
    async def scenario(pair):
        await pair.send(b"a")
        assert pair.arrived() == b"a"
        await pair.send(b"b")
        await pair.send(b"c")
        assert pair.arrived() == b""
        assert pair.link.flush_now()
        assert pair.arrived() == b"bc"
        assert not pair.link.held

    play(scenario)


def test_a_piece_that_comes_later_takes_along_what_is_held(clock):
    async def scenario(pair):
        await pair.send(b"a")
        await pair.send(b"b")
        clock[0] += 0.0021
        await pair.send(b"c")
        assert pair.arrived() == b"abc"

    play(scenario)


def test_the_last_write_takes_along_what_is_held(clock):
    async def scenario(pair):
        for piece in (b"a", b"b"):
            await pair.send(piece)
        await pair.link.write(b"the end")
        assert pair.arrived() == b"abthe end"

    play(scenario)


def test_no_more_than_64_kb_are_held(clock):
    async def scenario(pair):
        await pair.send(b"a")
        seen = len(pair.arrived())
        for count in range(2, 1000):
            await pair.send(b"x" * 1000)
            seen += len(pair.arrived())
            assert 1 + 1000 * (count - 1) - seen < LIMIT

    play(scenario)


def test_what_the_client_does_not_take_waits_for_it_and_stays_in_order(clock):
    async def scenario(pair):
        pair.link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await pair.send(b"first")
        await pair.send(b"x" * (LIMIT - 100))
        assert not pair.link.flush_now()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.link.flush)
            await wait_all_tasks_blocked()
            # Behind a client that takes no more, nothing is held: who sends waits.
            assert not pair.link.hold(b"second")
            nursery.start_soon(pair.link.write, b"second")
            seen = b""
            while not seen.endswith(b"second"):
                seen += pair.arrived()
                await trio.lowlevel.checkpoint()
        assert seen == b"first" + b"x" * (LIMIT - 100) + b"second"

    play(scenario)


def test_a_piece_in_parts_is_one_piece_for_its_client(clock):
    async def scenario(pair):
        pair.link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        seen, expected = b"", b""

        async def send():
            nonlocal expected
            await pair.send(b"first")
            await pair.send(b"second")  # is held
            for size in (10, 100_000, 0, 4096, 30_000):
                parts = (b"<", b"x" * size, b">")
                expected += b"".join(parts)
                await pair.link.write_parts(*parts)
            await pair.link.write(b"the end")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while not seen.endswith(b"the end"):
                seen += pair.arrived()
                await trio.lowlevel.checkpoint()
        assert seen == b"firstsecond" + expected + b"the end"
        pair.client.close()
        with pytest.raises(ClientDisconnected):
            await pair.link.write_parts(b"<", b"x", b">")

    play(scenario)


def test_who_flushes_for_a_client_that_has_gone_is_told(clock):
    async def scenario(pair):
        await pair.send(b"a")
        await pair.send(b"b")
        pair.client.close()
        with pytest.raises(ClientDisconnected):
            pair.link.flush_now()
        assert pair.link.broken

    play(scenario)


@given(
    st.lists(
        st.tuples(st.sampled_from(["send", "flush", "later"]), st.binary(min_size=1, max_size=3000)),
        max_size=40,
    )
)
def test_whatever_is_held_all_arrives_in_order(steps):
    async def scenario(pair):
        seen = b""
        for step, piece in steps:
            if step == "flush":
                assert pair.link.flush_now()
            elif step == "later":
                await pair.link.write(piece)
            else:
                await pair.send(piece)
            seen += pair.arrived()
        await pair.link.flush()
        assert seen + pair.arrived() == b"".join(piece for step, piece in steps if step != "flush")

    play(scenario)
