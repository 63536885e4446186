"""Reading what an application sends on a WebSocket: each value checked, each fault named with its message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.asgi.errors import MessageError

if TYPE_CHECKING:
    from gunicorn.http.events import Headers

__all__ = ["accept_fields", "body", "close_fields", "header_fields", "payload", "status"]

Message = dict[str, Any]

# RFC 6455 5.5: a control frame has at most 125 bytes, two of which are the code.
_MAX_REASON = 123

_OURS = frozenset(
    {
        b"connection",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-version",
        b"upgrade",
    }
)


def payload(message: Message) -> tuple[bytes, bool]:
    """The bytes of a ``websocket.send``, and whether they are text."""
    text = message.get("text")
    if text is None:
        return _bytes(message, "bytes"), False
    if message.get("bytes") is not None:
        # Other servers send one of the two, and not all of them the same.
        raise MessageError("websocket.send: one of text and bytes must be None")
    try:
        return text.encode("utf-8"), True
    except (AttributeError, UnicodeEncodeError) as error:
        raise MessageError(f"websocket.send: text must be str that UTF-8 can express ({error})") from error


def body(message: Message) -> bytes:
    """The body of a ``websocket.http.response.body``."""
    return _bytes(message, "body") if "body" in message else b""


def _bytes(message: Message, key: str) -> bytes:
    data = message.get(key)
    if type(data) is bytes:
        return data
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    raise MessageError(f"{message['type']}: {key} must be bytes, not {type(data).__name__}")


def accept_fields(message: Message) -> Headers:
    """The headers of a ``websocket.accept``, with the subprotocol."""
    fields = header_fields(message)
    for name, _ in fields:
        if name.lower() in _OURS:
            raise MessageError(f"websocket.accept: the header {name.decode('latin-1')!r} is the server's")
    subprotocol = message.get("subprotocol")
    if subprotocol is None:
        return fields
    if not isinstance(subprotocol, str) or not subprotocol.isascii():
        raise MessageError(f"websocket.accept: subprotocol must be ASCII text, not {subprotocol!r:.100}")
    if any(name.lower() == b"sec-websocket-protocol" for name, _ in fields):
        # Alone the header is let through, as other servers do; a client refuses an answer that has it twice.
        raise MessageError("websocket.accept: both subprotocol and the header 'sec-websocket-protocol'")
    return [*fields, (b"sec-websocket-protocol", subprotocol.encode("ascii"))]


def header_fields(message: Message) -> Headers:
    """The headers of a message."""
    try:
        return [(bytes(name), bytes(value)) for name, value in message.get("headers") or ()]
    except (TypeError, ValueError) as error:
        raise MessageError(f"{message['type']}: headers must be pairs of bytes ({error})") from error


def status(message: Message) -> int:
    """The status of a ``websocket.http.response.start``."""
    value = message.get("status")
    if not isinstance(value, int) or not 200 <= value <= 599:
        raise MessageError(f"websocket.http.response.start: status must be 200 to 599, not {value!r:.100}")
    return value


def close_fields(message: Message) -> tuple[int, str]:
    """Code and reason of a ``websocket.close``; the code is not checked yet."""
    code, reason = message.get("code"), message.get("reason") or ""
    if not isinstance(reason, str):
        raise MessageError(f"websocket.close: reason must be str, not {type(reason).__name__}")
    if code is not None and not isinstance(code, int):
        raise MessageError(f"websocket.close: code must be int, not {code!r:.100}")
    # A shorter reason is better than another code because of a long one.
    clipped = reason.encode("utf-8", "replace")[:_MAX_REASON].decode("utf-8", "ignore")
    return 1000 if code is None else code, clipped
