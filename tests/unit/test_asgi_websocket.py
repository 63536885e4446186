"""The WebSocket session: bytes to messages and back, whatever the pieces."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websocket_wire import CLIENT, DEFLATE, accepted, close_code, frame, handshake, join, new_session
from websockets.frames import Opcode

from gunicorn.asgi.errors import ClientDisconnected, MessageError
from gunicorn.asgi.websocket import WebSocketClosed, WebSocketSettings, is_websocket, refuse_handshake

MESSAGES = st.lists(st.one_of(st.text(max_size=300), st.binary(max_size=300)), max_size=12)


def received(session) -> list[object]:
    """What ``receive`` gives until it would wait, or a disconnect."""
    found = []
    while (message := session.next_message()) is not None:
        if message["type"] == "websocket.disconnect":
            return [*found, (message["code"], message["reason"])]
        found.append(message.get("text", message.get("bytes")))
    return found


def client_bytes(messages, cut: int) -> bytes:
    """The client's frames for ``messages``, long ones in fragments, with a ping before each."""
    data = b""
    for number, message in enumerate(messages):
        payload = message.encode() if isinstance(message, str) else message
        opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
        data += frame(Opcode.PING, b"%d" % number)
        parts = [payload[at : at + cut] for at in range(0, len(payload), cut)] or [b""]
        for index, part in enumerate(parts):
            data += frame(opcode if not index else Opcode.CONT, part, fin=index == len(parts) - 1)
    return data


@given(MESSAGES, st.integers(1, 40), st.lists(st.integers(1, 50), min_size=1, max_size=10))
@settings(max_examples=80, deadline=None)
def test_any_split_of_the_bytes_gives_the_same_messages(messages, cut, sizes):
    data = client_bytes(messages, cut) + frame(Opcode.CLOSE, (4000).to_bytes(2, "big") + b"bye")
    session, whole = accepted(), accepted()
    answers, found, at, turn = b"", [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        answers += session.receive_data(data[at : at + size])
        found += received(session) if not session.must_close else []
        at, turn = at + size, turn + 1
    found += received(session)
    assert whole.receive_data(data) == answers
    assert received(whole) == found == [*messages, (4000, "bye")]
    assert session.must_close


@given(MESSAGES, st.booleans())
@settings(max_examples=80, deadline=None)
def test_what_is_sent_arrives(messages, compressed):
    client = CLIENT(DEFLATE if compressed else "")
    session = accepted(client)
    for message in messages:
        key = "text" if isinstance(message, str) else "bytes"
        client.receive_data(join(session.send({"type": "websocket.send", key: message})))
    assert client.messages() == messages


def test_compressed_messages_arrive():
    client = CLIENT(DEFLATE)
    session = accepted(client)
    client.protocol.send_text(b"hello " * 1000)
    data = client.data_to_send()
    assert len(data) < 200
    session.receive_data(data)
    assert received(session) == ["hello " * 1000]


@pytest.mark.parametrize(
    "parameters",
    [
        {"server_no_context_takeover": True},
        {"client_no_context_takeover": True},
        {"server_no_context_takeover": True, "client_no_context_takeover": True},
        {"server_max_window_bits": 9},
        {"client_max_window_bits": 9},
        {"server_max_window_bits": 15, "client_max_window_bits": 15},
    ],
    ids=lambda parameters: ", ".join(f"{name}={value}" for name, value in parameters.items()),
)
def test_every_form_of_compression_goes_both_ways(parameters):
    client = CLIENT(DEFLATE, **parameters)
    session = accepted(client)
    sent = [(f"word {size} " * size)[:size] for size in (0, 16, 64, 256, 1024, 4096, 70_000, 200_000)] * 2
    for text in sent:
        client.protocol.send_text(text.encode())
        session.receive_data(client.data_to_send())
        client.receive_data(
            join(session.send({"type": "websocket.send", "text": session.next_message()["text"]}))
        )
    assert client.messages() == sent


def test_a_large_message_is_several_frames_and_urgent_ones_fit_between():
    client = CLIENT("")
    session = accepted(client)
    pieces = iter(session.send({"type": "websocket.send", "text": "x" * 2_000_000}))
    client.receive_data(next(pieces))
    client.receive_data(session.receive_data(frame(Opcode.PING, b"now")))
    for piece in pieces:
        client.receive_data(piece)
    assert [opcode for opcode in client.opcodes if opcode is Opcode.PONG] == [Opcode.PONG]
    assert client.messages() == ["x" * 2_000_000]


def test_a_client_that_kept_us_waiting_gets_shorter_frames():
    session = accepted()
    message = {"type": "websocket.send", "bytes": bytes(200_000)}
    assert len(list(session.send(message))) == 1
    session.progress(0.0)
    assert max(map(len, session.send(message))) < 70_000


def test_a_message_that_was_given_up_half_way_ends_the_connection():
    session = accepted()
    pieces = iter(session.send({"type": "websocket.send", "text": "x" * 2_000_000}))
    next(pieces)
    pieces.close()
    assert session.must_close
    assert received(session) == [(1006, "")]


def test_a_close_in_the_middle_of_a_message_stops_it():
    session = accepted()
    pieces = iter(session.send({"type": "websocket.send", "text": "x" * 2_000_000}))
    next(pieces)
    session.receive_data(frame(Opcode.CLOSE, b"\x03\xe8"))
    with pytest.raises(WebSocketClosed, match="cut short after the connection ended with code 1000"):
        next(pieces)


# The handshake


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"upgrade": "WebSocket"}, True),
        ({"upgrade": "foo, websocket"}, True),
        ({"upgrade": "h2c"}, False),
        ({"connection": "close"}, False),
        ({"method": "POST"}, False),
        ({"version": "1.0"}, False),
    ],
)
def test_which_requests_ask_for_a_websocket(changes, expected):
    assert is_websocket(handshake(**changes)[1]) is expected


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, None),
        ({"sec-websocket-version": "12"}, 426),
        ({"sec-websocket-version": None}, 426),
        ({"sec-websocket-version": "13, 8"}, 426),
        ({"sec-websocket-key": None}, 400),
        ({"sec-websocket-key": "abc"}, 400),
        ({"sec-websocket-key": "!!!!"}, 400),
        ({"sec-websocket-key": "dGhlIHNhbXBsZQ=="}, 400),
        ({"sec-websocket-extensions": "a; b=@"}, 400),
        ({"sec-websocket-extensions": ";;"}, 400),
        ({"content-length": "1"}, 400),
        ({"transfer-encoding": "chunked"}, 400),
    ],
)
def test_what_is_refused_before_the_application(changes, status):
    http, request = handshake(**changes)
    refusal = refuse_handshake(http, request)
    assert (None if refusal is None else int(refusal[9:12])) == status
    if status == 426:
        assert b"\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n" in refusal


def test_draining_refuses_every_handshake():
    refusal = refuse_handshake(*handshake(), draining=True, retry_after=7)
    assert refusal.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 7\r\n" in refusal


def test_the_accept_key_is_that_of_the_rfc():
    session = new_session()
    head = join(session.send({"type": "websocket.accept"}))
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        (None, None),
        ("permessage-deflate", b"permessage-deflate; server_max_window_bits=12"),
        (
            "permessage-deflate; client_max_window_bits",
            b"permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
        ),
        ("permessage-deflate; server_max_window_bits=10", b"permessage-deflate; server_max_window_bits=10"),
        ("permessage-deflate; unknown", None),
        ("x-webkit-deflate-frame, permessage-deflate", b"permessage-deflate; server_max_window_bits=12"),
        (
            "permessage-deflate; unknown=1, permessage-deflate",
            b"permessage-deflate; server_max_window_bits=12",
        ),
    ],
)
def test_the_compression_that_is_agreed_on(offer, agreed):
    session = new_session(**{"sec-websocket-extensions": offer})
    lines = join(session.send({"type": "websocket.accept"})).split(b"\r\n")
    found = [line.partition(b": ")[2] for line in lines if line.startswith(b"sec-websocket-extensions")]
    assert found == ([] if agreed is None else [agreed])


def test_compression_can_be_off():
    session = new_session(WebSocketSettings(compression=False), **{"sec-websocket-extensions": DEFLATE})
    assert b"deflate" not in join(session.send({"type": "websocket.accept"}))


# Order and values


@pytest.mark.parametrize(
    ("before", "message", "error"),
    [
        ([], {"type": "websocket.send", "text": "x"}, "sent 'websocket.send' before 'websocket.accept'"),
        ([], {"type": "http.response.start"}, "unknown type 'http.response.start'"),
        ([], {}, "a message must be a dict with a type, not {}"),
        ([], None, "a message must be a dict with a type, not None"),
        ([], {"type": "websocket.accept", "subprotocol": 1}, "subprotocol must be ASCII text, not 1"),
        ([], {"type": "websocket.accept", "subprotocol": "a\r\nb"}, "websocket.accept: "),
        ([], {"type": "websocket.accept", "headers": [("a", "b")]}, "headers must be pairs of bytes"),
        ([], {"type": "websocket.accept", "headers": [(b"a b", b"c")]}, "websocket.accept: "),
        ([], {"type": "websocket.accept", "headers": [(b"Upgrade", b"x")]}, "'Upgrade' is the server's"),
        ([], {"type": "websocket.http.response.start"}, "status must be 200 to 599, not None"),
        ([], {"type": "websocket.http.response.start", "status": 101}, "status must be 200 to 599, not 101"),
        ([], {"type": "websocket.http.response.body"}, "before 'websocket.accept'"),
        (["accept"], {"type": "websocket.accept"}, "'websocket.accept' while the WebSocket is open"),
        (["accept"], {"type": "websocket.send"}, "bytes must be bytes, not NoneType"),
        (["accept"], {"type": "websocket.send", "bytes": "x"}, "bytes must be bytes, not str"),
        (["accept"], {"type": "websocket.send", "text": b"x"}, "text must be str"),
        (["accept"], {"type": "websocket.send", "text": "\ud800"}, "text must be str that UTF-8 can express"),
        (["accept"], {"type": "websocket.close", "code": "x"}, "code must be int, not 'x'"),
        (["accept"], {"type": "websocket.close", "code": 1006}, "code 1006 must not be sent"),
        (["accept"], {"type": "websocket.close", "code": 99999}, "code 99999 must not be sent"),
        (["accept"], {"type": "websocket.close", "reason": 1}, "reason must be str, not int"),
        (["start"], {"type": "websocket.accept"}, "in the response that refuses the handshake"),
        (["start"], {"type": "websocket.http.response.body", "body": "x"}, "body must be bytes, not str"),
    ],
)
def test_a_wrong_message_is_named_and_changes_nothing(before, message, error):
    session = new_session()
    steps = {
        "accept": {"type": "websocket.accept"},
        "start": {"type": "websocket.http.response.start", "status": 404},
    }
    for step in before:
        join(session.send(steps[step]))
    with pytest.raises(MessageError) as caught:
        join(session.send(message))
    assert error in str(caught.value)
    assert not session.must_close
    good = {
        "accept": {"type": "websocket.send", "text": "x"},
        "start": {"type": "websocket.http.response.body"},
    }
    assert join(session.send(good[before[-1]] if before else {"type": "websocket.accept"}))


def test_sending_after_the_end_raises_what_applications_catch():
    session = accepted()
    session.receive_data(b"")
    with pytest.raises(WebSocketClosed) as caught:
        session.send({"type": "websocket.send", "text": "x"})
    assert isinstance(caught.value, (OSError, RuntimeError, ClientDisconnected))
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, RuntimeError)


def test_a_long_reason_is_clipped_between_characters():
    session = accepted()
    data = join(session.send({"type": "websocket.close", "reason": "é" * 200}))
    assert data[2:] == b"\x03\xe8" + "é".encode() * 61


def test_the_denial_is_a_response_of_its_own():
    session = new_session()
    head = join(
        session.send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"a", b"b")]})
    )
    assert head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"\r\nConnection: close\r\n" in head
    assert not session.must_close
    body = join(session.send({"type": "websocket.http.response.body", "body": b"no"}))
    assert body == b"2\r\nno\r\n0\r\n\r\n"
    assert (session.must_close, session.denied, session.accepted) == (True, 401, False)


def test_the_end_of_the_application():
    assert new_session().finish(failed=False).startswith(b"HTTP/1.1 403 ")
    assert new_session().finish(failed=True).startswith(b"HTTP/1.1 500 ")
    session = accepted()
    assert close_code(session.finish(failed=False)) == 1011
    assert session.closing
    assert session.finish(failed=True) == b""
    assert session.receive_data(frame(Opcode.CLOSE, b"\x03\xf3")) == b""
    assert session.must_close


def test_going_away():
    assert new_session().go_away().startswith(b"HTTP/1.1 503 ")
    session = accepted()
    session.receive_data(frame(Opcode.TEXT, b"first"))
    assert close_code(session.go_away()) == 1012
    assert received(session) == ["first", (1012, "service restart")]
    assert session.go_away() == b""
    with pytest.raises(WebSocketClosed):
        session.send({"type": "websocket.send", "text": "x"})
    session.receive_data(frame(Opcode.TEXT, b"ignored") + frame(Opcode.CLOSE, b"\x03\xf4"))
    assert received(session) == [(1012, "service restart")]
    assert session.must_close


# Flow control


def test_the_queue_pauses_and_goes_on_at_half():
    session = accepted()
    for number in range(31):
        session.receive_data(frame(Opcode.TEXT, b"%d" % number))
    assert not session.paused
    session.receive_data(frame(Opcode.TEXT, b"31"))
    assert session.paused
    for _ in range(15):
        session.next_message()
    assert session.paused
    session.next_message()
    assert not session.paused


def test_one_large_message_pauses():
    session = accepted()
    session.receive_data(frame(Opcode.BINARY, bytes(100_000)))
    assert session.paused
    session.next_message()
    assert not session.paused


def test_a_client_that_talks_before_the_accept_is_paused_too():
    session = new_session()
    session.receive_data(frame(Opcode.BINARY, bytes(100_000)))
    assert session.paused
    assert session.next_message() == {"type": "websocket.connect"}
    join(session.send({"type": "websocket.accept"}))
    assert received(session) == [bytes(100_000)]
    assert not session.paused


# Pings


def test_pings_and_their_deadlines():
    session = accepted(settings=WebSocketSettings(ping_interval=20, ping_timeout=5))
    assert session.deadline == inf
    assert session.tick(100.0) == b""
    assert session.deadline == 120.0
    assert session.tick(120.0) == b"\x89\x00"
    assert session.deadline == 125.0
    session.receive_data(frame(Opcode.PONG, b""))
    assert session.tick(125.0) == b""
    assert session.deadline == 140.0
    assert session.tick(140.0) == b"\x89\x00"
    session.progress(144.0)
    assert session.tick(145.0) == b""
    assert session.deadline == 149.0
    assert close_code(session.tick(149.0)) == 1011
    assert (session.must_close, session.deadline) == (True, inf)
    assert received(session) == [(1011, "ping timeout")]


def test_nobody_is_given_up_while_the_application_does_not_receive():
    session = accepted(settings=WebSocketSettings(ping_interval=20, ping_timeout=5))
    session.tick(0.0)
    assert session.tick(20.0) == b"\x89\x00"
    session.receive_data(frame(Opcode.BINARY, bytes(100_000)))
    assert session.paused
    assert session.tick(1000.0) == b""
    assert not session.must_close


@pytest.mark.parametrize(("interval", "timeout", "pings"), [(0, 20, 0), (20, 0, 3)])
def test_pings_and_their_deadline_can_be_off(interval, timeout, pings):
    session = accepted(settings=WebSocketSettings(ping_interval=interval, ping_timeout=timeout))
    session.tick(0.0)
    assert b"".join(session.tick(now) for now in (20.0, 40.0, 60.0)) == b"\x89\x00" * pings
    assert not session.must_close
