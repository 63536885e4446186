"""A worker that is replaced gives every idle connection one more answer: no client meets a reset."""

from __future__ import annotations

import select
import signal
import time
from contextlib import ExitStack

from harness import PROMPT, wait_gone, wait_until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LONGER_THAN_A_STOP_WAITS = 2.5


def read_all(client):
    with client.makefile("rb") as stream:
        return stream.read()


def test_idle_connections_survive_a_reload_until_their_next_request(serve, workers):
    server = serve(*workers, "--keep-alive", "30")
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(300)]
        for client in clients:
            client.sendall(GET)
            assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")
        old = server.wait_workers(1)
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.log.count("Booting worker") == 2, what="the next worker")
        assert not select.select(clients, [], [], LONGER_THAN_A_STOP_WAITS)[0], (
            "closed before its next request"
        )
        for client in clients:
            client.sendall(GET)
            answer = read_all(client)
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert b"Connection: close" in answer
        wait_gone(*old)


def test_a_stop_does_not_wait_for_the_idle_connections_of_a_reload(serve, workers):
    server = serve(*workers, "--keep-alive", "30")
    with server.connect() as client:
        client.sendall(GET)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.log.count("Booting worker") == 2, what="the next worker")
        assert not select.select([client], [], [], LONGER_THAN_A_STOP_WAITS)[0]
        started = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - started < PROMPT
