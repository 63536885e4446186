"""Clients that leave, stall, read slowly or send too much; and the limits that hold them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import struct
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from asgi_worker import LOOPS, AsgiWorker, Notes, answer, body, http_only, read_body, start
from engine_worker import read_all, read_answer, read_until, split
from harness import PROMPT, wait_until


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


def get(path: str = "/", fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()


def post(length: int) -> bytes:
    return f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def wait_note(notes: Notes, line: str, timeout: float = 5) -> None:
    wait_until(lambda: line in notes, timeout, f"{line!r} in {notes.lines}")


# Disconnects


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["fin", "rst"])
@pytest.mark.parametrize("begun", [False, True], ids=["silent", "streaming"])
def test_receive_tells_at_once_that_the_client_has_left(loop, notes, leave, begun):
    @http_only
    async def app(scope, receive, send):
        assert (await receive())["type"] == "http.request"
        if begun:
            await start(send)
            await body(send, b"x", more=True)
        notes("waiting")
        message = await receive()
        notes(f"{message['type']} {time.monotonic()}")
        assert (await receive())["type"] == "http.disconnect"

    with AsgiWorker(app, asgi_loop=loop) as worker:
        client = worker.connect()
        client.sendall(get())
        wait_note(notes, "waiting")
        left = time.monotonic()
        leave(client)
        wait_until(lambda: len(notes.lines) > 1)
        kind, told = notes.lines[1].split()
        assert kind == "http.disconnect"
        assert float(told) - left < 0.2
        worker.slot_idle()


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["fin", "rst"])
def test_who_does_not_receive_is_cancelled_when_the_grace_period_ends(loop, notes, leave):
    @http_only
    async def app(scope, receive, send):
        notes("begun")
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            notes("cancelled")
            await asyncio.sleep(0.05)
            notes("cleaned up")
            raise

    with AsgiWorker(app, asgi_loop=loop, asgi_disconnect_grace_period=1) as worker:
        client = worker.connect()
        client.sendall(get())
        wait_note(notes, "begun")
        left = time.monotonic()
        leave(client)
        wait_note(notes, "cleaned up")
        assert 0.9 < time.monotonic() - left < PROMPT
        assert "Traceback" not in worker.log()


def test_no_grace_period_cancels_at_once(loop, notes):
    @http_only
    async def app(scope, receive, send):
        notes("begun")
        try:
            await asyncio.sleep(30)
        finally:
            notes("over")

    with AsgiWorker(app, asgi_loop=loop, asgi_disconnect_grace_period=0) as worker:
        client = worker.connect()
        client.sendall(get())
        wait_note(notes, "begun")
        client.close()
        wait_note(notes, "over", 1)


def test_shielded_cleanup_is_respected(loop, notes):
    @http_only
    async def app(scope, receive, send):
        async def cleanup():
            await asyncio.sleep(0.3)
            notes("cleaned up")

        notes("begun")
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.shield(cleanup())

    with AsgiWorker(app, asgi_loop=loop, asgi_disconnect_grace_period=0) as worker:
        client = worker.connect()
        client.sendall(get())
        wait_note(notes, "begun")
        client.close()
        wait_note(notes, "cleaned up")


def test_sending_to_a_client_that_has_left_raises_an_oserror(loop, notes):
    @http_only
    async def app(scope, receive, send):
        await start(send)
        try:
            while True:
                await body(send, b"x", more=True)
                await asyncio.sleep(0.01)
        except OSError as error:
            notes(f"{type(error).__name__}")
            raise

    with AsgiWorker(app, asgi_loop=loop) as worker:
        client = worker.connect()
        client.sendall(get())
        read_until(client, b"x")
        client.close()
        wait_note(notes, "ClientDisconnected", 2)
        worker.stop()
        assert "Traceback" not in worker.log()


def test_a_cancelled_receive_neither_loses_nor_fakes_a_message(loop):
    @http_only
    async def app(scope, receive, send):
        got = b""
        more = True
        timeouts = 0
        while more:
            try:
                message = await asyncio.wait_for(receive(), 0.005)
            except asyncio.TimeoutError:
                timeouts += 1
                continue
            assert message["type"] == "http.request"
            got += message["body"]
            more = message["more_body"]
        assert timeouts
        await answer(send, got)

    data = bytes(range(256)) * 4
    with AsgiWorker(app, asgi_loop=loop) as worker, worker.connect() as client:
        client.sendall(post(len(data)))
        for at in range(0, len(data), 64):
            client.sendall(data[at : at + 64])
            threading.Event().wait(0.01)
        assert read_answer(client)[1] == data


def test_two_receivers_both_learn_of_the_disconnect(loop, notes):
    @http_only
    async def app(scope, receive, send):
        await receive()
        first = asyncio.ensure_future(receive())
        second = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        first.cancel()
        notes("waiting")
        notes((await second)["type"])

    with AsgiWorker(app, asgi_loop=loop) as worker:
        client = worker.connect()
        client.sendall(get())
        wait_note(notes, "waiting")
        client.close()
        wait_note(notes, "http.disconnect")


@pytest.mark.parametrize("seconds", [0, 0.5])
def test_a_client_that_ends_its_side_still_gets_its_answer(loop, seconds):
    @http_only
    async def app(scope, receive, send):
        await asyncio.sleep(seconds)
        data = await read_body(receive)
        await start(send)
        await body(send, data, more=True)
        await asyncio.sleep(0.01)
        await body(send, data)

    with AsgiWorker(app, asgi_loop=loop) as worker, worker.connect() as client:
        client.sendall(post(5) + b"hello")
        client.shutdown(socket.SHUT_WR)
        assert split(read_all(client))[1] == b"5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n"


def test_pipelined_requests_before_a_half_close_are_all_answered(loop):
    @http_only
    async def app(scope, receive, send):
        await asyncio.sleep(0.01)
        await answer(send, b"x")

    with AsgiWorker(app, asgi_loop=loop) as worker, worker.connect() as client:
        client.sendall(get() * 5)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).count(b"HTTP/1.1 200 OK") == 5


def test_a_body_that_is_cut_off(loop, notes):
    @http_only
    async def app(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            pass
        notes(message["type"])

    with AsgiWorker(app, asgi_loop=loop) as worker, worker.connect() as client:
        client.sendall(post(10) + b"12345")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).startswith(b"HTTP/1.1 400 ")
        assert "http.disconnect" in notes


def test_a_thousand_aborted_requests_leave_nothing(loop):
    @http_only
    async def app(scope, receive, send):
        if scope["path"] == "/count":
            tasks = len(asyncio.all_tasks())
            fds = len(os.listdir("/proc/self/fd"))
            await answer(send, f"{tasks} {fds}".encode())
            return
        await start(send)
        await body(send, b"x", more=True)
        await asyncio.sleep(60)

    with AsgiWorker(app, asgi_loop=loop, asgi_disconnect_grace_period=0) as worker:
        before = worker.get("/count")[1]
        for _ in range(10):
            with ExitStack() as stack:
                clients = [stack.enter_context(worker.connect()) for _ in range(100)]
                for client in clients:
                    client.sendall(get("/hang"))
                for client in clients[:50]:
                    read_until(client, b"x")
        worker.slot_idle()
        wait_until(lambda: worker.get("/count")[1] == before, what=f"{before!r} tasks and descriptors")
        assert worker.slot.table.snapshot() == []


# Backpressure


def memory_of(pid: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_client_that_does_not_read_stops_the_application(loop, notes):
    @http_only
    async def app(scope, receive, send):
        await start(send)
        for n in range(500):
            await body(send, b"x" * 1_000_000, more=True)
            notes(f"sent {n}")
        await body(send)

    with AsgiWorker(app, asgi_loop=loop, write_timeout=1) as worker, worker.connect() as client:
        before = memory_of(worker.pid)
        client.sendall(get())
        client.recv(1)
        worker.slot_idle()  # the write timeout has ended it
        assert len(notes.lines) < 20
        assert memory_of(worker.pid) - before < 16_000_000


def test_a_slow_reader_is_not_a_dead_one(loop):
    @http_only
    async def app(scope, receive, send):
        await start(send, headers=[(b"content-length", b"6000000")])
        for _ in range(6):
            await body(send, b"x" * 1_000_000, more=True)
        await body(send)

    # The kernel wakes a writer when a third of its buffer is free: two thirds of a second at this pace.
    with AsgiWorker(app, asgi_loop=loop, write_timeout=1.5) as worker, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.connect(worker.address)
        client.settimeout(30)
        client.sendall(get(fields="Connection: close\r\n"))
        received = 0
        for _ in range(60):  # twice the timeout
            received += len(client.recv(65536))
            threading.Event().wait(0.05)
        received += len(read_all(client))
        assert received > 6_000_000


def test_an_application_that_does_not_receive_stops_the_client(loop):
    @http_only
    async def app(scope, receive, send):
        await asyncio.sleep(0.5)
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message["body"]), message["more_body"]
        await answer(send, b"%d" % size)

    size = 60_000_000
    with AsgiWorker(app, asgi_loop=loop) as worker, worker.connect() as client:
        before = memory_of(worker.pid)
        client.sendall(post(size))
        client.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += client.send(b"x" * 1_000_000)
        assert sent < 20_000_000
        assert memory_of(worker.pid) - before < 4_000_000
        client.settimeout(30)
        left = size - sent
        while left:
            left -= client.send(b"x" * min(left, 1_000_000))
        assert read_answer(client)[1] == b"%d" % size


def test_pipelined_requests_wait_for_a_client_that_does_not_read(loop, notes):
    @http_only
    async def app(scope, receive, send):
        notes("answered")
        await answer(send, b"x" * 1_000_000)

    with AsgiWorker(app, asgi_loop=loop, write_timeout=1) as worker, worker.connect() as client:
        client.sendall(get() * 200)
        client.recv(1)
        worker.slot_idle()
        assert len(notes.lines) < 20


# Deadlines


def test_a_head_that_does_not_arrive_is_answered_with_408(loop):
    with (
        AsgiWorker(http_only(None), asgi_loop=loop, header_timeout=0.3) as worker,
        worker.connect() as client,
    ):
        started = time.monotonic()
        client.sendall(b"GET / HTTP/1.1\r\nHo")
        assert read_all(client).startswith(b"HTTP/1.1 408 ")
        assert 0.25 < time.monotonic() - started < PROMPT


def test_a_connection_that_says_nothing_is_closed(loop):
    with (
        AsgiWorker(http_only(None), asgi_loop=loop, header_timeout=0.3) as worker,
        worker.connect() as client,
    ):
        assert read_all(client) == b""


@http_only
async def hello(scope, receive, send):
    await answer(send, b"hello")


def test_an_idle_connection_is_closed(loop):
    with AsgiWorker(hello, asgi_loop=loop, keepalive=1) as worker, worker.connect() as client:
        for _ in range(2):
            client.sendall(get())
            read_answer(client)
        started = time.monotonic()
        assert read_all(client) == b""
        assert 0.8 < time.monotonic() - started < PROMPT


def test_the_next_head_has_its_own_deadline(loop):
    with (
        AsgiWorker(hello, asgi_loop=loop, keepalive=5, header_timeout=0.3) as worker,
        worker.connect() as client,
    ):
        client.sendall(get())
        read_answer(client)
        client.sendall(b"GET /")
        assert read_all(client).startswith(b"HTTP/1.1 408 ")


def test_no_keep_alive(loop):
    with AsgiWorker(hello, asgi_loop=loop, keepalive=0) as worker, worker.connect() as client:
        client.sendall(get())
        assert b"Connection: close" in read_all(client)


def test_a_body_that_stops_arriving_is_a_disconnect(loop, notes):
    @http_only
    async def app(scope, receive, send):
        assert (await receive())["body"] == b"12345"
        notes((await receive())["type"])
        await answer(send, b"too slow", 408)

    with AsgiWorker(app, asgi_loop=loop, body_timeout=0.3) as worker, worker.connect() as client:
        client.sendall(post(10) + b"12345")
        head, data = split(read_all(client))
        assert (head[:12], data) == (b"HTTP/1.1 408", b"too slow")
        assert "http.disconnect" in notes


# Limits


def test_worker_connections_are_a_limit(loop):
    with (
        AsgiWorker(hello, asgi_loop=loop, worker_connections=2, keepalive=30) as worker,
        ExitStack() as stack,
    ):
        held = [stack.enter_context(worker.connect()) for _ in range(2)]
        for client in held:
            client.sendall(get())
            read_answer(client)
        waiting = stack.enter_context(worker.connect())
        waiting.sendall(get())
        waiting.settimeout(0.2)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        assert worker.slot.connections == 2
        held[0].close()
        waiting.settimeout(30)
        assert read_answer(waiting)[1] == b"hello"


def test_a_refused_request_is_answered_and_closed_without_a_reset(loop):
    with AsgiWorker(hello, asgi_loop=loop) as worker, worker.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n" + b"x" * 50_000)
        assert read_all(client).startswith(b"HTTP/1.1 400 ")
