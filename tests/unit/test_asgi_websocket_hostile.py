"""What a hostile or broken WebSocket client sends: the Autobahn cases that a server decides alone."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from websocket_wire import CLIENT, DEFLATE, accepted, frame
from websockets.frames import Opcode

from gunicorn.asgi.websocket import WebSocketSettings

TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG

# RFC 3629: overlong forms, surrogates, beyond U+10FFFF, cut sequences.
NOT_UTF8 = [
    b"\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xce\xba\xe1\xbd",
    b"abc\x80",
]

# Name, bytes, and the close code that answers them.
CASES = [
    ("rsv1 without an extension", frame(TEXT, b"x", rsv1=True), 1002),
    ("rsv2", b"\xa1" + frame(TEXT, b"x")[1:], 1002),
    ("rsv3", b"\x91" + frame(TEXT, b"x")[1:], 1002),
    *(
        (f"opcode {n}", bytes([0x80 | n]) + frame(TEXT, b"x")[1:], 1002)
        for n in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    ),
    ("not masked", b"\x81\x01x", 1002),
    ("ping of 126 bytes", frame(PING, bytes(126)), 1002),
    ("pong of 126 bytes", frame(PONG, bytes(126)), 1002),
    ("close of 126 bytes", frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    ("ping in fragments", frame(PING, b"x", fin=False), 1002),
    ("close in fragments", frame(CLOSE, b"\x03\xe8", fin=False), 1002),
    ("nothing to continue", frame(CONT, b"x"), 1002),
    ("nothing to continue, open", frame(CONT, b"x", fin=False), 1002),
    ("a second message inside the first", frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    ("a continuation too many", frame(TEXT, b"x", fin=False) + frame(CONT, b"y") + frame(CONT, b"z"), 1002),
    ("close of one byte", frame(CLOSE, b"\x03"), 1002),
    *(
        (f"close code {code}", frame(CLOSE, code.to_bytes(2, "big")), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    ),
    ("close reason that is not UTF-8", frame(CLOSE, b"\x03\xe8\xff"), 1007),
    *((f"text {bad!r}", frame(TEXT, bad), 1007) for bad in NOT_UTF8),
    *(
        (f"text {bad!r} in parts", frame(TEXT, bad[:1], fin=False) + frame(CONT, bad[1:]), 1007)
        for bad in NOT_UTF8
    ),
    ("a length of 2**63", b"\x82\xff" + b"\xff" * 8, 1009),
    ("too big by its length alone", b"\x82\xff" + (100_001).to_bytes(8, "big"), 1009),
    ("too big in parts", (frame(BINARY, bytes(60_000), fin=False) + frame(CONT, bytes(60_000))), 1009),
]


def answer(session, data: bytes, step: int) -> bytes:
    return b"".join(session.receive_data(data[at : at + step]) for at in range(0, len(data), step))


@pytest.mark.parametrize("step", [1_000_000, 1], ids=["at once", "byte by byte"])
@pytest.mark.parametrize(("data", "code"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_breaks_a_rule_is_answered_with_its_code(data, code, step):
    session = accepted(settings=WebSocketSettings(max_message_size=100_000))
    closing = answer(session, data, step)
    assert (closing[:1], int.from_bytes(closing[2:4], "big")) == (b"\x88", code)
    assert session.must_close
    assert session.receive_data(frame(PING, b"more") + frame(TEXT, b"more")) == b""
    messages = [session.next_message()]
    while messages[-1]["type"] == "websocket.receive":
        messages.append(session.next_message())
    assert messages[-1]["type"] == "websocket.disconnect"
    assert messages[-1]["code"] in (code, 1000)


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1014, 3000, 4999]
)
def test_good_close_codes_are_echoed(code):
    session = accepted()
    payload = code.to_bytes(2, "big") + b"why"
    assert session.receive_data(frame(CLOSE, payload)) == b"\x88\x05" + payload
    assert session.next_message() == {"type": "websocket.disconnect", "code": code, "reason": "why"}


def test_an_empty_close_is_echoed_empty():
    session = accepted()
    assert session.receive_data(frame(CLOSE, b"")) == b"\x88\x00"
    assert session.next_message()["code"] == 1005


def test_pings_are_answered_in_order_between_the_parts_of_a_message():
    session = accepted()
    data = frame(TEXT, b"a", fin=False) + frame(PING, b"1") + frame(CONT, b"b", fin=False) + frame(PING, b"2")
    assert session.receive_data(data + frame(CONT, b"c")) == b"\x8a\x011\x8a\x012"
    assert session.next_message()["text"] == "abc"


def test_nothing_is_said_after_a_close():
    session = accepted()
    data = frame(CLOSE, b"\x03\xe8") + frame(PING, b"1") + frame(TEXT, b"x")
    assert session.receive_data(data) == b"\x88\x02\x03\xe8"
    assert session.next_message()["type"] == "websocket.disconnect"


def test_bad_text_before_a_close_in_the_same_packet_is_still_bad_text():
    session = accepted()
    closing = session.receive_data(frame(TEXT, b"\xff") + frame(CLOSE, b"\x03\xe8"))
    assert int.from_bytes(closing[2:4], "big") == 1007


def test_half_a_character_at_the_end_of_a_fragment_is_fine():
    session = accepted()
    word = "κόσμε".encode()
    parts = [
        frame(TEXT, word[:1], fin=False),
        *(frame(CONT, word[n : n + 1], fin=False) for n in range(1, len(word))),
    ]
    session.receive_data(b"".join(parts) + frame(CONT, b""))
    assert session.next_message()["text"] == "κόσμε"


# Compression


def deflated(data: bytes, *, keep_tail: bool = False) -> bytes:
    packer = zlib.compressobj(9, wbits=-12)
    packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    return packed if keep_tail else packed[:-4]


def compressed_session(limit: int):
    return accepted(CLIENT(DEFLATE), WebSocketSettings(max_message_size=limit))


@pytest.mark.parametrize(
    "frames",
    [
        [frame(BINARY, deflated(bytes(50_000_000)), rsv1=True)],
        [frame(BINARY, deflated(bytes(50_000_000), keep_tail=True), fin=False, rsv1=True), frame(CONT, b"")],
        # Exactly the limit, and then more: the rest must not count from nothing.
        [
            frame(BINARY, deflated(bytes(1_000_000), keep_tail=True), fin=False, rsv1=True),
            frame(CONT, deflated(bytes(50_000_000))),
        ],
    ],
    ids=["one frame", "a fragment", "behind the limit"],
)
def test_a_bomb_is_refused_before_it_is_inflated(frames):
    session = compressed_session(1_000_000)
    tracemalloc.start()
    try:
        closing = b"".join(session.receive_data(data) for data in frames)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (closing[:1], int.from_bytes(closing[2:4], "big")) == (b"\x88", 1009)
    assert peak < 5_000_000
    assert session.next_message()["code"] == 1009


def test_the_limit_is_that_of_the_inflated_message():
    session = compressed_session(1000)
    session.receive_data(frame(TEXT, deflated(b"x" * 1000), rsv1=True))
    assert session.next_message()["text"] == "x" * 1000
    session.receive_data(frame(TEXT, deflated(b"x" * 1001), rsv1=True))
    assert session.next_message()["code"] == 1009


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"\xff\xff\xff", rsv1=True),
        frame(PING, b"x", rsv1=True),
        frame(TEXT, deflated(b"x"), rsv1=True, fin=False) + frame(CONT, b"x", rsv1=True),
    ],
    ids=["not deflate", "a control frame", "a continuation"],
)
def test_bad_compression_breaks_a_rule(data):
    session = compressed_session(1000)
    assert int.from_bytes(session.receive_data(data)[2:4], "big") == 1002


def test_inflated_text_must_be_utf8():
    session = compressed_session(1000)
    assert int.from_bytes(session.receive_data(frame(TEXT, deflated(b"\xff"), rsv1=True))[2:4], "big") == 1007


def test_an_uncompressed_message_is_fine_after_the_agreement():
    session = compressed_session(1000)
    session.receive_data(frame(TEXT, b"plain"))
    assert session.next_message()["text"] == "plain"


def test_millions_of_tiny_fragments_take_little_memory():
    session = accepted()
    session.receive_data(frame(BINARY, b"", fin=False))
    part = frame(CONT, b"xy", fin=False) * 1000
    tracemalloc.start()
    try:
        for _ in range(20):
            session.receive_data(part)
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert size < 200_000
    session.receive_data(frame(CONT, b""))
    assert session.next_message()["bytes"] == b"xy" * 20_000
