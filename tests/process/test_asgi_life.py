"""The life of an ASGI worker: lifespan, readiness, draining, the ways to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from asgi_worker import LOOPS, AsgiWorker, Notes, answer, body, start
from engine_worker import read_all, read_answer, read_until, split
from harness import PROMPT, wait_until

from gunicorn.process.messages import WorkerLeaving, WorkerReady
from gunicorn.process.slots import SlotState


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


def get(path: str = "/", fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()


def with_lifespan(app, notes: Notes, *, startup=None, shutdown=None, later=None):
    """``app`` with a lifespan that notes what happens to it."""

    async def wrapped(scope, receive, send):
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        assert (await receive())["type"] == "lifespan.startup"
        notes("startup")
        if startup is not None:
            await startup(send)
        await send({"type": "lifespan.startup.complete"})
        if later is not None:
            await later()
        assert (await receive())["type"] == "lifespan.shutdown"
        notes("shutdown")
        if shutdown is not None:
            await shutdown(send)
        await send({"type": "lifespan.shutdown.complete"})

    return wrapped


async def hello(scope, receive, send):
    await answer(send, b"hello")


# Lifespan


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_startup_and_shutdown(loop, notes, mode):
    with AsgiWorker(with_lifespan(hello, notes), asgi_loop=loop, asgi_lifespan=mode) as worker:
        assert notes.lines == ["startup"]
        assert worker.slot.state is SlotState.READY
        assert worker.get()[1] == b"hello"
        worker.stop()
        assert worker.status == 0
        assert notes.lines == ["startup", "shutdown"]


def test_ready_only_when_the_application_has_started(loop, notes):
    async def startup(send):
        await asyncio.sleep(0.3)

    app = with_lifespan(hello, notes, startup=startup)
    with AsgiWorker(app, asgi_loop=loop, ready=False) as worker:
        with pytest.raises(AssertionError):
            worker.message(timeout=0.15)
        assert worker.message() == WorkerReady()


def test_off_runs_no_lifespan(loop, notes):
    with AsgiWorker(with_lifespan(hello, notes), asgi_loop=loop, asgi_lifespan="off") as worker:
        assert worker.get()[1] == b"hello"
        worker.stop()
        assert notes.lines == []


async def raises(scope, receive, send):
    if scope["type"] == "lifespan":
        raise ValueError("no lifespan here")
    await answer(send, b"hello")


async def returns(scope, receive, send):
    if scope["type"] != "lifespan":
        await answer(send, b"hello")


@pytest.mark.parametrize("app", [raises, returns])
def test_auto_goes_on_without_a_lifespan(loop, app):
    with AsgiWorker(app, asgi_loop=loop) as worker:
        assert worker.get()[1] == b"hello"
        worker.stop()
        assert (worker.status, "ERROR" in worker.log()) == (0, False)


@pytest.mark.parametrize(
    ("app", "reason"), [(raises, "ValueError: no lifespan here"), (returns, "returned while")]
)
def test_on_needs_a_lifespan(loop, app, reason):
    with AsgiWorker(app, asgi_loop=loop, asgi_lifespan="on", ready=False) as worker:
        assert worker.wait() != 0
        assert "asgi_lifespan is 'on', but the application" in worker.log()
        assert reason in worker.log()


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_failed_startup_stops_the_worker(loop, notes, mode):
    async def startup(send):
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    app = with_lifespan(hello, notes, startup=startup)
    with AsgiWorker(app, asgi_loop=loop, asgi_lifespan=mode, ready=False) as worker:
        assert worker.wait() != 0
        assert "Application startup failed: no database" in worker.log()


def test_a_failed_shutdown_is_logged(loop, notes):
    async def shutdown(send):
        await send({"type": "lifespan.shutdown.failed", "message": "it hurts"})

    with AsgiWorker(with_lifespan(hello, notes, shutdown=shutdown), asgi_loop=loop) as worker:
        worker.stop()
        assert worker.status == 0
        assert "Application shutdown failed: it hurts" in worker.log()


def test_a_shutdown_that_hangs_is_cut_off(loop, notes):
    async def shutdown(send):
        await asyncio.sleep(60)

    with AsgiWorker(
        with_lifespan(hello, notes, shutdown=shutdown), asgi_loop=loop, graceful_timeout=1
    ) as worker:
        assert worker.stop() < PROMPT
        assert "shutdown was cut off" in worker.log()


def test_a_lifespan_that_dies_makes_the_worker_leave(loop, notes):
    async def later():
        await asyncio.sleep(0.1)
        raise ValueError("background task died")

    with AsgiWorker(with_lifespan(hello, notes, later=later), asgi_loop=loop) as worker:
        assert worker.message() == WorkerLeaving("lifespan ended")
        assert worker.get()[1] == b"hello"
        assert "background task died" in worker.log()


def test_a_stop_while_the_application_starts(loop, notes):
    async def startup(send):
        await asyncio.sleep(60)

    app = with_lifespan(hello, notes, startup=startup)
    with AsgiWorker(app, asgi_loop=loop, ready=False) as worker:
        wait_until(lambda: "startup" in notes)
        assert worker.stop() < PROMPT
        assert worker.status == 0


# Draining


async def events(scope, receive, send):
    """An endless stream that ends when the worker drains."""
    draining = scope["state"]["gunicorn.draining"]
    assert not draining.is_set()
    await start(send, headers=[(b"content-type", b"text/event-stream")])
    await body(send, b"data: begin\n\n", more=True)
    await draining.wait()
    assert draining.is_set()
    seconds = draining.deadline - time.monotonic()
    await body(send, f"data: {seconds:.0f}\n\n".encode())


def test_a_stream_that_watches_the_drain_notice_ends_at_once(loop, notes):
    with AsgiWorker(with_lifespan(events, notes), asgi_loop=loop, graceful_timeout=40) as worker:
        with worker.connect() as client:
            client.sendall(get())
            read_until(client, b"begin\n\n\r\n")
            started = time.monotonic()
            worker.kill(signal.SIGTERM)
            assert 30 < float(read_all(client).partition(b"data: ")[2].split()[0]) <= 40
            assert worker.wait() == 0
            assert time.monotonic() - started < PROMPT
        assert notes.lines == ["startup", "shutdown"]


def test_a_stream_that_ignores_it_is_cancelled_at_the_deadline(loop, notes):
    async def stubborn(scope, receive, send):
        await start(send)
        try:
            while True:
                await body(send, b"x", more=True)
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            notes("cancelled")
            raise

    with AsgiWorker(with_lifespan(stubborn, notes), asgi_loop=loop, graceful_timeout=1) as worker:
        with worker.connect() as client:
            client.sendall(get())
            read_until(client, b"x")
            assert 0.7 < worker.stop() < PROMPT
        assert worker.status == 0
        assert notes.lines == ["startup", "cancelled", "shutdown"]


def test_who_ignores_even_that_does_not_hold_up_the_stop(loop, notes):
    async def deaf(scope, receive, send):
        await start(send)
        await body(send, b"x", more=True)
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                notes("cancelled")

    with (
        AsgiWorker(with_lifespan(deaf, notes), asgi_loop=loop, graceful_timeout=1) as worker,
        worker.connect() as client,
    ):
        client.sendall(get())
        read_until(client, b"x")
        assert worker.stop() < PROMPT
        assert "shutdown" in notes


def test_an_answer_in_flight_at_term_says_that_the_connection_closes(loop):
    async def slow(scope, receive, send):
        await receive()
        await asyncio.sleep(0.3)
        await answer(send, b"slow")

    with AsgiWorker(slow, asgi_loop=loop, asgi_lifespan="off") as worker, worker.connect() as client:
        client.sendall(get())
        wait_until(lambda: worker.slot.table.snapshot())
        worker.kill(signal.SIGTERM)
        head, data = split(read_all(client))
        assert b"Connection: close" in head
        assert data == b"slow"
        assert worker.wait() == 0


def test_connections_queued_at_term_are_all_answered(loop):
    async def blocking(scope, receive, send):
        if scope["path"] == "/block":
            await start(send)
            await body(send, b"x", more=True)
            time.sleep(0.5)  # noqa: ASYNC251 - the loop must not accept meanwhile
            await body(send)
        else:
            await answer(send, b"queued")

    with AsgiWorker(blocking, asgi_loop=loop, asgi_lifespan="off") as worker, ExitStack() as stack:
        first = stack.enter_context(worker.connect())
        first.sendall(get("/block"))
        clients = [stack.enter_context(worker.connect()) for _ in range(30)]
        for client in clients:
            client.sendall(get(fields="Connection: close\r\n"))
        worker.kill(signal.SIGTERM)
        assert [split(read_all(client))[1] for client in clients] == [b"queued"] * 30
        assert worker.wait() == 0


def test_idle_connections_do_not_hold_up_the_stop(loop, notes):
    with (
        AsgiWorker(with_lifespan(hello, notes), asgi_loop=loop, keepalive=60, graceful_timeout=30) as worker,
        ExitStack() as stack,
    ):
        for _ in range(5):
            client = stack.enter_context(worker.connect())
            client.sendall(get())
            read_answer(client)
        stack.enter_context(worker.connect())  # and one that has said nothing
        assert worker.stop() < PROMPT
        assert notes.lines == ["startup", "shutdown"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGQUIT])
def test_a_quick_stop_does_not_wait_for_requests(loop, notes, signum):
    async def hangs(scope, receive, send):
        await start(send)
        await body(send, b"x", more=True)
        try:
            await asyncio.sleep(60)
        finally:
            notes("cleaned up")

    with (
        AsgiWorker(with_lifespan(hangs, notes), asgi_loop=loop, graceful_timeout=30) as worker,
        worker.connect() as client,
    ):
        client.sendall(get())
        read_until(client, b"x")
        assert worker.stop(signum) < PROMPT
        assert worker.status == 0
        assert "cleaned up" in notes


def test_a_blocked_loop_does_not_beat(loop, notes):
    async def blocks(scope, receive, send):
        notes("blocked")
        time.sleep(0.7)  # noqa: ASYNC251 - that is the point
        await answer(send, b"done")

    with (
        AsgiWorker(blocks, asgi_loop=loop, asgi_lifespan="off", timeout=2) as worker,
        worker.connect() as client,
    ):
        client.sendall(get())
        wait_until(lambda: "blocked" in notes)
        before = worker.slot.deadline
        threading.Event().wait(0.4)  # beats come every tenth of a second
        assert worker.slot.deadline == before
        read_answer(client)
        wait_until(lambda: worker.slot.deadline > before)


def test_max_requests_asks_for_a_replacement(loop, notes):
    with AsgiWorker(with_lifespan(hello, notes), asgi_loop=loop, max_requests=3) as worker:
        for _ in range(4):
            assert worker.get()[1] == b"hello"
        assert worker.message() == WorkerLeaving("max_requests")


def test_max_requests_without_an_arbiter_ends_the_worker(loop, notes):
    app = with_lifespan(hello, notes)
    with AsgiWorker(app, asgi_loop=loop, max_requests=1, report=False, ready=False) as worker:
        assert worker.get()[1] == b"hello"
        assert worker.wait() == 0
        assert notes.lines == ["startup", "shutdown"]


def test_the_end_of_the_arbiter_ends_the_worker(loop, notes):
    async def hangs(scope, receive, send):
        await start(send)
        await body(send, b"x", more=True)
        await asyncio.sleep(60)

    with (
        AsgiWorker(with_lifespan(hangs, notes), asgi_loop=loop, graceful_timeout=30) as worker,
        worker.connect() as client,
    ):
        client.sendall(get())
        read_until(client, b"x")
        started = time.monotonic()
        worker.channel.close()
        assert worker.wait() == 0
        assert time.monotonic() - started < PROMPT
        assert notes.lines == ["startup", "shutdown"]


def test_usr1_reopens_the_logs(loop, tmp_path):
    path = tmp_path / "access"
    with AsgiWorker(
        hello, asgi_loop=loop, asgi_lifespan="off", accesslog=str(path), access_log_format="%(U)s"
    ) as worker:
        worker.get("/one")
        path.rename(tmp_path / "old")
        worker.kill(signal.SIGUSR1)
        wait_until(path.exists)
        worker.get("/two")
        worker.stop()
        assert path.read_text() == "/two\n"


def test_what_the_application_left_behind_does_not_hold_up_the_end(loop):
    async def forgets(scope, receive, send):
        async def forgotten():
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)

        scope["state"]["task"] = asyncio.get_running_loop().create_task(forgotten())
        await answer(send, b"hello")

    with AsgiWorker(forgets, asgi_loop=loop, asgi_lifespan="off") as worker:
        worker.get()
        assert worker.stop() < PROMPT
        assert worker.status == 0
