"""The lifespan as the ASGI specification has it ("Lifespan Protocol", 2.0), on each loop."""

from __future__ import annotations

import json
import signal

import anyio
import pytest
from asgi_exam import LOOPS, tried
from asgi_worker import AsgiWorker, Notes, answer
from harness import wait_until
from websockets.sync.client import connect


@pytest.fixture(params=LOOPS)
def loop(request):
    return request.param


@pytest.fixture
def notes(tmp_path):
    return Notes(tmp_path)


async def serve(scope, receive, send):
    """Everything but the lifespan: the state that a request or a WebSocket sees."""
    state = {name: value for name, value in scope["state"].items() if not name.startswith("gunicorn.")}
    if scope["type"] == "http":
        await answer(send, json.dumps(state).encode())
    else:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": json.dumps(state)})
        await receive()


def with_lifespan(lifespan):
    async def app(scope, receive, send):
        await (lifespan if scope["type"] == "lifespan" else serve)(scope, receive, send)

    return app


def test_the_scope_and_the_state(loop, notes):
    @with_lifespan
    async def app(scope, receive, send):
        notes(repr({name: value for name, value in scope.items() if name != "state"}))
        scope["state"]["list"] = [1]
        scope["state"]["name"] = "value"
        notes(repr(await receive()))
        await send({"type": "lifespan.startup.complete", "additional": 1})
        notes(repr(await receive()))
        await send({"type": "lifespan.shutdown.complete"})

    with AsgiWorker(app, asgi_loop=loop) as worker:
        scope, startup = (eval(line) for line in notes.lines)
        assert (scope["type"], scope["asgi"]["version"]) == ("lifespan", "3.0")
        assert scope["asgi"]["spec_version"] in ("2.0", "2.5")
        assert set(scope) == {"type", "asgi"}
        assert startup == {"type": "lifespan.startup"}
        expected = {"list": [1], "name": "value"}
        assert json.loads(worker.get()[1]) == expected
        with connect("ws://{}:{}/".format(*worker.address), proxy=None) as ws:
            assert json.loads(ws.recv(timeout=30)) == expected
        worker.stop()
        assert eval(notes.lines[-1]) == {"type": "lifespan.shutdown"}


def test_nothing_is_served_before_the_startup_is_complete_or_after_the_shutdown_has_begun(loop, notes):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await anyio.sleep(0.2)
            notes("started")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            notes("stopping")
            await anyio.sleep(0.2)
            notes("stopped")
            await send({"type": "lifespan.shutdown.complete"})
            return
        notes("request")
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.3)
        await answer(send, b"x")
        notes("answered")

    worker = AsgiWorker(app, asgi_loop=loop, ready=False)
    with worker, worker.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: "request" in notes)
        worker.stop(signal.SIGTERM)
        assert b"200 OK" in client.recv(4096)
    assert notes.lines == ["started", "request", "answered", "stopping", "stopped"]
    assert worker.status == 0


@pytest.mark.parametrize("when", ["at once", "after startup"])
def test_an_exception_means_that_there_is_no_lifespan(loop, when):
    """ "the server must continue but not send any lifespan events" (Scope)."""

    @with_lifespan
    async def app(scope, receive, send):
        if when != "at once":
            await receive()
        raise NotImplementedError("http only")

    with AsgiWorker(app, asgi_loop=loop) as worker:
        assert worker.get()[0].startswith(b"HTTP/1.1 200 OK")
        worker.stop()
        assert worker.status == 0
        assert "Traceback" not in worker.log()


@pytest.mark.parametrize("message", [{"message": "no database"}, {}])
def test_a_startup_that_fails_ends_the_server_with_its_message(loop, message):
    @with_lifespan
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", **message})

    with AsgiWorker(app, asgi_loop=loop, ready=False) as worker:
        assert worker.wait() != 0
        assert "startup failed" in worker.log()
        assert message.get("message", "") in worker.log()


@pytest.mark.parametrize("message", [{"message": "the pool is busy"}, {}])
def test_a_shutdown_that_fails_is_in_the_log(loop, message):
    @with_lifespan
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", **message})

    with AsgiWorker(app, asgi_loop=loop) as worker:
        worker.stop()
        lines = [line for line in worker.log().splitlines() if "shutdown" in line.lower()]
        assert any(message.get("message", "") in line for line in lines), worker.log()


WRONG = [
    {},
    "text",
    None,
    {"type": "lifespan.begin"},
    {"type": "lifespan.shutdown.complete"},
    {"type": "http.response.start", "status": 200},
]


def test_a_wrong_message_raises_and_changes_nothing(loop, notes):
    @with_lifespan
    async def app(scope, receive, send):
        await receive()
        for message in [*WRONG, "again"]:
            if message == "again":
                await send({"type": "lifespan.startup.complete"})
                message = {"type": "lifespan.startup.complete"}
            try:
                await send(message)
                notes("no error")
            except Exception as error:  # noqa: BLE001 - what it is, is the question
                notes(repr(tried(error)))
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    with AsgiWorker(app, asgi_loop=loop) as worker:
        wait_until(lambda: len(notes.lines) > len(WRONG))
        assert all("RuntimeError" in eval(line) for line in notes.lines), notes.lines
        assert "lifespan.shutdown.complete" in notes.lines[4]
        worker.stop()
        assert worker.status == 0


def test_an_application_that_returns_after_its_startup_has_nothing_to_shut_down(loop):
    @with_lifespan
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})

    with AsgiWorker(app, asgi_loop=loop) as worker:
        assert worker.get()[0].startswith(b"HTTP/1.1 200 OK")
        worker.stop()
        assert worker.status == 0
