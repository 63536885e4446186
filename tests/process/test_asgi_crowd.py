"""More requests at once than a worker begins in one turn of its loop."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import ExitStack

import pytest
from asgi_worker import LOOPS, AsgiWorker, answer, http_only
from engine_worker import read_answer

CLIENTS = 150


def request(path: str, fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()


@pytest.mark.parametrize("loop", LOOPS)
def test_all_that_comes_while_the_loop_is_blocked_is_answered(loop, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    @http_only
    async def app(scope, receive, send):
        if scope["path"] == "/block":
            with fifo.open("rb") as reader:
                reader.read()
        body, more = scope["path"].encode(), True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body")
        await answer(send, body)

    with AsgiWorker(app, asgi_loop=loop) as worker, ExitStack() as stack:
        socks = [stack.enter_context(worker.connect()) for _ in range(CLIENTS)]
        blocker, half_closed, cut, late, pipelined, body, *plain = socks
        for sock in socks:
            sock.sendall(request("/first"))
            assert read_answer(sock)[1] == b"/first"
        blocker.sendall(request("/block"))
        with fifo.open("wb"):  # once the application is there
            for number, sock in enumerate(plain):
                sock.sendall(request(f"/{number}"))
            pipelined.sendall(request("/a") + request("/b") + request("/c"))
            body.sendall(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo")
            half_closed.sendall(request("/half"))
            half_closed.shutdown(socket.SHUT_WR)
            late.sendall(request("/late")[:-2])
            cut.sendall(request("/cut"))
            cut.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            cut.close()  # with a reset
        late.sendall(b"\r\n")
        body.sendall(b"dy")
        assert read_answer(blocker)[1] == b"/block"
        for number, sock in enumerate(plain):
            assert read_answer(sock)[1] == b"/%d" % number
        assert [read_answer(pipelined)[1] for _ in range(3)] == [b"/a", b"/b", b"/c"]
        assert read_answer(half_closed)[1] == b"/half"
        assert read_answer(late)[1] == b"/late"
        assert read_answer(body)[1] == b"/pbody"
        stack.close()
        worker.slot_idle()
        assert "Error" not in worker.log()
