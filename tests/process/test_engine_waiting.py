"""Clients that wait, and clients that make others wait: nobody who is between requests holds a thread."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from contextlib import ExitStack

import pytest
from engine_worker import EngineWorker, read_all, read_answer, read_exactly
from harness import PROMPT, wait_until

CLASSES = {"sync": {"worker_class": "sync"}, "gthread": {"worker_class": "gthread", "threads": 2}}
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=CLASSES)
def kind(request):
    return CLASSES[request.param]


def hello(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"hi"]


def echo_length(environ, start_response):
    body = str(len(environ["wsgi.input"].read())).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def elapsed(function):
    started = time.monotonic()
    function()
    return time.monotonic() - started


def test_slow_heads_and_idle_connections_hold_no_thread(kind):
    with EngineWorker(hello, keepalive=60, header_timeout=60, **kind) as worker, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(worker.connect()).sendall(b"GET / HTTP/1.1\r\nHost:")
        for _ in range(100):
            sock = stack.enter_context(worker.connect())
            sock.sendall(GET)
            read_answer(sock)
        for _ in range(50):
            stack.enter_context(worker.connect())
        assert elapsed(worker.get) < PROMPT


def test_a_client_that_does_not_close_after_its_answer_holds_no_thread(kind):
    with EngineWorker(hello, **kind) as worker, ExitStack() as stack:
        for _ in range(20):
            sock = stack.enter_context(worker.connect())
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n")
            read_answer(sock)
        assert elapsed(worker.get) < PROMPT


def test_an_idle_connection_is_closed_after_keepalive(kind):
    with EngineWorker(hello, keepalive=1, **kind) as worker, worker.connect() as sock:
        sock.sendall(GET)
        read_answer(sock)
        assert 0.8 < elapsed(lambda: read_all(sock)) < PROMPT


def test_no_keepalive_closes_at_once(kind):
    with EngineWorker(hello, keepalive=0, **kind) as worker, worker.connect() as sock:
        sock.sendall(GET)
        assert b"Connection: close" in read_all(sock)


def test_half_a_head_gets_a_408(kind):
    with EngineWorker(hello, header_timeout=1, **kind) as worker, worker.connect() as sock:
        sock.sendall(GET[:10])
        assert read_all(sock).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_a_head_that_drips_gets_a_408_all_the_same(kind):
    """The deadline is for the head, not for each byte of it."""
    with EngineWorker(hello, header_timeout=1, **kind) as worker, worker.connect(0.2) as sock:
        started = time.monotonic()
        received = b""
        while not received:
            sock.sendall(b"a")
            try:
                received = sock.recv(100)
            except TimeoutError:
                assert time.monotonic() < started + 5
        assert received.startswith(b"HTTP/1.1 4")


def test_a_connection_that_says_nothing_is_closed_without_a_word(kind):
    with EngineWorker(hello, header_timeout=1, **kind) as worker, worker.connect() as sock:
        assert read_all(sock) == b""
        assert "408" not in worker.log()


def test_a_body_that_stops_gets_a_408(kind):
    with EngineWorker(echo_length, body_timeout=1, **kind) as worker, worker.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        assert read_all(sock).startswith(b"HTTP/1.1 408 ")
        assert "Traceback" not in worker.log()


def test_a_client_that_takes_nothing_is_let_go():
    def endless(environ, start_response):
        start_response("200 OK", [])
        while True:
            yield bytes(100_000)

    with EngineWorker(endless, write_timeout=1) as worker, worker.connect() as sock:
        sock.sendall(GET)
        assert elapsed(worker.slot_idle) < PROMPT
        with worker.connect() as other:
            other.sendall(GET)
            assert other.recv(15) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("way", ["pieces", "file"])
def test_a_client_that_reads_slowly_is_not_one_that_takes_nothing(way, tmp_path):
    """Two kilobytes of window, four kilobytes a second: the socket stays unwritable for many timeouts."""
    size = 20_000_000
    path = tmp_path / "large"
    path.write_bytes(bytes(size))

    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", str(size))])
        return environ["wsgi.file_wrapper"](path.open("rb")) if way == "file" else [bytes(size)]

    with EngineWorker(application, write_timeout=1.5) as worker, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.settimeout(30)
        sock.connect(worker.address)
        sock.sendall(GET)
        pace, until = threading.Event(), time.monotonic() + 5
        while time.monotonic() < until:
            assert len(sock.recv(1024)) > 0
            pace.wait(0.25)
        assert worker.slot.connections == 1
        assert len(worker.slot.table.snapshot()) == 1  # the thread is still at it


def test_large_bodies_take_little_memory():
    def application(environ, start_response):
        total = 0
        while piece := environ["wsgi.input"].read(100_000):
            total += len(piece)
        start_response("200 OK", [("X-Read", str(total))])
        return (bytes(1 << 20) for _ in range(500 if total else 0))

    size = 200 << 20
    with EngineWorker(application) as worker:
        worker.get("/", "Content-Length: 0\r\n")
        before = peak_memory(worker.pid)
        with worker.connect() as sock:
            sock.sendall(b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(200):
                sock.sendall(bytes(1 << 20))
            total = 0
            while data := sock.recv(1 << 20):
                total += len(data)
        assert total > 500 << 20
        assert peak_memory(worker.pid) - before < 8 << 20


def peak_memory(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


def test_worker_connections_is_a_limit_and_not_a_wall(kind):
    with EngineWorker(hello, worker_connections=3, keepalive=30, **kind) as worker, ExitStack() as stack:
        held = [stack.enter_context(worker.connect()) for _ in range(3)]
        for sock in held:
            sock.sendall(GET)
            read_answer(sock)
        waiting = stack.enter_context(worker.connect(0.3))
        waiting.sendall(GET)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        held[0].close()
        waiting.settimeout(30)
        assert read_answer(waiting)[1] == b"hi"


def test_running_out_of_descriptors_is_survived():
    def load():
        limit = len(os.listdir("/proc/self/fd")) + 30
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        return hello

    with EngineWorker(None, load=load, keepalive=30) as worker, ExitStack() as stack:
        worker.message()
        socks = [stack.enter_context(worker.connect()) for _ in range(60)]
        socks[0].sendall(GET)
        read_answer(socks[0])
        wait_until(lambda: "Cannot accept" in worker.log(), what="the shortage")
        for sock in socks:
            sock.close()
        assert elapsed(worker.get) < PROMPT


def test_many_connections_leave_nothing_behind(kind):
    with EngineWorker(hello, **kind) as worker:
        worker.get()
        before = len(os.listdir(f"/proc/{worker.pid}/fd"))
        for _ in range(300):
            worker.get()
        for _ in range(50):
            with worker.connect() as sock:
                sock.sendall(GET)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        worker.slot_idle()
        # A connection is counted out before its descriptor is closed.
        wait_until(lambda: len(os.listdir(f"/proc/{worker.pid}/fd")) <= before, what="the descriptors")
        assert "Traceback" not in worker.log()


def test_three_thousand_connections_leave_nothing_behind(kind):
    count = 3000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 500:
        pytest.skip(f"only {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 500), hard))
    try:
        with EngineWorker(
            hello, keepalive=600, worker_connections=count + 10, backlog=4096, **kind
        ) as worker:
            worker.get()
            before = len(os.listdir(f"/proc/{worker.pid}/fd"))
            peaks = []
            for _ in range(6):
                with ExitStack() as stack:
                    for sock in [stack.enter_context(worker.connect()) for _ in range(count)]:
                        sock.sendall(GET)
                        read_exactly(sock, 17)  # its status line
                    assert worker.slot.connections == count
                worker.slot_idle()
                peaks.append(peak_memory(worker.pid))
            wait_until(
                lambda: len(os.listdir(f"/proc/{worker.pid}/fd")) <= before,
                what=f"{before} descriptors again",
            )
            print(f"peak memory with {count} connections, six times: {peaks}")
            # The allocator takes a step of a megabyte or two now and then; what leaks a few objects for each
            # connection takes one every time.
            assert peaks[-1] - peaks[0] < 400 * 5 * count
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("name", ["EpollPoller", "PollPoller"])
def test_every_poller_serves(name, monkeypatch):
    from gunicorn.workers.engine import poller, server

    monkeypatch.setattr(server, "new_poller", lambda shared: getattr(poller, name)())
    for options in CLASSES.values():
        with EngineWorker(hello, keepalive=1, **options) as worker, worker.connect() as sock:
            for _ in range(3):
                sock.sendall(GET)
                assert read_answer(sock)[1] == b"hi"
            assert read_all(sock) == b""
            assert worker.get()[1] == b"hi"
            worker.stop()
            assert worker.status == 0


def test_a_child_that_keeps_a_connection_open_does_not_keep_the_worker_busy(kind):
    """A fork copies descriptors, and the poller would go on reporting the closed connection."""
    hold, release = os.pipe()

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/fork" and not os.fork():
            os.close(release)
            os.read(hold, 1)
            os._exit(0)
        return hello(environ, start_response)

    with EngineWorker(application, **kind) as worker:
        os.close(hold)
        with worker.connect() as sock:
            sock.sendall(GET.replace(b"/ ", b"/fork ", 1))
            read_answer(sock)
            sock.sendall(b"nonsense\r\n\r\n")
            sock.recv(100)
        worker.slot_idle()
        before = cpu_ticks(worker.pid)
        with worker.connect(1) as silent, pytest.raises(TimeoutError):
            silent.recv(1)
        assert cpu_ticks(worker.pid) - before < 20
        os.close(release)


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
