"""Large payloads in files: they arrive as they were, and a file that could still change is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from gunicorn.dirty import tlv
from gunicorn.dirty.errors import DirtyProtocolError
from gunicorn.dirty.frames import HANDED, FrameDecoder, Kind, header, pack
from gunicorn.dirty.handing import IS_SUPPORTED, Handed, receive_into, send

pytestmark = pytest.mark.skipif(not IS_SUPPORTED, reason="sealed files are Linux's")

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        theirs.settimeout(5)
        yield ours, theirs


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("count", [1, 2000])
def test_a_file_arrives_between_other_frames_in_order(pair: Pair, count: int) -> None:
    ours, theirs = pair
    value = [b"x" * 1000] * count
    parts = tlv.encode_parts(value)
    size = sum(map(len, parts))
    before = open_files()
    theirs.sendall(pack(Kind.STATUS, 1))
    send(theirs, header(Kind.RESPONSE | HANDED, 2, size), Handed.write(parts, size))
    theirs.sendall(pack(Kind.END, 3))
    decoder, frames = FrameDecoder(), []
    while len(frames) < 3:
        assert receive_into(ours, decoder)
        while (frame := decoder.next_frame()) is not None:
            frames.append(frame)
    assert [(frame.kind, frame.request_id) for frame in frames] == [(0x11, 1), (0x02, 2), (0x05, 3)]
    assert tlv.decode(frames[1].payload) == value
    del frames, frame
    assert open_files() == before, "a descriptor was left open"


def hostile(kind: str) -> tuple[int, int]:
    """A descriptor and the size that is announced for it."""
    if kind == "pipe":
        out, into = os.pipe()
        os.close(into)
        return out, 10
    if kind in ("empty", "short"):
        content, announced = (b"", 0) if kind == "empty" else (b"x" * 5, 10)
        handed = Handed.write([content], len(content))
        return os.dup(handed.fd), announced
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(fd, b"x" * 10)
    return fd, 10


@pytest.mark.parametrize("kind", ["pipe", "empty", "short", "unsealed"])
def test_a_file_that_is_not_what_was_announced_is_refused(pair: Pair, kind: str) -> None:
    ours, theirs = pair
    before = open_files()
    fd, size = hostile(kind)
    socket.send_fds(theirs, [header(Kind.REQUEST | HANDED, 1, size)], [fd])
    os.close(fd)
    decoder = FrameDecoder()
    receive_into(ours, decoder)
    with pytest.raises(DirtyProtocolError, match="sealed"):
        decoder.next_frame()
    del decoder
    assert open_files() == before


def test_a_file_that_is_announced_and_not_sent() -> None:
    with pytest.raises(DirtyProtocolError, match="without the file"):
        FrameDecoder().feed(header(Kind.REQUEST | HANDED, 1, 10))
