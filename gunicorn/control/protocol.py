"""The frames of the control socket, sans-IO: four bytes of length (big-endian), then one JSON object.

Strictly a request, then its reply, as often as the client likes on one connection.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MAX_FRAME",
    "MAX_REQUEST",
    "FrameError",
    "FrameReader",
    "Reply",
    "Request",
    "decode_reply",
    "decode_request",
    "encode_error",
    "encode_ok",
    "encode_request",
]

#: Bytes of the longest frame that the format allows.
MAX_FRAME = 1 << 24
#: Bytes of the longest request that a server takes. No command needs a hundredth of it, and what a client may
#: have the server keep is this times the number of connections.
MAX_REQUEST = 1 << 16

_LENGTH = struct.Struct(">I")


class FrameError(ValueError):
    """What came is no frame, or no message; there is no way to find the next one."""


class Request(NamedTuple):
    """A command. ``identity`` is any JSON value, and comes back with the reply."""

    identity: Any
    command: str
    args: tuple[str, ...] = ()


class Reply(NamedTuple):
    """The answer: ``data``, or ``error`` when that is not None."""

    identity: Any
    data: dict[str, Any]
    error: str | None = None


class FrameReader:
    """Takes bytes, gives JSON objects.

    Args:
        limit: Bytes that a frame may have; it is refused by its length, before it has come.
    """

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def is_empty(self) -> bool:
        """Whether nothing of a next frame has come yet."""
        return not self._buffer

    def receive_data(self, data: bytes) -> None:
        """Take what came from the socket."""
        self._buffer += data

    def next_frame(self) -> dict[str, Any] | None:
        """The next object; None when more has to come.

        Raises:
            FrameError: too long, not JSON, or not an object.
        """
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self._limit:
            raise FrameError(f"a frame of {length} bytes is longer than {self._limit}")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return _decode(payload)


def encode_request(request: Request) -> bytes:
    """The frame of a request."""
    return _encode({"id": request.identity, "command": request.command, "args": list(request.args)})


def encode_ok(identity: Any, data: Mapping[str, Any]) -> bytes:
    """The frame of a reply with its data.

    Raises:
        FrameError: it is longer than a frame may be.
    """
    return _encode({"id": identity, "status": "ok", "data": data})


def encode_error(identity: Any, error: str) -> bytes:
    """The frame of a reply that says what went wrong."""
    return _encode({"id": identity, "status": "error", "error": error})


def decode_request(frame: Mapping[str, Any]) -> Request:
    """The request in a frame.

    Raises:
        FrameError: the command is not text.
    """
    command, args = frame.get("command"), frame.get("args") or []
    if not isinstance(command, str) or not isinstance(args, list):
        raise FrameError("a request has a command of text and a list of arguments")
    return Request(frame.get("id", 0), command, tuple(str(arg) for arg in args))


def decode_reply(frame: Mapping[str, Any]) -> Reply:
    """The reply in a frame.

    Raises:
        FrameError: neither data nor an error.
    """
    data = frame.get("data")
    if frame.get("status") == "ok" and isinstance(data, dict):
        return Reply(frame.get("id"), data)
    if frame.get("status") == "error":
        return Reply(frame.get("id"), {}, str(frame.get("error", "unknown error")))
    raise FrameError("a reply has data or an error")


def _encode(message: Mapping[str, Any]) -> bytes:
    payload = json.dumps(message).encode()
    if len(payload) > MAX_FRAME:
        raise FrameError(f"{len(payload)} bytes are longer than a frame may be ({MAX_FRAME})")
    return _LENGTH.pack(len(payload)) + payload


def _decode(payload: bytes) -> dict[str, Any]:
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {payload[:40]!r}") from error
    if not isinstance(message, dict):
        raise FrameError("not a JSON object")
    return message
