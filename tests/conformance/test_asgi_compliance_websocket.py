"""WebSockets as the ASGI specification has them ("HTTP & WebSocket ASGI Message Format", 2.5; "Websocket
Denial Response"), read line by line, on each loop.
"""

from __future__ import annotations

import anyio
import pytest
from asgi_exam import LOOPS, Exam, tried
from asgi_worker import answer
from engine_worker import read_all, read_exactly, read_until
from websocket_wire import frame
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Opcode
from websockets.sync.client import connect

exam = Exam()
note = exam.note

CONNECT = {"type": "websocket.connect"}
HANDSHAKE = (
    "GET /{} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{}\r\n"
)


@pytest.fixture(scope="module", params=LOOPS)
def running(request):
    with exam.worker(request.param) as worker:
        yield worker


@pytest.fixture
def worker(running):
    running.forget()
    return running


def client(worker, name, **options):
    options.setdefault("compression", None)
    return connect(
        "ws://{}:{}/{}".format(*worker.address, name),
        proxy=None,
        close_timeout=10,
        open_timeout=30,
        **options,
    )


def raw(worker, name, fields=""):
    """A socket and the head of the answer to its handshake."""
    sock = worker.connect()
    sock.sendall(HANDSHAKE.format(name, fields).encode())
    return sock, read_until(sock, b"\r\n\r\n")


def read_close(sock) -> tuple[int, bytes]:
    """Code and reason of the close frame that must come next."""
    opcode, size = read_exactly(sock, 2)
    assert opcode == 0x88
    payload = read_exactly(sock, size)
    return int.from_bytes(payload[:2], "big"), payload[2:]


@exam
async def plain(scope, receive, send):
    await answer(send, b"plain")


# Websocket Connection Scope


@exam
async def show(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    shown = {**scope, "state": sorted(scope["state"]), "class": type(scope).__name__}
    await send({"type": "websocket.send", "text": repr(shown)})
    await receive()


TYPES = {
    "type": str,
    "asgi": dict,
    "http_version": str,
    "scheme": str,
    "path": str,
    "raw_path": bytes,
    "query_string": bytes,
    "root_path": str,
    "client": tuple,
    "server": tuple,
    "subprotocols": list,
    "extensions": dict,
}


def test_every_key_of_the_scope_has_its_type(worker):
    with client(worker, "show/caf%C3%A9?a=%20", subprotocols=["one", "two"]) as ws:
        scope = eval(ws.recv(timeout=30))
        assert scope["client"] == ws.socket.getsockname()
        assert scope["server"] == ws.socket.getpeername()
    assert scope["class"] == "dict"
    assert {name: type(scope[name]) for name in TYPES} == TYPES
    assert all(type(part) is bytes and name.islower() for name, part in scope["headers"])
    assert (scope["type"], scope["asgi"]["version"], scope["http_version"]) == ("websocket", "3.0", "1.1")
    assert scope["asgi"]["spec_version"] in ("2.4", "2.5")
    assert scope["scheme"] == "ws"
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (
        "/show/café",
        b"/show/caf%C3%A9",
        b"a=%20",
    )
    assert scope["subprotocols"] == ["one", "two"]
    assert "shared" in scope["state"]
    assert "websocket.http.response" in scope["extensions"]
    assert not [name for name in scope["extensions"] if name.startswith("http.")]


def test_no_subprotocols_are_an_empty_list(worker):
    with client(worker, "show") as ws:
        assert eval(ws.recv(timeout=30))["subprotocols"] == []


# Connect, Accept


@exam
async def handshake(scope, receive, send):
    note(scope, await receive())
    with anyio.move_on_after(0.1):
        note(scope, await receive())
    note(scope, "nothing before the accept")
    headers = [(b"x-b", b"1"), (b"set-cookie", b"a=b"), (b"x-a", b"2"), (b"set-cookie", b"c=d")]
    await send({"type": "websocket.accept", "subprotocol": "two", "headers": headers, "additional": 1})
    note(scope, await receive())
    await send({"type": "websocket.close"})


def test_the_handshake_waits_for_the_accept(worker):
    sock, head = raw(worker, "handshake", "Sec-WebSocket-Protocol: one, two\r\n")
    with sock:
        sock.sendall(frame(Opcode.TEXT, b"hello"))
        assert head.startswith(b"HTTP/1.1 101 ")
        lines = head.split(b"\r\n")
        assert b"sec-websocket-protocol: two" in lines
        own = [line for line in lines if line.startswith((b"x-", b"set-cookie"))]
        assert own == [b"x-b: 1", b"set-cookie: a=b", b"x-a: 2", b"set-cookie: c=d"]
        assert read_close(sock)[0] == 1000
    received = {"type": "websocket.receive", "text": "hello"}
    assert worker.found("handshake", 3) == [CONNECT, "nothing before the accept", received]


@exam
async def unread(scope, receive, send):
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "first"})
    for _ in range(2):
        note(scope, await receive())


def test_the_accept_need_not_wait_for_the_connect(worker):
    with client(worker, "unread") as ws:
        assert ws.subprotocol is None
        assert ws.recv(timeout=30) == "first"
        ws.send("a")
        assert worker.found("unread", 2) == [CONNECT, {"type": "websocket.receive", "text": "a"}]


@exam
async def accept_of(scope, receive, send):
    await receive()
    kind = {"tuple": tuple, "lists": lambda pairs: [list(pair) for pair in pairs], "iterator": iter}
    headers = kind[scope["path"].split("/")[2]]([(b"x-a", b"1")])
    await send({"type": "websocket.accept", "subprotocol": None, "headers": headers})
    await send({"type": "websocket.close"})


@pytest.mark.parametrize("kind", ["tuple", "lists", "iterator"])
def test_headers_are_any_iterable_of_pairs(worker, kind):
    sock, head = raw(worker, f"accept_of/{kind}", "Sec-WebSocket-Protocol: one\r\n")
    sock.close()
    assert b"\r\nx-a: 1\r\n" in head
    assert b"sec-websocket-protocol" not in head.lower()


# Receive, Send


@exam
async def echo(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        text, data = message.get("text"), message.get("bytes")
        assert (text is None) != (data is None)
        assert type(data if text is None else text) is (bytes if text is None else str)
        assert set(message) <= {"type", "text", "bytes"}
        await send({"type": "websocket.send", "text": text, "bytes": data, "additional": 1})


def test_exactly_one_of_text_and_bytes_whatever_is_in_it(worker):
    with client(worker, "echo") as ws:
        for message in ("", b"", "é\0", b"\xff\0", "x" * 200_000, bytes(200_000)):
            ws.send(message)
            assert ws.recv(timeout=30) == message
        ws.send(iter(["a", "", "b", "c"]))
        assert ws.recv(timeout=30) == "abc"
        ws.send(iter([b"a", b"", b"b"]))
        assert ws.recv(timeout=30) == b"ab"


@exam
async def forms(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    for content in (
        {"text": "t"},
        {"bytes": b"b"},
        {"text": "", "bytes": None},
        {"text": None, "bytes": b""},
    ):
        await send({"type": "websocket.send", **content})
    await receive()


def test_the_other_key_may_be_there_or_not(worker):
    with client(worker, "forms") as ws:
        assert [ws.recv(timeout=30) for _ in range(4)] == ["t", b"b", "", b""]


# Disconnect


@exam
async def listen(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    note(scope, "open")
    for _ in range(3):
        note(scope, await receive())
    for message in ({"type": "websocket.send", "text": "x"}, {"type": "websocket.close"}):
        try:
            await send(message)
            note(scope, "no error")
        except OSError as error:
            note(scope, tried(error))
            if scope["query_string"]:
                raise


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        (b"", 1005, ""),
        ((1000).to_bytes(2, "big"), 1000, ""),
        ((3000).to_bytes(2, "big") + "tschüß".encode(), 3000, "tschüß"),
        (None, 1006, ""),
    ],
)
def test_a_disconnect_has_the_code_and_the_reason_of_the_client(worker, payload, code, reason):
    before = worker.log()
    sock, _ = raw(worker, "listen")
    with sock:
        assert worker.found("listen") == ["open"]
        if payload is not None:
            sock.sendall(frame(Opcode.CLOSE, payload))
            answered = read_all(sock)
            assert answered[:1] == b"\x88"
            assert answered[2:4] == payload[:2]
    found = worker.found("listen", 5)
    assert found[:3] == [{"type": "websocket.disconnect", "code": code, "reason": reason}] * 3
    for error in found[3:]:
        assert error[0] != "OSError"
        assert "OSError" in error
    worker.slot_idle()
    assert worker.log() == before


def test_the_error_of_send_may_leave_the_application(worker):
    before = worker.log()
    sock, _ = raw(worker, "listen?raise")
    sock.close()
    worker.found("listen", 5)
    worker.slot_idle()
    assert worker.log() == before


@exam
async def early(scope, receive, send):
    note(scope, await receive())
    for _ in range(2):
        note(scope, await receive())
    try:
        await send({"type": "websocket.accept"})
    except OSError as error:
        note(scope, tried(error))


def test_a_client_that_leaves_before_the_accept(worker):
    with worker.connect() as sock:
        sock.sendall(HANDSHAKE.format("early", "").encode())
        assert worker.found("early") == [CONNECT]
    found = worker.found("early", 3)
    assert [message["type"] for message in found[:2]] == ["websocket.disconnect"] * 2
    assert found[0]["code"] in (1005, 1006)
    assert "OSError" in found[2]


# Close


@exam
async def close(scope, receive, send):
    await receive()
    if "before" in scope["path"]:
        await send({"type": "websocket.close", "code": 3001, "reason": "never seen"})
    else:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", **eval(scope["query_string"].decode())})
    for _ in range(2):
        note(scope, await receive())
    for message in ({"type": "websocket.send", "text": "x"}, {"type": "websocket.close"}):
        try:
            await send(message)
        except OSError as error:
            note(scope, tried(error))


def test_a_close_before_the_accept_is_403(worker):
    sock, head = raw(worker, "close/before")
    with sock:
        read_all(sock)
    assert head.startswith(b"HTTP/1.1 403 ")
    found = worker.found("close", 4)
    assert [message["type"] for message in found[:2]] == ["websocket.disconnect"] * 2
    assert all("OSError" in error for error in found[2:])


@pytest.mark.parametrize(
    ("close", "code", "reason"),
    [
        ({}, 1000, ""),
        ({"code": 1001}, 1001, ""),
        ({"code": 4000, "reason": "why\xe9"}, 4000, "why\xe9"),
        ({"reason": "only"}, 1000, "only"),
        ({"code": 1011, "reason": None}, 1011, ""),
        ({"code": 3000, "reason": "é" * 100}, 3000, "é" * 61),
    ],
)
def test_a_close_has_the_code_and_the_reason_of_the_application(worker, close, code, reason):
    query = repr(close).replace(" ", "").replace("é", "\\xe9")
    sock, _ = raw(worker, f"close/after?{query}")
    with sock:
        assert read_close(sock) == (code, reason.encode())
        sock.sendall(frame(Opcode.CLOSE, code.to_bytes(2, "big")))
        assert read_all(sock) == b""
    found = worker.found("close", 4)
    assert found[0] == found[1]
    assert found[0]["type"] == "websocket.disconnect"
    assert found[0]["code"] == code
    assert all("OSError" in error for error in found[2:])


@exam
async def hasty(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": 4001})
    try:
        await send({"type": "websocket.send", "text": "x"})
    except OSError as error:
        note(scope, tried(error))
    note(scope, (await receive())["code"])


def test_a_close_right_behind_the_accept(worker):
    before = worker.log()
    for _ in range(20):
        sock, _ = raw(worker, "hasty")
        with sock:
            assert read_close(sock) == (4001, b"")
            sock.sendall(frame(Opcode.CLOSE, b"\x0f\xa1"))
            assert read_all(sock) == b""
        error, code = worker.found("hasty", 2)
        assert "OSError" in error
        assert code == 4001
    worker.slot_idle()
    assert worker.log() == before


@exam
async def ends(scope, receive, send):
    if "connect" in scope["path"]:
        await receive()
    if "accept" in scope["path"]:
        await send({"type": "websocket.accept"})
    if "raises" in scope["path"]:
        raise ValueError("the application's own")


@pytest.mark.parametrize(
    ("how", "status"),
    [("at-once", b"403"), ("connect", b"403"), ("connect-raises", b"500"), ("raises", b"500")],
)
def test_an_application_that_ends_without_an_answer(worker, how, status):
    sock, head = raw(worker, f"ends/{how}")
    with sock:
        read_all(sock)
    assert head[9:12] == status


@pytest.mark.parametrize("how", ["accept", "connect-accept", "accept-raises"])
def test_an_application_that_dies_closes_the_socket(worker, how):
    with client(worker, f"ends/{how}") as ws:
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=30)
        assert ws.close_code == 1011


# Wrong messages


WRONG = {
    "connecting": [
        {},
        "text",
        {"type": "websocket.begin"},
        {"type": "websocket.send", "text": "too early"},
        {"type": "websocket.http.response.body", "body": b"x"},
        {"type": "http.response.start", "status": 200},
        {"type": "websocket.accept", "headers": [("x-a", "1")]},
        {"type": "websocket.accept", "headers": [(b"x-a", "1")]},
        {"type": "websocket.accept", "headers": [(b"x-a", b"1\r\nx-b: 2")]},
        {"type": "websocket.accept", "headers": [(b"x a", b"1")]},
        {"type": "websocket.accept", "headers": [(b"sec-websocket-accept", b"x")]},
        {"type": "websocket.accept", "subprotocol": "a", "headers": [(b"Sec-WebSocket-Protocol", b"b")]},
        {"type": "websocket.accept", "subprotocol": b"one"},
        {"type": "websocket.accept", "subprotocol": 1},
        {"type": "websocket.accept", "subprotocol": "o\r\nne"},
        {"type": "websocket.http.response.start"},
        {"type": "websocket.http.response.start", "status": "200"},
        {"type": "websocket.http.response.start", "status": 101},
        {"type": "websocket.http.response.start", "status": 200, "headers": [("x", "y")]},
    ],
    "open": [
        {},
        None,
        {"type": "websocket.accept"},
        {"type": "websocket.begin"},
        {"type": "websocket.http.response.start", "status": 200},
        {"type": "http.response.body", "body": b"x"},
        {"type": "websocket.send"},
        {"type": "websocket.send", "text": None, "bytes": None},
        {"type": "websocket.send", "text": "x", "bytes": b"x"},
        {"type": "websocket.send", "text": b"x"},
        {"type": "websocket.send", "text": 1},
        {"type": "websocket.send", "text": "\ud800"},
        {"type": "websocket.send", "bytes": "x"},
        {"type": "websocket.close", "code": "1000"},
        {"type": "websocket.close", "code": 1006},
        {"type": "websocket.close", "code": 999},
        {"type": "websocket.close", "code": 1000, "reason": b"x"},
    ],
}


@exam
async def wrong(scope, receive, send):
    _, _, stage, number = scope["path"].split("/")
    await receive()
    if stage == "open":
        await send({"type": "websocket.accept"})
    try:
        await send(WRONG[stage][int(number)])
        found = "no error"
    except Exception as error:  # noqa: BLE001 - what it is, is the question
        found = tried(error)
    note(scope, found)
    if stage == "connecting":
        await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "right all the same"})
    await receive()


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        pytest.param(stage, number, id=f"{stage} {number} {message and '-'.join(map(str, message))}")
        for stage, messages in WRONG.items()
        for number, message in enumerate(messages)
    ],
)
def test_a_wrong_message_raises_and_changes_nothing(worker, stage, number):
    with client(worker, f"wrong/{stage}/{number}") as ws:
        assert ws.recv(timeout=30) == "right all the same"
    (found,) = worker.found("wrong")
    assert "RuntimeError" in found
    message = WRONG[stage][number]
    if isinstance(message, dict) and message:
        assert message["type"] in found[-1]


# Websocket Denial Response


@exam
async def deny(scope, receive, send):
    assert "websocket.http.response" in scope["extensions"]
    await receive()
    how = scope["query_string"].decode()
    start = {"type": "websocket.http.response.start", "status": 418}
    if how != "bare":
        start["headers"] = [(b"content-type", b"text/tea"), (b"x-b", b"1"), (b"x-a", b"2")]
    await send(start)
    if how == "bare":
        await send({"type": "websocket.http.response.body"})
    else:
        await send({"type": "websocket.http.response.body", "body": b"short ", "more_body": True})
        try:
            await send({"type": "websocket.accept"})
        except RuntimeError as error:
            note(scope, tried(error))
        await send({"type": "websocket.http.response.body", "body": b"and stout", "more_body": False})
    note(scope, (await receive())["type"])
    try:
        await send({"type": "websocket.send", "text": "x"})
    except OSError as error:
        note(scope, tried(error))


@pytest.mark.parametrize("how", ["bare", "full"])
def test_a_denial_is_the_applications_response(worker, how):
    with pytest.raises(InvalidStatus) as caught, client(worker, f"deny?{how}"):
        pass
    response = caught.value.response
    assert response.status_code == 418
    if how == "full":
        assert (response.headers["content-type"], response.body) == ("text/tea", b"short and stout")
        assert [name for name in response.headers if name.startswith("x-")] == ["x-b", "x-a"]
        (found,) = worker.found("deny")
        assert "websocket.accept" in found[-1]
    kind, error = worker.found("deny", 2)
    assert kind == "websocket.disconnect"
    assert "OSError" in error


@exam
async def broken(scope, receive, send):
    await receive()
    await send({"type": "websocket.http.response.start", "status": 200, "headers": []})
    raise ValueError("the application's own")


def test_a_denial_that_is_not_finished_has_no_end(worker):
    with worker.connect() as sock:
        sock.sendall(HANDSHAKE.format("broken", "").encode())
        wire = read_all(sock)
    # Either an error page, or a body without its last chunk: nothing that looks whole.
    assert wire.startswith(b"HTTP/1.1 500 ") or not wire.endswith(b"0\r\n\r\n")


def test_requests_beside_websockets_have_no_websocket_messages(worker):
    assert worker.get("/plain")[1] == b"plain"
