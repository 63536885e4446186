"""HUP under load: no request fails, new code is served, never more or fewer workers than promised."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import is_running, wait_gone, wait_until
from load import Census, Load

pytestmark = pytest.mark.slow

# A worker's code must have been imported before the test breaks the file.
LOADED = "def post_worker_init(worker):\n    worker.log.info('Loaded in %s', worker.pid)\n"
ANSWER = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "{}")])
    return [{!r}]
"""
SLOW = """
import time
time.sleep(0.3)
def app(environ, start_response):
    time.sleep(0.2)
    start_response("200 OK", [])
    return [b"x"]
"""
WORKERS = 3


def deploy(folder: Path, version: str) -> str:
    """Write an application that answers with its version."""
    new = folder / "changing.new"
    new.write_text(ANSWER.format(len(version), version.encode()))
    # Replaced whole, as a deployment does; a reload may read it at any moment.
    os.replace(new, folder / "changing.py")
    return "changing:app"


@pytest.mark.parametrize("keep_alive", [False, True], ids=["close", "keep-alive"])
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["plain", "preload"])
def test_reloads_lose_no_request_and_serve_the_new_code(serve, workers, tmp_path, preload, keep_alive):
    pytest.importorskip("setproctitle")
    app = deploy(tmp_path, "v0")
    server = serve(*workers, *preload, "-w", str(WORKERS), app=app, cwd=tmp_path)
    assert server.get() == "v0"
    server.wait_workers(WORKERS)
    # In the end it is the newest version that serves, and each one served on the way.
    with Load(server, keep_alive=keep_alive) as load, Census(server) as census:
        for number in (1, 2, 3):
            before = server.wait_workers(WORKERS)
            deploy(tmp_path, f"v{number}")
            server.signal(signal.SIGHUP)
            wait_gone(*before)
            assert server.get() == f"v{number}"
        server.wait_workers(WORKERS)
    assert load.lost == []
    assert load.answered > 100
    assert {f"v{number}" for number in range(4)} <= set(load.bodies)
    assert census.most <= WORKERS + 1


@pytest.mark.parametrize("keep_alive", [False, True], ids=["close", "keep-alive"])
def test_a_reload_every_moment_loses_no_request(serve, workers, tmp_path, keep_alive):
    """Faster than a reload can be through: each HUP calls off what the one before it has not done."""
    app = deploy(tmp_path, "v0")
    server = serve(*workers, "-w", str(WORKERS), app=app, cwd=tmp_path)
    server.get()
    with Load(server, keep_alive=keep_alive) as load, Census(server) as census:
        for number in range(1, 11):
            deploy(tmp_path, f"v{number}")
            server.signal(signal.SIGHUP)
            with pytest.raises(TimeoutError):  # a pause, for there is nothing to wait for
                wait_gone(server.pid, timeout=0.3)
        wait_until(lambda: server.get() == "v10", what="the latest version")
        server.wait_workers(WORKERS)
    assert load.lost == []
    assert census.most <= WORKERS + 1


def test_never_fewer_workers_serve_than_wanted(serve, tmp_path):
    """Each of as many requests as there are workers must find one that is free, at every moment."""
    (tmp_path / "slow_boot.py").write_text(SLOW)
    server = serve("-w", str(WORKERS), app="slow_boot:app", cwd=tmp_path)
    server.get()
    workers = server.wait_workers(WORKERS)
    with Load(server, WORKERS) as load:
        started = time.monotonic()
        for _ in range(2):
            server.signal(signal.SIGHUP)
            wait_gone(*workers)
            workers = server.wait_workers(WORKERS)
        seconds = time.monotonic() - started
    assert load.lost == []
    # One worker missing for the whole time would cost a third.
    assert load.answered > 0.75 * WORKERS * seconds / 0.2


BROKEN = {
    "raises at import": ("app", "raise RuntimeError('no database')\n", "no database"),
    "syntax error in the code": ("app", "def app(:\n", "SyntaxError"),
    "syntax error in the file": ("config", "workers = = 2\n", "line 1: syntax error"),
    "wrong value": ("config", "workers = 'many'\n", "workers"),
}


@pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])
@pytest.mark.parametrize("case", BROKEN)
def test_a_reload_that_cannot_work_changes_nothing(serve, tmp_path, case, preload):
    where, text, said = BROKEN[case]
    app = deploy(tmp_path, "v0")
    good = f"workers = 2\npreload_app = {preload}\n{LOADED}"
    server = serve(app=app, cwd=tmp_path, config=good)
    wait_until(lambda: server.count("Loaded in") == 2, what="two workers that have the first version")
    before = server.wait_workers(2)
    with Load(server, keep_alive=True) as load:
        mark = server.mark()
        if where == "app":
            (tmp_path / "changing.py").write_text(text)
        else:
            server.configure(text)
        server.signal(signal.SIGHUP)
        server.wait_for("Reload failed, the server goes on as before", since=mark)
        assert said in "\n".join(server.log.splitlines()[mark:])
        wait_until(lambda: server.workers() == before, what="the old workers alone")
        assert server.get() == "v0"
        deploy(tmp_path, "v1")
        server.configure(good)
        server.signal(signal.SIGHUP)
        wait_gone(*before)
        assert server.get() == "v1"
        server.wait_workers(2)
    assert load.lost == []


def test_one_more_worker_of_code_that_does_not_load_does_not_stop_the_server(serve, tmp_path):
    app = deploy(tmp_path, "v0")
    server = serve(app=app, cwd=tmp_path)
    assert server.get() == "v0"
    (worker,) = server.wait_workers(1)
    (tmp_path / "changing.py").write_text("import nosuchmodule\n")
    with Load(server) as load:
        server.signal(signal.SIGTTIN)
        server.wait_for("crash-looping, next try in")
        deploy(tmp_path, "v1")
        server.wait_workers(2)
    assert load.lost == []
    assert worker in server.workers()


def test_an_upgrade_beside_the_old_server_loses_no_request(serve, workers, tmp_path):
    app = deploy(tmp_path, "v0")
    pidfile = tmp_path / "pid"
    server = serve(*workers, "-w", "2", "-p", str(pidfile), app=app, cwd=tmp_path)
    assert server.get() == "v0"
    before = server.wait_workers(2)
    with Load(server, keep_alive=True) as load, Load(server) as other:
        deploy(tmp_path, "v1")
        server.signal(signal.SIGUSR2)
        server.wait_workers(4)
        successor = int((tmp_path / "pid.2").read_text())
        wait_until(lambda: "v1" in other.bodies, what="an answer of the new server")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        wait_gone(*before)
        wait_until(lambda: pidfile.exists() and int(pidfile.read_text()) == successor, what="the pidfile")
        assert server.get() == "v1"
    assert load.lost + other.lost == []
    server.signal(signal.SIGTERM, successor)
    wait_gone(successor)
    assert not pidfile.exists()


def test_idle_connections_are_answered_once_more_and_none_is_reset(serve, workers):
    server = serve(*workers, "-w", "2", "--keep-alive", "60", "--worker-connections", "1000")
    server.get()
    before = server.wait_workers(2)
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    lost = []
    with ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(300)]
        for client in idle:
            client.sendall(request)
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        mark = server.mark()
        server.signal(signal.SIGHUP)
        server.wait_for("Booting worker", since=mark)
        server.get()
        for number, client in enumerate(idle):
            try:
                client.sendall(request)
                answer = client.recv(4096)
                if not answer.startswith(b"HTTP/1.1 200"):
                    lost.append(f"{number}: {answer!r}")
            except OSError as error:
                lost.append(f"{number}: {error!r}")
    assert lost == []
    wait_gone(*before)


def test_many_reloads_leave_nothing_behind(serve):
    server = serve("-w", "1")

    def reload() -> None:
        (before,) = server.wait_workers(1)
        server.signal(signal.SIGHUP)
        wait_gone(before)

    def resident() -> int:
        return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{server.pid}/fd"))

    for _ in range(5):
        reload()
    server.wait_workers(1)
    # Arbiter, fork server, mold, worker.
    wait_until(lambda: len(server.processes()) == 4, what="one of each")
    files, memory = descriptors(), resident()
    for _ in range(50):
        reload()
    server.wait_workers(1)
    wait_until(lambda: len(server.processes()) == 4, what=f"one of each: {server.processes()}")
    wait_until(lambda: descriptors() == files, what=f"{files} descriptors, there are {descriptors()}")
    assert resident() - memory < 2 << 20
    assert is_running(server.pid)
