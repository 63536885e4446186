"""Streams of small pieces under the ASGI worker on trio: they leave together, and none waits for long."""

from __future__ import annotations

import os
import time

import pytest
import trio
from asgi_worker import AsgiWorker, answer, body, http_only, start
from engine_worker import read_all, read_answer, read_until
from harness import DEADLINE
from websockets.sync.client import connect

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def worker_of(app, **settings) -> AsgiWorker:
    return AsgiWorker(app, asgi_loop="trio", **settings)


@pytest.fixture
def gate():
    """A wait that blocks the whole loop, and what ends it: a pipe."""
    reader, writer = os.pipe()
    yield (lambda: os.read(reader, 1)), (lambda: os.write(writer, b"x"))
    os.close(reader)
    os.close(writer)


def test_pieces_do_not_wait_for_an_application_that_waits():
    @http_only
    async def app(scope, receive, send):
        await start(send)
        for piece in (b"one", b"two", b"three"):
            await body(send, piece, more=True)
        await trio.sleep_forever()

    with worker_of(app) as worker, worker.connect() as client:
        client.sendall(GET)
        read_until(client, b"three\r\n")


def test_pieces_of_another_task_of_the_application_do_not_wait_either():
    @http_only
    async def app(scope, receive, send):
        async def produce():
            for piece in (b"one", b"two", b"three"):
                await body(send, piece, more=True)
            await trio.sleep_forever()

        await start(send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)

    with worker_of(app) as worker, worker.connect() as client:
        client.sendall(GET)
        read_until(client, b"three\r\n")


def test_an_application_that_blocks_the_loop_keeps_no_piece_back_that_comes_later(gate):
    block, go_on = gate

    @http_only
    async def app(scope, receive, send):
        await start(send)
        await body(send, b"one", more=True)
        block()
        time.sleep(0.01)  # noqa: ASYNC251 - blocks on purpose, and longer than a burst
        await body(send, b"two", more=True)
        block()
        await body(send, b"three")

    with worker_of(app) as worker, worker.connect() as client:
        client.sendall(GET)
        read_until(client, b"one\r\n")
        go_on()
        read_until(client, b"two\r\n")
        go_on()
        read_until(client, b"three\r\n0\r\n\r\n")


def test_what_was_sent_before_an_error_arrives():
    @http_only
    async def app(scope, receive, send):
        await start(send)
        for piece in (b"one", b"two", b"three"):
            await body(send, piece, more=True)
        raise ValueError("in the middle")

    with worker_of(app) as worker, worker.connect() as client:
        client.sendall(GET)
        assert read_all(client).endswith(b"three\r\n")  # and no end of the response
        assert "in the middle" in worker.log()


@pytest.mark.parametrize("size", [7, 1000, 40_000])
def test_a_slow_client_gets_every_piece_in_order(size):
    count = 3_000_000 // size
    pieces = [b"%0*d" % (size, number) for number in range(count)]

    @http_only
    async def app(scope, receive, send):
        await start(send)
        for piece in pieces:
            await body(send, piece, more=True)
        await body(send)

    with worker_of(app) as worker, worker.connect() as slow, worker.connect() as other:
        slow.sendall(GET)
        first = slow.recv(10)
        # The stream has filled all buffers, and nobody else waits for its client.
        other.sendall(GET)
        assert other.recv(10) == first
        head, rest = first + read_until(slow, b"\r\n\r\n"), b""
        assert head.startswith(b"HTTP/1.1 200")
        while not rest.endswith(b"\r\n0\r\n\r\n"):
            rest += slow.recv(1 << 20)
        framed = b"".join(b"%x\r\n%b\r\n" % (size, piece) for piece in pieces)
        assert rest == framed + b"0\r\n\r\n"


def test_an_application_keeps_its_task_while_others_are_served():
    @http_only
    async def app(scope, receive, send):
        before = trio.lowlevel.current_task()
        if scope["path"] == "/slow":
            await started.send(None)
            await finish.receive()
        same = trio.lowlevel.current_task() is before
        await answer(send, str(same).encode())

    started, begun = trio.open_memory_channel(1)
    free, finish = trio.open_memory_channel(1)

    @http_only
    async def both(scope, receive, send):
        if scope["path"] == "/free":
            await begun.receive()
            await free.send(None)
        await app(scope, receive, send)

    with worker_of(both) as worker, worker.connect() as slow, worker.connect() as quick:
        slow.sendall(GET.replace(b"/ ", b"/slow "))
        for path in (b"/ ", b"/ ", b"/free ", b"/ "):
            quick.sendall(GET.replace(b"/ ", path))
            assert read_answer(quick)[1] == b"True"
        assert read_answer(slow)[1] == b"True"


@pytest.mark.parametrize("waits", [False, True])
def test_a_scope_that_one_request_forgets_harms_no_other(waits):
    @http_only
    async def app(scope, receive, send):
        if scope["path"] == "/forgets":
            trio.CancelScope(deadline=trio.current_time() + 0.05).__enter__()
            if waits:
                await trio.lowlevel.checkpoint()
        elif scope["path"] == "/waits":
            await trio.sleep(0.2)
        await answer(send, b"done")

    with worker_of(app) as worker:
        for _ in range(3):
            with worker.connect() as careless, worker.connect() as other:
                for client, path in (
                    (careless, b"/"),
                    (other, b"/"),
                    (careless, b"/forgets"),
                    (other, b"/waits"),
                ):
                    client.sendall(GET.replace(b"/ ", path + b" "))
                    assert read_answer(client)[1] == b"done"
        assert worker.get()[1] == b"done"


def test_one_connection_goes_from_quick_requests_to_slow_ones_to_a_websocket():
    async def app(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "hello"})
        elif scope["type"] == "http":
            if scope["path"] == "/slow":
                await trio.sleep(0.001)
            await answer(send, scope["path"].encode())

    with worker_of(app, asgi_lifespan="off") as worker:
        sock = worker.connect()
        # Also with several requests in one packet.
        paths = [b"/a", b"/b", b"/slow", b"/c", b"/d"]
        sock.sendall(b"".join(GET.replace(b"/", path, 1) for path in paths))
        assert [read_answer(sock)[1] for _ in paths] == paths
        with connect(f"ws://127.0.0.1:{worker.address[1]}/", sock=sock, open_timeout=DEADLINE) as client:
            assert client.recv(DEADLINE) == "hello"
        with worker.connect() as fresh:
            fresh.sendall(GET)
            assert read_answer(fresh)[1] == b"/"
        first = worker.connect()
        with connect(f"ws://127.0.0.1:{worker.address[1]}/", sock=first, open_timeout=DEADLINE) as client:
            assert client.recv(DEADLINE) == "hello"
