"""The frames of the control socket: whole or byte by byte, right or wrong."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.control.protocol import (
    MAX_FRAME,
    FrameError,
    FrameReader,
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_error,
    encode_ok,
    encode_request,
)

identities = st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=9)
requests = st.builds(Request, identities, st.text(max_size=40), st.lists(st.text(max_size=9)).map(tuple))


def frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def read(data: bytes, step: int) -> list[dict]:
    reader, found = FrameReader(), []
    for start in range(0, len(data), step):
        reader.receive_data(data[start : start + step])
        while (one := reader.next_frame()) is not None:
            found.append(one)
    assert reader.is_empty
    return found


@given(st.lists(requests, max_size=4))
def test_requests_arrive_as_they_were_sent_however_they_are_cut(sent):
    data = b"".join(map(encode_request, sent))
    whole = [decode_request(one) for one in read(data, max(len(data), 1))]
    assert whole == sent
    assert [decode_request(one) for one in read(data, 1)] == whole


def test_the_bytes_of_a_request():
    assert encode_request(Request(1, "help")) == frame(b'{"id": 1, "command": "help", "args": []}')


def test_identity_and_arguments_may_be_left_out():
    assert decode_request({"command": "help"}) == Request(0, "help")
    assert decode_request({"command": "worker add", "args": [2, "3"]}) == Request(0, "worker add", ("2", "3"))


@pytest.mark.parametrize("command", [None, 7, ["show"]])
def test_a_command_is_text(command):
    with pytest.raises(FrameError):
        decode_request({"id": 1, "command": command})


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b"7", b"\xff\xfe", b"[" * 50_000, b'{"a": ' + b"9" * 9000 + b"}"]
)
def test_what_is_no_object_is_refused(payload):
    reader = FrameReader()
    reader.receive_data(frame(payload))
    with pytest.raises(FrameError):
        reader.next_frame()


@pytest.mark.parametrize("length", [1001, MAX_FRAME, 2**32 - 1])
def test_a_frame_that_is_too_long_is_refused_by_its_head(length):
    reader = FrameReader(limit=1000)
    reader.receive_data(struct.pack(">I", length))
    with pytest.raises(FrameError, match="longer than 1000"):
        reader.next_frame()


@given(st.binary(max_size=200))
def test_random_bytes_are_frames_or_refused(data):
    reader = FrameReader(limit=100)
    reader.receive_data(data)
    try:
        while reader.next_frame() is not None:
            pass
    except FrameError:
        return


def test_replies():
    (ok,) = read(encode_ok("x", {"count": 1}), 3)
    assert ok == {"id": "x", "status": "ok", "data": {"count": 1}}
    assert decode_reply(ok) == Reply("x", {"count": 1})
    (error,) = read(encode_error(2, "no"), 3)
    assert error == {"id": 2, "status": "error", "error": "no"}
    assert decode_reply(error) == Reply(2, {}, "no")


@pytest.mark.parametrize("wrong", [{}, {"status": "ok"}, {"status": "ok", "data": []}, {"status": "?"}])
def test_what_is_no_reply_is_refused(wrong):
    with pytest.raises(FrameError):
        decode_reply(wrong)


def test_a_reply_that_is_too_long_is_refused():
    with pytest.raises(FrameError):
        encode_ok(1, {"text": "x" * MAX_FRAME})
    assert json.loads(encode_ok(1, {})[4:])["data"] == {}
