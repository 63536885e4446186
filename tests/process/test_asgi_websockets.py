"""WebSockets through the ASGI worker, with the ``websockets`` package as the client, on each loop."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
from asgi_worker import AsgiWorker, Notes, answer
from engine_worker import read_all, read_until
from harness import PROMPT, wait_until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture(params=("asyncio", "uvloop", "trio"))
def loop(request):
    return request.param


@pytest.fixture
def notes(tmp_path):
    return Notes(tmp_path)


def websocket(function):
    """``function`` for WebSockets; requests are answered with 200, the lifespan is refused."""

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            raise NotImplementedError
        if scope["type"] == "http":
            await answer(send, b"plain")
            return
        await function(scope, receive, send)

    return app


async def accept(receive, send, **more):
    assert (await receive()) == {"type": "websocket.connect"}
    await send({"type": "websocket.accept", **more})


@websocket
async def echo(scope, receive, send):
    await accept(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


def client(worker: AsgiWorker, **options):
    options.setdefault("close_timeout", 5)
    options.setdefault("max_size", None)
    options.setdefault("proxy", None)
    return connect("ws://{}:{}/ws?a=1".format(*worker.address), **options)


def raw(worker: AsgiWorker) -> socket.socket:
    """A socket on which the handshake has been done, without compression."""
    sock = worker.connect()
    sock.sendall(HANDSHAKE)
    assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
    return sock


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def read_frame(sock: socket.socket) -> tuple[int, bytes]:
    """Opcode and payload of one frame of the server, FIN included in neither."""
    head = read_exactly(sock, 2)
    size = head[1] & 0x7F
    if size >= 126:
        size = int.from_bytes(read_exactly(sock, 2 if size == 126 else 8), "big")
    return head[0] & 0x0F, read_exactly(sock, size)


def read_exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        assert chunk, f"the server closed after {bytes(data)!r}"
        data += chunk
    return bytes(data)


@pytest.mark.parametrize("compression", ["deflate", None])
def test_echo(loop, compression):
    with AsgiWorker(echo, asgi_loop=loop) as worker, client(worker, compression=compression) as ws:
        for message in ("", "héllo \U0001f600", b"", b"\0\xff", "x" * 300_000, os.urandom(300_000)):
            ws.send(message)
            assert ws.recv(timeout=30) == message
        ws.send(["fra", "gmen", "ted"])
        assert ws.recv(timeout=30) == "fragmented"
        assert ws.ping().wait(30)


def test_compression_can_be_switched_off(loop):
    with AsgiWorker(echo, asgi_loop=loop, websocket_compression="off") as worker, client(worker) as ws:
        assert ws.protocol.extensions == []
        ws.send("plain")
        assert ws.recv(timeout=30) == "plain"


def test_the_scope_and_the_subprotocol(loop):
    @websocket
    async def app(scope, receive, send):
        await accept(receive, send, subprotocol=scope["subprotocols"][1], headers=[(b"x-extra", b"1")])
        names = ("type", "scheme", "path", "query_string", "http_version", "subprotocols", "extensions")
        await send({"type": "websocket.send", "text": repr([scope[name] for name in names])})
        await receive()

    with AsgiWorker(app, asgi_loop=loop) as worker, client(worker, subprotocols=["one", "two"]) as ws:
        assert ws.subprotocol == "two"
        assert ws.response.headers["x-extra"] == "1"
        seen = ["websocket", "ws", "/ws", b"a=1", "1.1", ["one", "two"], {"websocket.http.response": {}}]
        assert ws.recv(timeout=30) == repr(seen)


def test_the_clients_close_reaches_the_application(loop, notes):
    @websocket
    async def app(scope, receive, send):
        await accept(receive, send)
        first = await receive()
        notes(repr(first))
        notes(repr(await receive() == first))
        try:
            await send({"type": "websocket.send", "text": "late"})
        except OSError as error:
            notes(str(error))

    with AsgiWorker(app, asgi_loop=loop) as worker:
        with client(worker) as ws:
            ws.close(4001, "gone fishing")
            assert ws.close_code == 4001
        wait_until(lambda: len(notes.lines) == 3)
        assert notes.lines == [
            repr({"type": "websocket.disconnect", "code": 4001, "reason": "gone fishing"}),
            "True",
            "the application sent 'websocket.send' after the connection ended with code 4001",
        ]
        assert worker.log() == ""


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [({}, 1000, ""), ({"code": 3001, "reason": "because"}, 3001, "because"), ({"code": 1005}, 1005, "")],
)
def test_the_applications_close_reaches_the_client(loop, message, code, reason):
    @websocket
    async def app(scope, receive, send):
        await accept(receive, send)
        await send({"type": "websocket.close", **message})

    with AsgiWorker(app, asgi_loop=loop) as worker, client(worker) as ws:
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=30)
        assert (ws.close_code, ws.close_reason) == (code, reason)


def test_an_application_that_returns_or_fails_closes_with_1011(loop):
    @websocket
    async def app(scope, receive, send):
        await accept(receive, send)
        if (await receive())["text"] == "fail":
            raise ValueError("on purpose")

    with AsgiWorker(app, asgi_loop=loop) as worker:
        for word in ("return", "fail"):
            with client(worker) as ws:
                ws.send(word)
                with pytest.raises(ConnectionClosed):
                    ws.recv(timeout=30)
                assert ws.close_code == 1011
        wait_until(lambda: "ValueError: on purpose" in worker.log())


@pytest.mark.parametrize(
    ("what", "status"),
    [("close", 403), ("return", 403), ("raise", 500), ("respond", 418)],
)
def test_a_handshake_that_the_application_refuses(loop, what, status):
    @websocket
    async def app(scope, receive, send):
        await receive()
        if what == "close":
            await send({"type": "websocket.close"})
        elif what == "raise":
            raise ValueError("on purpose")
        elif what == "respond":
            head = [(b"x-why", b"tea")]
            await send({"type": "websocket.http.response.start", "status": 418, "headers": head})
            await send({"type": "websocket.http.response.body", "body": b"short ", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"and stout"})

    with AsgiWorker(app, asgi_loop=loop) as worker:
        with pytest.raises(InvalidStatus) as caught:
            client(worker)
        response = caught.value.response
        assert response.status_code == status
        if what == "respond":
            assert (response.headers["x-why"], response.body) == ("tea", b"short and stout")


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ((b"Version: 13", b"Version: 8"), b"426", b"sec-websocket-version: 13"),
        ((b"Sec-WebSocket-Version: 13\r\n", b""), b"426", b"sec-websocket-version: 13"),
        ((b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), b"400", b""),
        ((b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc"), b"400", b""),
    ],
)
def test_a_bad_handshake_never_reaches_the_application(loop, change, status, field):
    with AsgiWorker(websocket(None), asgi_loop=loop) as worker, worker.connect() as sock:
        sock.sendall(HANDSHAKE.replace(*change))
        answered = read_all(sock)
        assert answered.startswith(b"HTTP/1.1 " + status)
        assert field in answered
        assert b"Connection: close" in answered.replace(b"upgrade, close", b"close")


def test_an_upgrade_to_something_else_is_a_plain_request(loop):
    with AsgiWorker(echo, asgi_loop=loop) as worker, worker.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: foo/1\r\n\r\n")
        assert read_all(sock).endswith(b"plain")


def test_frames_that_come_with_the_handshake_are_not_lost(loop):
    with AsgiWorker(echo, asgi_loop=loop) as worker, worker.connect() as sock:
        sock.sendall(HANDSHAKE + frame(Opcode.TEXT, b"early"))
        read_until(sock, b"\r\n\r\n")
        assert read_frame(sock) == (Opcode.TEXT, b"early")


def test_a_websocket_after_requests_on_the_same_connection(loop):
    @websocket
    async def app(scope, receive, send):
        await accept(receive, send)
        await send({"type": "websocket.send", "text": (await receive())["text"]})
        await receive()

    with AsgiWorker(app, asgi_loop=loop) as worker, worker.connect() as sock:
        for _ in range(2):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            read_until(sock, b"plain")
        sock.sendall(HANDSHAKE)
        read_until(sock, b"\r\n\r\n")
        sock.sendall(frame(Opcode.TEXT, b"hello"))
        assert read_frame(sock) == (Opcode.TEXT, b"hello")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(Opcode.TEXT, b"\xff"), 1007),
        (b"\x81\x03abc", 1002),
        (frame(Opcode.CONT, b"x"), 1002),
        (frame(Opcode.BINARY, b"x" * 1001), 1009),
        (frame(Opcode.TEXT, b"x" * 600, fin=False) + frame(Opcode.CONT, b"x" * 600), 1009),
    ],
    ids=["not UTF-8", "not masked", "nothing to continue", "too big", "too big in parts"],
)
def test_broken_rules_close_with_their_code(loop, notes, data, code):
    @websocket
    async def app(scope, receive, send):
        await accept(receive, send)
        notes(str((await receive()).get("code")))

    with AsgiWorker(app, asgi_loop=loop, websocket_max_message_size=1000) as worker, raw(worker) as sock:
        sock.sendall(data)
        opcode, payload = read_frame(sock)
        assert (opcode, int.from_bytes(payload[:2], "big")) == (Opcode.CLOSE, code)
        assert sock.recv(1) == b""
        wait_until(lambda: str(code) in notes)
        assert worker.log() == ""


def test_a_client_that_vanishes_is_seen_at_once(loop, notes):
    @websocket
    async def app(scope, receive, send):
        await accept(receive, send)
        notes("open")
        notes(f"{(await receive())['code']}")

    with AsgiWorker(app, asgi_loop=loop) as worker:
        sock = raw(worker)
        wait_until(lambda: "open" in notes)
        sock.close()
        wait_until(lambda: "1006" in notes)


def test_an_application_that_does_not_end_is_cancelled_after_the_grace_period(loop, notes):
    @websocket
    async def app(scope, receive, send):
        await accept(receive, send)
        notes("open")
        try:
            await anyio.sleep(30)
        except anyio.get_cancelled_exc_class():
            notes("cancelled")
            raise

    with AsgiWorker(app, asgi_loop=loop, asgi_disconnect_grace_period=1) as worker:
        sock = raw(worker)
        wait_until(lambda: "open" in notes)
        left = time.monotonic()
        sock.close()
        wait_until(lambda: "cancelled" in notes)
        assert 0.8 < time.monotonic() - left < PROMPT


# Pings


def test_pings_keep_an_idle_connection_open(loop):
    settings = {"websocket_ping_interval": 0.1, "websocket_ping_timeout": 1}
    with AsgiWorker(echo, asgi_loop=loop, **settings) as worker, raw(worker) as sock:
        for _ in range(3):
            opcode, payload = read_frame(sock)
            assert opcode == Opcode.PING
            sock.sendall(frame(Opcode.PONG, payload))
        sock.sendall(frame(Opcode.TEXT, b"alive"))
        found = read_frame(sock)
        while found[0] == Opcode.PING:
            found = read_frame(sock)
        assert found == (Opcode.TEXT, b"alive")


def test_a_client_that_does_not_answer_pings_is_given_up(loop, notes):
    @websocket
    async def app(scope, receive, send):
        await accept(receive, send)
        notes(str((await receive())["code"]))

    settings = {"websocket_ping_interval": 0.2, "websocket_ping_timeout": 0.3}
    with AsgiWorker(app, asgi_loop=loop, **settings) as worker, raw(worker) as sock:
        started = time.monotonic()
        assert read_frame(sock)[0] == Opcode.PING
        found = read_frame(sock)
        while found[0] == Opcode.PING:
            found = read_frame(sock)
        assert (found[0], found[1][:2]) == (Opcode.CLOSE, (1011).to_bytes(2, "big"))
        assert 0.45 < time.monotonic() - started < PROMPT
        wait_until(lambda: "1011" in notes)


def test_pongs_do_not_wait_behind_a_large_message(loop):
    @websocket
    async def app(scope, receive, send):
        await accept(receive, send)
        await send({"type": "websocket.send", "bytes": b"x" * 32_000_000})
        await receive()

    with AsgiWorker(app, asgi_loop=loop) as worker, raw(worker) as sock:
        sock.sendall(frame(Opcode.PING, b"now"))
        before = 0
        found = read_frame(sock)
        while found != (Opcode.PONG, b"now"):
            before += len(found[1])
            found = read_frame(sock)
        assert before < 16_000_000  # what the kernel may hold; the whole message is twice as much


# Backpressure


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_client_that_does_not_read_stops_the_application(loop, notes):
    @websocket
    async def app(scope, receive, send):
        await accept(receive, send)
        for number in range(500):
            await send({"type": "websocket.send", "bytes": bytes(1_000_000)})
            notes(str(number))

    with AsgiWorker(app, asgi_loop=loop, write_timeout=2) as worker, raw(worker) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        wait_until(lambda: notes.lines)
        before = resident(worker.pid)
        worker.slot_idle()  # by write_timeout
        assert len(notes.lines) < 30
        assert resident(worker.pid) - before < 16_000_000


def test_an_application_that_does_not_receive_stops_the_client(loop, notes):
    @websocket
    async def app(scope, receive, send):
        await accept(receive, send)
        notes("open")
        await anyio.sleep(30)

    with AsgiWorker(app, asgi_loop=loop) as worker, raw(worker) as sock:
        wait_until(lambda: "open" in notes)
        before = resident(worker.pid)
        sock.settimeout(0.5)
        messages = frame(Opcode.BINARY, bytes(60_000)) * 1000
        with pytest.raises(TimeoutError):
            sock.sendall(messages)
        assert resident(worker.pid) - before < 16_000_000


# Draining


def test_draining_closes_with_1012(loop, notes):
    @websocket
    async def app(scope, receive, send):
        await accept(receive, send)
        notes("open")
        assert (await receive())["code"] == 1012
        notes(f"closed {time.monotonic()}")

    with AsgiWorker(app, asgi_loop=loop, graceful_timeout=4) as worker, ExitStack() as stack:
        clients = [stack.enter_context(client(worker)) for _ in range(4)]
        wait_until(lambda: notes.lines.count("open") == 4)
        worker.kill(15)
        for ws in clients:
            with pytest.raises(ConnectionClosed):
                ws.recv(timeout=30)
            assert ws.close_code == 1012
        assert worker.wait() == 0
        closed = [float(line.split()[1]) for line in notes.lines if line.startswith("closed")]
        assert len(closed) == 4
        assert 0.5 < max(closed) - min(closed) < 4  # spread, so that they do not all come back at once


def test_an_upgrade_during_draining_is_sent_elsewhere(loop, notes):
    @websocket
    async def app(scope, receive, send):
        await accept(receive, send)
        notes("open")
        await receive()
        await anyio.sleep(1)

    with AsgiWorker(app, asgi_loop=loop, graceful_timeout=5) as worker, client(worker):
        sock = worker.connect()
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        read_until(sock, b"plain")
        wait_until(lambda: "open" in notes)
        worker.kill(15)
        wait_until(lambda: worker.slot.state.name == "DRAINING")
        sock.sendall(HANDSHAKE)
        refused = read_all(sock)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in refused.lower()
        sock.close()


def test_wrong_order_names_the_message(loop):
    @websocket
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.send", "text": "too early"})

    with AsgiWorker(app, asgi_loop=loop) as worker:
        with pytest.raises(InvalidStatus):
            client(worker)
        wait_until(lambda: "the application sent 'websocket.send' before 'websocket.accept'" in worker.log())
