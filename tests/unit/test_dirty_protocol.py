"""Frames and payloads: the same whether the bytes come at once or one by one."""

from __future__ import annotations

import contextlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.dirty import errors, protocol
from gunicorn.dirty.errors import DirtyAppError, DirtyError, DirtyProtocolError
from gunicorn.dirty.frames import HEADER_SIZE, MAX_PAYLOAD, Frame, FrameDecoder, Kind, header, pack

FRAMES = st.lists(
    st.builds(
        lambda kind, request_id, payload: Frame(kind, request_id, payload),
        st.sampled_from([int(kind) for kind in Kind]),
        st.integers(0, 2**64 - 1),
        st.binary(max_size=300) | st.sampled_from([b"x" * 65519, b"x" * 65520, b"x" * 65521, b"x" * 200_000]),
    ),
    max_size=5,
)


def as_bytes(frames: list[Frame]) -> list[tuple[int, int, bytes]]:
    return [(frame.kind, frame.request_id, bytes(frame.payload)) for frame in frames]


@given(FRAMES, st.data())
def test_frames_survive_any_cut(frames: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(pack(*frame[:3]) for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    decoder, found = FrameDecoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += decoder.feed(stream[start:end])
    assert as_bytes(found) == as_bytes(frames)
    assert decoder.is_between_frames


def test_byte_by_byte() -> None:
    stream = pack(Kind.REQUEST, 7, b"abc") + pack(Kind.STATUS, 8)
    decoder, found = FrameDecoder(), []
    for byte in stream:
        found += decoder.feed(bytes([byte]))
    assert found == [Frame(1, 7, b"abc"), Frame(0x11, 8, b"")]


def test_the_header_is_the_agreed_one() -> None:
    assert header(Kind.REQUEST, 0x0102030405060708, 5).hex() == "474401010000000501020304050607" + "08"
    assert HEADER_SIZE == 16


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"XX\x01\x01" + bytes(12), "magic"),
        (b"GD\x02\x01" + bytes(12), "version"),
        (b"GD\x01\x06" + bytes(12), "type"),
        (b"GD\x01\x01\x04\x00\x00\x01" + bytes(8), "limit"),
    ],
)
def test_a_bad_header_is_refused_before_its_payload(head: bytes, reason: str) -> None:
    with pytest.raises(DirtyProtocolError, match=reason):
        FrameDecoder().feed(head)


@given(st.binary(max_size=100))
def test_random_bytes_on_the_stream(data: bytes) -> None:
    with contextlib.suppress(DirtyProtocolError):
        FrameDecoder().feed(data)


def test_an_announced_size_takes_no_memory_before_it_comes() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(header(Kind.RESPONSE, 1, MAX_PAYLOAD)) == []
    assert not decoder.is_between_frames
    with pytest.raises(DirtyProtocolError, match="limit"):
        header(Kind.RESPONSE, 1, MAX_PAYLOAD + 1)


def test_a_request_carries_its_route_in_front() -> None:
    [frame] = FrameDecoder().feed(protocol.request(3, "m:C", "act", (1, "b"), {"k": None}, 2))
    assert protocol.route_of(frame.payload) == ("m:C", 2.0)
    assert protocol.decode_call(frame.payload) == ("m:C", "act", [1, "b"], {"k": None})


@given(st.text(), st.none() | st.floats(allow_nan=False), st.integers(0, 60))
def test_the_quick_way_to_the_route_finds_what_the_thorough_one_finds(
    path: str, timeout: float | None, cut: int
) -> None:
    payload = b"".join(protocol.request_parts(path, "a", (), {}, timeout))
    usual, thorough = protocol._usual_route(payload), protocol._find_route(payload)
    assert (usual is None) == (timeout is None), "the quick way was not taken"
    assert usual is None or usual[0] == thorough
    assert protocol.route_of(payload) == thorough
    cut_short = protocol._usual_route(payload[:cut])
    assert cut_short is None or cut_short[0] == thorough


ARGUMENTS = st.lists(st.integers(0, 9) | st.text(max_size=3) | st.binary(max_size=3), max_size=3)


@given(st.text(), ARGUMENTS, st.dictionaries(st.text(max_size=3), st.none()), st.floats(1, 9), st.data())
def test_the_quick_way_to_a_call_finds_what_the_thorough_one_finds(
    text: str, args: list[object], kwargs: dict[str, None], timeout: float, data: st.DataObject
) -> None:
    payload = protocol.tlv.encode_parts(
        {"app_path": text, "timeout": timeout, "action": text, "args": args, "kwargs": kwargs}
    )
    assert b"".join(protocol.request_parts(text, text, args, kwargs, timeout)) == b"".join(payload)
    assert protocol.decode_call(b"".join(payload)) == (text, text, args, kwargs)
    other = {"kwargs": kwargs, "args": args, "action": text, "app_path": text}
    assert protocol.decode_call(protocol.tlv.encode(other)) == (text, text, args, kwargs)
    cut = data.draw(st.integers(1, len(b"".join(payload)) - 1))
    with pytest.raises(DirtyProtocolError):
        protocol.decode_call(b"".join(payload)[:cut])


@pytest.mark.parametrize("text", ["args", "\x11\0\0\0\x04args", "\x11\0\0\0\x06action\x11\0\0\0\x04args"])
def test_names_that_look_like_the_format(text: str) -> None:
    for _ in range(2):
        payload = b"".join(protocol.request_parts(text, text, [text], {text: text}, 5.0))
        assert protocol.decode_call(payload) == (text, text, [text], {text: text})


def test_what_is_kept_of_requests_is_bounded() -> None:
    for number in range(3 * protocol._KNOWN):
        payload = b"".join(protocol.request_parts("m:A", str(number), [], {}, 5.0))
        assert protocol.decode_call(payload).action == str(number)
    assert len(protocol._targets) <= protocol._KNOWN


def test_missing_fields_of_a_request_have_defaults() -> None:
    assert protocol.route_of(b"") == ("", None)
    assert protocol.decode_call(b"") == ("", "", [], {})
    with pytest.raises(DirtyProtocolError):
        protocol.decode_call(protocol.tlv.encode({"args": 5}))
    with pytest.raises(DirtyProtocolError):
        protocol.decode_dict(protocol.tlv.encode([1]))


@pytest.mark.parametrize("timeout", [0, -1, "5", None, True and b"x"])
def test_a_timeout_that_is_none_is_ignored(timeout: object) -> None:
    payload = protocol.tlv.encode({"app_path": "m:C", "timeout": timeout})
    assert protocol.route_of(payload) == ("m:C", None)


ERRORS = [
    errors.DirtyError("m", {"a": 1}),
    errors.DirtyTimeoutError("m", 2.5),
    errors.DirtyConnectionError("m", "/s"),
    errors.DirtyWorkerError("m", 4, "tb"),
    errors.DirtyAppError("m", "a:B", "act", "tb"),
    errors.DirtyAppNotFoundError("a:B"),
    errors.DirtyNoWorkersAvailableError("a:B"),
    errors.DirtyQueueFullError("a:B"),
    errors.DirtyCancelledError("m"),
    errors.DirtyProtocolError("m", b"\x00\x01"),
    errors.StashKeyNotFoundError("t", "k"),
    errors.StashTableNotFoundError("t"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_arrives_as_itself(error: DirtyError) -> None:
    [frame] = FrameDecoder().feed(protocol.error(1, error))
    with pytest.raises(type(error)) as caught:
        protocol.result_of(frame)
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    assert [getattr(caught.value, name) for name in error.fields if name != "table_name"] == [
        getattr(error, name) for name in error.fields if name != "table_name"
    ]
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_class_of_a_remote_exception_is_kept_by_name() -> None:
    described = DirtyAppError("bad", "a:B", "act", "Traceback …")
    described.remote_type = "ZeroDivisionError"
    [frame] = FrameDecoder().feed(protocol.error(1, described))
    with pytest.raises(DirtyAppError) as caught:
        protocol.result_of(frame)
    assert (caught.value.remote_type, caught.value.traceback) == ("ZeroDivisionError", "Traceback …")


def test_errors_of_other_makers() -> None:
    missing = errors.from_dict({"error_type": "DirtyError", "message": "Key not found: k", "details": {}})
    assert isinstance(missing, KeyError)
    unknown = errors.from_dict({"error_type": "SomethingElse", "message": "m", "details": {"a": 1}})
    assert (type(unknown), unknown.remote_type, str(unknown)) == (DirtyError, "SomethingElse", "m: {'a': 1}")
    for junk in ({}, {"details": 5}, {"error_type": None}, "text", None):
        assert isinstance(errors.from_dict(junk), DirtyError)


def test_details_that_cannot_be_sent_do_not_keep_an_error_from_arriving() -> None:
    [frame] = FrameDecoder().feed(protocol.error(1, DirtyError("m\ud800", {"a": object()})))
    with pytest.raises(DirtyError, match="ud800"):
        protocol.result_of(frame)
