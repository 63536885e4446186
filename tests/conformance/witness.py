"""A WSGI app that reads everything, tells what it saw, and leaves a mark in a file for each call."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from typing import Any

MARKS = (
    os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT) if "WITNESS" in os.environ else -1
)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if MARKS >= 0:
        os.write(MARKS, b"x")
    return answer(environ, environ["wsgi.input"].read(), start_response)


def lazy(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers without a look at the content."""
    if MARKS >= 0:
        os.write(MARKS, b"x")
    return answer(environ, b"", start_response)


def answer(environ: dict[str, Any], body: bytes, start_response: Callable[..., Any]) -> Iterable[bytes]:
    seen = {
        "method": environ["REQUEST_METHOD"],
        "target": environ["RAW_URI"],
        "query": environ["QUERY_STRING"],
        "scheme": environ["wsgi.url_scheme"],
        "version": environ["SERVER_PROTOCOL"].removeprefix("HTTP/"),
        "peer": environ["REMOTE_ADDR"],
        "length": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "fields": {name: value for name, value in environ.items() if name.startswith("HTTP_")},
    }
    text = json.dumps(seen).encode()
    # A tunnel is nothing that this app can give, and a 2xx answer to CONNECT has no content (RFC 9110 section
    # 9.3.6).
    status = "405 Method Not Allowed" if seen["method"] == "CONNECT" else "200 OK"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text]


async def asgi_app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """``app`` for ASGI."""
    if scope["type"] == "http":
        _mark()
        body, message = b"", {"more_body": True}
        while message.get("more_body"):
            message = await receive()
            body += message.get("body", b"")
        if message["type"] == "http.request":
            await asgi_answer(scope, body, send)


async def asgi_lazy(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """``lazy`` for ASGI."""
    if scope["type"] == "http":
        _mark()
        await asgi_answer(scope, b"", send)


async def asgi_answer(scope: dict[str, Any], body: bytes, send: Any) -> None:
    seen = {
        "method": scope["method"],
        "query": scope["query_string"].decode("latin-1"),
        "scheme": scope["scheme"],
        "version": scope["http_version"],
        "peer": (scope["client"] or ("",))[0],
        "length": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    text = json.dumps(seen).encode()
    status = 405 if scope["method"] == "CONNECT" else 200
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _mark() -> None:
    if MARKS >= 0:
        os.write(MARKS, b"x")
