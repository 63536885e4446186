"""Frames that are read without the library, beside those that are not: the outcome is the library's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from websocket_wire import accepted, frame
from websockets.frames import Opcode

from gunicorn.asgi.websocket import WebSocketSettings
from gunicorn.asgi.websocket_closed import Closed
from gunicorn.asgi.websocket_frames import FrameCodec

SIZES = st.sampled_from([0, 1, 5, 124, 125, 126, 127, 200, 4_000, 65_535, 65_536, 70_000])
LIMIT = 100_000


@st.composite
def parts(draw):
    """The frames of one message, or a ping, and what an application gets of them."""
    text = draw(st.booleans())
    count = draw(st.sampled_from([1, 1, 1, 2, 3]))
    opcode = Opcode.TEXT if text else Opcode.BINARY
    wire, whole = b"", b""
    for number in range(count):
        data = ("é" if text else "x").encode() * draw(SIZES)
        data = data[: LIMIT // 4 * 2]
        wire += frame(opcode, data, fin=number == count - 1)
        if number < count - 1 and draw(st.booleans()):
            wire += frame(Opcode.PING, b"between")
        whole += data
        opcode = Opcode.CONT
    return wire, whole.decode() if text else whole


@st.composite
def slices(draw, data):
    """``data`` in pieces of any sizes."""
    found = []
    while data:
        size = draw(st.sampled_from([1, 2, 3, 7, 100, 5_000, 300_000]))
        found.append(data[:size])
        data = data[size:]
        if len(found) > 200:
            return [*found, data]
    return found


@given(st.lists(parts(), max_size=5), st.data())
def test_any_slicing_gives_the_same_messages(messages, source):
    codec = FrameCodec(10 * LIMIT, [])
    found = []
    for piece in source.draw(slices(b"".join(wire for wire, _ in messages))):
        found += codec.receive(piece)[0]
    assert found == [message for _, message in messages]


BROKEN = st.sampled_from(
    [
        frame(Opcode.TEXT, b"\xff"),
        frame(Opcode.TEXT, b"\xed\xa0\x80"),
        frame(Opcode.CONT, b"x"),
        frame(Opcode.BINARY, bytes(LIMIT + 1)),
        frame(Opcode.TEXT, b"a", fin=False) + frame(Opcode.TEXT, b"b"),
        frame(Opcode.BINARY, b"a", fin=False) + frame(Opcode.CONT, bytes(LIMIT)),
        frame(Opcode.TEXT, b"x", rsv1=True),
        b"\x83\x80\0\0\0\0",
        b"\x81\x05hello",
        b"\x09\x80\0\0\0\0",
        frame(Opcode.PING, bytes(126)),
        frame(Opcode.CLOSE, b"\x03"),
    ]
)


@given(st.lists(parts(), max_size=2), BROKEN, st.booleans())
def test_what_is_broken_ends_it_behind_what_came_before(messages, broken, bytewise):
    codec = FrameCodec(LIMIT, [])
    before = b"".join(wire for wire, _ in messages)
    found = list(codec.receive(before)[0])
    urgent = b""
    for piece in [broken[at : at + 1] for at in range(len(broken))] if bytewise else [broken]:
        more, written = codec.receive(piece)
        found += more
        urgent += written
        if codec.ended:
            break
    if len(found) <= len(messages):  # the limit was for one of those
        assert isinstance(found[-1], Closed)
        return
    assert found[:-1] == [message for _, message in messages]
    assert isinstance(found[-1], Closed)
    assert found[-1].code in (1002, 1007, 1009)
    assert urgent[:1] == b"\x88"
    assert codec.receive(frame(Opcode.TEXT, b"more")) == ((), b"")


def test_a_frame_byte_by_byte_costs_no_more_than_its_size():
    session = accepted(settings=WebSocketSettings(max_message_size=LIMIT))
    wire = frame(Opcode.TEXT, b"x" * 50_000)
    for at in range(len(wire)):
        assert session.next_message() is None
        session.receive_data(wire[at : at + 1])
    assert session.next_message() == {"type": "websocket.receive", "text": "x" * 50_000}
