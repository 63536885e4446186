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
