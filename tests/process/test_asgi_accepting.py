"""What the accept loop tells an application, and that it leaves nobody in the queue."""

from __future__ import annotations

import socket

import pytest
from asgi_worker import LOOPS, AsgiWorker, answer, http_only
from engine_worker import read_answer


@http_only
async def where(scope, receive, send):
    host, port = scope["server"]
    await answer(send, f"{host} {port}".encode())


def ask(sock: socket.socket) -> None:
    sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_server_of_a_scope_is_where_the_connection_arrived(loop, host):
    with AsgiWorker(where, asgi_loop=loop, bind=f"{host}:0") as worker:
        port = worker.address[1]
        for arrival in ("127.0.0.1", "127.0.0.2") if host == "0.0.0.0" else ("127.0.0.1",):
            with socket.create_connection((arrival, port), 30) as sock:
                for _ in range(2):
                    ask(sock)
                    assert read_answer(sock)[1] == f"{arrival} {port}".encode()


@pytest.mark.parametrize("loop", LOOPS)
def test_connections_that_come_at_once_are_all_accepted(loop):
    with AsgiWorker(where, asgi_loop=loop) as worker:
        for _ in range(2):
            socks = [worker.connect() for _ in range(60)]
            for sock in socks:
                ask(sock)
            for sock in socks:
                with sock:
                    assert read_answer(sock)[0].startswith(b"HTTP/1.1 200 ")
            worker.slot_idle()


@pytest.mark.parametrize("loop", LOOPS)
def test_the_limit_holds_for_connections_that_come_at_once(loop):
    with AsgiWorker(where, asgi_loop=loop, worker_connections=3) as worker:
        socks = [worker.connect() for _ in range(10)]
        for sock in socks:
            ask(sock)
        for sock in socks:
            # In the order of the queue: each makes room for another when it leaves.
            with sock:
                assert read_answer(sock)[0].startswith(b"HTTP/1.1 200 ")
                assert worker.slot.connections <= 3
        worker.slot_idle()
