"""Every command of the control socket on a running server: the answer comes when it has happened."""

from __future__ import annotations

import os
import signal
import statistics
import time
from pathlib import Path

import pytest
from control_harness import descriptors
from harness import PROMPT, is_running, wait_gone, wait_until
from load import Load

from gunicorn.control.client import CommandError, ControlClient, ControlClientError

ANSWER = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [{!r}]\n"

# Exponential time in C code that holds the interpreter lock all the while.
REGEX = """
import re
def app(environ, start_response):
    if environ["PATH_INFO"] == "/regex":
        re.match(r"(a+)+$", "a" * 40 + "b")
    start_response("200 OK", [])
    return [b"done"]
"""


def write_app(folder, text: str) -> str:
    (folder / "changing.py").write_text(text)
    return "changing:app"


def test_what_a_running_server_says_of_itself(controlled, workers):
    server, client = controlled(*workers, "-w", "2", "--name", "shop")
    pids = server.wait_workers(2)
    wait_until(lambda: client.send_command("show all")["web_worker_count"] == 2, what="both workers")
    wait_until(
        lambda: all(w["booted"] for w in client.send_command("show workers")["workers"]), 10, "two that serve"
    )
    found = client.send_command("show workers")
    assert [w["pid"] for w in found["workers"]] == pids
    for number, one in enumerate(found["workers"], 1):
        assert (one["age"], one["booted"], one["aborted"], one["state"]) == (number, True, False, "ready")
        assert 0 <= one["last_heartbeat"] < 30
    everything = client.send_command("show all")
    assert everything["arbiter"] == {"pid": server.pid, "type": "arbiter", "role": "master"}
    assert [w["pid"] for w in everything["web_workers"]] == pids
    (listener,) = client.send_command("show listeners")["listeners"]
    assert (listener["address"], listener["type"], listener["queued"]) == (server.url, "tcp", 0)
    config = client.send_command("show config")
    assert (config["workers"], config["proc_name"]) == (2, "shop")
    stats = client.send_command("show stats")
    assert (stats["pid"], stats["workers_current"], stats["workers_spawned"]) == (server.pid, 2, 2)
    assert client.send_command("show dirty")["enabled"] is False
    server.get()
    wait_until(lambda: client.send_command("show stats")["requests"] == 1, what="the request")
    assert client.send_command("show deaths") == {"deaths": [], "count": 0}


def test_workers_come_and_go_by_the_time_of_the_answer(controlled):
    server, client = controlled()
    server.wait_workers(1)
    data = client.send_command("worker add", ["2"])
    assert data == {"added": 2, "previous": 1, "total": 3, "serving": 3, "done": True}
    assert len(server.workers()) == 3
    # The same connection goes on: there is no fork that would cut it.
    data = client.send_command("worker remove 9")
    assert data == {"removed": 2, "previous": 3, "total": 1, "serving": 1, "done": True}
    assert len(server.workers()) == 1
    stats = client.send_command("show stats")
    assert (stats["workers_target"], stats["workers_spawned"], stats["workers_killed"]) == (1, 3, 2)


def test_kill_stops_the_worker_and_another_takes_its_place(controlled):
    server, client = controlled()
    (pid,) = server.wait_workers(1)
    server.get()
    assert client.send_command("worker kill", [str(pid)]) == {"success": True, "killed": pid, "gone": True}
    assert not is_running(pid)
    (successor,) = server.wait_workers(1)
    assert successor != pid
    assert server.get() == "Hello, World!\n"
    # A process that is not a worker of this server is never signalled, be it ours.
    for foreign in (os.getpid(), server.pid, pid, 0, -1):
        data = client.send_command(f"worker kill {foreign}")
        assert data == {"success": False, "error": f"Worker {foreign} not found"}
    assert server.workers() == [successor]


def test_retire_has_a_replacement_serve_first(controlled):
    server, client = controlled()
    (pid,) = server.wait_workers(1)
    server.get()
    assert client.send_command(f"worker retire {pid}") == {"success": True, "retired": pid, "gone": True}
    (worker,) = client.send_command("show workers")["workers"]
    assert worker["booted"]
    assert worker["pid"] != pid
    assert not is_running(pid)


def test_reload_with_its_result(controlled, tmp_path):
    app = write_app(tmp_path, ANSWER.format(b"old"))
    server, client = controlled("-w", "2", app=app, env={"PYTHONPATH": str(tmp_path)})
    old = server.wait_workers(2)
    assert server.get() == "old"
    write_app(tmp_path, ANSWER.format(b"much newer"))
    assert client.send_command("reload --wait") == {"status": "reloaded", "generation": 2}
    assert not any(map(is_running, old))
    assert server.get() == "much newer"
    (generation,) = client.send_command("show generations")["generations"]
    assert generation == {"generation": 2, "role": "serving", "workers": 2, "ready": 2}


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_a_reload_that_is_abandoned_is_an_error_with_its_reason(controlled, tmp_path, preload):
    app = write_app(tmp_path, ANSWER.format(b"old"))
    server, client = controlled(*preload, app=app, env={"PYTHONPATH": str(tmp_path)})
    old = server.wait_workers(1)
    server.get()
    write_app(tmp_path, "import nosuchmodule\n")
    with pytest.raises(CommandError, match=r"abandoned.*nosuchmodule"):
        client.send_command("reload --wait")
    assert server.workers() == old
    assert server.get() == "old"


def test_a_wrong_configuration_is_an_error_that_names_it(controlled):
    server, client = controlled(config="workers = 1\n")
    server.get()
    server.configure("workers = 'many'\n")
    with pytest.raises(CommandError, match=r"server\.conf\.py.*workers"):
        client.send_command("reload --wait")


def test_plain_reload_answers_at_once_and_the_target_goes_back_to_the_setting(controlled):
    server, client = controlled()
    client.send_command("worker add")
    assert client.send_command("reload") == {"status": "reloading"}
    wait_until(lambda: client.send_command("show stats")["workers_target"] == 1, what="the setting")
    server.wait_workers(1)


def test_reopen(controlled, tmp_path):
    log = tmp_path / "access.log"
    server, client = controlled("--access-logfile", str(log))
    server.get("/before")
    wait_until(lambda: "/before" in log.read_text(), what="a line")
    log.rename(tmp_path / "old.log")
    assert client.send_command("reopen") == {"status": "reopening"}

    def is_written() -> bool:
        server.get("/after")
        return log.exists() and "/after" in log.read_text()

    wait_until(is_written, what="the new file")


@pytest.mark.parametrize(("words", "mode"), [("shutdown", "graceful"), ("shutdown QUICK", "quick")])
def test_shutdown(controlled, words, mode):
    server, client = controlled()
    server.get()
    assert client.send_command(words) == {"status": "shutting_down", "mode": mode}
    assert server.wait() == 0
    assert not os.path.exists(client.socket_path)
    with pytest.raises(ControlClientError):
        client.send_command("help")


def test_drain_and_come_back(controlled):
    server, client = controlled("-w", "2")
    pids = server.wait_workers(2)
    assert client.send_command("drain") == {"status": "drained", "remaining": 0}
    assert not any(map(is_running, pids))
    assert client.send_command("show workers") == {"workers": [], "count": 0}
    assert client.send_command("reload --wait")["status"] == "reloaded"
    server.wait_workers(2)
    assert server.get() == "Hello, World!\n"


# --- what is going on ---


def test_requests_in_flight(controlled):
    server, client = controlled("-k", "gthread", "--threads", "2", app="probe:app")
    with server.connect() as slow:
        slow.sendall(b"GET /sleep?60 HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_for("sleeping")
        (request,) = client.send_command("show requests")["requests"]
        (worker,) = client.send_command("show workers")["workers"]
        assert (request["pid"], request["method"], request["path"]) == (worker["pid"], "GET", "/sleep")
        assert 0 < request["age"] < 30
        assert worker["in_flight"] == 1
        assert client.send_command("show load")["requests"][0]["path"] == "/sleep"
        server.signal(signal.SIGKILL, worker["pid"])
        wait_gone(worker["pid"])
        wait_until(lambda: client.send_command("show deaths")["count"], what="the record")
        (death,) = client.send_command("show deaths")["deaths"]
        assert (death["pid"], death["signal"]) == (worker["pid"], "SIGKILL")
        assert [one["path"] for one in death["in_flight"]] == ["/sleep"]


def test_stack_of_a_worker_that_holds_the_interpreter_lock(controlled, tmp_path):
    app = write_app(tmp_path, REGEX)
    server, client = controlled(app=app, env={"PYTHONPATH": str(tmp_path)})
    (pid,) = server.wait_workers(1)
    server.get("/")
    with server.connect() as stuck:
        stuck.sendall(b"GET /regex HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: client.send_command("show requests")["count"], what="the request")
        started = time.monotonic()
        (one,) = client.send_command(f"stack {pid}")["stacks"]
        assert time.monotonic() - started < PROMPT
        assert one["pid"] == pid
        assert "changing.py" in one["stack"]
        assert "in app" in one["stack"]
        assert client.send_command("stack all")["stacks"][0]["pid"] == pid
        assert client.send_command("stack 1") == {"success": False, "error": "Worker 1 not found"}
        server.signal(signal.SIGKILL, pid)


def test_a_busy_worker_survives_being_looked_at(controlled):
    """Its threads go on, and one that changes its frames while they are written would be the end of it."""
    server, client = controlled("-k", "gthread", "--threads", "4")
    pids = server.wait_workers(1)
    with Load(server, 4, keep_alive=True) as load:
        wait_until(lambda: load.answered > 100, what="load")
        for _ in range(40):
            (one,) = client.send_command("stack all")["stacks"]
            assert one["stack"].count("most recent call first") == 5  # the main thread and the four
            assert "process/stacks.py" not in one["stack"]
    assert load.lost == []
    assert client.send_command("show deaths")["count"] == 0
    assert server.workers() == pids


# --- how it feels ---


@pytest.mark.parametrize("kind", [("-k", "gthread", "--threads", "4"), ("-k", "asgi")], ids=["wsgi", "asgi"])
def test_requests_do_not_hold_up_an_answer(controlled, kind):
    app = "probe:app" if "asgi" not in kind else "asgi_probe:app"
    server, client = controlled("-w", "2", *kind, app=app)
    server.get()
    times = []
    with Load(server, 4, keep_alive=True) as load:
        wait_until(lambda: load.answered > 100, what="load")
        for _ in range(100):
            started = time.monotonic()
            client.send_command("show all")
            times.append(time.monotonic() - started)
    assert load.lost == []
    print(f"median {statistics.median(times) * 1e3:.1f} ms, longest {max(times) * 1e3:.1f} ms")
    # A few milliseconds where a processor is free; an answer that waited for requests would take seconds.
    assert statistics.median(times) < 0.25


def test_many_reloads_leave_nothing_behind(controlled):
    """Each supersedes the one before; those that are waited for come to their end."""
    server, client = controlled()
    server.get()

    def settle() -> None:
        assert client.send_command("reload --wait")["status"] == "reloaded"
        # Arbiter, fork server, mold and worker.
        wait_until(lambda: len(server.processes()) <= 4, what=f"only four of {server.processes()}")

    def pages() -> int:
        return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])

    for _ in range(20):
        client.send_command("reload")
    settle()
    files, memory = descriptors(server.pid), pages()
    for _ in range(160):
        client.send_command("reload")
    for _ in range(20):
        assert client.send_command("reload --wait")["status"] == "reloaded"
    settle()
    wait_until(lambda: descriptors(server.pid) <= files, what=f"the {files} descriptors of before")
    assert pages() - memory < 512  # 2 MB
    assert client.send_command("show stats")["reloads"] == 202
    assert server.get() == "Hello, World!\n"
    # To be superseded is no failure.
    assert server.count("ERROR|WARNING|Traceback") == 0


def test_clients_come_and_go_without_a_trace(controlled):
    server, client = controlled()
    # The arbiter has the descriptors of its worker before it is counted.
    wait_until(lambda: client.send_command("show stats")["workers_current"] == 1, what="the worker")
    server.get()
    client.send_command("show all")
    before = descriptors(server.pid)
    for _ in range(100):
        with ControlClient(client.socket_path) as other:
            other.send_command("show workers")
    wait_until(lambda: descriptors(server.pid) == before, what="the descriptors of before")


# --- the pool beside it ---

POOL = """
from gunicorn.dirty import DirtyApp

class Sums(DirtyApp):
    def add(self, a, b):
        return a + b
"""


def test_dirty_workers(controlled, tmp_path):
    (tmp_path / "sums.py").write_text(POOL)
    server, client = controlled(
        "--dirty-app", "sums:Sums", "--dirty-workers", "1", env={"PYTHONPATH": str(tmp_path)}
    )
    server.get()

    def is_booted() -> bool:
        workers = client.send_command("show dirty")["workers"]
        return bool(workers) and workers[0]["booted"]

    wait_until(is_booted, what="a dirty worker")
    found = client.send_command("show dirty")
    (worker,) = found["workers"]
    assert worker["apps"] == ["sums:Sums"]
    assert found["apps"] == [
        {
            "import_path": "sums:Sums",
            "worker_count": None,
            "current_workers": 1,
            "worker_pids": [worker["pid"]],
        }
    ]
    everything = client.send_command("show all")
    assert everything["dirty_arbiter"]["pid"] == found["pid"] in server.processes()
    assert [one["pid"] for one in everything["dirty_workers"]] == [worker["pid"]]
    assert client.send_command("show stats")["dirty_arbiter_pid"] == found["pid"]
    data = client.send_command("dirty add 2")
    assert (data["success"], data["operation"], data["spawned"]) == (True, "add", 2)
    assert client.send_command("dirty remove")["removed"] == 1
    wait_until(lambda: len(client.send_command("show dirty")["workers"]) == 2, what="two of them")
    # A dirty arbiter that does not answer is no worker less of the web.
    server.signal(signal.SIGSTOP, found["pid"])
    assert client.send_command("show all")["web_worker_count"] == 1
    server.signal(signal.SIGCONT, found["pid"])
