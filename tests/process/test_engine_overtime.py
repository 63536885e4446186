"""``request_timeout``: 504 for the request that takes too long, nothing for its neighbours."""

from __future__ import annotations

import os
import select
import threading
from contextlib import ExitStack

import pytest
from engine_worker import EngineWorker, read_all, read_answer, split
from harness import PROMPT

from gunicorn.process.messages import WorkerLeaving, WorkerReady

CLASSES = {"sync": {"worker_class": "sync"}, "gthread": {"worker_class": "gthread", "threads": 2}}


@pytest.fixture(params=CLASSES)
def kind(request):
    return CLASSES[request.param]


@pytest.fixture
def gate():
    """An application that is stuck on some paths until it is released."""
    wait, release = os.pipe()

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/stuck":
            os.read(wait, 1)
        if path == "/half":
            write = start_response("200 OK", [("Content-Length", "4")])
            write(b"ha")
            os.read(wait, 1)
            return [b"lf"]
        body = str(threading.get_ident()).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    yield application, lambda: os.write(release, b"x")
    for fd in (wait, release):
        os.close(fd)


def ask(sock, path, method="GET"):
    sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def test_a_stuck_request_gets_504_and_the_worker_goes_on(kind, gate, tmp_path):
    application, release = gate
    log = tmp_path / "access.log"
    settings = {"accesslog": str(log), "access_log_format": "%(U)s %(s)s", **kind}
    with EngineWorker(application, request_timeout=0.3, **settings) as worker:
        with worker.connect() as sock:
            ask(sock, "/stuck")
            head, body = split(read_all(sock))
            assert head.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
            assert b"Connection: close" in head
            assert b"Gateway Timeout" in body
            release()
        assert worker.get()[0].startswith(b"HTTP/1.1 200 ")
        worker.slot_idle()
        assert "/stuck took longer than request_timeout" in worker.log()
        assert worker.stop() < PROMPT
        assert sorted(log.read_text().splitlines()) == ["/ 200", "/stuck 504"]
        assert isinstance(worker.message(), WorkerReady)
        assert not worker.says_more()


def test_an_answer_that_has_begun_is_cut_off(kind, gate):
    application, release = gate
    with EngineWorker(application, request_timeout=0.3, **kind) as worker, worker.connect() as sock:
        ask(sock, "/half")
        assert split(read_all(sock))[1] == b"ha"
        release()
        assert worker.get()[0].startswith(b"HTTP/1.1 200 ")


def test_neighbours_finish_while_all_first_threads_are_stuck(gate):
    application, release = gate
    with (
        EngineWorker(application, worker_class="gthread", threads=2, request_timeout=0.3) as worker,
        ExitStack() as stack,
    ):
        stuck = [stack.enter_context(worker.connect()) for _ in range(2)]
        for sock in stuck:
            ask(sock, "/stuck")
        # Both threads are taken, so these wait for the ones that take their places.
        others = [stack.enter_context(worker.connect()) for _ in range(99)]
        for sock in others:
            ask(sock, "/")
        assert all(read_answer(sock)[0].startswith(b"HTTP/1.1 200 ") for sock in others)
        assert all(split(read_all(sock))[0].startswith(b"HTTP/1.1 504 ") for sock in stuck)
        release()
        release()
        for _ in range(5):
            assert worker.get()[0].startswith(b"HTTP/1.1 200 ")
        assert worker.stop() < PROMPT
        assert worker.status == 0


def test_a_thread_that_stays_stuck_costs_the_worker(kind, gate):
    application, _ = gate
    with EngineWorker(application, request_timeout=0.2, graceful_timeout=1, **kind) as worker:
        with worker.connect() as sock:
            ask(sock, "/stuck")
            assert split(read_all(sock))[0].startswith(b"HTTP/1.1 504 ")
        assert isinstance(worker.message(), WorkerReady)
        assert worker.message() == WorkerLeaving("request_timeout")
        if kind["worker_class"] == "gthread":
            assert worker.get()[0].startswith(b"HTTP/1.1 200 ")
            assert worker.stop() < PROMPT


def test_a_slow_upload_costs_no_thread(kind):
    def application(environ, start_response):
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    with EngineWorker(application, request_timeout=0.3, graceful_timeout=1, **kind) as worker:
        assert isinstance(worker.message(), WorkerReady)
        with worker.connect() as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
            assert split(read_all(sock))[0].startswith(b"HTTP/1.1 504 ")
        # It came back by itself: had it not, a message would tell after the grace.
        assert not select.select([worker.channel.fileno()], [], [], 1.5)[0]
        assert worker.get()[0].startswith(b"HTTP/1.1 200 ")
        assert worker.stop() < PROMPT


def test_the_answer_to_head_has_no_page(kind, gate):
    application, release = gate
    with EngineWorker(application, request_timeout=0.2, **kind) as worker, worker.connect() as sock:
        ask(sock, "/stuck", "HEAD")
        head, body = split(read_all(sock))
        assert head.startswith(b"HTTP/1.1 504 ")
        assert body == b""
        release()


def test_quick_requests_on_a_kept_connection_are_left_alone(kind, gate):
    application, _ = gate
    with EngineWorker(application, request_timeout=0.5, **kind) as worker, worker.connect() as sock:
        for _ in range(200):
            ask(sock, "/")
            assert read_answer(sock)[0].startswith(b"HTTP/1.1 200 ")
        assert worker.slot.errors == 0
        assert worker.slot.requests == 200
