"""Violent ends: of the arbiter, of the fork server, of workers. No orphan stays, and service goes on."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

import pytest
from harness import PROMPT, Server, open_gate, wait_gone, wait_until


def fork_servers(server: Server) -> set[int]:
    return set(server.processes()) - {server.pid} - set(server.workers())


@pytest.mark.parametrize("path", [None, "/sleep?60", "/hold?60"], ids=["idle", "sleeping", "holding the GIL"])
def test_nothing_survives_a_killed_arbiter(serve, workers, path):
    server = serve(*workers, "-w", "2", app="probe:app")
    server.get()
    server.wait_workers(2)
    port = server.port
    with server.connect() as client:
        if path:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            server.wait_for("sleeping|holding")
        started = time.monotonic()
        server.signal(signal.SIGKILL)
        server.wait()
        wait_until(lambda: not server.processes(), what="the end of every process")
        assert time.monotonic() - started < PROMPT
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def test_a_killed_fork_server_is_replaced_and_service_goes_on(serve):
    server = serve("-w", "2", app="probe:app")
    server.get()
    workers = server.wait_workers(2)
    (first,) = fork_servers(server)
    server.signal(signal.SIGKILL, first)
    wait_gone(first)
    assert int(server.get("/pid")) in workers
    wait_until(lambda: fork_servers(server) - {first}, what="a new fork server")
    assert server.workers() == workers

    # The new one is there to fork: workers that are lost now must be replaced by it, and a reload must work.
    for worker in workers:
        server.signal(signal.SIGKILL, worker)
        wait_gone(worker)
    assert int(server.get("/pid")) not in workers
    successors = server.wait_workers(2)
    server.signal(signal.SIGHUP)
    wait_gone(*successors)
    assert int(server.get("/pid")) not in successors


def test_killed_workers_are_replaced(serve, workers):
    server = serve(*workers, "-w", "2", app="probe:app")
    server.get()
    for _ in range(3):
        victim = server.wait_workers(2)[0]
        server.signal(signal.SIGKILL, victim)
        wait_gone(victim)
        assert server.get() == "Hello, World!\n"
    server.wait_workers(2)
    server.wait_for(r"\[ERROR\].*SIGKILL")


def test_only_requests_inside_a_killed_worker_fail(serve, workers):
    server = serve(*workers, "-w", "2", app="probe:app")
    server.get()
    lost: list[str] = []
    finished = threading.Event()

    def load() -> None:
        while not finished.is_set():
            try:
                assert server.request("/").status == 200
            except (OSError, AssertionError) as error:
                lost.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            server.signal(signal.SIGKILL, server.wait_workers(2)[0])
    finally:
        finished.set()
        for thread in threads:
            thread.join(20)
    # Each client has one request under way, so a kill can cost one request per client and no more.
    assert len(lost) <= 4 * len(threads), lost


def test_a_silent_worker_is_ended_and_its_request_named(serve, workers):
    server = serve(*workers, "--timeout", "1", app="probe:app")
    with server.connect() as client:
        client.sendall(b"GET /hold?60 HTTP/1.1\r\nHost: a\r\n\r\n")
        held = int(server.wait_for(r"holding the interpreter lock in (\d+)")[1])
        server.wait_for(rf"WORKER TIMEOUT.*{held}", timeout=5)
        wait_gone(held)
    assert server.get() == "Hello, World!\n"
    assert "/hold" in server.log


def test_a_sync_request_longer_than_the_timeout_is_ended(serve):
    server = serve("--timeout", "1", app="probe:app")
    with server.connect() as client, client.makefile("rb") as answer:
        client.sendall(b"GET /sleep?60 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer.readline() in (b"", b"HTTP/1.1 500 Internal Server Error\r\n")
    assert server.get() == "Hello, World!\n"


def test_a_worker_that_boots_slowly_is_not_a_worker_that_hangs(serve, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    server = serve("--timeout", "1", config="boot_timeout = 20\n", app="gated:app", env={"GATE": str(gate)})
    (booting,) = server.wait_workers(1)
    # Longer than ``timeout``, and no event can tell that nothing happened.
    with pytest.raises(TimeoutError):
        wait_gone(booting, timeout=4)
    open_gate(gate)
    assert server.get() == "Hello, World!\n"
    assert server.workers() == [booting]
