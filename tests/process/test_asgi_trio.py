"""Applications written for trio, and with anyio, under the ASGI worker: what is particular to them."""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import threading
import time

import pytest
import trio
from asgi_worker import AsgiWorker, Notes, answer, body, http_only, read_body, start
from engine_worker import read_all, read_answer, read_until
from harness import PROMPT, ROOT, wait_until
from websockets.sync.client import connect

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def notes(tmp_path):
    return Notes(tmp_path)


def worker_of(app, **settings) -> AsgiWorker:
    return AsgiWorker(app, asgi_loop="trio", **settings)


def reset(sock: socket.socket) -> None:
    """Leave as a client does that crashes with bytes unread."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_the_loop_is_trio_and_nothing_else():
    @http_only
    async def app(scope, receive, send):
        trio.lowlevel.current_task()
        await answer(send, str("asyncio" in sys.modules).encode())

    before = "asyncio" in sys.modules  # the test's own process may have it
    with worker_of(app) as worker:
        assert worker.get()[1] == str(before).encode()


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["fin", "rst"])
@pytest.mark.parametrize("started", [False, True], ids=["before the head", "in the body"])
def test_a_client_that_leaves_is_seen_at_once(notes, leave, started):
    @http_only
    async def app(scope, receive, send):
        await receive()
        if started:
            await start(send)
            await body(send, b"x", more=True)
        notes("begun")
        notes((await receive())["type"])

    with worker_of(app) as worker:
        client = worker.connect()
        client.sendall(GET)
        wait_until(lambda: "begun" in notes)
        leave(client)
        wait_until(lambda: "http.disconnect" in notes)


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["fin", "rst"])
def test_who_does_not_end_is_cancelled_when_the_grace_period_does(notes, leave):
    @http_only
    async def app(scope, receive, send):
        notes("begun")
        try:
            await trio.sleep(30)
        except trio.Cancelled:
            notes("cancelled")
            raise

    with worker_of(app, asgi_disconnect_grace_period=1) as worker:
        client = worker.connect()
        client.sendall(GET)
        wait_until(lambda: "begun" in notes)
        left = time.monotonic()
        leave(client)
        wait_until(lambda: "cancelled" in notes)
        assert 0.9 < time.monotonic() - left < PROMPT
        worker.slot_idle()
        assert worker.log() == ""


def test_two_receivers_both_learn_of_the_disconnect(notes):
    @http_only
    async def app(scope, receive, send):
        await receive()

        async def listen():
            notes((await receive())["type"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(listen)
            notes("waiting")

    with worker_of(app) as worker:
        client = worker.connect()
        client.sendall(GET)
        wait_until(lambda: "waiting" in notes)
        client.close()
        wait_until(lambda: notes.lines.count("http.disconnect") == 2)


def test_shielded_cleanup_runs_to_its_end_and_the_rest_is_cancelled(notes):
    @http_only
    async def app(scope, receive, send):
        async def unshielded():
            try:
                await trio.sleep_forever()
            finally:
                notes("child cancelled")

        notes("begun")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(unshielded)
                await trio.sleep_forever()
        finally:
            with trio.move_on_after(2, shield=True):
                await trio.sleep(0.2)
                notes("cleaned up")

    with worker_of(app, asgi_disconnect_grace_period=0) as worker:
        client = worker.connect()
        client.sendall(GET)
        wait_until(lambda: "begun" in notes)
        client.close()
        wait_until(lambda: "cleaned up" in notes)
        assert notes.lines == ["begun", "child cancelled", "cleaned up"]
        worker.slot_idle()
        assert worker.log() == ""


def test_an_error_beside_the_cancellation_is_reported(notes):
    @http_only
    async def app(scope, receive, send):
        async def cleanup_fails():
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in the cleanup")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cleanup_fails)
            notes("begun")
            await trio.sleep_forever()

    with worker_of(app, asgi_disconnect_grace_period=0) as worker:
        client = worker.connect()
        client.sendall(GET)
        wait_until(lambda: "begun" in notes)
        client.close()
        wait_until(lambda: "ValueError: in the cleanup" in worker.log())


def test_cancelling_receive_neither_loses_nor_fakes_a_message():
    @http_only
    async def app(scope, receive, send):
        got, timeouts, more = b"", 0, True
        while more:
            with trio.move_on_after(0.005):
                message = await receive()
                got += message["body"]
                more = message["more_body"]
                continue
            timeouts += 1
        assert timeouts
        await answer(send, got)

    data = bytes(range(256)) * 2
    with worker_of(app) as worker, worker.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data))
        pause = threading.Event()
        for at in range(0, len(data), 64):
            client.sendall(data[at : at + 64])
            pause.wait(0.015)
        assert read_answer(client)[1] == data


def test_a_cancelled_send_ends_the_connection_and_not_the_framing(notes):
    @http_only
    async def app(scope, receive, send):
        await start(send)
        with trio.move_on_after(0.3) as scope:
            await body(send, bytes(30_000_000), more=True)
        notes(f"cancelled {scope.cancelled_caught}")
        try:
            await body(send, b"more", more=True)
        except OSError as error:
            notes(type(error).__name__)

    with worker_of(app) as worker, worker.connect() as client:
        client.sendall(GET)
        wait_until(lambda: len(notes.lines) == 2)
        assert notes.lines == ["cancelled True", "ClientDisconnected"]
        assert not read_all(client).endswith(b"0\r\n\r\n")


def test_two_tasks_may_send_and_receive():
    @http_only
    async def app(scope, receive, send):
        await receive()
        await start(send)

        async def part():
            await body(send, bytes(100_000), more=True)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(part)
        await body(send, b"end")

    with worker_of(app) as worker, worker.connect() as client:
        client.sendall(GET.replace(b"Host", b"Connection: close\r\nHost"))
        data = read_all(client)
        assert data.count(b"186a0\r\n" + bytes(100_000) + b"\r\n") == 20
        assert data.endswith(b"3\r\nend\r\n0\r\n\r\n")


def test_what_one_request_sets_in_its_context_the_next_does_not_see():
    from contextvars import ContextVar

    variable = ContextVar("variable", default="unset")

    @http_only
    async def app(scope, receive, send):
        seen = variable.get()
        variable.set("set")
        await trio.lowlevel.checkpoint()
        assert variable.get() == "set"
        await answer(send, seen.encode())

    with worker_of(app) as worker, worker.connect() as client:
        for _ in range(3):
            client.sendall(GET)
            assert read_answer(client)[1] == b"unset"


def test_a_fast_stream_does_not_starve_the_others():
    @http_only
    async def app(scope, receive, send):
        if scope["path"] == "/":
            await answer(send, b"quick")
            return
        await start(send)
        while True:
            await body(send, b"x", more=True)

    with worker_of(app) as worker, worker.connect() as stream:
        stream.sendall(GET.replace(b"/ ", b"/stream "))
        served = threading.Event()

        def read():
            while not served.is_set():
                stream.recv(65536)

        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(5):
            assert worker.get()[1] == b"quick"
        served.set()
        reader.join(10)
        assert not reader.is_alive()


def test_background_work_after_the_response_is_not_cancelled_by_a_client_that_leaves(notes):
    @http_only
    async def app(scope, receive, send):
        await answer(send, b"done")
        await trio.sleep(0.5)
        notes("background")

    with worker_of(app, asgi_disconnect_grace_period=0) as worker:
        assert worker.get()[1] == b"done"
        worker.slot_idle()
        wait_until(lambda: "background" in notes)


def test_clients_that_leave_leave_nothing_behind(notes):
    def count_tasks(task) -> int:
        return 1 + sum(
            count_tasks(child) for nursery in task.child_nurseries for child in nursery.child_tasks
        )

    @http_only
    async def app(scope, receive, send):
        if scope["path"] == "/count":
            found = [len(os.listdir("/proc/self/fd")), count_tasks(trio.lowlevel.current_root_task())]
            await answer(send, repr(found).encode())
            return
        await receive()
        await start(send)
        while (await receive())["type"] != "http.disconnect":
            await body(send, bytes(1000), more=True)
        raise ValueError("after the disconnect")

    with worker_of(app, asgi_disconnect_grace_period=1) as worker:
        before = worker.get("/count")[1]
        for number in range(300):
            client = worker.connect()
            client.sendall(GET)
            if number % 3:
                leave = reset if number % 2 else socket.socket.close
                leave(client)
            else:
                client.shutdown(socket.SHUT_WR)
                client.close()
        wait_until(lambda: worker.slot.connections == 0 and not worker.slot.table.snapshot())
        assert worker.get("/count")[1] == before


def test_a_cancelled_that_is_raised_out_of_place_harms_nobody():
    kept = []

    @http_only
    async def app(scope, receive, send):
        with trio.move_on_after(0):
            try:
                await trio.sleep_forever()
            except trio.Cancelled as error:
                kept.append(error)
                raise
        raise kept.pop()

    with worker_of(app) as worker:
        for _ in range(2):
            assert worker.get()[0].startswith(b"HTTP/1.1 500 ")
        assert worker.log().count("Cancelled") >= 2


@pytest.mark.parametrize(
    "error",
    [StopIteration("x"), StopAsyncIteration("x"), GeneratorExit("x"), BaseException("x")],
    ids=lambda error: type(error).__name__,
)
def test_odd_exceptions_are_answered_with_500(error):
    @http_only
    async def app(scope, receive, send):
        await trio.lowlevel.checkpoint()
        raise error

    with worker_of(app) as worker:
        for _ in range(2):
            assert worker.get()[0].startswith(b"HTTP/1.1 500 ")


def test_an_event_stream_ends_at_once_when_told(notes):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            notes("shutdown")
            await send({"type": "lifespan.shutdown.complete"})
            return
        draining = scope["state"]["gunicorn.draining"]
        await start(send, headers=[(b"content-type", b"text/event-stream")])
        while not draining.is_set():
            await body(send, b"data: x\n\n", more=True)
            with trio.move_on_after(5):
                await draining
        await body(send, b"data: bye\n\n")

    with worker_of(app, graceful_timeout=30) as worker, worker.connect() as client:
        client.sendall(GET)
        read_until(client, b"data: x\n\n")
        begun = time.monotonic()
        worker.kill(signal.SIGTERM)
        assert read_all(client).endswith(b"data: bye\n\n\r\n0\r\n\r\n")
        assert worker.wait() == 0
        assert time.monotonic() - begun < PROMPT
        assert notes.lines == ["shutdown"]


def test_tls_both_ways(certificates):
    @http_only
    async def app(scope, receive, send):
        assert scope["extensions"]["tls"]["tls_version"] in (0x0303, 0x0304)
        await answer(send, await read_body(receive) + b"y" * 500_000)

    settings = {"certfile": str(certificates / "server.pem"), "keyfile": str(certificates / "server.key")}
    data = b"x" * 300_000
    with worker_of(app, **settings) as worker, worker.connect_tls() as client:
        for _ in range(2):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
            assert read_answer(client)[1] == data + b"y" * 500_000


def test_half_a_tls_handshake_holds_nothing_up(certificates):
    @http_only
    async def app(scope, receive, send):
        await answer(send, b"secure")

    settings = {"certfile": str(certificates / "server.pem"), "keyfile": str(certificates / "server.key")}
    with worker_of(app, handshake_timeout=0.5, **settings) as worker, worker.connect() as half:
        half.sendall(b"\x16\x03\x01\x02\x00")
        with worker.connect_tls() as client:
            client.sendall(GET)
            assert read_answer(client)[1] == b"secure"
        assert half.recv(1) == b""


def test_worker_connections_is_kept():
    @http_only
    async def app(scope, receive, send):
        await answer(send, b"served")

    with worker_of(app, worker_connections=2) as worker:
        first, second, third = worker.connect(), worker.connect(), worker.connect()
        for client in (first, second):
            client.sendall(GET)
            assert read_answer(client)[1] == b"served"
        third.sendall(GET)
        third.settimeout(0.2)
        with pytest.raises(TimeoutError):
            third.recv(1)
        first.close()
        third.settimeout(30)
        assert read_answer(third)[1] == b"served"
        for client in (second, third):
            client.close()


# The examples

EXAMPLES = str(ROOT / "examples")


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)

    def load(name: str):
        return __import__(name).app

    return load


def socket_url(worker: AsgiWorker) -> str:
    return "ws://{}:{}/".format(*worker.address)


def test_the_trio_example(example):
    with worker_of(example("asgi_trio_app")) as worker:
        assert worker.get("/")[1] == b"Hello from trio\n"
        assert worker.get("/race")[1] == b"fast won\n"
        with connect(socket_url(worker), proxy=None) as ws:
            ws.send("hello")
            assert ws.recv(timeout=30) == "hello"
        with worker.connect() as client:
            client.sendall(GET.replace(b"/ ", b"/clock "))
            read_until(client, b"data: 1\n\n")
            worker.kill(signal.SIGTERM)
            assert read_all(client).endswith(b"event: bye\ndata: -\n\n\r\n0\r\n\r\n")
        assert worker.wait() == 0
        assert "Traceback" not in worker.log()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"])
def test_the_anyio_example(example, loop):
    with AsgiWorker(example("asgi_anyio_app"), asgi_loop=loop) as worker:
        name = b"trio" if loop == "trio" else b"asyncio"
        assert worker.get("/")[1] == b"Hello from %b\n" % name
        assert worker.get("/both")[1] == b"fast then slow\n"
        with worker.connect() as client:
            client.sendall(
                b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000)
            )
            assert read_answer(client)[1] == b"300000 bytes\n"
        url = socket_url(worker)
        with connect(url, proxy=None) as one, connect(url, proxy=None) as two:
            one.send("to me")
            assert one.recv(timeout=30) == "to me"
            two.send("to all")
            assert one.recv(timeout=30) == "to all"
        assert worker.stop() < PROMPT
        assert "Traceback" not in worker.log()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # litestar's own, about the style of the example
@pytest.mark.parametrize("framework", ["starlette", "fastapi", "litestar"])
def test_frameworks_that_know_trio(example, framework):
    pytest.importorskip(framework)
    with worker_of(example(f"asgi_{framework}")) as worker:
        assert b"Hello, you!" in worker.get("/hello/you")[1]
        with connect(socket_url(worker) + "echo", proxy=None) as ws:
            for text in ("a", "ü" * 10_000):
                ws.send(text)
                assert ws.recv(timeout=30) == text
        assert worker.stop() < PROMPT
        assert "Traceback" not in worker.log()
