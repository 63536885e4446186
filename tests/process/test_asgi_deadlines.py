"""``request_timeout`` and ``lifespan_timeout`` of ASGI workers, on each loop."""

from __future__ import annotations

import contextlib
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
from asgi_worker import AsgiWorker, Notes, answer, body, read_body, start
from engine_worker import read_all, read_answer, read_until, split
from harness import PROMPT, wait_until
from websockets.sync.client import connect

from gunicorn.process.messages import BootFailed, WorkerLeaving, WorkerReady
from gunicorn.process.slots import SlotState

pytestmark = pytest.mark.slow


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def loop(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


def ask(sock, path: str = "/", method: str = "GET", version: str = "1.1", fields: str = "") -> None:
    sock.sendall(f"{method} {path} HTTP/{version}\r\nHost: a\r\n{fields}\r\n".encode())


def worker_of(app, loop: str, **settings) -> AsgiWorker:
    return AsgiWorker(app, **{"asgi_loop": loop, "asgi_lifespan": "off", "request_timeout": 0.5, **settings})


SECURE = {"certfile": "pem", "keyfile": "key"}


# request_timeout


async def stuck(scope, receive, send):
    """Answers at once, except for some paths."""
    if scope["path"] == "/half":
        await start(send)
        await body(send, b"half", more=True)
    if scope["path"] in ("/stuck", "/half"):
        await anyio.sleep(60)
    await answer(send, b"done")


def with_neighbours():
    """``/neighbour`` is answered after ``/release``, and ``/pause`` in two seconds."""
    released: list[anyio.Event] = []

    async def app(scope, receive, send):
        if not released:
            released.append(anyio.Event())
        if scope["path"] == "/neighbour":
            await released[0].wait()
        if scope["path"] == "/release":
            released[0].set()
        if scope["path"] == "/pause":
            await anyio.sleep(2)
        await stuck(scope, receive, send)

    return app


def test_one_request_is_late_and_99_neighbours_finish(loop, tmp_path):
    log = tmp_path / "access.log"
    settings = {"accesslog": str(log), "access_log_format": "%(m)s %(U)s %(s)s", "keepalive": 60}
    with worker_of(with_neighbours(), loop, request_timeout=4, **settings) as worker, ExitStack() as stack:
        late = stack.enter_context(worker.connect())
        ask(late, "/stuck")
        wait_until(lambda: worker.slot.table.snapshot())
        worker.get("/pause")  # so that the others have two seconds when this one is late
        others = [stack.enter_context(worker.connect()) for _ in range(99)]
        for sock in others:
            ask(sock, "/neighbour")
        head, data = split(read_all(late))
        assert head.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        assert b"Connection: close" in head
        assert b"Gateway Timeout" in data
        worker.get("/release")
        answers = [read_answer(sock) for sock in others]
        assert [data for _, data in answers] == [b"done"] * 99
        # The worker and the other connections go on.
        ask(others[0])
        assert read_answer(others[0])[1] == b"done"
        assert worker.slot.errors == 1
        assert worker.log().count("Request GET /stuck took longer than request_timeout (4 s)") == 1
        assert worker.stop() < PROMPT
        assert worker.status == 0
        assert not worker.says_more()
    lines = log.read_text().splitlines()
    assert lines.count("GET /stuck 504") == 1
    assert lines.count("GET /neighbour 200") == 99


def test_an_answer_that_has_begun_is_cut_off(loop):
    with worker_of(stuck, loop) as worker, worker.connect() as sock:
        ask(sock, "/half")
        # Chunked, and without the chunk of size 0 that would be its end.
        assert split(read_all(sock))[1] == b"4\r\nhalf\r\n"
        assert worker.get()[1] == b"done"
        assert "GET /half took longer" in worker.log()


def test_504_over_tls(loop, certificates):
    secure = {name: str(certificates / f"server.{end}") for name, end in SECURE.items()}
    with worker_of(stuck, loop, **secure) as worker, worker.connect_tls() as sock:
        ask(sock, "/stuck")
        head, data = split(read_all(sock))
        assert head.startswith(b"HTTP/1.1 504 ")
        assert b"Gateway Timeout" in data


def test_the_answer_to_head_has_no_page(loop):
    with worker_of(stuck, loop) as worker, worker.connect() as sock:
        ask(sock, "/stuck", "HEAD")
        head, data = split(read_all(sock))
        assert head.startswith(b"HTTP/1.1 504 ")
        assert data == b""


def test_a_slow_upload_is_late_as_well(loop):
    async def app(scope, receive, send):
        await read_body(receive)
        await answer(send, b"done")

    with worker_of(app, loop) as worker, worker.connect() as sock:
        ask(sock, method="POST", fields="Content-Length: 9\r\n")
        sock.sendall(b"abc")
        assert split(read_all(sock))[0].startswith(b"HTTP/1.1 504 ")


def test_the_application_is_cancelled_and_may_clean_up_after_the_answer(loop, notes):
    gates: list[anyio.Event] = []

    async def app(scope, receive, send):
        if scope["path"] == "/answered":
            gates[0].set()
        if scope["path"] == "/stuck":
            gates.append(anyio.Event())
            try:
                await anyio.sleep(60)
            finally:
                with anyio.CancelScope(shield=True):
                    assert (await receive())["type"] == "http.disconnect"
                    try:
                        await answer(send, b"too late")
                    except OSError:
                        notes("nobody is there")
                    await gates[0].wait()
                notes("cleaned up")
        await answer(send, b"done")

    with worker_of(app, loop) as worker, worker.connect() as sock:
        ask(sock, "/stuck")
        assert split(read_all(sock))[0].startswith(b"HTTP/1.1 504 ")
        # The client has its answer, and the end of the connection, while the cleanup goes on.
        assert "cleaned up" not in notes
        assert len(worker.slot.table.snapshot()) == 1
        wait_until(lambda: "nobody is there" in notes)
        worker.get("/answered")
        wait_until(lambda: not worker.slot.table.snapshot(), what="the end of the application")
        assert notes.lines == ["nobody is there", "cleaned up"]
        assert "Error" not in worker.log()
        assert worker.get()[1] == b"done"


def test_who_ignores_the_cancellation_costs_the_worker(loop, notes):
    async def app(scope, receive, send):
        if scope["path"] == "/stuck":
            with anyio.CancelScope(shield=True):
                try:
                    await anyio.sleep(60)
                except anyio.get_cancelled_exc_class():  # asyncio knows no shield
                    await anyio.sleep(60)
        await answer(send, b"done")

    with worker_of(app, loop, graceful_timeout=1) as worker:
        for _ in range(2):
            with worker.connect() as sock:
                ask(sock, "/stuck")
                assert split(read_all(sock))[0].startswith(b"HTTP/1.1 504 ")
        assert worker.message() == WorkerLeaving("request_timeout")
        assert worker.get()[1] == b"done"
        assert worker.log().count("does not end; asking for another worker") == 1


def test_a_thread_of_the_application_does_not_keep_the_client_waiting(loop):
    async def app(scope, receive, send):
        await anyio.to_thread.run_sync(time.sleep, 3)
        await answer(send, b"done")

    with worker_of(app, loop) as worker, worker.connect() as sock:
        started = time.monotonic()
        ask(sock)
        assert split(read_all(sock))[0].startswith(b"HTTP/1.1 504 ")
        assert time.monotonic() - started < 2.5
        assert worker.stop() < PROMPT


def test_what_follows_the_answer_has_no_limit(loop, notes):
    async def app(scope, receive, send):
        await answer(send, b"done")
        if scope["path"] == "/background":
            await anyio.sleep(1.5)
            notes("background work is over")

    with worker_of(app, loop) as worker, worker.connect() as sock:
        ask(sock, "/background")
        assert read_answer(sock)[1] == b"done"
        wait_until(lambda: "background work is over" in notes)
        ask(sock)
        assert read_answer(sock)[1] == b"done"
        assert "request_timeout" not in worker.log()


def test_a_websocket_is_no_request(loop):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await anyio.sleep(1.5)
        await send({"type": "websocket.send", "text": "still here"})
        await receive()

    with (
        worker_of(app, loop) as worker,
        connect(f"ws://127.0.0.1:{worker.address[1]}/") as ws,
    ):
        assert ws.recv(timeout=PROMPT) == "still here"
        assert "request_timeout" not in worker.log()


def test_quick_requests_on_a_kept_connection_are_left_alone(loop):
    with worker_of(stuck, loop) as worker, worker.connect() as sock:
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            ask(sock)
            assert read_answer(sock)[0].startswith(b"HTTP/1.1 200 ")
        assert worker.slot.errors == 0


def test_a_drain_does_not_end_it(loop, notes):
    with worker_of(stuck, loop, graceful_timeout=30) as worker, worker.connect() as sock:
        ask(sock, "/stuck")
        wait_until(lambda: worker.slot.table.snapshot())
        worker.kill(signal.SIGTERM)
        assert split(read_all(sock))[0].startswith(b"HTTP/1.1 504 ")
        worker.wait(PROMPT)


def test_a_quick_stop_overtakes_a_graceful_one(loop, notes):
    async def app(scope, receive, send):
        try:
            await stuck(scope, receive, send)
        finally:
            notes("cleaned up")

    with worker_of(app, loop, request_timeout=0) as worker, worker.connect() as sock:
        ask(sock, "/half")
        read_until(sock, b"half\r\n")
        worker.kill(signal.SIGTERM)
        worker.wait_state(SlotState.DRAINING)
        assert worker.stop(signal.SIGINT) < PROMPT
        assert notes.lines == ["cleaned up"]


# lifespan_timeout


def starting(how, notes: Notes):
    async def app(scope, receive, send):
        assert scope["type"] == "lifespan"
        await receive()
        try:
            await how()
        finally:
            notes("cleaned up")
        await send({"type": "lifespan.startup.complete"})
        await receive()

    return app


FAILURE = "Application startup failed: not complete after 0.5 s (lifespan_timeout)"


async def sleeps():
    await anyio.sleep(60)


async def blocks():
    time.sleep(60)  # noqa: ASYNC251 - an application that does what it should not


async def shields():
    with anyio.CancelScope(shield=True):
        await anyio.sleep(60)


@pytest.mark.parametrize(
    ("how", "mode"), [(sleeps, "auto"), (sleeps, "on"), (blocks, "auto"), (shields, "auto")]
)
def test_a_startup_that_takes_too_long_is_a_boot_failure(loop, notes, how, mode):
    settings = {"asgi_loop": loop, "asgi_lifespan": mode, "lifespan_timeout": 0.5, "ready": False}
    with AsgiWorker(starting(how, notes), **settings) as worker:
        assert worker.wait(PROMPT) != 0
        assert worker.log().count(f"[ERROR] {FAILURE}") == 1
        if how is sleeps:
            assert notes.lines == ["cleaned up"]
        if how is blocks:
            # Its own code is in the log: where the loop was blocked.
            assert "in blocks" in worker.log()
            assert worker.message() == BootFailed(3, FAILURE)


def test_a_startup_in_time_has_all_the_time_of_its_own_setting(loop, notes):
    async def how():
        await anyio.sleep(1)

    settings = {"asgi_loop": loop, "lifespan_timeout": 30, "boot_timeout": 1, "ready": False}
    with AsgiWorker(starting(how, notes), **settings) as worker:
        worker.slot.deadline = time.monotonic() + 1  # as the arbiter sets it
        assert worker.message() == WorkerReady()
        assert worker.stop() < PROMPT
        assert worker.status == 0


def test_the_deadline_of_the_boot_does_not_come_before_its_own(loop, notes):
    async def how():
        with contextlib.suppress(TimeoutError):
            with anyio.fail_after(60):
                await anyio.sleep(60)

    settings = {"asgi_loop": loop, "lifespan_timeout": 40, "ready": False}
    with AsgiWorker(starting(how, notes), **settings) as worker:
        wait_until(lambda: worker.slot.deadline > time.monotonic() + 40, what="the deadline of the startup")
        assert worker.stop() < PROMPT
