"""Values as bytes: one type byte, then the body; numbers are big endian.

The value set is that of JSON plus ``bytes`` and 64-bit integers. Whatever bytes arrive, the decoder answers
with a value or with ``DirtyProtocolError``: sizes and counts are compared with what is there before anything
is allocated, and depth and the total number of values are bounded, because a peer chooses all four.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from gunicorn.dirty.errors import DirtyProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_BLOB", "MAX_DEPTH", "MAX_ENTRIES", "MAX_VALUES", "decode", "encode", "encode_parts", "peek"]

MAX_BLOB = 64 * 1024 * 1024  # bytes of one string or bytes value
MAX_ENTRIES = 1024 * 1024  # of one list or dict
MAX_VALUES = 4 * MAX_ENTRIES  # in one document: a one-byte value costs eight or more bytes of memory
MAX_DEPTH = 100

_NULL, _BOOL, _INT, _FLOAT, _BYTES, _STRING, _LIST, _DICT = 0x00, 0x01, 0x05, 0x06, 0x10, 0x11, 0x20, 0x21

_INT_VALUE = struct.Struct(">Bq")
_FLOAT_VALUE = struct.Struct(">Bd")
_SIZED = struct.Struct(">BI")
_I64 = struct.Struct(">q")
_F64 = struct.Struct(">d")
_U32 = struct.Struct(">I")


def encode(value: Any) -> bytes:
    """The bytes of ``value``. Tuples become lists, keys that are no strings become their ``str``.

    Raises:
        DirtyProtocolError: a type, a size or a depth that the format does not have.
    """
    return b"".join(encode_parts(value))


def encode_parts(value: Any) -> list[bytes]:
    """As ``encode``, in pieces: large strings and bytes are pieces of their own, which nobody has copied.

    Raises:
        DirtyProtocolError: as ``encode``.
    """
    out: list[bytes] = []
    _encode(value, out.append, 0)
    return out


def _encode(value: Any, write: Callable[[bytes], object], depth: int) -> None:
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        encoder = _encoder_of_base(value)
    encoder(value, write, depth)


def _encoder_of_base(value: Any) -> Callable[[Any, Callable[[bytes], object], int], None]:
    """For subclasses: enums with a value, named tuples, ordered dictionaries."""
    for base, encoder in _ENCODERS.items():
        if isinstance(value, base):
            return encoder
    raise DirtyProtocolError(f"a value of type {type(value).__name__} cannot be sent; use None, bool, int, "
                             "float, str, bytes, list, tuple or dict")  # fmt: skip


def _encode_none(value: None, write: Callable[[bytes], object], depth: int) -> None:
    write(b"\x00")


def _encode_bool(value: bool, write: Callable[[bytes], object], depth: int) -> None:
    write(b"\x01\x01" if value else b"\x01\x00")


def _encode_int(value: int, write: Callable[[bytes], object], depth: int) -> None:
    try:
        write(_INT_VALUE.pack(_INT, value))
    except struct.error:
        raise DirtyProtocolError(
            "an integer of more than 64 bits cannot be sent; send it as a string"
        ) from None


def _encode_float(value: float, write: Callable[[bytes], object], depth: int) -> None:
    write(_FLOAT_VALUE.pack(_FLOAT, value))


def _encode_bytes(value: bytes, write: Callable[[bytes], object], depth: int) -> None:
    if len(value) > MAX_BLOB:
        raise DirtyProtocolError(f"{len(value)} bytes in one value; {MAX_BLOB} is the limit")
    write(_SIZED.pack(_BYTES, len(value)))
    write(value)


def _encode_str(value: str, write: Callable[[bytes], object], depth: int) -> None:
    try:
        text = value.encode()
    except UnicodeEncodeError:
        raise DirtyProtocolError("a string with lone surrogates cannot be sent") from None
    if len(text) > MAX_BLOB:
        raise DirtyProtocolError(f"{len(text)} bytes in one string; {MAX_BLOB} is the limit")
    write(_SIZED.pack(_STRING, len(text)))
    write(text)


def _encode_list(value: list[Any] | tuple[Any, ...], write: Callable[[bytes], object], depth: int) -> None:
    _check_container(len(value), depth)
    write(_SIZED.pack(_LIST, len(value)))
    for item in value:
        _encode(item, write, depth + 1)


def _encode_dict(value: dict[Any, Any], write: Callable[[bytes], object], depth: int) -> None:
    _check_container(len(value), depth)
    write(_SIZED.pack(_DICT, len(value)))
    for key, item in value.items():
        _encode_str(key if isinstance(key, str) else str(key), write, depth)
        _encode(item, write, depth + 1)


def _check_container(size: int, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise DirtyProtocolError(f"values nested deeper than {MAX_DEPTH} (or in themselves) cannot be sent")
    if size > MAX_ENTRIES:
        raise DirtyProtocolError(f"{size} entries in one value; {MAX_ENTRIES} is the limit")


# The order matters for subclasses: bool before int, which it is one of.
_ENCODERS: dict[type, Callable[[Any, Callable[[bytes], object], int], None]] = {
    type(None): _encode_none, bool: _encode_bool, int: _encode_int, float: _encode_float, str: _encode_str,
    bytes: _encode_bytes, list: _encode_list, tuple: _encode_list, dict: _encode_dict,
}  # fmt: skip


def decode(data: bytes | bytearray | memoryview) -> Any:
    """The one value that ``data`` is.

    Raises:
        DirtyProtocolError: it is none, or more than one.
    """
    reader = _Reader(data)
    value = reader.value(0)
    if reader.at != len(data):
        raise reader.error(f"{len(data) - reader.at} bytes after the value")
    return value


def peek(data: bytes | bytearray | memoryview, *names: str) -> dict[str, Any]:
    """Those of the first ``len(names)`` entries of a dict that have one of ``names``; no more is read.

    For routing: a peer of ours puts what a router needs first. A dict that does not is searched further for
    the first of ``names``, and values on the way are skipped without being made.

    Raises:
        DirtyProtocolError: not a dict, or broken before the end of the search.
    """
    reader = _Reader(data)
    found: dict[str, Any] = {}
    for position in range(reader.enter_dict()):
        if position >= len(names) and names[0] in found:
            break
        key = reader.key()
        if key in names:
            found[key] = reader.value(1)
        elif position >= len(names) or names[0] not in found:
            reader.skip()
        else:
            break
    return found


class _Reader:
    """A place in the bytes of one document. ``at`` is the offset of the next value."""

    __slots__ = ("_values", "at", "data", "end")

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.data = data
        self.at = 0
        self.end = len(data)
        self._values = MAX_VALUES

    def error(self, what: str) -> DirtyProtocolError:
        return DirtyProtocolError(f"bad value at byte {self.at}: {what}", bytes(self.data[:100]))

    def value(self, depth: int) -> Any:
        if self.at >= self.end:
            raise self.error("the data ends here")
        kind = self.data[self.at]
        reader = _READERS.get(kind)
        if reader is None:
            raise self.error(f"unknown type 0x{kind:02x}")
        self.at += 1
        return reader(self, depth)

    def read_none(self, depth: int) -> None:
        return None

    def read_bool(self, depth: int) -> bool:
        return self.data[self.take(1)] != 0

    def read_int(self, depth: int) -> int:
        number: int = _I64.unpack_from(self.data, self.take(8))[0]
        return number

    def read_float(self, depth: int) -> float:
        number: float = _F64.unpack_from(self.data, self.take(8))[0]
        return number

    def read_bytes(self, depth: int) -> bytes:
        start = self.take(self.size(MAX_BLOB))
        return bytes(self.data[start : self.at])

    def read_string(self, depth: int) -> str:
        start = self.take(self.size(MAX_BLOB))
        try:
            return str(self.data[start : self.at], "utf-8")
        except UnicodeDecodeError as error:
            raise self.error(f"not UTF-8 ({error.reason})") from None

    def read_list(self, depth: int) -> list[Any]:
        count = self.count(1, depth)
        return [self.value(depth + 1) for _ in range(count)]

    def read_dict(self, depth: int) -> dict[str, Any]:
        # A key is 5 bytes at least, its value 1.
        count = self.count(6, depth)
        return {self.key(): self.value(depth + 1) for _ in range(count)}

    def key(self) -> str:
        if self.at >= self.end or self.data[self.at] != _STRING:
            raise self.error("a key that is not a string")
        self.at += 1
        return self.read_string(0)

    def enter_dict(self) -> int:
        if not self.end or self.data[0] != _DICT:
            raise self.error("not a dict")
        self.at = 1
        return self.count(6, 0)

    def skip(self) -> None:
        """Pass over one value without making it; containers count down instead of recursing."""
        left = 1
        while left:
            left -= 1
            if self.at >= self.end:
                raise self.error("the data ends here")
            kind = self.data[self.at]
            self.at += 1
            if kind in _FIXED:
                self.take(_FIXED[kind])
            elif kind in (_BYTES, _STRING):
                self.take(self.size(MAX_BLOB))
            elif kind == _LIST:
                left += self.count(1, 0)
            elif kind == _DICT:
                left += 2 * self.count(6, 0)
            else:
                raise self.error(f"unknown type 0x{kind:02x}")

    def take(self, size: int) -> int:
        """Move over ``size`` bytes; where they start."""
        start = self.at
        if size > self.end - start:
            raise self.error(f"{size} bytes announced, {self.end - start} there")
        self.at = start + size
        return start

    def size(self, limit: int) -> int:
        size: int = _U32.unpack_from(self.data, self.take(4))[0]
        if size > limit:
            raise self.error(f"a size of {size}; {limit} is the limit")
        return size

    def count(self, smallest: int, depth: int) -> int:
        if depth >= MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH}")
        count = self.size(MAX_ENTRIES)
        if count * smallest > self.end - self.at:
            raise self.error(f"{count} entries announced in {self.end - self.at} bytes")
        self._values -= count
        if self._values < 0:
            raise self.error(f"more than {MAX_VALUES} values")
        return count


_READERS: dict[int, Callable[[_Reader, int], Any]] = {
    _NULL: _Reader.read_none, _BOOL: _Reader.read_bool, _INT: _Reader.read_int, _FLOAT: _Reader.read_float,
    _BYTES: _Reader.read_bytes, _STRING: _Reader.read_string, _LIST: _Reader.read_list,
    _DICT: _Reader.read_dict,
}  # fmt: skip
_FIXED = {_NULL: 0, _BOOL: 1, _INT: 8, _FLOAT: 8}
