"""Frames on a byte stream: a header of 16 bytes, then the payload. Sans-IO.

Header, big endian: magic ``GD``, version 1, message type, payload length (u32), request id (u64).
"""

from __future__ import annotations

import enum
import os
import struct
from typing import TYPE_CHECKING, NamedTuple

from gunicorn.dirty.errors import DirtyProtocolError
from gunicorn.dirty.handing import Handed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gunicorn.dirty.handing import Room

__all__ = ["HANDED", "HEADER_SIZE", "MAX_PAYLOAD", "Frame", "FrameDecoder", "Kind", "header", "pack"]

MAGIC = b"GD"
VERSION = 1
HEADER = struct.Struct(">2sBBIQ")
HEADER_SIZE = HEADER.size
MAX_PAYLOAD = 64 * 1024 * 1024
_MAX_ID = 2**64 - 1
_BLOCK = 64 * 1024


class Kind(enum.IntEnum):
    """Message types. Those from 0x20 on are ours and only sent to a peer that has said that it knows them."""

    REQUEST = 0x01
    RESPONSE = 0x02
    ERROR = 0x03
    CHUNK = 0x04
    END = 0x05
    STASH = 0x10
    STATUS = 0x11
    MANAGE = 0x12
    CANCEL = 0x20
    CLAIM = 0x21
    ASSIGN = 0x22
    LOAD = 0x23
    LEASE = 0x24


#: Added to the type of a message whose payload is in a file: of a request, one that is sent beside the
#: header, and of an answer, the one that came with the request.
HANDED = 0x40
_KINDS = frozenset([*map(int, Kind), *(kind | HANDED for kind in Kind)])


class Frame(NamedTuple):
    """One message, still encoded.

    Attributes:
        handed: The file that came with it, which has its payload.
        written: Bytes of its payload that are in the file that the receiver has sent.
    """

    kind: int
    request_id: int
    payload: bytes | bytearray | memoryview
    handed: Handed | None = None
    written: int = 0

    def content(self, room: Room | None = None) -> bytes | bytearray | memoryview:
        """The payload, wherever it is; from a file it is read into ``room``.

        Raises:
            DirtyProtocolError: the file is not what was announced.
        """
        if self.written:
            raise DirtyProtocolError("a message without the file that it announces")
        return self.payload if self.handed is None or not self.handed.size else self.handed.read(room)


def header(kind: int, request_id: int, size: int) -> bytes:
    """The header of a payload of ``size`` bytes.

    Raises:
        DirtyProtocolError: a frame cannot be that large.
    """
    if size > MAX_PAYLOAD:
        raise DirtyProtocolError(f"a message of {size} bytes; {MAX_PAYLOAD} is the limit")
    return HEADER.pack(MAGIC, VERSION, kind, size, request_id)


def pack(kind: int, request_id: int, payload: bytes = b"") -> bytes:
    """One whole frame."""
    return header(kind, request_id, len(payload)) + payload


class FrameDecoder:
    """Frames out of bytes: write into ``space()``, say how many with ``wrote``, take ``next_frame``.

    A large payload is received right into the buffer that becomes it, so no byte of it is copied here.
    """

    __slots__ = ("_at", "_block", "_end", "_fds", "_filled", "_head", "_large", "_view")

    def __init__(self) -> None:
        self._block = bytearray(_BLOCK)
        self._view = memoryview(self._block)
        self._at = 0
        self._end = 0
        self._large: bytearray | None = None
        self._filled = 0
        self._head = (0, 0)
        self._fds: list[int] = []

    def __del__(self) -> None:
        for fd in self._fds:
            os.close(fd)

    def add_descriptors(self, fds: Iterable[int]) -> None:
        """Descriptors that came with the bytes; each belongs to the next frame that announces one."""
        self._fds += fds

    @property
    def is_between_frames(self) -> bool:
        """Whether the end of the stream would be a normal one."""
        return self._large is None and self._at == self._end

    def space(self) -> memoryview:
        """Where the next bytes go; never empty when ``next_frame`` has returned None."""
        if self._large is not None:
            return memoryview(self._large)[self._filled :]
        return self._view[self._end :] if self._end else self._view

    def wrote(self, count: int) -> None:
        """``count`` bytes were put into what ``space`` gave."""
        if self._large is not None:
            self._filled += count
        else:
            self._end += count

    def feed(self, data: bytes) -> list[Frame]:
        """All frames that are complete with ``data``: for callers that have bytes in hand.

        Raises:
            DirtyProtocolError: as ``next_frame``.
        """
        frames = []
        rest = memoryview(data)
        while True:
            while (frame := self.next_frame()) is not None:
                frames.append(frame)
            if not rest:
                return frames
            space = self.space()
            count = min(len(space), len(rest))
            space[:count] = rest[:count]
            self.wrote(count)
            rest = rest[count:]

    def next_frame(self) -> Frame | None:
        """The next complete frame, or None when bytes are missing.

        Raises:
            DirtyProtocolError: a header that is none. The stream cannot be read any further.
        """
        if self._large is not None:
            return self._take_large()
        at, end = self._at, self._end
        if end - at < HEADER_SIZE:
            if at:
                self._make_room()
            return None
        magic, version, kind, size, request_id = HEADER.unpack_from(self._block, at)
        if magic != MAGIC or version != VERSION or kind not in _KINDS or size > MAX_PAYLOAD:
            raise self._bad_header()
        start = at + HEADER_SIZE
        if kind & HANDED:
            self._at = start
            return self._take_handed(kind - HANDED, request_id, size)
        if end - start >= size:
            self._at = start + size
            if self._at == end:
                self._at = self._end = 0
            return Frame(kind, request_id, bytes(self._view[start : start + size]))
        if size > _BLOCK - HEADER_SIZE:
            self._start_large(kind, request_id, size, start)
        else:
            self._make_room()
        return None

    def _start_large(self, kind: int, request_id: int, size: int, start: int) -> None:
        # Zeroed pages come from the kernel when they are written, so an announced size costs nothing yet.
        self._large = bytearray(size)
        self._filled = self._end - start
        self._large[: self._filled] = self._view[start : self._end]
        self._head = kind, request_id
        self._at = self._end = 0

    def _take_large(self) -> Frame | None:
        large = self._large
        if large is None or self._filled < len(large):
            return None
        self._large = None
        return Frame(*self._head, large)

    def _take_handed(self, kind: int, request_id: int, size: int) -> Frame:
        if not self._fds:
            return Frame(kind, request_id, b"", None, size)
        return Frame(kind, request_id, b"", Handed(self._fds.pop(0), size))

    def _make_room(self) -> None:
        """Move the unread rest to the start when what is missing may not fit behind it."""
        if self._at:
            rest = self._block[self._at : self._end]
            self._block[: len(rest)] = rest
            self._at, self._end = 0, len(rest)

    def _bad_header(self) -> DirtyProtocolError:
        magic, version, kind, size, _ = HEADER.unpack_from(self._block, self._at)
        raw = bytes(self._view[self._at : self._at + HEADER_SIZE])
        if magic != MAGIC:
            return DirtyProtocolError(f"bad magic {magic!r}, expected {MAGIC!r}", raw)
        if version != VERSION:
            return DirtyProtocolError(f"unknown version {version}, expected {VERSION}", raw)
        if kind not in _KINDS:
            return DirtyProtocolError(f"unknown message type 0x{kind:02x}", raw)
        return DirtyProtocolError(f"a message of {size} bytes; {MAX_PAYLOAD} is the limit", raw)
