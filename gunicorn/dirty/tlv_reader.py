"""The reading half of ``tlv``: a place in bytes that a peer has chosen, and the limits that hold there."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from gunicorn.dirty.errors import DirtyProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "BOOL", "BYTES", "DICT", "FLOAT", "INT", "LIST", "MAX_BLOB", "MAX_DEPTH", "MAX_ENTRIES", "MAX_VALUES",
    "NULL", "STRING", "Reader",
]  # fmt: skip

MAX_BLOB = 64 * 1024 * 1024  # bytes of one string or bytes value
MAX_ENTRIES = 1024 * 1024  # of one list or dict
MAX_VALUES = 4 * MAX_ENTRIES  # in one document: a one-byte value costs eight or more bytes of memory
MAX_DEPTH = 100

NULL, BOOL, INT, FLOAT, BYTES, STRING, LIST, DICT = 0x00, 0x01, 0x05, 0x06, 0x10, 0x11, 0x20, 0x21

_I64 = struct.Struct(">q")
_F64 = struct.Struct(">d")
_U32 = struct.Struct(">I")


class Reader:
    """A place in the bytes of one document. ``at`` is the offset of the next value.

    A method that reads a value gets the offset of its body, and leaves ``at`` behind it. Where the data ends
    too early the built-in access raises (``IndexError``, ``struct.error``), which costs a whole document less
    than to compare before each one; slices do not raise, so sizes are compared.
    """

    __slots__ = ("_values", "at", "data", "end")

    def __init__(self, data: bytes | bytearray | memoryview, at: int = 0) -> None:
        self.data = data
        self.at = at
        self.end = len(data)
        self._values = MAX_VALUES

    def error(self, what: str) -> DirtyProtocolError:
        return DirtyProtocolError(f"bad value at byte {self.at}: {what}", bytes(self.data[:100]))

    def value(self, depth: int) -> Any:
        at = self.at
        return _READERS.get(self.data[at], Reader.read_unknown)(self, at + 1, depth)

    def read_unknown(self, at: int, depth: int) -> Any:
        raise self.error(f"unknown type 0x{self.data[at - 1]:02x}")

    def read_none(self, at: int, depth: int) -> None:
        self.at = at

    def read_bool(self, at: int, depth: int) -> bool:
        self.at = at + 1
        return self.data[at] != 0

    def read_int(self, at: int, depth: int) -> int:
        self.at = at + 8
        number: int = _I64.unpack_from(self.data, at)[0]
        return number

    def read_float(self, at: int, depth: int) -> float:
        self.at = at + 8
        number: float = _F64.unpack_from(self.data, at)[0]
        return number

    def read_bytes(self, at: int, depth: int) -> bytes:
        return bytes(self.data[at + 4 : self.pass_blob(at)])

    def read_string(self, at: int, depth: int) -> str:
        try:
            return str(self.data[at + 4 : self.pass_blob(at)], "utf-8")
        except UnicodeDecodeError as error:
            raise self.error(f"not UTF-8 ({error.reason})") from None

    def read_list(self, at: int, depth: int) -> list[Any]:
        count = self.count(at, 1, depth)
        return [self.value(depth + 1) for _ in range(count)]

    def read_dict(self, at: int, depth: int) -> dict[str, Any]:
        # A key is 5 bytes at least, its value 1.
        count = self.count(at, 6, depth)
        data, found = self.data, {}
        for _ in range(count):
            key, at = self.key(), self.at
            found[key] = _READERS.get(data[at], Reader.read_unknown)(self, at + 1, depth + 1)
        return found

    def key(self) -> str:
        at = self.at
        if self.data[at] != STRING:
            raise self.error("a key that is not a string")
        return self.read_string(at + 1, 0)

    def enter_dict(self) -> int:
        if not self.end or self.data[0] != DICT:
            raise self.error("not a dict")
        return self.count(1, 6, 0)

    def skip(self) -> None:
        """Pass over one value without making it; containers count down instead of recursing."""
        left = 1
        while left:
            left -= 1
            kind, at = self.data[self.at], self.at + 1
            if kind in _FIXED:
                self.at = at + _FIXED[kind]
            elif kind in (BYTES, STRING):
                self.pass_blob(at)
            elif kind == LIST:
                left += self.count(at, 1, 0)
            elif kind == DICT:
                left += 2 * self.count(at, 6, 0)
            else:
                self.read_unknown(at, 0)

    def pass_blob(self, at: int) -> int:
        """Move over a size and that many bytes; where they end."""
        size: int = _U32.unpack_from(self.data, at)[0]
        self.at = end = at + 4 + size
        if size > MAX_BLOB:
            raise self.error(f"a size of {size}; {MAX_BLOB} is the limit")
        if end > self.end:
            raise self.error(f"{size} bytes announced, {self.end - at - 4} there")
        return end

    def count(self, at: int, smallest: int, depth: int) -> int:
        """Move over the number of entries of a container, each of ``smallest`` bytes or more."""
        count: int = _U32.unpack_from(self.data, at)[0]
        self.at = at + 4
        if depth >= MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH}")
        if count > MAX_ENTRIES:
            raise self.error(f"a size of {count}; {MAX_ENTRIES} is the limit")
        if count * smallest > self.end - self.at:
            raise self.error(f"{count} entries announced in {self.end - self.at} bytes")
        self._values -= count
        if self._values < 0:
            raise self.error(f"more than {MAX_VALUES} values")
        return count


_READERS: dict[int, Callable[[Reader, int, int], Any]] = {
    NULL: Reader.read_none, BOOL: Reader.read_bool, INT: Reader.read_int, FLOAT: Reader.read_float,
    BYTES: Reader.read_bytes, STRING: Reader.read_string, LIST: Reader.read_list,
    DICT: Reader.read_dict,
}  # fmt: skip
_FIXED = {NULL: 0, BOOL: 1, INT: 8, FLOAT: 8}
