"""Large payloads in files: they arrive as they were, and what is no such file is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from gunicorn.dirty import tlv
from gunicorn.dirty.errors import DirtyProtocolError
from gunicorn.dirty.frames import HANDED, Frame, FrameDecoder, Kind, header, pack
from gunicorn.dirty.handing import IS_SUPPORTED, Handed, receive_into, send

pytestmark = pytest.mark.skipif(not IS_SUPPORTED, reason="files in memory are Linux's")

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


def receive(sock: socket.socket, count: int) -> list[Frame]:
    decoder, frames = FrameDecoder(), []
    while len(frames) < count:
        assert receive_into(sock, decoder)
        while (frame := decoder.next_frame()) is not None:
            frames.append(frame)
    return frames


@pytest.mark.parametrize("count", [1, 2000])
def test_a_file_arrives_between_other_frames_in_order(pair: Pair, count: int) -> None:
    ours, theirs = pair
    value = [b"x" * 1000] * count
    parts = tlv.encode_parts(value)
    size = sum(map(len, parts))
    before = open_files()
    handed = Handed.create()
    handed.write(parts, size)
    theirs.sendall(pack(Kind.STATUS, 1))
    send(theirs, header(Kind.REQUEST | HANDED, 2, size), handed.fd)
    theirs.sendall(pack(Kind.CANCEL, 3))
    frames = receive(ours, 3)
    assert [(frame.kind, frame.request_id) for frame in frames] == [(0x11, 1), (0x01, 2), (0x20, 3)]
    assert frames[1].handed is not None
    assert frames[1].handed.start() == b"".join(parts)[:4096]
    assert tlv.decode(frames[1].content()) == value
    del frames, handed
    assert open_files() == before, "a descriptor was left open"


def test_a_file_is_used_for_the_answer_and_again(pair: Pair) -> None:
    ours, theirs = pair
    mine = Handed.create()
    for text in (b"a long request", b"one", b"and a longer request"):
        mine.write([text], len(text))
        send(theirs, header(Kind.REQUEST | HANDED, 1, len(text)), mine.fd)
        [frame] = receive(ours, 1)
        assert frame.content() == text
        assert frame.handed is not None
        frame.handed.write([b"the answer to ", text], 14 + len(text))
        mine.size = 14 + len(text)
        assert mine.read() == b"the answer to " + text


def hostile(kind: str) -> int:
    if kind == "pipe":
        out, into = os.pipe()
        os.close(into)
        return out
    handed = Handed.create()
    handed.write([b"x" * 5], 5)
    return os.dup(handed.fd)


@pytest.mark.parametrize("kind", ["pipe", "short"])
def test_a_file_that_is_not_what_was_announced_is_refused(pair: Pair, kind: str) -> None:
    ours, theirs = pair
    before = open_files()
    fd = hostile(kind)
    socket.send_fds(theirs, [header(Kind.REQUEST | HANDED, 1, 10)], [fd])
    os.close(fd)
    [frame] = receive(ours, 1)
    with pytest.raises(DirtyProtocolError, match=r"cannot be read|10 were announced"):
        frame.content()
    del frame
    assert open_files() == before


def test_a_file_that_is_announced_and_not_sent() -> None:
    [frame] = FrameDecoder().feed(header(Kind.REQUEST | HANDED, 1, 10))
    with pytest.raises(DirtyProtocolError, match="without the file"):
        frame.content()
