"""Signals to the arbiter: reload, one worker more or less, reopened logs, upgrade, the three ways to stop."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from harness import PROMPT, is_running, wait_gone, wait_until

ANSWER = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [{!r}]\n"


def app_file(folder: Path, text: str) -> str:
    (folder / "changing.py").write_text(text)
    return "changing:app"


def content(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_stop(serve, sig, workers):
    server = serve(*workers, "-w", "2")
    server.get()
    server.wait_workers(2)
    assert server.stop(sig) == 0


def test_hup_serves_new_code_and_configuration_without_losing_a_request(serve, tmp_path):
    app = app_file(tmp_path, ANSWER.format(b"old"))
    server = serve(app=app, config="workers = 1\n", env={"PYTHONPATH": str(tmp_path)})
    assert server.get() == "old"
    old = server.wait_workers(1)
    app_file(tmp_path, ANSWER.format(b"much newer"))
    server.configure("workers = 2\n")
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.get() == "much newer", what="the new code")
    wait_gone(*old)
    server.wait_workers(2)
    assert {server.get() for _ in range(10)} == {"much newer"}
    assert is_running(server.pid)


@pytest.mark.parametrize("broken", ["import nosuchmodule\n", "syntax error\n", "app = None\n"])
def test_hup_with_code_that_does_not_load_keeps_the_old_workers(serve, tmp_path, broken):
    app = app_file(tmp_path, ANSWER.format(b"old"))
    server = serve("-w", "2", app=app, env={"PYTHONPATH": str(tmp_path)})
    assert server.get() == "old"
    workers = server.wait_workers(2)
    app_file(tmp_path, broken)
    mark = server.mark()
    server.signal(signal.SIGHUP)
    server.wait_for(r"\[ERROR\]", since=mark)
    wait_until(lambda: server.workers() == workers, what="the old workers alone")
    assert server.get() == "old"
    app_file(tmp_path, ANSWER.format(b"repaired"))
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.get() == "repaired", what="the repaired code")


@pytest.mark.parametrize("broken", ["workers = 'many'\n", "syntax error\n", "raise RuntimeError('no')\n"])
def test_hup_with_a_wrong_configuration_keeps_the_old_one(serve, broken):
    server = serve(config="workers = 1\n")
    (worker,) = server.wait_workers(1)
    server.configure(broken)
    mark = server.mark()
    server.signal(signal.SIGHUP)
    server.wait_for(r"\[ERROR\].*(server\.conf\.py|workers)", since=mark)
    assert server.get() == "Hello, World!\n"
    assert server.workers() == [worker]
    server.configure("workers = 2\n")
    server.signal(signal.SIGHUP)
    server.wait_workers(2)


def test_hup_binds_a_new_address(serve, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    server = serve(bind=None, config=f"bind = 'unix:{first}'\n")
    assert server.get() == "Hello, World!\n"
    server.configure(f"bind = 'unix:{second}'\n")
    server.signal(signal.SIGHUP)
    server.wait_for(f"Listening at: .*{second}")
    wait_until(lambda: server.request("/", address=f"unix:{second}").status == 200, what="the new address")
    wait_until(lambda: not first.exists(), what="the end of the old socket")


def test_hup_with_preload_loads_the_app_again(serve, tmp_path):
    app = app_file(tmp_path, ANSWER.format(b"old"))
    server = serve("--preload", app=app, env={"PYTHONPATH": str(tmp_path)})
    assert server.get() == "old"
    app_file(tmp_path, ANSWER.format(b"much newer"))
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.get() == "much newer", what="the new code")


def test_ttin_and_ttou(serve):
    server = serve()
    (first,) = server.wait_workers(1)
    server.signal(signal.SIGTTIN)
    server.wait_workers(2)
    server.signal(signal.SIGTTIN)
    server.wait_workers(3)
    server.signal(signal.SIGTTOU)
    wait_gone(first)
    server.wait_workers(2)
    mark = server.mark()
    for _ in range(3):
        server.signal(signal.SIGTTOU)
        server.wait_for("(?i)ttou", since=mark)
        mark = server.mark()
    server.wait_workers(1)
    assert server.get() == "Hello, World!\n"


def test_usr1_reopens_renamed_logs(serve, tmp_path):
    access, error = tmp_path / "access.log", tmp_path / "error.log"
    server = serve("--access-logfile", str(access), "--capture-output", fifo=None, app="probe:app")
    server.get("/before")
    wait_until(lambda: "/before" in access.read_text(), what="the first line")
    access.rename(tmp_path / "access.log.1")
    server.signal(signal.SIGUSR1)

    def reopened() -> bool:
        server.get("/after")
        return access.exists() and "/after" in access.read_text()

    wait_until(reopened, what="a line in the new file")
    assert not error.exists()
    # A worker that is forked after the rotation has to write to the new file as well.
    (worker,) = server.wait_workers(1)
    server.signal(signal.SIGKILL, worker)
    wait_gone(worker)
    server.get("/successor")
    wait_until(lambda: "/successor" in access.read_text(), what="the successor's line")


def test_usr2_upgrade_and_promotion(serve, tmp_path):
    pidfile, second = tmp_path / "pid", tmp_path / "pid.2"
    server = serve("-p", str(pidfile), "--name", "shop", app="probe:app")
    old_worker = int(server.get("/pid"))
    mark = server.mark()
    server.signal(signal.SIGUSR2)
    new = int(server.wait_for(r"Listening at: .* \((\d+)\)", since=mark)[1])
    assert new != server.pid
    wait_until(lambda: content(second) == f"{new}\n", what="the second pidfile")
    assert int(pidfile.read_text()) == server.pid
    new_worker = int(server.wait_for(r"Booting worker with pid: (\d+)", since=mark)[1])
    assert new_worker != old_worker

    # Another upgrade while one is under way is refused by either.
    for pid in (server.pid, new):
        here = server.mark()
        server.signal(signal.SIGUSR2, pid)
        server.wait_for("(?i)usr2", since=here)
    assert server.stop() == 0
    wait_until(lambda: content(pidfile) == f"{new}\n", what="the promotion")
    assert not second.exists()
    assert int(server.get("/pid")) in server.workers()
    assert sorted(server.workers()) == [new_worker]
    server.signal(signal.SIGTERM, new)
    wait_gone(new)
    assert not pidfile.exists()


def test_usr2_then_the_old_server_may_go_on(serve, tmp_path):
    """The way back: the new arbiter is stopped, and the old one serves as before."""
    path = tmp_path / "socket"
    server = serve(bind=f"unix:{path}")
    mark = server.mark()
    server.signal(signal.SIGUSR2)
    new = int(server.wait_for(r"Listening at: .* \((\d+)\)", since=mark)[1])
    server.wait_for(r"Booting worker", since=mark)
    server.signal(signal.SIGTERM, new)
    wait_gone(new)
    assert path.exists()
    assert server.get() == "Hello, World!\n"


def test_signals_in_a_burst_are_all_obeyed(serve):
    server = serve()
    server.wait_workers(1)
    mark = server.mark()
    for count in range(3):
        server.signal(signal.SIGTTIN)
        wait_until(lambda count=count: ttin(server, mark) > count, what="the signal's line")
    server.wait_workers(4)


def ttin(server, mark: int) -> int:
    return sum("ttin" in line.lower() for line in server.log.splitlines()[mark:])


def test_a_second_int_cuts_a_graceful_stop_short(serve):
    server = serve("--graceful-timeout", "30", app="probe:app")
    with server.connect() as client:
        client.sendall(b"GET /sleep?60 HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_for("sleeping")
        server.signal(signal.SIGTERM)
        server.wait_for("(?i)handling signal: term")
        started = time.monotonic()
        assert server.stop(signal.SIGINT) == 0
        assert time.monotonic() - started < PROMPT
