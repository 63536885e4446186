"""USR2 with ``upgrade_in_place``: same process, same sockets, new code, and not a request is lost."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from harness import Server, is_running, wait_gone, wait_until
from load import Load

pytestmark = pytest.mark.slow

OPTIONS = ("--upgrade-in-place", "-w", "2")
# A worker's code must have been imported before the test breaks the file.
LOADED = "def post_worker_init(worker):\n    worker.log.info('Loaded in %s', worker.pid)\n"
ANSWER = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [{!r}]\n"


def upgrade(server: Server, workers: list[int]) -> None:
    """Upgrade, and wait until none of ``workers`` is left."""
    mark = server.mark()
    server.signal(signal.SIGUSR2)
    server.wait_for("Starting gunicorn", since=mark)
    wait_gone(*workers)


def descriptors(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["plain", "preload"])
def test_new_code_is_served_and_no_request_is_lost(serve, workers, tmp_path, preload):
    (tmp_path / "changing.py").write_text(ANSWER.format(b"old"))
    pidfile = tmp_path / "pid"
    server = serve(*OPTIONS, *workers, *preload, "-p", str(pidfile), app="changing:app", cwd=tmp_path)
    assert server.get() == "old"
    before = server.wait_workers(2)
    with Load(server) as load, Load(server) as other:
        (tmp_path / "changing.py").write_text(ANSWER.format(b"much newer"))
        upgrade(server, before)
        server.wait_workers(2)
        assert server.get() == "much newer"
        assert is_running(server.pid)
        upgrade(server, server.workers())
    assert load.lost + other.lost == []
    assert load.answered > 10
    server.wait_workers(2)
    assert pidfile.read_text() == f"{server.pid}\n"
    assert server.get() == "much newer"
    assert server.stop() == 0
    assert not pidfile.exists()


def test_descriptors_and_processes_are_flat_over_upgrades(serve):
    server = serve(*OPTIONS)
    server.get()
    counts = []
    for _ in range(4):
        upgrade(server, server.wait_workers(2))
        server.wait_workers(2)
        wait_until(lambda: len(server.processes()) == 4, what="arbiter, fork server, two workers")
        counts.append(descriptors(server))
    assert max(counts) - min(counts) <= 1, counts


def test_after_reloads_molds_are_handed_over_too(serve):
    server = serve(*OPTIONS, "--preload")
    server.get()
    for _ in range(2):
        before = server.wait_workers(2)
        server.signal(signal.SIGHUP)
        wait_gone(*before)
    server.wait_workers(2)
    with Load(server) as load:
        upgrade(server, server.workers())
    assert load.lost == []
    before = server.wait_workers(2)
    server.signal(signal.SIGHUP)
    wait_gone(*before)
    server.wait_workers(2)
    # Arbiter, fork server, one mold, two workers.
    wait_until(lambda: len(server.processes()) == 5, what=f"the end of old molds {server.processes()}")


def test_a_configuration_that_does_not_load_stops_nothing(serve):
    server = serve(config="workers = 2\nupgrade_in_place = True\n")
    server.get()
    before = server.wait_workers(2)
    server.configure("workers = 'many'\nupgrade_in_place = True\n")
    server.signal(signal.SIGUSR2)
    server.wait_for("The upgrade failed, the server goes on as before: the new version ended with status 1")
    assert server.workers() == before
    server.configure("workers = 1\nupgrade_in_place = True\n")
    upgrade(server, before)
    server.wait_workers(1)
    assert server.get() == "Hello, World!\n"


def test_an_application_that_does_not_load_leaves_the_old_workers(serve, tmp_path):
    (tmp_path / "changing.py").write_text(ANSWER.format(b"old"))
    server = serve(*OPTIONS, app="changing:app", cwd=tmp_path, config=LOADED)
    wait_until(lambda: server.count("Loaded in") == 2, what="two workers that have the old code")
    before = server.wait_workers(2)
    (tmp_path / "changing.py").write_text("import nosuchmodule\n")
    server.signal(signal.SIGUSR2)
    server.wait_for("Reload failed, the server goes on as before: .*nosuchmodule", 15)
    wait_until(lambda: server.workers() == before, what="the old workers alone")
    (tmp_path / "changing.py").write_text(ANSWER.format(b"new"))
    server.signal(signal.SIGHUP)
    wait_gone(*before)
    assert server.get() == "new"


def test_nothing_survives_an_upgraded_arbiter_that_is_killed(serve):
    server = serve(*OPTIONS, "-k", "gthread", "--threads", "2", app="probe:app")
    server.get()
    workers = server.wait_workers(2)
    with server.connect() as client:
        # Keeps one of the old workers there, and so the other, if it is the first to go.
        client.sendall(b"GET /sleep?60 HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_for("sleeping")
        mark = server.mark()
        server.signal(signal.SIGUSR2)
        server.wait_for("Starting gunicorn", since=mark)
        wait_until(lambda: set(server.workers()) - set(workers), what="a new worker")
        server.signal(signal.SIGKILL)
        server.wait()
        wait_until(lambda: not server.processes(), what="the end of every process")


def test_a_request_in_flight_outlives_the_image(serve):
    server = serve(*OPTIONS, "-k", "gthread", "--threads", "2", app="probe:app")
    server.get()
    workers = server.wait_workers(2)
    with server.connect() as client:
        client.sendall(b"GET /sleep?2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        server.wait_for("sleeping")
        upgrade(server, workers)
        with client.makefile("rb") as answer:
            assert answer.read().endswith(b"slept")


def test_systemd_follows(serve, tmp_path):
    path = str(tmp_path / "notify")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        manager.bind(path)
        manager.settimeout(30)

        def told(word: str) -> list[str]:
            heard = [manager.recv(1000).decode()]
            while word not in heard[-1]:
                heard.append(manager.recv(1000).decode())
            return heard

        server = serve(*OPTIONS, bind=None, activation=[listener], env={"NOTIFY_SOCKET": path})
        told("READY=1")
        workers = server.wait_workers(2)
        upgrade(server, workers)
        assert "MONOTONIC_USEC" in told("RELOADING=1")[-1]
        heard = told("READY=1")
        assert not [line for line in heard if "MAINPID" in line or "STOPPING" in line]
        server.wait_workers(2)
        assert server.request("/", address=f"http://127.0.0.1:{listener.getsockname()[1]}").status == 200
        server.stop()


def test_a_unix_socket_stays_where_it_is(serve, tmp_path):
    path = tmp_path / "socket"
    server = serve(*OPTIONS, bind=f"unix:{path}")
    before = server.wait_workers(2)
    identity = path.stat().st_ino
    upgrade(server, before)
    server.wait_workers(2)
    assert path.stat().st_ino == identity
    assert server.get() == "Hello, World!\n"
    assert server.stop() == 0
    assert not path.exists()


def test_term_that_comes_meanwhile_is_not_lost(serve):
    server = serve(*OPTIONS)
    server.get()
    server.wait_workers(2)
    server.signal(signal.SIGUSR2)
    server.wait_for("Upgrading in place")
    mark = server.mark()
    # In the trial, in the exec or in the start of the new image, wherever it happens to be.
    server.wait_for("Starting gunicorn|Upgrading", since=mark - 1)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_a_daemon_stays_the_same_process(serve, tmp_path):
    pidfile = tmp_path / "pid"
    server = serve(*OPTIONS, "--daemon", "-p", str(pidfile), fifo=tmp_path / "log", cwd=tmp_path)
    pid = int(pidfile.read_text())
    server.adopt(pid)
    before = server.wait_workers(2)
    mark = server.mark()
    os.kill(pid, signal.SIGUSR2)
    server.wait_for("Starting gunicorn", since=mark)
    wait_gone(*before)
    server.wait_workers(2)
    assert int(pidfile.read_text()) == pid
    assert server.get() == "Hello, World!\n"
    os.kill(pid, signal.SIGTERM)
    wait_gone(pid)
    assert not Path(pidfile).exists()
