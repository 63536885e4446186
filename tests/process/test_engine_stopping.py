"""The ways a worker ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from engine_worker import EngineWorker, read_all, read_answer, split
from harness import PROMPT, UNMEASURED, server_environment, wait_until

from gunicorn.process.messages import WorkerLeaving, WorkerReady
from gunicorn.process.slots import SlotState
from gunicorn.workers.base import Worker

CLASSES = {"sync": {"worker_class": "sync"}, "gthread": {"worker_class": "gthread", "threads": 2}}
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=CLASSES)
def kind(request):
    return CLASSES[request.param]


@pytest.fixture
def gate():
    """An application that waits, and the two pipes to follow and release it."""
    entered, enter = os.pipe()
    wait, release = os.pipe()

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/wait":
            os.write(enter, b"x")
            os.read(wait, 1)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"hi"]

    yield application, lambda: os.read(entered, 1), lambda: os.write(release, b"x")
    for fd in (entered, enter, wait, release):
        os.close(fd)


def hello(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"hi"]


def test_term_lets_a_running_request_finish(kind, gate):
    application, entered, release = gate
    with EngineWorker(application, **kind) as worker, worker.connect() as sock:
        sock.sendall(GET.replace(b"/ ", b"/wait ", 1))
        entered()
        worker.kill(signal.SIGTERM)
        if kind["worker_class"] == "gthread":
            # sync runs the handler before the application's system call goes on; here two threads are at it.
            worker.wait_state(SlotState.DRAINING)
        release()
        head, body = split(read_all(sock))
        assert body == b"hi"
        assert b"Connection: close" in head
        assert worker.wait() == 0


def test_connections_that_are_queued_at_term_are_answered(gate):
    application, entered, release = gate
    with EngineWorker(application, worker_class="sync") as worker, ExitStack() as stack:
        busy = stack.enter_context(worker.connect())
        busy.sendall(GET.replace(b"/ ", b"/wait ", 1))
        entered()
        queued = [stack.enter_context(worker.connect()) for _ in range(50)]
        for sock in queued:
            sock.sendall(GET)
        worker.kill(signal.SIGTERM)
        release()
        for sock in [busy, *queued]:
            head, body = split(read_all(sock))
            assert body == b"hi"
            assert b"Connection: close" in head
        assert worker.wait() == 0


def test_more_connections_are_queued_at_term_than_may_be_open(gate):
    application, entered, release = gate
    with EngineWorker(application, worker_class="sync", worker_connections=4) as worker, ExitStack() as stack:
        busy = stack.enter_context(worker.connect())
        busy.sendall(GET.replace(b"/ ", b"/wait ", 1))
        entered()
        queued = [stack.enter_context(worker.connect()) for _ in range(20)]
        for sock in queued:
            sock.sendall(GET)
        worker.kill(signal.SIGTERM)
        release()
        for sock in [busy, *queued]:
            assert split(read_all(sock))[1] == b"hi"
            sock.close()
        assert worker.wait() == 0


def test_an_idle_connection_gets_one_more_answer_after_term_but_no_more(kind):
    with EngineWorker(hello, keepalive=30, **kind) as worker, worker.connect() as sock:
        sock.sendall(GET)
        read_answer(sock)
        worker.kill(signal.SIGTERM)
        worker.wait_state(SlotState.DRAINING)
        sock.sendall(GET)
        head, _ = split(read_all(sock))
        assert b"Connection: close" in head
        assert worker.wait() == 0


def test_a_worker_that_leaves_a_living_server_waits_for_the_next_request_of_each_connection(kind):
    with EngineWorker(hello, keepalive=30, graceful_timeout=30, **kind) as worker, ExitStack() as stack:
        idle = [stack.enter_context(worker.connect()) for _ in range(300)]
        for sock in idle:
            sock.sendall(GET)
            read_answer(sock)
        worker.slot.state = SlotState.DRAINING  # what the arbiter does before the TERM of a retirement
        worker.kill(signal.SIGTERM)
        # Longer than the moment that a connection has when the server stops.
        assert not select.select(idle, [], [], 2.5)[0]
        for sock in idle:
            sock.sendall(GET)
            head, body = split(read_all(sock))
            assert b"Connection: close" in head
            assert body == b"hi"
        assert worker.wait() == 0


def test_a_second_term_ends_the_patience_of_a_worker_that_leaves(kind):
    with EngineWorker(hello, keepalive=30, graceful_timeout=30, **kind) as worker, worker.connect() as sock:
        sock.sendall(GET)
        read_answer(sock)
        worker.slot.state = SlotState.DRAINING
        worker.kill(signal.SIGTERM)
        wait_until(lambda: not worker.listens(), what="the drain")
        assert worker.stop() < PROMPT


def test_a_worker_that_leaves_a_living_server_does_not_wait_beyond_keepalive(kind):
    with EngineWorker(hello, keepalive=1, graceful_timeout=30, **kind) as worker, worker.connect() as sock:
        sock.sendall(GET)
        read_answer(sock)
        worker.slot.state = SlotState.DRAINING
        assert worker.stop() < PROMPT


def test_idle_and_silent_connections_do_not_hold_up_term(kind):
    with EngineWorker(hello, keepalive=30, graceful_timeout=30, **kind) as worker, ExitStack() as stack:
        for number in range(20):
            sock = stack.enter_context(worker.connect())
            if number % 2:
                sock.sendall(GET)
                read_answer(sock)
        assert worker.stop() < PROMPT
        assert worker.status == 0


def test_term_is_bounded_by_graceful_timeout(kind, gate):
    application, entered, _ = gate
    with (
        EngineWorker(application, graceful_timeout=1, worker_class="gthread", threads=2) as worker,
        worker.connect() as sock,
    ):
        sock.sendall(GET.replace(b"/ ", b"/wait ", 1))
        entered()
        assert 0.8 < worker.stop() < PROMPT


def test_nothing_is_accepted_after_term(kind):
    with EngineWorker(hello, keepalive=30, **kind) as worker, worker.connect() as held:
        held.sendall(GET)
        read_answer(held)
        worker.kill(signal.SIGTERM)
        worker.wait()
        with worker.connect(0.3) as late, pytest.raises(TimeoutError):
            late.recv(1)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGQUIT])
def test_quit_leaves_at_once_after_the_hook(kind, gate, signum, tmp_path):
    application, entered, _ = gate
    hook = {"worker_int": lambda worker: (tmp_path / "hook").write_text("called")}
    options = {**kind, **hook}
    with EngineWorker(application, **options) as worker, worker.connect() as sock:
        sock.sendall(GET.replace(b"/ ", b"/wait ", 1))
        entered()
        assert worker.stop(signum) < PROMPT
        assert worker.status == 0
        assert (tmp_path / "hook").read_text() == "called"


def test_abort_answers_with_500_and_leaves_with_1(gate, tmp_path):
    application, entered, _ = gate
    with EngineWorker(
        application, worker_abort=lambda worker: (tmp_path / "hook").write_text("called")
    ) as worker:
        with worker.connect() as sock:
            sock.sendall(GET.replace(b"/ ", b"/wait ", 1))
            entered()
            worker.kill(signal.SIGABRT)
            assert read_all(sock).startswith(b"HTTP/1.1 500 ")
        assert worker.wait() == 1
        assert (tmp_path / "hook").read_text() == "called"


def test_max_requests_asks_for_a_replacement_and_serves_on(kind):
    with EngineWorker(hello, max_requests=3, **kind) as worker:
        assert worker.message() == WorkerReady()
        for _ in range(3):
            assert worker.get()[1] == b"hi"
        assert worker.message() == WorkerLeaving("max_requests")
        assert worker.get()[1] == b"hi"
        worker.stop()


def test_max_requests_without_an_arbiter_ends_the_worker(kind):
    with EngineWorker(hello, max_requests=3, report=False, **kind) as worker:
        for _ in range(3):
            assert worker.get()[1] == b"hi"
        assert worker.wait() == 0


def test_the_end_of_the_arbiter_is_the_end_of_the_worker(kind):
    with EngineWorker(hello, keepalive=30, graceful_timeout=30, **kind) as worker, worker.connect() as sock:
        sock.sendall(GET)
        read_answer(sock)
        started = time.monotonic()
        worker.channel.close()
        worker.wait()
        assert time.monotonic() - started < PROMPT


class Loop(Worker):
    """A third party's class: a loop of its own, and not a thought about the arbiter."""

    def run(self):
        import select

        while self.alive:
            self.notify()
            readable, _, _ = select.select(self.wait_fds, [], [], 30)
            for sock in readable:
                if sock in self.sockets:
                    client, _ = sock.accept()
                    with client:
                        client.recv(1000)
                        client.sendall(b"HTTP/1.0 200 OK\r\n\r\nown loop")


def test_a_third_party_worker_boots_serves_and_stops():
    with EngineWorker(hello, worker_class=Loop) as worker:
        assert worker.message() == WorkerReady()
        assert worker.slot.deadline > time.monotonic()
        assert worker.get()[1] == b"own loop"
        assert worker.stop() < PROMPT
        assert worker.status == 0


def test_a_third_party_worker_does_not_outlive_the_arbiter():
    with EngineWorker(hello, worker_class=Loop) as worker:
        worker.message()
        worker.channel.close()
        assert worker.wait() == 0


def test_the_beat_of_sync_stops_while_a_request_runs(gate):
    application, entered, release = gate
    with EngineWorker(application, timeout=2) as worker, worker.connect() as sock:
        worker.message()
        sock.sendall(GET.replace(b"/ ", b"/wait ", 1))
        entered()
        promised = worker.slot.deadline
        with worker.connect(0.5) as other, pytest.raises(TimeoutError):
            other.recv(1)
        assert worker.slot.deadline == promised
        release()
        assert read_answer(sock)[1] == b"hi"


def test_the_beat_of_gthread_goes_on_while_a_request_runs(gate):
    application, entered, release = gate
    with (
        EngineWorker(application, timeout=1, worker_class="gthread", threads=1) as worker,
        worker.connect() as sock,
    ):
        sock.sendall(GET.replace(b"/ ", b"/wait ", 1))
        entered()
        promised = worker.slot.deadline
        with worker.connect(1.2) as other, pytest.raises(TimeoutError):
            other.recv(1)
        assert worker.slot.deadline > promised
        release()


def test_a_syntax_error_with_reload_is_shown(tmp_path):
    def load():
        compile("def broken(:", "application.py", "exec")

    with EngineWorker(None, load=load, reload=True) as worker:
        head, body = worker.get()
        assert head.startswith(b"HTTP/1.1 500 ")
        assert b"application.py" in body


def test_reload_ends_the_worker_when_a_file_changes(kind, tmp_path):
    watched = tmp_path / "template.html"
    watched.write_text("old")
    os.utime(watched, (1, 1))
    called = {"worker_int": lambda worker: (tmp_path / "hook").write_text("called")}
    with EngineWorker(
        hello, reload=True, reload_extra_files=[str(tmp_path / "*.html")], **kind, **called
    ) as worker:
        worker.message()
        watched.write_text("new")
        assert worker.wait() == 0
        assert f"Worker reloading: {watched} modified" in worker.log()
        assert (tmp_path / "hook").read_text() == "called"


def test_usr1_reopens_the_log(kind, tmp_path):
    with EngineWorker(hello, accesslog=str(tmp_path / "access"), **kind) as worker:
        worker.get()
        (tmp_path / "access").rename(tmp_path / "old")
        worker.kill(signal.SIGUSR1)
        for _ in range(20):
            worker.get()
            if (tmp_path / "access").exists() and (tmp_path / "access").read_text():
                break
        else:
            pytest.fail("nothing was written to the new file")


@pytest.mark.parametrize("name", ["sync", "gthread"])
def test_a_worker_class_imports_no_loop_and_little_else(name):
    code = f"import sys, gunicorn.workers.{name}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=server_environment(UNMEASURED),
    ).stdout.split()
    heavy = {"trio", "asyncio", "concurrent.futures", "queue", "email", "http", "ssl", "random", "tempfile"}
    assert not heavy.intersection(loaded)
