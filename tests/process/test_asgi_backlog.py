"""A connection whose requests have to wait: what its client goes on sending waits with the client."""

from __future__ import annotations

import asyncio
import select
import socket

import pytest
from asgi_worker import LOOPS, AsgiWorker, answer, http_only
from engine_worker import read_answer

HELD = 16
"""How many applications may go on after their response."""


def new_app():
    release = asyncio.Event()

    @http_only
    async def app(scope, receive, send):
        if scope["path"] == "/release":
            release.set()
        if scope["path"] == "/wait":
            await release.wait()
        await answer(send, b"ok")
        if scope["path"] == "/stay":
            await release.wait()

    return app


@pytest.mark.parametrize("loop", LOOPS)
def test_requests_behind_applications_that_go_on_wait_with_the_client(loop):
    piece, most = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n" * 500, 64_000_000
    with AsgiWorker(None, load=new_app, asgi_loop=loop) as worker, worker.connect() as sock:
        for _ in range(HELD):
            sock.sendall(b"GET /stay HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_answer(sock)[1] == b"ok"
        sock.setblocking(False)
        sent = 0
        while sent < most and select.select([], [sock], [], 1)[1]:
            sent += sock.send(piece)
        assert sent < most / 2
        sock.setblocking(True)
        assert worker.get("/release")[1] == b"ok"
        for _ in range(1000):
            assert read_answer(sock)[1] == b"ok"


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_ends_with_a_body_which_nobody_reads_gets_its_answer(loop):
    with AsgiWorker(None, load=new_app, asgi_loop=loop) as worker:
        with worker.connect() as sock:
            sock.sendall(b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
            sock.shutdown(socket.SHUT_WR)
            assert worker.get("/release")[1] == b"ok"  # by then the worker knows of the end
            assert read_answer(sock)[1] == b"ok"
            assert sock.recv(100) == b""
        worker.slot_idle()
        assert "Error" not in worker.log()
