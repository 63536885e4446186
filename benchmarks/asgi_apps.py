"""The application of ``apps`` for ASGI: the same paths, the same answers."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from apps import GREETING, ITEMS, MEGABYTE, PIECE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"text/plain", GREETING)


async def items(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"application/json", json.dumps(ITEMS).encode())


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    pieces, more = [], True
    while more:
        message = await receive()
        pieces.append(message["body"])
        more = message["more_body"]
    await answer(send, b"application/octet-stream", b"".join(pieces))


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    seen, more = 0, True
    while more:
        message = await receive()
        seen += len(message["body"])
        more = message["more_body"]
    await answer(send, b"text/plain", str(seen).encode())


async def download(scope: Scope, receive: Receive, send: Send) -> None:
    """As many bytes as the query string says, made while they are sent."""
    size = int(scope["query_string"])
    await head(send, b"application/octet-stream", size)
    for start in range(0, size, PIECE):
        body = b"x" * min(PIECE, size - start)
        await send({"type": "http.response.body", "body": body, "more_body": start + PIECE < size})


async def socket(receive: Receive, send: Send) -> None:
    """Every message of a WebSocket goes back."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


async def pieces(scope: Scope, receive: Receive, send: Send) -> None:
    """1 MB in as many pieces as the query string says, of unknown length in all."""
    count = int(scope["query_string"])
    headers = [(b"content-type", b"application/octet-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(count):
        await send({"type": "http.response.body", "body": b"x" * (MEGABYTE // count), "more_body": True})
    await send({"type": "http.response.body"})


async def pid(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"text/plain", str(os.getpid()).encode())


async def answer(send: Send, kind: bytes, body: bytes) -> None:
    await head(send, kind, len(body))
    await send({"type": "http.response.body", "body": body})


async def head(send: Send, kind: bytes, length: int) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


ROUTES = {
    "/": hello,
    "/items": items,
    "/echo": echo,
    "/upload": upload,
    "/download": download,
    "/pieces": pieces,
    "/pid": pid,
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await socket(receive, send)
        return
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await ROUTES[scope["path"]](scope, receive, send)
