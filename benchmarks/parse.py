"""What the HTTP/1.1 core costs, in microseconds: ``python benchmarks/parse.py``.

Best of several short runs, because the noise of a shared machine only ever adds.
"""

from __future__ import annotations

import logging
import socket
import timeit
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

from gunicorn.asgi.scope import ScopeBase
from gunicorn.http import Peer, Policy, Request, ServerConnection
from gunicorn.http.engines import engine_factory
from gunicorn.http.response import ResponseHead
from gunicorn.http.state import Client, Server
from gunicorn.wsgi.environ import add_client, add_line, fields_environ, listener_environ, worker_environ

if TYPE_CHECKING:
    from collections.abc import Callable

BROWSER = b"""\
GET /articles/2026/11/structured?page=2 HTTP/1.1\r
Host: www.example.com\r
Connection: keep-alive\r
Cache-Control: max-age=0\r
sec-ch-ua: "Chromium";v="120", "Not?A_Brand";v="8"\r
Upgrade-Insecure-Requests: 1\r
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537 (KHTML, like Gecko) Chrome/120.0 Safari/537.36\r
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r
Sec-Fetch-Site: none\r
Accept-Encoding: gzip, deflate, br\r
Accept-Language: en-US,en;q=0.9\r
Cookie: sessionid=abcdefghijklmnop; csrftoken=0123456789abcdef\r
Referer: https://www.example.com/index.html\r
\r
"""
HELLO = b"GET / HTTP/1.1\r\nHost: localhost:8000\r\nAccept: */*\r\n\r\n"
FIELDS = [(b"Content-Type", b"text/plain"), (b"Content-Length", b"14")]
BODY = b"Hello, World!\n"


def best(run: Callable[[], object], number: int = 500, repeat: int = 60) -> float:
    """Microseconds for one call."""
    return min(timeit.repeat(run, number=number, repeat=repeat)) / number * 1e6


def cycle(connection: ServerConnection, request: bytes) -> Callable[[], bytes]:
    """One request and its answer on a kept connection."""

    def run() -> bytes:
        connection.receive_data(request)
        connection.next_event()
        out = connection.send_whole(ResponseHead(200, b"OK", FIELDS), BODY)
        connection.start_next_cycle()
        return out

    return run


def reset(connection: ServerConnection, *, repeated: bool = False) -> Callable[[], None]:
    """Have the connection read as if the request were its first, or (``repeated``) one like the last."""

    def run() -> None:
        connection._client, connection._server = Client.IDLE, Server.IDLE
        if not repeated:
            connection._reader.forget()

    return run


def parse(connection: ServerConnection, request: bytes, *, repeated: bool = False) -> Callable[[], Request]:
    """Bytes to Request event, with the reset between two.

    ``repeated``: the fields are those of the request before, as from most clients; else they are new.
    """
    again = reset(connection, repeated=repeated)

    def run() -> Request:
        again()
        connection.receive_data(request)
        event = connection.next_event()
        assert type(event) is Request
        return event

    return run


def to_environ(connection: ServerConnection, request: bytes) -> Callable[[], object]:
    """Bytes to a WSGI environ, with fields that are new."""
    read = parse(connection, request)
    base = worker_environ(SimpleNamespace(workers=2), logging.getLogger("benchmark"), multithread=True)
    base = listener_environ(base, ("127.0.0.1", 8000))
    sock = socket.socket()
    sock.close()

    def run() -> object:
        event = read()
        environ = fields_environ(base, event)
        add_line(environ, event)
        add_client(environ, sock, "127.0.0.1", "50000")
        return environ

    return run


def to_scope(connection: ServerConnection, request: bytes) -> Callable[[], object]:
    """Bytes to an ASGI scope, with fields that are new."""
    read = parse(connection, request)
    base = ScopeBase(Peer("127.0.0.1", 50000), ("127.0.0.1", 8000))
    return lambda: base.http(read())


def main() -> None:
    peer = Peer("127.0.0.1", 50000)
    for engine in ("fast", "python"):
        policy = Policy(new_engine=engine_factory(engine))
        asgi = ServerConnection(policy, peer)
        wsgi = ServerConnection(policy, peer, shares_requests=True)
        idle, idle_again = best(reset(asgi)), best(reset(asgi, repeated=True))
        for name, request in (("browser request, 12 fields", BROWSER), ("hello request, 2 fields", HELLO)):
            print(f"{engine:7} {name:27} -> Request   {best(parse(asgi, request)) - idle:7.2f} us")
            print(f"{engine:7} {name:27} -> scope     {best(to_scope(asgi, request)) - idle:7.2f} us")
            print(f"{engine:7} {name:27} -> environ   {best(to_environ(wsgi, request)) - idle:7.2f} us")
            same = best(parse(wsgi, request, repeated=True)) - idle_again
            print(f"{engine:7} {name:27} once more    {same:7.2f} us")
        both = best(cycle(ServerConnection(policy, peer), HELLO))
        print(f"{engine:7} response, 2 fields and body -> bytes     {both - same:7.2f} us")
        print(f"{engine:7} hello request and response               {both:7.2f} us")
        fresh = best(partial(ServerConnection, policy, peer))
        print(f"{engine:7} new connection                           {fresh:7.2f} us")


if __name__ == "__main__":
    main()
