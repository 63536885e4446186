"""Every hook: in order, in the right process, with the right arguments."""

from __future__ import annotations

import signal

from harness import wait_gone, wait_until

RECORDER = """
import os
TRACE = os.environ["TRACE"]

def note(*values):
    with open(TRACE, "a") as trace:
        trace.write(" ".join(map(str, (os.getpid(), *values))) + "\\n")

def on_starting(server): note("on_starting", server.cfg.workers)
def on_reload(server): note("on_reload", server.cfg.workers)
def when_ready(server): note("when_ready", bool(server.log.info))
def pre_fork(server, worker): note("pre_fork", worker.age)
def post_fork(server, worker): note("post_fork", worker.age, worker.pid)
def post_worker_init(worker): note("post_worker_init", worker.age, callable(worker.wsgi))
def worker_int(worker): note("worker_int", worker.pid)
def worker_abort(worker): note("worker_abort", worker.pid)
def pre_exec(server): note("pre_exec")
def pre_request(worker, req): note("pre_request", req.method, req.path, req.query, worker.pid)
def post_request(worker, req, environ, resp):
    note("post_request", req.path, environ["PATH_INFO"], resp.status_code, worker.pid)
def child_exit(server, worker): note("child_exit", worker.pid)
def worker_exit(server, worker): note("worker_exit", worker.pid)
def nworkers_changed(server, new_value, old_value): note("nworkers_changed", new_value, old_value)
def on_exit(server): note("on_exit")
"""


def trace(path) -> list[tuple[int, str, list[str]]]:
    """What the hooks noted: process, hook, details."""
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [(int(pid), name, rest) for pid, name, *rest in lines]


def test_hooks_of_a_plain_life(serve, workers, tmp_path):
    path = tmp_path / "trace"
    server = serve(*workers, "-w", "1", config=RECORDER, env={"TRACE": str(path)}, app="probe:app")

    def wait_finished(count: int) -> None:
        # A client has its answer before ``post_request`` is called; another thread may take its next request.
        wait_until(
            lambda: sum(name == "post_request" for _, name, _ in trace(path)) == count, what="the hook"
        )

    worker = int(server.get("/pid"))
    wait_finished(1)
    server.request("/error?x=1")
    wait_finished(2)
    assert server.stop() == 0
    notes = trace(path)
    assert [name for _, name, _ in notes] == [
        "nworkers_changed", "on_starting", "when_ready", "pre_fork", "post_fork", "post_worker_init",
        "pre_request", "post_request", "pre_request", "post_request", "worker_exit", "child_exit", "on_exit",
    ]  # fmt: skip
    by_name = {name: (pid, rest) for pid, name, rest in notes}
    assert by_name["nworkers_changed"] == (server.pid, ["1", "None"])
    for name in ("on_starting", "when_ready", "child_exit", "on_exit"):
        assert by_name[name][0] == server.pid, name
    for name in ("post_fork", "post_worker_init", "pre_request", "post_request", "worker_exit"):
        assert by_name[name][0] == worker, name
    assert by_name["pre_fork"][0] != worker
    assert by_name["post_fork"][1] == ["1", str(worker)]
    assert by_name["post_worker_init"][1] == ["1", "True"]
    assert by_name["pre_request"][1] == ["GET", "/error", "x=1", str(worker)]
    assert [rest[:2] for _, name, rest in notes if name == "post_request"] == [
        ["/pid", "/pid"],
        ["/error", "/error"],
    ]
    assert [rest[2] for _, name, rest in notes if name == "post_request"] == ["200", "500"]
    assert by_name["child_exit"][1] == [str(worker)]


def test_hooks_of_reload_count_and_abort(serve, tmp_path):
    path = tmp_path / "trace"
    server = serve(config=RECORDER + "workers = 1\ntimeout = 1\n", env={"TRACE": str(path)}, app="probe:app")

    def noted(name: str, *details: str):
        return [
            pid for pid, found, rest in trace(path) if found == name and rest[: len(details)] == [*details]
        ]

    server.signal(signal.SIGTTIN)
    wait_until(lambda: noted("nworkers_changed", "2", "1"), what="nworkers_changed")
    server.wait_workers(2)
    old = server.workers()
    server.signal(signal.SIGHUP)
    wait_until(lambda: noted("on_reload"), what="on_reload")
    assert noted("on_reload") == [server.pid]
    wait_gone(*old)
    (worker,) = server.wait_workers(1)
    with server.connect() as client:
        client.sendall(b"GET /sleep?60 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: noted("worker_abort") == [worker], what="worker_abort in the silent worker")
    wait_gone(worker)
    server.get()
    (successor,) = server.wait_workers(1)
    assert server.stop(signal.SIGINT) == 0
    assert noted("worker_int") == [successor]


def test_pre_exec_runs_at_an_upgrade(serve, tmp_path):
    path = tmp_path / "trace"
    server = serve(config=RECORDER, env={"TRACE": str(path)})
    server.get()
    mark = server.mark()
    server.signal(signal.SIGUSR2)
    new = int(server.wait_for(r"Listening at: .* \((\d+)\)", since=mark)[1])
    assert [name for _, name, _ in trace(path)].count("pre_exec") == 1
    server.signal(signal.SIGTERM, new)
    wait_gone(new)


def test_a_hook_that_fails_at_start_ends_the_server_with_one_status(gunicorn):
    config = "def on_starting(server):\n    raise RuntimeError('not today')\n"
    done = gunicorn("-b", "127.0.0.1:0", "hello:app", config=config)
    assert done.returncode == 1
    assert "not today" in done.stderr


def test_a_failing_pre_request_fails_the_request_only(serve, workers):
    config = (
        "def pre_request(worker, req):\n"
        "    if req.path == '/refuse':\n"
        "        raise RuntimeError('refused by the hook')\n"
    )
    server = serve(*workers, config=config)
    assert server.request("/refuse").status == 500
    assert server.get() == "Hello, World!\n"


def test_a_failing_post_request_is_logged_only(serve, workers):
    server = serve(
        *workers, config="def post_request(worker, req, environ, resp):\n    raise RuntimeError('too late')\n"
    )
    assert server.get() == "Hello, World!\n"
    server.wait_for("too late")
    assert server.get() == "Hello, World!\n"


def test_state_that_a_hook_sets_before_the_fork_reaches_the_workers(serve):
    config = "import os\ndef on_starting(server):\n    os.environ['FROM_HOOK'] = 'yes'\n"
    server = serve(config=config, app="environment:app")
    assert server.get("/FROM_HOOK") == "yes"
