"""The application that every server runs: the shapes of answer that the benchmarks ask for.

Nothing but PEP 3333, so that what is measured is the server.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Environ = dict[str, Any]

PIECE = 64 * 1024
MEGABYTE = 1024 * 1024
GREETING = b"Hello, World!"
ITEMS = [{"id": n, "name": f"item {n}", "price": n * 1.25} for n in range(20)]


def hello(environ: Environ) -> tuple[str, Iterable[bytes], int]:
    return "text/plain", [GREETING], len(GREETING)


def items(environ: Environ) -> tuple[str, Iterable[bytes], int]:
    body = json.dumps(ITEMS).encode()
    return "application/json", [body], len(body)


def echo(environ: Environ) -> tuple[str, Iterable[bytes], int]:
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return "application/octet-stream", [body], len(body)


def upload(environ: Environ) -> tuple[str, Iterable[bytes], int]:
    """Read the body in pieces and answer how many bytes there were."""
    seen = 0
    while piece := environ["wsgi.input"].read(PIECE):
        seen += len(piece)
    body = str(seen).encode()
    return "text/plain", [body], len(body)


def download(environ: Environ) -> tuple[str, Iterable[bytes], int]:
    """As many bytes as the query string says, made while they are sent."""
    size = int(environ["QUERY_STRING"])
    return "application/octet-stream", _generated(size), size


def _generated(size: int) -> Iterator[bytes]:
    for start in range(0, size, PIECE):
        yield b"x" * min(PIECE, size - start)


def pieces(environ: Environ) -> tuple[str, Iterable[bytes], int | None]:
    """1 MB in as many pieces as the query string says, of unknown length in all."""
    count = int(environ["QUERY_STRING"])
    return "application/octet-stream", (b"x" * (MEGABYTE // count) for _ in range(count)), None


def pid(environ: Environ) -> tuple[str, Iterable[bytes], int]:
    body = str(os.getpid()).encode()
    return "text/plain", [body], len(body)


ROUTES = {
    "/": hello,
    "/items": items,
    "/echo": echo,
    "/upload": upload,
    "/download": download,
    "/pieces": pieces,
    "/pid": pid,
}


def app(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    kind, body, length = ROUTES[environ["PATH_INFO"]](environ)
    headers = [("Content-Type", kind)]
    if length is not None:
        headers.append(("Content-Length", str(length)))
    start_response("200 OK", headers)
    return body
