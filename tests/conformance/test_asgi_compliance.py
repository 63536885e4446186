"""HTTP as the ASGI specification has it ("HTTP & WebSocket ASGI Message Format", 2.5; "Extensions"), read
line by line, on each loop.
"""

from __future__ import annotations

import os

import anyio
import anyio.lowlevel
import pytest
from asgi_exam import LOOPS, Exam, tried
from asgi_worker import AsgiWorker, answer, body, http_only, read_body, start
from engine_worker import read_all, read_answer, read_exactly, read_until, split

exam = Exam()
note = exam.note


@pytest.fixture(scope="module", params=LOOPS)
def running(request):
    with exam.worker(request.param) as worker:
        yield worker


@pytest.fixture
def worker(running):
    running.forget()
    return running


@pytest.fixture
def client(worker):
    with worker.connect() as sock:
        yield sock


def request(path, fields="", *, method="GET", version="1.1", data=b"") -> bytes:
    if data:
        fields += f"Content-Length: {len(data)}\r\n"
    return f"{method} {path} HTTP/{version}\r\nHost: a\r\n{fields}\r\n".encode() + data


def fields_of(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = head.split(b"\r\n")[1:]
    return [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines if line)]


def still_works(client) -> None:
    """The connection has an exchange behind the one of the test, and nothing of that one is left over."""
    client.sendall(request("/plain"))
    head, data = read_answer(client)
    assert (head[:15], data) == (b"HTTP/1.1 200 OK", b"plain")


@exam
async def plain(scope, receive, send):
    await answer(send, b"plain")


# HTTP Connection Scope


@exam
async def show(scope, receive, send):
    shown = {**scope, "state": sorted(scope["state"]), "class": type(scope).__name__}
    await answer(send, repr(shown).encode())


def scope_of(client, target="/show", fields="", **more):
    client.sendall(request(target, fields, **more))
    return eval(read_answer(client)[1])


TYPES = {
    "type": str,
    "asgi": dict,
    "http_version": str,
    "method": str,
    "scheme": str,
    "path": str,
    "raw_path": bytes,
    "query_string": bytes,
    "root_path": str,
    "client": tuple,
    "server": tuple,
    "extensions": dict,
}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_every_key_of_the_scope_has_its_type(client, version):
    scope = scope_of(client, fields="Connection: keep-alive\r\n", version=version)
    assert scope["class"] == "dict"
    assert {name: type(scope[name]) for name in TYPES} == TYPES
    assert all(type(part) is bytes for pair in scope["headers"] for part in pair)
    assert (scope["type"], scope["asgi"]["version"]) == ("http", "3.0")
    assert scope["asgi"]["spec_version"] in ("2.4", "2.5")
    assert (scope["http_version"], scope["method"], scope["scheme"]) == (version, "GET", "http")
    assert [type(part) for name in ("client", "server") for part in scope[name]] == [str, int, str, int]
    assert scope["client"] == client.getsockname()
    assert scope["server"] == client.getpeername()
    assert scope["root_path"] == ""
    assert "shared" in scope["state"]
    assert all(type(name) is str and value == {} for name, value in scope["extensions"].items())


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        ("/show", "/show", b"/show", b""),
        ("/show?", "/show", b"/show", b""),
        ("/show?a=1&b=%20?c", "/show", b"/show", b"a=1&b=%20?c"),
        ("/show/a%20b", "/show/a b", b"/show/a%20b", b""),
        ("/show/a+b", "/show/a+b", b"/show/a+b", b""),
        ("/show/caf%C3%A9", "/show/café", b"/show/caf%C3%A9", b""),
        ("/show/%f0%9f%98%80", "/show/\U0001f600", b"/show/%f0%9f%98%80", b""),
        ("/show/a%2Fb", "/show/a/b", b"/show/a%2Fb", b""),
        ("/show/a%3Fb", "/show/a?b", b"/show/a%3Fb", b""),
        ("/show/%25%32%30", "/show/%20", b"/show/%25%32%30", b""),
        ("/show/%FF", "/show/\ufffd", b"/show/%FF", b""),
        ("/show//a/../b;c=d", "/show//a/../b;c=d", b"/show//a/../b;c=d", b""),
        ("http://a/show/x?y", "/show/x", b"/show/x", b"y"),
    ],
)
def test_the_path_is_decoded_and_the_raw_path_is_not(client, target, path, raw_path, query):
    scope = scope_of(client, target)
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)


def test_headers_are_as_they_were_sent(client):
    fields = "X-B: 2\r\nx-a: 1\r\nCookie: c=d\r\nX-B: 3,4\r\nX-Empty:\r\nX-Latin: \xe9\r\n"
    client.sendall(f"GET /show HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode("latin-1"))
    scope = eval(read_answer(client)[1])
    assert scope["headers"] == [
        (b"host", b"a"),
        (b"x-b", b"2"),
        (b"x-a", b"1"),
        (b"cookie", b"c=d"),
        (b"x-b", b"3,4"),
        (b"x-empty", b""),
        (b"x-latin", b"\xe9"),
    ]


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "PATCH", "PROPFIND", "PUT", "QUERY"])
def test_other_methods(client, method):
    assert scope_of(client, method=method)["method"] == method


@exam
async def spoil(scope, receive, send):
    found = repr([scope["headers"], scope["extensions"], scope["asgi"], sorted(scope["state"])]).encode()
    scope["headers"].append((b"spoilt", b"1"))
    scope["headers"][0] = (b"host", b"spoilt")
    scope["extensions"]["spoilt"] = {}
    scope["asgi"]["spoilt"] = "1"
    scope["state"]["spoilt"] = 1
    await answer(send, found)


def test_what_an_application_does_to_its_scope_stays_there(client):
    client.sendall(request("/spoil", "X-A: 1\r\n"))
    first = read_answer(client)[1]
    assert b"spoilt" not in first
    for _ in range(3):
        client.sendall(request("/spoil", "X-A: 1\r\n"))
        assert read_answer(client)[1] == first


def test_the_state_is_a_copy_that_shares_its_values(client):
    assert "shared" in scope_of(client)["state"]
    client.sendall(request("/share") * 2)
    assert [eval(read_answer(client)[1]) for _ in range(2)] == [1, 2]


@exam
async def share(scope, receive, send):
    scope["state"]["shared"].append("by a request")
    await answer(send, b"%d" % scope["state"]["shared"].count("by a request"))


@pytest.mark.parametrize("loop", LOOPS)
def test_a_unix_socket_is_a_path_and_none(loop, tmp_path):
    path = str(tmp_path / "socket")
    with exam.worker(loop, bind=f"unix:{path}", root_path="/api") as worker:
        scope = eval(worker.get("/show")[1])
    assert tuple(scope["server"]) == (path, None)
    assert scope["client"] is None
    assert scope["root_path"] == "/api"


# Request - receive event


@exam
async def messages(scope, receive, send):
    found = [await receive()]
    while found[-1]["more_body"]:
        found.append(await receive())
    await answer(send, repr(found).encode())


def test_a_request_without_a_body_is_one_empty_message(client):
    client.sendall(request("/messages"))
    assert eval(read_answer(client)[1]) == [{"type": "http.request", "body": b"", "more_body": False}]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_the_messages_of_a_body_make_the_body(client, chunked):
    data = os.urandom(200_000)
    if chunked:
        parts = [data[at : at + 999] for at in range(0, len(data), 999)]
        wire = b"".join(b"%X;x=y\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        client.sendall(request("/messages", "Transfer-Encoding: chunked\r\n", method="POST") + wire)
    else:
        client.sendall(request("/messages", method="POST", data=data))
    found = eval(read_answer(client)[1])
    assert b"".join(message["body"] for message in found) == data
    assert [message["more_body"] for message in found] == [True] * (len(found) - 1) + [False]
    assert all(set(message) == {"type", "body", "more_body"} for message in found)
    assert all(type(message["body"]) is bytes for message in found)
    still_works(client)


@exam
async def behind(scope, receive, send):
    await read_body(receive)
    with anyio.move_on_after(0.1):
        note(scope, await receive())
    note(scope, "waited")
    await answer(send, b"x")
    for _ in range(3):
        note(scope, await receive())


def test_receive_waits_behind_the_body_and_says_disconnect_behind_the_response(worker, client):
    client.sendall(request("/behind", method="POST", data=b"x" * 10))
    read_answer(client)
    assert worker.found("behind", 4) == ["waited", *[{"type": "http.disconnect"}] * 3]
    still_works(client)


@exam
async def gone(scope, receive, send):
    await receive()
    note(scope, "here")
    for _ in range(3):
        note(scope, await receive())
    try:
        while True:
            await start(send)
            await body(send, b"x" * 1000, more=True)
            while True:
                await body(send, b"x" * 1000, more=True)
                await anyio.lowlevel.checkpoint()
    except OSError as error:
        note(scope, tried(error))
        if scope["query_string"]:
            raise


@pytest.mark.parametrize("raises", ["", "?raise"])
def test_send_raises_an_oserror_of_its_own_when_the_client_has_gone(worker, raises):
    before = worker.log()
    with worker.connect() as client:
        client.sendall(request("/gone" + raises))
        assert worker.found("gone") == ["here"]
    found = worker.found("gone", 4)
    assert found[:3] == [{"type": "http.disconnect"}] * 3
    assert found[3][0] != "OSError"
    assert "OSError" in found[3]
    worker.slot_idle()
    assert worker.log() == before  # it is not an error


# Response Start - send event


@exam
async def short(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})


def test_keys_that_are_optional_may_be_left_out(client):
    client.sendall(request("/short"))
    head, data = read_answer(client)
    assert (head[:15], data) == (b"HTTP/1.1 200 OK", b"")
    still_works(client)


@exam
async def additional(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": False, "x": 1})
    await send({"type": "http.response.body", "body": b"ok", "more_body": False, "x": 1})


def test_additional_keys_are_no_error(client):
    client.sendall(request("/additional"))
    assert read_answer(client)[1] == b"ok"


HEADERS = [(b"x-b", b"1"), (b"set-cookie", b"a=b"), (b"x-a", b"\xe9"), (b"set-cookie", b"c=d"), (b"x-b", b"")]
KINDS = {
    "list": list,
    "tuple": tuple,
    "lists": lambda pairs: [list(pair) for pair in pairs],
    "generator": lambda pairs: (pair for pair in pairs),
    "items": lambda pairs: dict(pairs).items(),
}


@exam
async def headers(scope, receive, send):
    make = KINDS[scope["query_string"].decode()]
    await send({"type": "http.response.start", "status": 404, "headers": make(HEADERS)})
    await body(send, b"not here")


@pytest.mark.parametrize("kind", KINDS)
def test_headers_are_any_iterable_of_pairs_in_their_order(client, kind):
    client.sendall(request(f"/headers?{kind}"))
    head, data = read_answer(client)
    expected = list(dict(HEADERS).items()) if kind == "items" else HEADERS
    sent = [pair for pair in fields_of(head) if pair[0] in dict(HEADERS)]
    assert (head[:12], data) == (b"HTTP/1.1 404", b"not here")
    assert sent == expected


@exam
async def transfer(scope, receive, send):
    await start(send, headers=[(b"transfer-encoding", b"gzip, chunked")])
    await body(send, b"as it ", more=True)
    await body(send, b"is")


def test_transfer_encoding_is_the_servers(client):
    client.sendall(request("/transfer"))
    head, data = read_answer(client)
    assert data == b"as it is"
    assert [value for name, value in fields_of(head) if name.lower() == b"transfer-encoding"] == [b"chunked"]
    still_works(client)


@exam
async def change(scope, receive, send):
    await start(send, 200, [(b"x-secret", b"1")])
    raise ValueError("the application found a fault of its own")


def test_a_start_is_not_sent_before_its_body(worker):
    head, _ = worker.get("/change")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in head


# Response Body - send event


@exam
async def flush(scope, receive, send):
    await start(send)
    for part in (b"one", b"", b"two"):
        await body(send, part, more=True)
        await anyio.sleep(0.01)
    await receive()
    await receive()
    note(scope, "left")


def test_each_part_leaves_at_once_and_an_empty_one_ends_nothing(worker, client):
    client.sendall(request("/flush"))
    read_until(client, b"\r\n\r\n")
    assert read_exactly(client, 16) == b"3\r\none\r\n3\r\ntwo\r\n"
    client.close()
    assert worker.found("flush") == ["left"]


@exam
async def buffers(scope, receive, send):
    kept = bytearray(b"before ")
    await start(send)
    await send({"type": "http.response.body", "body": kept, "more_body": True})
    kept[:] = b"changed"
    await send({"type": "http.response.body", "body": memoryview(b"after"), "more_body": False})


def test_what_is_sent_is_what_it_was_when_it_was_sent(client):
    client.sendall(request("/buffers"))
    assert read_answer(client)[1] == b"before after"


@exam
async def bodiless(scope, receive, send):
    fields = [(b"content-length", b"4")] if b"length" in scope["query_string"] else []
    await start(send, int(scope["path"].split("/")[2]), fields)
    more = b"stream" in scope["query_string"]
    await body(send, b"body", more=more)
    if more:
        await body(send)


@pytest.mark.parametrize("how", ["", "length", "stream", "length,stream"])
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304)])
def test_no_body_where_http_has_none(client, method, status, how):
    client.sendall(request(f"/bodiless/{status}?{how}", method=method))
    head = read_until(client, b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    if status == 204:
        assert not {b"content-length", b"transfer-encoding"} & {name.lower() for name, _ in fields_of(head)}
    still_works(client)


@exam
async def late(scope, receive, send):
    await answer(send, b"whole")
    for message in (
        {"type": "http.response.body", "body": b"more"},
        {"type": "http.response.start", "status": 500},
    ):
        try:
            await send(message)
            note(scope, "ignored")
        except Exception as error:  # noqa: BLE001 - what it is, is the question
            note(scope, tried(error))


def test_nothing_that_follows_the_response_reaches_the_client(worker, client):
    client.sendall(request("/late"))
    assert read_answer(client)[1] == b"whole"
    first, second = worker.found("late", 2)
    assert "RuntimeError" in first
    assert "http.response.body" in first[-1]
    assert "http.response.start" in second[-1]
    still_works(client)


# Invalid messages: "it should raise an exception out of the send awaitable" (ASGI, "Error Handling")

WRONG_HEADS = [
    {},
    "text",
    None,
    {"type": "http.response.begin"},
    {"type": None},
    {"type": "http.response.body", "body": b"x"},
    {"type": "http.response.trailers", "headers": []},
    {"type": "websocket.send", "text": "x"},
    {"type": "lifespan.startup.complete"},
    {"type": "http.response.start"},
    {"type": "http.response.start", "status": "200"},
    {"type": "http.response.start", "status": None},
    {"type": "http.response.start", "status": 99},
    {"type": "http.response.start", "status": 101},
    {"type": "http.response.start", "status": 1000},
    {"type": "http.response.start", "status": 200, "headers": [("x-a", "1")]},
    {"type": "http.response.start", "status": 200, "headers": [("x-a", b"1")]},
    {"type": "http.response.start", "status": 200, "headers": [(b"x-a", "1")]},
    {"type": "http.response.start", "status": 200, "headers": [(b"x-a", 1)]},
    {"type": "http.response.start", "status": 200, "headers": [(b"x-a",)]},
    {"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1", b"2")]},
    {"type": "http.response.start", "status": 200, "headers": [b"x-a"]},
    {"type": "http.response.start", "status": 200, "headers": 7},
    {"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1\r\nx-b: 2")]},
    {"type": "http.response.start", "status": 200, "headers": [(b"x a", b"1")]},
    {"type": "http.response.start", "status": 200, "headers": [(b"", b"1")]},
    {"type": "http.response.start", "status": 200, "headers": [(b":status", b"200")]},
    {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"-1")]},
]
WRONG_BODIES = [
    {"type": "http.response.start", "status": 200},
    {"type": "http.response.body", "body": "text"},
    {"type": "http.response.body", "body": None},
    {"type": "http.response.body", "body": 7},
    {"type": "http.response.body", "body": [b"x"]},
    {"type": "http.response.trailers", "headers": []},
    {"type": "http.response.pathsend", "path": b"/etc/hostname"},
    {"type": "http.response.pathsend", "path": "relative"},
    {"type": "http.response.pathsend"},
    {"type": "http.response.zerocopysend", "file": 0},
    {"type": "websocket.accept"},
]


@exam
async def wrong(scope, receive, send):
    number = int(scope["path"].split("/")[3])
    in_body = "body" in scope["path"]
    if in_body:
        await start(send)
    try:
        await send((WRONG_BODIES if in_body else WRONG_HEADS)[number])
        found = "no error"
    except Exception as error:  # noqa: BLE001 - what it is, is the question
        found = tried(error)
    note(scope, found)
    if not in_body:
        await start(send)
    await body(send, b"right ", more=True)
    await body(send, b"all the same")


def named(message):
    return "-".join(str(value)[:40] for value in message.values()) if isinstance(message, dict) else None


@pytest.mark.parametrize(
    ("where", "number"),
    [
        *(pytest.param("head", at, id=f"head {named(what) or at}") for at, what in enumerate(WRONG_HEADS)),
        *(pytest.param("body", at, id=f"body {named(what) or at}") for at, what in enumerate(WRONG_BODIES)),
    ],
)
def test_a_wrong_message_raises_and_changes_nothing(worker, client, where, number):
    client.sendall(request(f"/wrong/{where}/{number}"))
    assert read_answer(client)[1] == b"right all the same"
    (found,) = worker.found("wrong")
    assert "RuntimeError" in found
    message = (WRONG_HEADS if where == "head" else WRONG_BODIES)[number]
    if isinstance(message, dict) and isinstance(message.get("type"), str):
        assert message["type"] in found[-1]
    still_works(client)


# Extensions


@exam
async def trailers(scope, receive, send):
    assert "http.response.trailers" in scope["extensions"]
    await start(send, headers=[(b"trailer", b"x-a, x-b")], trailers=True)
    await body(send, b"da", more=True)
    await body(send, b"ta")
    note(scope, "the body is over")
    await send({"type": "http.response.trailers", "headers": [(b"x-a", b"1")], "more_trailers": True})
    await send({"type": "http.response.trailers", "headers": [[b"x-b", b"2"]]})


def test_trailers_follow_the_body(worker, client):
    client.sendall(request("/trailers", "TE: trailers\r\nConnection: close, TE\r\n"))
    head, data = split(read_all(client))
    assert (b"trailer", b"x-a, x-b") in fields_of(head)
    assert data == b"2\r\nda\r\n2\r\nta\r\n0\r\nx-a: 1\r\nx-b: 2\r\n\r\n"
    worker.found("trailers")


def test_trailers_are_for_clients_that_know_them(worker, client):
    client.sendall(request("/trailers", "Connection: close\r\n"))
    assert split(read_all(client))[1] == b"2\r\nda\r\n2\r\nta\r\n0\r\n\r\n"
    worker.found("trailers")


@exam
async def no_trailers(scope, receive, send):
    await start(send, trailers=True)
    await body(send, b"data")


def test_trailers_that_were_promised_are_waited_for(client):
    client.sendall(request("/no_trailers", "TE: trailers\r\n"))
    assert not read_all(client).endswith(b"0\r\n\r\n")


@exam
async def hints(scope, receive, send):
    assert "http.response.early_hint" in scope["extensions"]
    await start(send)
    await send({"type": "http.response.early_hint", "links": [b"</a>; rel=preload", b"</b>"]})
    await send({"type": "http.response.early_hint", "links": (b"</c>",)})
    await body(send, b"begun", more=True)
    await send({"type": "http.response.early_hint", "links": [b"</too-late>"]})
    await body(send)


def test_early_hints_may_follow_the_start(client):
    client.sendall(request("/hints"))
    first, second = (read_until(client, b"\r\n\r\n") for _ in range(2))
    assert first.startswith(b"HTTP/1.1 103 ")
    assert fields_of(first) == [(b"link", b"</a>; rel=preload"), (b"link", b"</b>")]
    assert fields_of(second) == [(b"link", b"</c>")]
    head, data = read_answer(client)
    assert (head[:15], data) == (b"HTTP/1.1 200 OK", b"begun")
    still_works(client)


@exam
async def old(scope, receive, send):
    note(scope, sorted(scope["extensions"]))
    await start(send)
    await body(send, b"one ", more=True)
    await body(send, b"two")


def test_extensions_that_http_1_0_cannot_have_are_not_offered(worker, client):
    client.sendall(request("/old", version="1.0"))
    assert split(read_all(client))[1] == b"one two"
    (offered,) = worker.found("old")
    assert set(offered) <= {"http.response.pathsend"}


@exam
async def file(scope, receive, send):
    assert "http.response.pathsend" in scope["extensions"]
    await start(send, headers=[(b"content-length", b"%d" % os.stat(__file__).st_size)])
    await send({"type": "http.response.pathsend", "path": __file__})


def test_a_path_is_a_whole_body(client):
    with open(__file__, "rb") as source:
        expected = source.read()
    for _ in range(2):
        client.sendall(request("/file"))
        assert read_answer(client)[1] == expected
    client.sendall(request("/file", method="HEAD"))
    assert b"content-length: %d" % len(expected) in read_until(client, b"\r\n\r\n")
    still_works(client)


@pytest.mark.parametrize("loop", LOOPS)
def test_only_what_is_offered_can_be_sent(loop):
    """Every message that belongs to an extension is refused by name where the scope does not have it."""

    @http_only
    async def app(scope, receive, send):
        for name in ("push", "zerocopysend", "debug"):
            assert f"http.response.{name}" not in scope["extensions"]
        await start(send)
        try:
            await send({"type": "http.response.push", "path": "/a", "headers": []})
        except RuntimeError as error:
            await body(send, str(error).encode())

    with AsgiWorker(app, asgi_loop=loop) as worker, worker.connect() as client:
        client.sendall(request("/"))
        assert b"http.response.push" in read_answer(client)[1]
