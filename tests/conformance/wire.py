"""A client that sends any bytes and reads answers strictly, without ever waiting for more than a deadline."""

from __future__ import annotations

import hashlib
import json
import selectors
import socket
import time
from collections.abc import Collection
from typing import Any

from attrs import define, field, frozen

__all__ = ["Answer", "Exchange", "Garbled", "Hung", "exchange", "read_answers"]

DEADLINE = 6.0


class Garbled(AssertionError):
    """The server sent what is no HTTP answer."""


class Hung(AssertionError):
    """The server neither answered nor closed."""


@frozen
class Answer:
    """One final answer."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes

    @property
    def closes(self) -> bool:
        return b"close" in self.fields.get(b"connection", b"").lower()

    def saw(self) -> dict[str, Any]:
        """What the witness told."""
        return json.loads(self.body)  # type: ignore[no-any-return]

    def saw_body(self, body: bytes) -> bool:
        """Whether the app read just these bytes."""
        return self.saw()["sha256"] == hashlib.sha256(body).hexdigest()


@define
class Exchange:
    """What came back on one connection."""

    answers: list[Answer] = field(factory=list)
    reset: bool = False
    rest: bytes = b""
    informational: list[int] = field(factory=list)


def _head(data: bytes) -> tuple[int, dict[bytes, bytes], bytes] | None:
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    line, *lines = head.split(b"\r\n")
    version, _, status = line.partition(b" ")
    if version != b"HTTP/1.1" or not status[:3].isdigit() or status[3:4] not in (b" ", b""):
        raise Garbled(f"not a status line: {line!r}")
    fields = {}
    for text in lines:
        name, colon, value = text.partition(b":")
        if not colon or (
            name.lower() in fields and name.lower() in (b"content-length", b"connection", b"date", b"server")
        ):
            raise Garbled(f"bad or repeated field: {text!r}")
        fields[name.lower()] = value.strip()
    return int(status[:3]), fields, rest


def _chunks(rest: bytes) -> tuple[bytes, bytes] | None:
    body = b""
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        size = int(line, 16)
        if len(rest) < size + 2:
            return None
        if rest[size : size + 2] != b"\r\n":
            raise Garbled("chunk without its line end")
        if size == 0:
            return body, rest[2:]
        body, rest = body + rest[:size], rest[size + 2 :]


def _body(
    status: int, fields: dict[bytes, bytes], rest: bytes, *, to_head: bool, ended: bool
) -> tuple[bytes, bytes] | None:
    if to_head or status in (204, 304):
        return b"", rest
    if fields.get(b"transfer-encoding") == b"chunked":
        return _chunks(rest)
    if b"content-length" in fields:
        size = int(fields[b"content-length"])
        return (rest[:size], rest[size:]) if len(rest) >= size else None
    return (rest, b"") if ended else None


def read_answers(data: bytes, *, heads: Collection[int] = (), ended: bool = True) -> Exchange:
    """The complete answers in ``data``; what is behind them stays in ``rest``."""
    found = Exchange(rest=data)
    while found.rest:
        head = _head(found.rest)
        if head is None:
            break
        status, fields, rest = head
        if status < 200:
            found.informational.append(status)
            found.rest = rest
            continue
        parts = _body(status, fields, rest, to_head=len(found.answers) in heads, ended=ended)
        if parts is None:
            break
        found.answers.append(Answer(status, fields, parts[0]))
        found.rest = parts[1]
    return found


def exchange(
    sock: socket.socket,
    data: bytes,
    *,
    expected: int | None,
    heads: Collection[int] = (),
    finish: bool = False,
) -> Exchange:
    """Send ``data`` and read until the server ends the connection.

    Args:
        expected: After so many answers the sending side is closed. None: the server has to end it by itself.
        heads: Which answers are to HEAD.
        finish: Close the sending side as soon as everything is sent.

    Raises:
        Hung: the deadline passed.
    """
    sock.setblocking(False)
    deadline = time.monotonic() + DEADLINE
    received = bytearray()
    view = memoryview(data)
    closed = reset = False
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if view else 0))
        while True:
            left = deadline - time.monotonic()
            ready = selector.select(max(0.0, left))
            if not ready:
                raise Hung(f"after {len(received)} bytes: {bytes(received[-300:])!r}")
            try:
                if ready[0][1] & selectors.EVENT_WRITE:
                    view = view[sock.send(view) :]
                if ready[0][1] & selectors.EVENT_READ:
                    piece = sock.recv(65536)
                    if not piece:
                        break
                    received += piece
            except BlockingIOError:
                pass
            except (ConnectionResetError, BrokenPipeError):
                reset = True
                view = memoryview(b"")
                piece = _rest_of(sock)
                received += piece
                break
            if not view:
                selector.modify(sock, selectors.EVENT_READ)
                if not closed and (finish or _enough(bytes(received), expected, heads)):
                    sock.shutdown(socket.SHUT_WR)
                    closed = True
    found = read_answers(bytes(received), heads=heads)
    found.reset = reset
    return found


def _rest_of(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1 << 20)
    except OSError:
        return b""


def _enough(received: bytes, expected: int | None, heads: Collection[int]) -> bool:
    return expected is not None and len(read_answers(received, heads=heads, ended=False).answers) >= expected
