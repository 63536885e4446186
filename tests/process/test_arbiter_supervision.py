"""The arbiter with real processes: what the tests of signals, deaths and drains do not ask."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from harness import PROMPT, is_running, wait_gone, wait_until


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def titled(server, word: str) -> list[int]:
    """Pids of the server's processes whose title or command line has ``word``; needs setproctitle."""
    return [pid for pid, command in server.processes().items() if word in command]


@pytest.fixture
def setproctitle():
    return pytest.importorskip("setproctitle")


def test_descriptors_of_the_arbiter_are_flat_over_reloads(serve):
    server = serve("-w", "1")

    def reload() -> None:
        (before,) = server.wait_workers(1)
        server.signal(signal.SIGHUP)
        wait_gone(before)
        server.wait_workers(1)

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{server.pid}/fd"))

    reload()
    first = descriptors()
    for _ in range(6):
        reload()
    # In the middle of a reload there may be a mold or a worker more; one leaked each time would be six.
    wait_until(lambda: descriptors() <= first + 2, what="as many descriptors as before")


def test_a_killed_mold_is_replaced_and_service_goes_on(serve, setproctitle):
    server = serve("-w", "1", "--preload", app="probe:app")
    (worker,) = server.wait_workers(1)
    wait_until(lambda: titled(server, "mold"), what="the mold's title")
    (mold,) = titled(server, "mold")
    server.signal(signal.SIGKILL, mold)
    server.wait_for("mold of generation 1 is gone")
    server.signal(signal.SIGKILL, worker)
    wait_gone(worker)
    (successor,) = server.wait_workers(1)
    assert int(server.get("/pid")) == successor


def test_preload_that_fails_ends_the_start(serve, tmp_path):
    (tmp_path / "broken.py").write_text("raise RuntimeError('no database')\n")
    server = serve("--preload", app="broken:app", cwd=tmp_path, ready=None)
    assert server.wait() == 1
    assert "no database" in server.log


def test_after_a_rebind_the_old_port_is_free(serve):
    server = serve(bind=None, config="bind = '127.0.0.1:0'\nworkers = 2\n")
    old = server.port
    with socket.create_server(("127.0.0.1", 0)) as probe:
        new = probe.getsockname()[1]
    server.configure(f"bind = '127.0.0.1:{new}'\nworkers = 2\n")
    server.signal(signal.SIGHUP)
    wait_until(lambda: answers(new), what="an answer on the new port")
    wait_until(lambda: not answers(old), what="the end of the old port")


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return bool(client.recv(1))
    except OSError:
        return False


def test_reloads_in_a_burst_end_with_the_latest_configuration(serve):
    server = serve("-w", "1", config="raw_env = ['COLOUR=red']\n", app="environment:app")
    assert server.get("/COLOUR") == "red"
    for colour in ("green", "blue", "yellow"):
        server.configure(f"raw_env = ['COLOUR={colour}']\n")
        server.signal(signal.SIGHUP)
    wait_until(lambda: server.get("/COLOUR") == "yellow", what="the latest configuration")
    server.wait_workers(1)


def test_a_worker_that_ignores_term_is_killed_in_time(serve):
    config = "graceful_timeout = 1\ndef post_worker_init(worker):\n    import signal\n"
    config += "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    server = serve(config=config)
    server.wait_workers(1)
    assert server.get() == "Hello, World!\n"
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < PROMPT
    assert "did not stop in time" in server.log
    assert "out of memory" not in server.log


def test_strangers_are_reaped_silently(serve):
    """As PID 1, and as a subreaper, the arbiter inherits what an application leaves behind."""
    config = """
def post_worker_init(worker):
    import os
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(3)
        os._exit(0)
    os.wait()
"""
    server = serve("-w", "1", config=config)
    (worker,) = server.wait_workers(1)
    assert server.get() == "Hello, World!\n"
    wait_until(lambda: all(is_running(pid) for pid in children(server.pid)), what="no zombies")
    assert worker in children(server.pid)
    assert not re.search(r"WARNING|ERROR|CRITICAL", server.log)


def test_where_the_spawner_reaps_workers_are_supervised_as_well(serve):
    server = serve("-w", "2", env={"GUNICORN_CHILDREN": "reap"}, app="probe:app")
    first, _ = server.wait_workers(2)
    assert first not in children(server.pid)
    server.signal(signal.SIGKILL, first)
    server.wait_for(rf"Worker \(pid:{first}\) was sent SIGKILL!")
    server.wait_workers(2)
    assert server.request("/").status == 200


def test_a_crash_loop_slows_down_and_does_not_end_the_server(serve, tmp_path):
    """A worker that came up once proves the start; what happens to later ones is no reason to stop."""
    (tmp_path / "fragile.py").write_text(
        "import os\nfrom hello import app\nif os.path.exists('broken'):\n    os._exit(7)\n"
    )
    server = serve(app="fragile:app", cwd=tmp_path)
    (worker,) = server.wait_workers(1)
    server.get()
    (tmp_path / "broken").touch()
    server.signal(signal.SIGKILL, worker)
    server.wait_for("exited with code 7")
    (tmp_path / "broken").unlink()
    server.wait_workers(1)
    assert server.get() == "Hello, World!\n"
    assert server.count("exited with code 7") <= 3


def test_a_hook_that_raises_does_not_stop_the_service(serve):
    server = serve(config="def child_exit(server, worker):\n    raise RuntimeError('hook')\n")
    (worker,) = server.wait_workers(1)
    server.signal(signal.SIGKILL, worker)
    server.wait_for("Exception in the child_exit hook")
    wait_gone(worker)
    server.wait_workers(1)
    assert server.get() == "Hello, World!\n"
    assert server.stop() == 0


def test_after_a_failed_reload_the_generation_before_still_makes_workers(serve):
    server = serve("-w", "1", config="raw_env = ['COLOUR=red']\n", app="environment:app")
    (first,) = server.wait_workers(1)
    server.configure("raw_env = ['COLOUR=green']\n")
    server.signal(signal.SIGHUP)
    wait_gone(first)
    server.configure("workers = 'many'\n")
    server.signal(signal.SIGHUP)
    server.wait_for("Reload failed, the server goes on as before: .*workers")
    (second,) = server.wait_workers(1)
    server.signal(signal.SIGKILL, second)
    wait_gone(second)
    server.wait_workers(1)
    assert server.get("/COLOUR") == "green"


def test_a_reload_that_cannot_finish_is_called_off_by_the_next(serve, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    server = serve("-w", "1", config="wsgi_app = 'hello:app'\n", app=None, env={"GATE": str(gate)})
    server.wait_workers(1)
    server.configure("wsgi_app = 'gated:app'\n")
    server.signal(signal.SIGHUP)
    server.wait_workers(2)
    server.configure("wsgi_app = 'probe:app'\n")
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.get("/pid").isdigit(), what="an answer of the latest application")
    (worker,) = server.wait_workers(1)
    assert int(server.get("/pid")) == worker


def test_where_molds_reap_a_reload_ends_the_old_generation_at_once(serve):
    server = serve("-w", "1", "--preload", env={"GUNICORN_CHILDREN": "reap"})
    for _ in range(2):
        (before,) = server.wait_workers(1)
        mark = server.mark()
        server.signal(signal.SIGHUP)
        server.wait_for("Booting worker", since=mark)
        wait_gone(before)
        server.wait_workers(1)
    assert server.stop() == 0
    assert not re.search("in time|cannot be killed", server.log)
