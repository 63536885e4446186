"""Ends that are planned: the replacement serves before the old worker leaves, one at a time."""

from __future__ import annotations

import signal
import socket
import time

import pytest
from harness import PROMPT, wait_gone, wait_until
from load import Load

pytestmark = pytest.mark.slow

LEAKY = """
import os, time
time.sleep(float(os.environ.get("BOOT", "0")))
HOARD = []
def app(environ, start_response):
    if environ["PATH_INFO"] == "/leak":
        HOARD.append(os.urandom(1 << 16) * 512)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
LEAKY_ASGI = """
import os, time
time.sleep(float(os.environ.get("BOOT", "0")))
HOARD = []
async def app(scope, receive, send):
    if scope["path"] == "/leak":
        HOARD.append(os.urandom(1 << 16) * 512)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""
ASGI = ("-k", "asgi", "--asgi-lifespan", "off")
OFTEN = "import gunicorn.process.memory\ngunicorn.process.memory.CHECK_EVERY = 0.4\n"


@pytest.mark.parametrize(("kind", "code"), [((), LEAKY), (ASGI, LEAKY_ASGI)], ids=["sync", "asgi"])
def test_workers_that_reach_the_memory_limit_together_leave_one_by_one(serve, tmp_path, kind, code):
    (tmp_path / "leaky.py").write_text(code)
    server = serve(
        *kind,
        "-w",
        "4",
        "--max-worker-memory",
        "48M",
        app="leaky:app",
        cwd=tmp_path,
        config=OFTEN,
        env={"BOOT": "0.5"},
    )
    server.get()
    first = server.wait_workers(4)
    with Load(server) as load:
        deadline = time.monotonic() + 40
        while server.count("max_worker_memory") < 4:
            assert time.monotonic() < deadline
            # Whoever gets it leaks, until all are over the limit.
            assert server.request("/leak").status == 200
            living = server.workers()
            assert 4 <= len(living) <= 6, living  # an old one may be on its way out
        wait_gone(*first)
    assert load.lost == []
    assert load.answered > 10


def test_a_limit_below_a_fresh_worker_does_not_loop(serve):
    server = serve("-w", "2", "--max-worker-memory", "100K", config=OFTEN)
    server.get()
    workers = server.wait_workers(2)
    server.wait_for("max_worker_memory: 0.1 MB cannot be kept")
    with pytest.raises(TimeoutError):
        wait_gone(*workers, timeout=4)
    assert server.count("cannot be kept") == 1


def test_workers_are_replaced_when_they_are_old(serve):
    server = serve("-w", "2", "--max-worker-lifetime", "1", "--max-worker-lifetime-jitter", "0.5")
    first = server.wait_workers(2)
    with Load(server) as load:
        wait_gone(*first)
    assert load.lost == []
    assert server.count(r"will be replaced: max_worker_lifetime") >= 2


def test_the_server_serves_on_during_the_drain_delay(serve, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(30)
        server = serve("--drain-delay", "1.5", env={"NOTIFY_SOCKET": path})
        server.get()
        started = time.monotonic()
        server.signal(signal.SIGTERM)
        server.wait_for("Serving for 1.5 more seconds")
        while time.monotonic() < started + 1.2:
            assert server.get() == "Hello, World!\n"
        assert server.wait() == 0
        assert time.monotonic() - started < PROMPT
        told = [manager.recv(1000).decode()]
        while "STATUS=Stopping in" not in told[-1]:
            told.append(manager.recv(1000).decode())
        assert "STOPPING=1" in told[-1]


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_skips_the_drain_delay(serve, sig):
    server = serve("--drain-delay", "60")
    server.get()
    server.signal(signal.SIGTERM)
    server.wait_for("Serving for 60 more seconds")
    assert server.stop(sig) == 0


def test_a_worker_that_dies_during_the_drain_delay_is_replaced(serve):
    server = serve("--drain-delay", "60", app="probe:app")
    server.get()
    (worker,) = server.wait_workers(1)
    server.signal(signal.SIGTERM)
    server.wait_for("Serving for 60 more seconds")
    server.signal(signal.SIGKILL, worker)
    wait_gone(worker)
    wait_until(lambda: server.request("/pid").text != str(worker), what="an answer of the replacement")
    server.stop()
