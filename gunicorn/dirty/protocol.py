"""The payloads: what a request, an answer and an error are made of."""

from __future__ import annotations

import enum
import functools
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn.dirty import tlv
from gunicorn.dirty.errors import DirtyError, DirtyProtocolError, from_dict, to_dict
from gunicorn.dirty.frames import Frame, Kind, pack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "Call",
    "ManageOp",
    "Route",
    "StashOp",
    "chunk",
    "decode_call",
    "decode_dict",
    "error",
    "raise_error",
    "request",
    "request_parts",
    "response",
    "response_parts",
    "result_of",
    "route_of",
]


def _key(name: str) -> bytes:
    return tlv.encode(name)


# What the requests of our client begin with; the first two keys with the types of their values. Whoever reads
# one compares instead of decoding, and takes the long way when a message is made in another order.
_WITH_TIMEOUT = b"\x21\x00\x00\x00\x05" + _key("app_path")
_WITHOUT_TIMEOUT = b"\x21\x00\x00\x00\x04" + _key("app_path")
_APP_PATH = _key("app_path") + b"\x11"
_TIMEOUT = _key("timeout") + b"\x06"
_F64 = struct.Struct(">d")
_ACTION = _key("action")
_ARGS, _KWARGS = _ARGUMENT_KEYS = _key("args"), _key("kwargs")
#: So many different starts of requests are kept.
_KNOWN = 256
_targets: dict[bytes, tuple[str, str]] = {}
#: What a response begins with.
_RESULT = b"\x21\x00\x00\x00\x01" + _key("result")


class StashOp(enum.IntEnum):
    """Operations on the stash. Those from 32 on are ours."""

    PUT = 1
    GET = 2
    DELETE = 3
    KEYS = 4
    CLEAR = 5
    INFO = 6
    ENSURE = 7
    DELETE_TABLE = 8
    TABLES = 9
    EXISTS = 10
    INCR = 32
    COMPARE_AND_SET = 33
    EXPIRE = 34
    TTL = 35
    ITEMS = 36


class ManageOp(enum.IntEnum):
    """Operations on the pool."""

    ADD = 1
    REMOVE = 2


class Call(NamedTuple):
    """What a worker is asked to do."""

    app_path: str
    action: str
    args: list[Any]
    kwargs: dict[str, Any]


class Route(NamedTuple):
    """What the arbiter has to know of a request. ``timeout`` in seconds, None when the caller gave none."""

    app_path: str
    timeout: float | None


def request(
    request_id: int,
    app_path: str,
    action: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    timeout: float | None = None,
) -> bytes:
    """A request frame, as ``request_parts``."""
    return pack(Kind.REQUEST, request_id, b"".join(request_parts(app_path, action, args, kwargs, timeout)))


def request_parts(
    app_path: str, action: str, args: Sequence[Any], kwargs: Mapping[str, Any], timeout: float | None
) -> list[bytes]:
    """The payload of a request. Other makers' arbiters ignore ``timeout``; it is early for ``route_of``."""
    parts = [_start_of_request(app_path, action, timeout)]
    write, write_value = parts.append, tlv.write_value
    write_value(args, write, 1)
    write(_KWARGS)
    write_value(kwargs, write, 1)
    return parts


@functools.lru_cache(_KNOWN, typed=True)
def _start_of_request(app_path: str, action: str, timeout: float | None) -> bytes:
    """All in front of the arguments, which is the same for most calls of a process."""
    parts = [_WITHOUT_TIMEOUT if timeout is None else _WITH_TIMEOUT, tlv.encode(app_path)]
    if timeout is not None:
        parts.append(_TIMEOUT + _F64.pack(timeout))
    return b"".join([*parts, _ACTION, tlv.encode(action), _ARGS])


def route_of(payload: bytes | bytearray | memoryview) -> Route:
    """Where a request goes, without decoding its arguments.

    Raises:
        DirtyProtocolError: the payload is no dict.
    """
    if not payload:
        return Route("", None)
    usual = _usual_route(payload)
    return _find_route(payload) if usual is None else usual[0]


def _usual_route(payload: bytes | bytearray | memoryview) -> tuple[Route, int] | None:
    """The route at the place at which our client puts it, and where it ends; None if it is elsewhere."""
    if payload[5:19] != _APP_PATH:
        return None
    end = 23 + int.from_bytes(payload[19:23], "big")
    if payload[end : end + 13] != _TIMEOUT or len(payload) < end + 21:
        return None
    timeout: float = _F64.unpack_from(payload, end + 13)[0]
    try:
        path = str(payload[23:end], "utf-8")
    except UnicodeDecodeError:
        return None
    return Route(path, timeout if timeout > 0 else None), end + 21


def _find_route(payload: bytes | bytearray | memoryview) -> Route:
    found = tlv.peek(payload, "app_path", "timeout")
    app_path, timeout = found.get("app_path"), found.get("timeout")
    is_number = isinstance(timeout, (int, float)) and timeout > 0
    return Route(app_path if isinstance(app_path, str) else "", timeout if is_number else None)


def decode_dict(payload: bytes | bytearray | memoryview) -> dict[str, Any]:
    """A payload as a dict; an empty payload is an empty dict.

    Raises:
        DirtyProtocolError: it is something else.
    """
    if not payload:
        return {}
    value = tlv.decode(payload)
    if not isinstance(value, dict):
        raise DirtyProtocolError(
            f"the payload is of type {type(value).__name__}, not a dict", bytes(payload[:100])
        )
    return value


def decode_call(payload: bytes | bytearray | memoryview) -> Call:
    """The call in a request.

    Raises:
        DirtyProtocolError: a field has the wrong type.
    """
    start = payload[: payload.find(_ARGS)] if type(payload) is bytes else b""
    usual = _targets.get(start) or _usual_target(start)
    values = tlv.decode_known(payload, len(start), _ARGUMENT_KEYS) if usual else None
    if usual and values:
        (app_path, action), (args, kwargs) = usual, values
    else:
        fields = decode_dict(payload)
        app_path, action = fields.get("app_path") or "", fields.get("action") or ""
        args, kwargs = fields.get("args") or [], fields.get("kwargs") or {}
    if not (
        isinstance(app_path, str)
        and isinstance(action, str)
        and isinstance(args, list)
        and isinstance(kwargs, dict)
    ):
        raise DirtyProtocolError("app_path and action must be strings, args a list and kwargs a dict")
    return Call(app_path, action, args, kwargs)


def _usual_target(start: bytes) -> tuple[str, str] | None:
    """Class and action, if ``start`` is all that our client puts in front of the arguments; else None."""
    route = _usual_route(start)
    try:
        found = tlv.decode_known(start, route[1], (_ACTION,)) if route else None
    except DirtyProtocolError:
        return None  # the arguments do not begin there
    if not route or not found or not isinstance(found[0], str):
        return None
    if len(_targets) >= _KNOWN:
        _targets.clear()
    _targets[start] = target = route[0].app_path, found[0]
    return target


def response(request_id: int, result: Any) -> bytes:
    """A response frame.

    Raises:
        DirtyProtocolError: the result cannot be sent.
    """
    return pack(Kind.RESPONSE, request_id, b"".join(response_parts(result)))


def response_parts(result: Any) -> list[bytes]:
    """The payload of a response.

    Raises:
        DirtyProtocolError: the result cannot be sent.
    """
    parts = [_RESULT]
    tlv.write_value(result, parts.append, 1)
    return parts


def chunk(request_id: int, data: Any) -> bytes:
    """One piece of a stream.

    Raises:
        DirtyProtocolError: the data cannot be sent.
    """
    return pack(Kind.CHUNK, request_id, tlv.encode({"data": data}))


def error(request_id: int, failure: BaseException) -> bytes:
    """An error frame. Details that cannot be sent are left behind: an error must arrive."""
    record = to_dict(failure)
    try:
        payload = tlv.encode({"error": record})
    except DirtyError:
        text = record["message"].encode("utf-8", "backslashreplace").decode()
        payload = tlv.encode({"error": {**record, "message": text, "details": {}}})
    return pack(Kind.ERROR, request_id, payload)


def raise_error(frame: Frame) -> None:
    """Raise what an error frame carries."""
    raise from_dict(decode_dict(frame.payload).get("error", {}))


def result_of(frame: Frame) -> Any:
    """The result in a response.

    Raises:
        DirtyError: it is an error, as its own class.
        DirtyProtocolError: it is neither.
    """
    if frame.kind == Kind.ERROR:
        raise_error(frame)
    if frame.kind != Kind.RESPONSE:
        raise DirtyProtocolError(f"a message of type 0x{frame.kind:02x} instead of a response")
    payload = frame.payload
    if payload[: len(_RESULT)] == _RESULT:
        return tlv.decode(payload, len(_RESULT))
    return decode_dict(payload).get("result")
