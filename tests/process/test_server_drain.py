"""The end of a server is polite: what was accepted is answered, and nothing lasts longer than promised."""

from __future__ import annotations

import signal
import socket
import threading
import time
from contextlib import ExitStack

import pytest
from harness import PROMPT, wait_gone


def get(path: str, connection: str = "close") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\n\r\n".encode()


def read_all(client: socket.socket) -> bytes:
    with client.makefile("rb") as stream:
        return stream.read()


def test_a_request_in_flight_at_term_is_answered(serve, workers):
    server = serve(*workers, app="probe:app")
    with server.connect() as client:
        client.sendall(get("/sleep?3", "keep-alive"))
        server.wait_for("sleeping")
        server.signal(signal.SIGTERM)
        answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nslept")
    assert b"connection: close" in answer.lower()
    assert server.wait() == 0


def test_connections_queued_at_term_are_all_answered(serve, workers):
    server = serve(*workers, app="probe:app")
    with ExitStack() as stack:
        first = [stack.enter_context(server.connect()) for _ in range(2)]
        for client in first:
            client.sendall(get("/sleep?1"))
        server.wait_for("sleeping")
        queued = [stack.enter_context(server.connect()) for _ in range(50)]
        for client in queued:
            client.sendall(get("/"))
        server.signal(signal.SIGTERM)
        answers = [read_all(client) for client in (*first, *queued)]
    assert [answer[:15] for answer in answers] == [b"HTTP/1.1 200 OK"] * 52
    assert server.wait() == 0


def test_connections_queued_at_reload_are_all_answered(serve, workers):
    server = serve(*workers, app="probe:app")
    with ExitStack() as stack:
        first = stack.enter_context(server.connect())
        first.sendall(get("/sleep?1"))
        server.wait_for("sleeping")
        queued = [stack.enter_context(server.connect()) for _ in range(20)]
        for client in queued:
            client.sendall(get("/"))
        server.signal(signal.SIGHUP)
        answers = [read_all(client) for client in (first, *queued)]
    assert [answer[:15] for answer in answers] == [b"HTTP/1.1 200 OK"] * 21


@pytest.mark.parametrize("path", ["/sleep?60", "/hold?60"])
def test_a_stuck_request_is_cut_off_at_the_graceful_timeout(serve, workers, path):
    server = serve(*workers, "--graceful-timeout", "1", app="probe:app")
    with server.connect() as client:
        client.sendall(get(path))
        server.wait_for("sleeping|holding")
        started = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - started < PROMPT
    assert server.processes() == {}


def test_idle_keep_alive_connections_do_not_delay_the_stop(serve, workers):
    server = serve(*workers, "--keep-alive", "60")
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(20)]
        for client in clients:
            client.sendall(get("/", "keep-alive"))
            assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")
        started = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - started < PROMPT


def test_reload_under_load_loses_no_request(serve, workers):
    server = serve(*workers, "-w", "2")
    answered: list[int] = []
    failed: list[BaseException] = []
    finished = threading.Event()

    def load() -> None:
        while not finished.is_set():
            try:
                answered.append(server.request("/").status)
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            old = server.wait_workers(2)
            server.signal(signal.SIGHUP)
            wait_gone(*old)
        server.wait_workers(2)
    finally:
        finished.set()
        for thread in threads:
            thread.join(20)
    assert failed == []
    assert set(answered) == {200}
