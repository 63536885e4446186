"""ASGI workers below their arbiter, on each loop: HUP under load, and WebSockets of a worker that leaves."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from asgi_worker import AsgiWorker, Notes, body, start
from engine_worker import read_all, read_until
from harness import PROMPT, wait_gone, wait_until
from load import Census, Load
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from gunicorn.process.slots import SlotState

pytestmark = pytest.mark.slow

WORKERS = 2
LONGER_THAN_A_STOP_WAITS = 2.5
ANSWER = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    body = {!r}
    length = str(len(body)).encode()
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}})
    await send({{"type": "http.response.body", "body": body}})
"""


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def loop(request: pytest.FixtureRequest) -> str:
    return request.param


def deploy(folder: Path, version: str) -> str:
    """Write an application that answers with its version."""
    new = folder / "changing.new"
    new.write_text(ANSWER.format(version.encode()))
    # Replaced whole, as a deployment does; a reload may read it at any moment.
    os.replace(new, folder / "changing.py")
    return "changing:app"


@pytest.mark.parametrize(
    ("keep_alive", "options"),
    [(False, ()), (True, ()), (False, ("--preload",))],
    ids=["close", "keep-alive", "preload"],
)
def test_reloads_lose_no_request_and_serve_the_new_code(serve, loop, tmp_path, keep_alive, options):
    pytest.importorskip("setproctitle")
    app = deploy(tmp_path, "v0")
    asgi = ("-k", "asgi", "--asgi-loop", loop, *options)
    server = serve(*asgi, "-w", str(WORKERS), app=app, cwd=tmp_path)
    assert server.get() == "v0"
    server.wait_workers(WORKERS)
    with Load(server, keep_alive=keep_alive) as load, Census(server) as census:
        for number in (1, 2):
            before = server.wait_workers(WORKERS)
            deploy(tmp_path, f"v{number}")
            server.signal(signal.SIGHUP)
            wait_gone(*before)
            assert server.get() == f"v{number}"
        server.wait_workers(WORKERS)
    assert load.lost == []
    assert {"v0", "v1", "v2"} == set(load.bodies)
    assert census.most <= WORKERS + 1
    # Nobody leaves in the middle of anything: no cut, no kill, no error.
    assert server.stop(signal.SIGTERM) == 0
    assert not server.count(r"\[(WARNING|ERROR|CRITICAL)\]")


def test_idle_connections_survive_a_reload_but_do_not_hold_up_a_stop(serve, loop, tmp_path):
    app = deploy(tmp_path, "v0")
    asgi = ("-k", "asgi", "--asgi-loop", loop, "--keep-alive", "30")
    server = serve(*asgi, app=app, cwd=tmp_path)
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(300)]
        for client in clients:
            client.sendall(request)
            assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.log.count("Booting worker") == 2, what="the next worker")
        closed, _, _ = select.select(clients, [], [], LONGER_THAN_A_STOP_WAITS)
        assert not closed, "closed before its next request"
        for client in clients[:200]:
            client.sendall(request)
            answer = read_all(client)
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert b"Connection: close" in answer
        # The others stay idle, and the server ends.
        started = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - started < PROMPT
        assert [read_all(client) for client in clients[200:]] == [b""] * 100


def test_an_answer_that_began_before_the_reload_keeps_its_connection(loop):
    async def app(scope, receive, send):
        await start(send)
        await body(send, b"x", more=True)
        if scope["path"] == "/stream":
            await scope["state"]["gunicorn.draining"]
        await body(send)

    settings = {"asgi_loop": loop, "asgi_lifespan": "off", "keepalive": 30}
    with AsgiWorker(app, **settings) as worker, worker.connect() as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"close" not in read_until(client, b"x\r\n")
        worker.slot.state = SlotState.DRAINING  # as the arbiter does for a worker that it replaces
        worker.kill(signal.SIGTERM)
        read_until(client, b"0\r\n\r\n")
        assert not select.select([client], [], [], LONGER_THAN_A_STOP_WAITS)[0]
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"Connection: close" in read_all(client)
        assert worker.wait() == 0


def test_a_startup_beyond_its_time_calls_the_reload_off(serve, loop, tmp_path):
    app = deploy(tmp_path, "v0")
    server = serve("-k", "asgi", "--asgi-loop", loop, "--lifespan-timeout", "3", app=app, cwd=tmp_path)
    assert server.get() == "v0"
    before = server.wait_workers(1)
    (tmp_path / "changing.py").write_text(f"import anyio\n{HANGING}")
    mark = server.mark()
    server.signal(signal.SIGHUP)
    server.wait_for("Reload failed, the server goes on as before", since=mark)
    assert "not complete after 3 s (lifespan_timeout)" in server.log
    wait_until(lambda: server.workers() == before, what="the old worker alone")
    assert server.get() == "v0"


HANGING = """
async def app(scope, receive, send):
    await receive()
    await anyio.sleep(600)
"""


def test_a_first_startup_beyond_its_time_ends_the_server(gunicorn, loop, tmp_path):
    (tmp_path / "hanging.py").write_text(f"import anyio\n{HANGING}")
    asgi = ("-k", "asgi", "--asgi-loop", loop, "--lifespan-timeout", "0.5")
    done = gunicorn(*asgi, "-b", "127.0.0.1:0", "hanging:app", cwd=tmp_path)
    assert done.returncode == 3
    assert "Application startup failed: not complete after 0.5 s (lifespan_timeout)" in done.stderr


def test_websockets_are_closed_over_the_time_there_is(loop, tmp_path):
    notes, count, seconds = Notes(tmp_path), 50, 6

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        notes("open")
        assert (await receive())["code"] == 1012
        notes(f"closed {time.monotonic()}")
        await anyio.lowlevel.checkpoint()

    settings = {"asgi_loop": loop, "asgi_lifespan": "off", "graceful_timeout": seconds}
    with AsgiWorker(app, **settings) as worker, ExitStack() as stack:
        url = f"ws://127.0.0.1:{worker.address[1]}/"
        clients = [stack.enter_context(connect(url)) for _ in range(count)]
        wait_until(lambda: notes.lines.count("open") == count)
        started = time.monotonic()
        worker.kill(signal.SIGTERM)
        for client in clients:
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=PROMPT)
            assert client.close_code == 1012
        assert worker.wait() == 0
        closed = sorted(float(line.split()[1]) - started for line in notes.lines if line[0] == "c")
    assert len(closed) == count
    # Their clients come back at once, each to a worker that has to take them all: not in one rush.
    assert sum(after < seconds / 10 for after in closed) < count / 2
    assert closed[-1] - closed[0] > seconds / 4
    assert closed[-1] < seconds
