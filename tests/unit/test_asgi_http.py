"""The order of HTTP messages, without a loop: whatever an application does, the wire stays well-formed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.asgi.errors import ClientDisconnected, MessageError
from gunicorn.asgi.http import After, FileBody, HttpExchange, Stage
from gunicorn.errors import ProtocolError
from gunicorn.http import Peer, Policy, Request, ServerConnection

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
WITH_TRAILERS = b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, Trailers;q=1\r\n\r\n"


def begin(data: bytes = GET, *, rest: bytes = b"") -> tuple[ServerConnection, HttpExchange]:
    connection = ServerConnection(Policy(keep_app_server_and_date=True), Peer("127.0.0.1", 1))
    connection.receive_data(data)
    request = connection.next_event()
    assert isinstance(request, Request)
    if rest:
        connection.receive_data(rest)
    return connection, HttpExchange(connection, request)


def start(status: int = 200, headers: tuple = (), **more: object) -> dict:
    return {"type": "http.response.start", "status": status, "headers": headers, **more}


def body(data: bytes = b"", more: bool = False) -> dict:
    return {"type": "http.response.body", "body": data, "more_body": more}


def post(size: int | None, fields: str = "") -> bytes:
    framing = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
    return f"POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n{fields}\r\n".encode()


# send


def test_the_head_waits_for_the_first_body_message():
    _, exchange = begin()
    assert exchange.send(start(headers=[(b"content-length", b"5")])) == b""
    assert not exchange.head_sent
    data = exchange.send(body(b"hello"))
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.endswith(b"\r\n\r\nhello")
    assert exchange.complete
    assert exchange.after() is After.NEXT


def test_a_failure_between_head_and_body_can_still_be_answered():
    _, exchange = begin()
    exchange.send(start())
    assert exchange.abandon(500).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert exchange.after() is After.LINGER


def test_behind_the_first_byte_only_the_end_of_the_connection_can_tell():
    _, exchange = begin()
    exchange.send(start())
    exchange.send(body(b"x", more=True))
    assert exchange.abandon(500) == b""
    assert exchange.after() is After.LINGER


def test_trailers_come_only_when_announced():
    _, exchange = begin()
    exchange.send(start())
    exchange.send(body(b"x"))
    with pytest.raises(MessageError, match=r"'http\.response\.trailers' after the response was complete"):
        exchange.send({"type": "http.response.trailers", "headers": []})


def test_trailers_in_several_messages():
    _, exchange = begin(WITH_TRAILERS)
    exchange.send(start(trailers=True))
    assert not exchange.send(body(b"x")).endswith(b"0\r\n\r\n")
    assert (
        exchange.send({"type": "http.response.trailers", "headers": [(b"a", b"1")], "more_trailers": True})
        == b""
    )
    assert (
        exchange.send({"type": "http.response.trailers", "headers": [(b"b", b"2")]})
        == b"0\r\na: 1\r\nb: 2\r\n\r\n"
    )


def test_trailers_are_for_clients_that_take_them():
    _, exchange = begin()
    exchange.send(start(trailers=True))
    exchange.send(body(b"x"))
    assert exchange.send({"type": "http.response.trailers", "headers": [(b"a", b"1")]}) == b"0\r\n\r\n"


def test_early_hints_go_out_until_the_head_does():
    _, exchange = begin()
    hint = {"type": "http.response.early_hint", "links": [b"</a>"]}
    expected = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    assert exchange.send(hint) == expected
    exchange.send(start())
    assert exchange.send(hint) == expected
    exchange.send(body(b"x", more=True))
    assert exchange.send(hint) == b""


@pytest.mark.parametrize(
    "pair",
    [(b"content-length", b"1"), (b"Transfer-Encoding", b"chunked"), (b"a b", b""), (b"a", b"x\r\ny: z")],
)
def test_trailers_that_must_not_be(pair):
    _, exchange = begin()
    exchange.send(start(trailers=True))
    exchange.send(body(b"x"))
    with pytest.raises(MessageError, match=r"^http.response.trailers: "):
        exchange.send({"type": "http.response.trailers", "headers": [pair]})
    assert exchange.send({"type": "http.response.trailers", "headers": []}) == b"0\r\n\r\n"


@pytest.mark.parametrize("status", [100, 101, 200, 1, 99])
def test_informational_statuses_that_must_not_be(status):
    _, exchange = begin()
    with pytest.raises(MessageError, match="must be 102 to 199"):
        exchange.send({"type": "http.response.informational", "status": status})


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (None, "must be a dict with a type"),
        ({}, "must be a dict with a type"),
        ({"type": 3}, "must be a dict with a type"),
        ({"type": "http.response.start"}, "the key 'status' is missing"),
        (start("200"), "status must be int, not str"),
        (start(99), "the status must be 200 to 999, not 99"),
        (start(headers=[("a", "b")]), "not bytes"),
        (start(headers=[(b"a",)]), "not enough values"),
        (start(headers=5), "pairs of bytes"),
        (start(headers=[(b"a b", b"")]), "invalid response header name"),
        (start(headers=[(b"content-length", b"x")]), "invalid Content-Length"),
        ({"type": "http.response.early_hint"}, "the key 'links' is missing"),
        (body(b"x"), "before 'http.response.start'"),
        ({"type": "websocket.accept"}, "unknown type"),
    ],
)
def test_malformed_messages_are_named_and_change_nothing(message, text):
    _, exchange = begin()
    with pytest.raises(MessageError, match=text):
        exchange.send(message)
    exchange.send(start(headers=[(b"content-length", b"2")]))
    assert exchange.send(body(b"ok")).endswith(b"ok")


def test_a_body_may_be_any_bytes():
    for data in (bytearray(b"abc"), memoryview(b"abc")):
        _, exchange = begin()
        exchange.send(start())
        assert exchange.send(body(data)).endswith(b"\r\n\r\nabc")


def test_a_relative_path_is_refused():
    _, exchange = begin()
    exchange.send(start())
    with pytest.raises(MessageError, match="absolute"):
        exchange.send({"type": "http.response.pathsend", "path": "etc/passwd"})


def test_a_file_is_clipped_to_the_length():
    _, exchange = begin()
    exchange.send(start(headers=[(b"content-length", b"3")]))
    assert exchange.send({"type": "http.response.pathsend", "path": "/f"}) == FileBody("/f")
    before, count, after = exchange.begin_file(10)
    assert before.endswith(b"\r\n\r\n")
    assert (count, after) == (3, b"")
    assert exchange.complete
    assert exchange.dropped == 7


def test_a_file_without_a_length_is_one_chunk():
    _, exchange = begin()
    exchange.send(start())
    exchange.send({"type": "http.response.pathsend", "path": "/f"})
    before, count, after = exchange.begin_file(16)
    assert before.endswith(b"\r\n\r\n10\r\n")
    assert (count, after) == (16, b"\r\n0\r\n\r\n")


def test_send_raises_when_the_client_is_gone_and_receive_says_so():
    _, exchange = begin()
    exchange.disconnect()
    with pytest.raises(ClientDisconnected):
        exchange.send(start())
    with pytest.raises(OSError, match="disconnected"):
        exchange.send(start())
    assert exchange.next_message() == {"type": "http.disconnect"}
    assert exchange.abandon() == b""
    assert exchange.after() is After.CLOSE


def test_a_notice_lets_the_answer_through():
    _, exchange = begin()
    exchange.notice_disconnect()
    assert exchange.next_message() == {"type": "http.request", "body": b"", "more_body": False}
    assert exchange.next_message() == {"type": "http.disconnect"}
    exchange.send(start())
    assert b"hello" in exchange.send(body(b"hello"))


# receive


def test_a_request_without_a_body_has_one_empty_message():
    _, exchange = begin()
    assert exchange.next_message() == {"type": "http.request", "body": b"", "more_body": False}
    assert exchange.next_message() is None
    assert not exchange.body_wanted
    exchange.send(start())
    exchange.send(body())
    assert exchange.next_message() == {"type": "http.disconnect"}


def test_continue_is_asked_for_once_and_only_when_the_body_is():
    _, exchange = begin(post(5, "Expect: 100-continue\r\n"))
    assert exchange.begin_body() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert exchange.begin_body() == b""
    _, exchange = begin(post(5, "Expect: 100-continue\r\n"))
    exchange.send(start(413))
    assert exchange.begin_body() == b""


def test_a_body_that_breaks_the_rules_is_a_disconnect_with_a_fault():
    connection, exchange = begin(post(None))
    connection.receive_data(b"zz\r\n")
    assert exchange.next_message() == {"type": "http.disconnect"}
    assert exchange.fault is not None
    assert exchange.fault.status == 400


def test_a_fault_of_the_driver_is_one_too():
    _, exchange = begin(post(5))
    assert exchange.next_message() is None
    assert exchange.body_wanted
    exchange.fail_body(ProtocolError(408, "body_timeout"))
    assert exchange.next_message() == {"type": "http.disconnect"}


def test_what_the_application_left_of_the_body_is_skipped():
    connection, exchange = begin(post(10), rest=b"12345")
    exchange.send(start())
    exchange.send(body())
    assert exchange.after() is After.SKIP_BODY
    connection.receive_data(b"67890" + GET)
    assert connection.discard_body()
    connection.start_next_cycle()
    assert isinstance(connection.next_event(), Request)


@given(st.binary(max_size=300), st.booleans(), st.data())
def test_any_slicing_of_a_body_gives_the_same_body(data, chunked, source):
    wire = data
    if chunked:
        wire = (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + b"0\r\n\r\n"
    connection, exchange = begin(post(None if chunked else len(data)))
    got, ended, at = b"", False, 0
    while not ended:
        message = exchange.next_message()
        if message is None:
            assert at < len(wire), "everything is here, and the body has no end"
            step = source.draw(st.integers(1, len(wire) - at))
            connection.receive_data(wire[at : at + step])
            at += step
            continue
        assert message["type"] == "http.request"
        got += message["body"]
        ended = not message["more_body"]
    assert got == data


# Any order of messages


FIELDS = [(b"content-length", b"3"), (b"content-length", b"0"), (b"x", b"y"), (b"connection", b"close")]
HEADERS = st.lists(st.sampled_from([*FIELDS, ("t", "t"), (b"b b", b"")]), max_size=2)


def trailers(more: bool) -> dict:
    return {"type": "http.response.trailers", "headers": [(b"t", b"1")], "more_trailers": more}


def informational(status: int) -> dict:
    return {"type": "http.response.informational", "status": status}


MESSAGES = st.one_of(
    st.builds(start, st.sampled_from([200, 204, 304, 404, 99, "x"]), HEADERS, trailers=st.booleans()),
    st.builds(body, st.sampled_from([b"", b"abc", b"abcdef", "text"]), st.booleans()),
    st.builds(trailers, st.booleans()),
    st.builds(informational, st.sampled_from([103, 200])),
    st.just({"type": "http.response.early_hint", "links": [b"</a>"]}),
    st.just({"type": "lifespan.startup.complete"}),
)
REQUESTS = st.sampled_from(
    [GET, WITH_TRAILERS, GET.replace(b"GET", b"HEAD"), GET.replace(b"1.1", b"1.0"), post(0)]
)


@given(REQUESTS, st.lists(MESSAGES, max_size=8))
def test_every_order_of_messages_gives_a_well_formed_answer(request, messages):
    _, exchange = begin(request)
    wire = b""
    faults: list[tuple[str, Stage, Stage]] = []
    for message in messages:
        stage = exchange.stage
        try:
            data = exchange.send(message)
        except MessageError as error:
            faults.append((str(error), stage, exchange.stage))
            continue
        assert isinstance(data, bytes)
        wire += data
    assert all(before == after and "\n" not in text for text, before, after in faults)
    if not exchange.complete:
        wire += exchange.abandon(500)
    assert exchange.stage is Stage.DONE
    check_wire(wire, request, keeps=exchange.after() is After.NEXT)


def check_wire(wire: bytes, request: bytes, *, keeps: bool) -> None:
    """At most a few informational heads, then one final head, then exactly the body that it announces."""
    while re.match(rb"HTTP/1\.1 1\d\d ", wire):
        _, _, wire = wire.partition(b"\r\n\r\n")
    head, separator, content = wire.partition(b"\r\n\r\n")
    assert separator
    assert head.count(b"HTTP/1.1 ") == 1
    status = int(head[9:12])
    length = re.search(rb"(?im)^content-length: (\d+)", head)
    if request.startswith(b"HEAD") or status in (204, 304):
        assert content == b""
    elif length is not None:
        assert len(content) <= int(length[1])
        assert not keeps or len(content) == int(length[1])
    elif b"Transfer-Encoding: chunked" in head:
        assert not keeps or re.fullmatch(rb"(?s)([0-9a-f]+\r\n.*?\r\n)*0\r\n([a-z]+: .*\r\n)*\r\n", content)
    else:
        assert not keeps
    assert keeps == (b"Connection: keep-alive" in head) or not keeps
