"""Values as bytes: one type byte, then the body; numbers are big endian.

The value set is that of JSON plus ``bytes`` and 64-bit integers. Whatever bytes arrive, the decoder answers
with a value or with ``DirtyProtocolError``: sizes and counts are compared with what is there before anything
is allocated, and depth and the total number of values are bounded, because a peer chooses all four.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from gunicorn.dirty.errors import DirtyProtocolError
from gunicorn.dirty.tlv_reader import (
    BYTES,
    DICT,
    FLOAT,
    INT,
    LIST,
    MAX_BLOB,
    MAX_DEPTH,
    MAX_ENTRIES,
    MAX_VALUES,
    STRING,
    Reader,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "MAX_BLOB",
    "MAX_DEPTH",
    "MAX_ENTRIES",
    "MAX_VALUES",
    "decode",
    "decode_known",
    "encode",
    "encode_parts",
    "peek",
    "write_value",
]

_SMALL = 1024  # bytes that are cheaper copied than kept as a piece of their own

_INT_VALUE = struct.Struct(">Bq")
_FLOAT_VALUE = struct.Struct(">Bd")
_SIZED = struct.Struct(">BI")


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
    write_value(value, out.append, 0)
    return out


def write_value(value: Any, write: Callable[[bytes], object], depth: int) -> None:
    """As ``encode_parts``: each piece is given to ``write``. ``depth``: of containers around the value."""
    encoder = _ENCODERS.get(type(value)) or _encoder_of_base(value)
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
        write(_INT_VALUE.pack(INT, value))
    except struct.error:
        raise DirtyProtocolError(
            "an integer of more than 64 bits cannot be sent; send it as a string"
        ) from None


def _encode_float(value: float, write: Callable[[bytes], object], depth: int) -> None:
    write(_FLOAT_VALUE.pack(FLOAT, value))


def _encode_bytes(value: bytes, write: Callable[[bytes], object], depth: int) -> None:
    if len(value) > MAX_BLOB:
        raise DirtyProtocolError(f"{len(value)} bytes in one value; {MAX_BLOB} is the limit")
    write(_SIZED.pack(BYTES, len(value)))
    write(value)


def _encode_str(value: str, write: Callable[[bytes], object], depth: int) -> None:
    try:
        text = value.encode()
    except UnicodeEncodeError:
        raise DirtyProtocolError("a string with lone surrogates cannot be sent") from None
    if len(text) > MAX_BLOB:
        raise DirtyProtocolError(f"{len(text)} bytes in one string; {MAX_BLOB} is the limit")
    if len(text) < _SMALL:
        write(_SIZED.pack(STRING, len(text)) + text)
    else:
        write(_SIZED.pack(STRING, len(text)))
        write(text)


def _encode_list(value: list[Any] | tuple[Any, ...], write: Callable[[bytes], object], depth: int) -> None:
    _check_container(len(value), depth)
    write(_SIZED.pack(LIST, len(value)))
    for item in value:
        write_value(item, write, depth + 1)


def _encode_dict(value: dict[Any, Any], write: Callable[[bytes], object], depth: int) -> None:
    _check_container(len(value), depth)
    write(_SIZED.pack(DICT, len(value)))
    for key, item in value.items():
        _encode_str(key if isinstance(key, str) else str(key), write, depth)
        encoder = _ENCODERS.get(type(item)) or _encoder_of_base(item)
        encoder(item, write, depth + 1)


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


def decode(data: bytes | bytearray | memoryview, at: int = 0) -> Any:
    """The one value that ``data`` is from ``at`` on.

    Raises:
        DirtyProtocolError: it is none, or more than one.
    """
    reader = Reader(data, at)
    try:
        value = reader.value(0)
    except (IndexError, struct.error):
        raise reader.error("the data ends here") from None
    if reader.at != len(data):
        raise reader.error(f"{len(data) - reader.at} bytes after the value")
    return value


def decode_known(data: bytes | bytearray | memoryview, at: int, keys: Sequence[bytes]) -> list[Any] | None:
    """The values of the last entries of a dict, when their encoded keys are just ``keys``; else None.

    Raises:
        DirtyProtocolError: a value is broken.
    """
    reader, found = Reader(data, at), []
    try:
        for key in keys:
            if data[reader.at : reader.at + len(key)] != key:
                return None
            reader.at += len(key)
            found.append(reader.value(1))
    except (IndexError, struct.error):
        raise reader.error("the data ends here") from None
    return found if reader.at == len(data) else None


def peek(data: bytes | bytearray | memoryview, *names: str) -> dict[str, Any]:
    """Those of the first ``len(names)`` entries of a dict that have one of ``names``; no more is read.

    For routing: a peer of ours puts what a router needs first. A dict that does not is searched further for
    the first of ``names``, and values on the way are skipped without being made.

    Raises:
        DirtyProtocolError: not a dict, or broken before the end of the search.
    """
    reader = Reader(data)
    try:
        return _peek(reader, names)
    except (IndexError, struct.error):
        raise reader.error("the data ends here") from None


def _peek(reader: Reader, names: tuple[str, ...]) -> dict[str, Any]:
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
