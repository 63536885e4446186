"""Real molds: another configuration, a preloaded application, retirement and death."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading

import pytest
from little_arbiter import (
    App,
    FileLog,
    LittleArbiter,
    config,
    isolated,
    until_end_of_file,
    wait_readable,
    worker,
)

from gunicorn.errors import AppImportError, ConfigError
from gunicorn.process import forkserver
from gunicorn.process.channel import Channel
from gunicorn.process.listeners import close_listeners, create_listeners
from gunicorn.process.messages import (
    Hello,
    Listeners,
    MoldFailed,
    MoldReady,
    StartMold,
    WorkerReady,
)
from gunicorn.process.slots import Slots

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the subreaper is Linux's")


def logs(text):
    """A worker that logs ``text`` and then lives until its arbiter is gone."""

    def body(worker):
        worker.log.info(text)
        until_end_of_file(worker)

    return worker(body)


def start_mold(arbiter, generation, fds=()):
    answer, received = arbiter.ask(StartMold(generation), fds)
    assert isinstance(answer, MoldReady), answer
    assert answer.generation == generation
    return answer.pid, Channel.from_fd(received[0])


def finish(child):
    assert child.hear() == WorkerReady()
    child.report.close()
    assert child.exit() == 0


@isolated
def test_mold_reads_the_configuration_again_and_the_root_stays_as_it_was(tmp_path):
    log = FileLog(tmp_path / "log")
    old, new = (
        config(worker_class=logs("old")),
        config(worker_class=logs("new"), logger_class=lambda cfg: log),
    )
    arbiter = LittleArbiter(tmp_path, app=App(old, reload=lambda: new))
    finish(arbiter.spawn(generation=1))
    _, channel = start_mold(arbiter, 2)
    child = arbiter.spawn(slot=1, age=2, generation=2, channel=channel)
    finish(child)
    assert arbiter.slots[1].generation == 2
    finish(arbiter.spawn(age=3))
    assert [line for line in log.text().splitlines() if line in ("info: old", "info: new")] == [
        "info: old",
        "info: new",
        "info: old",
    ]
    channel.close()
    assert arbiter.close() == 0


@isolated
def test_worker_of_a_mold_is_the_arbiters_child(tmp_path):
    arbiter = LittleArbiter(
        tmp_path, preload_app=True, worker_class=worker(lambda worker: sys.exit(os.getppid() & 0x7F))
    )
    _, channel = start_mold(arbiter, 1)
    assert arbiter.spawn(channel=channel).exit() == os.getpid() & 0x7F
    channel.close()
    arbiter.close()


@isolated
def test_application_is_loaded_once_for_all_workers_of_a_mold(tmp_path):
    log = tmp_path / "log"
    cfg = config(preload_app=True, worker_class=logs("worker"))
    app = App(cfg, reload=lambda: pytest.fail("generation 1 is what the entry point has read"))
    app.wsgi = lambda: log.open("a").write(f"loaded by {os.getpid()}\n")
    arbiter = LittleArbiter(tmp_path, app=app)
    pid, channel = start_mold(arbiter, 1)
    for age in (1, 2):
        finish(arbiter.spawn(age=age, channel=channel))
    assert log.read_text().count("loaded by") == 1
    assert f"loaded by {pid}" in log.read_text()
    channel.close()
    arbiter.close()


@pytest.mark.parametrize(
    ("error", "exit_code", "reason"),
    [
        (AppImportError("no such app"), 4, "no such app"),
        (ConfigError("gunicorn.conf.py line 3: workers"), 1, "gunicorn.conf.py line 3: workers"),
        (SystemExit(2), 2, "SystemExit: 2"),
        (ValueError("broken"), 1, "ValueError: broken"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("where", ["reload", "preload"])
@isolated
def test_mold_that_cannot_load(tmp_path, where, error, exit_code, reason):
    def fail():
        raise error

    log = FileLog(tmp_path / "log")
    new = config(preload_app=True, logger_class=lambda cfg: log)
    app = App(config(), reload=fail if where == "reload" else lambda: new, wsgi=fail)
    arbiter = LittleArbiter(tmp_path, app=app)
    assert arbiter.ask(StartMold(2))[0] == MoldFailed(2, exit_code, reason)
    assert ("Traceback" in log.text()) == isinstance(error, ValueError)
    finish(arbiter.spawn())
    assert arbiter.close() == 0


@pytest.mark.parametrize(
    ("death", "how", "code"),
    [
        (lambda: os._exit(13), "exit status 13", 13),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "signal 9", 1),
    ],
    ids=["exit", "signal"],
)
@isolated
def test_mold_that_dies_while_loading(tmp_path, death, how, code):
    arbiter = LittleArbiter(tmp_path, app=App(config(preload_app=True), wsgi=death))
    answer, _ = arbiter.ask(StartMold(1))
    assert answer == MoldFailed(1, code, f"the process that was loading it ended with {how}")
    assert arbiter.close() == 0


@isolated
def test_threads_of_a_preloaded_application_are_named(tmp_path):
    def load():
        threading.Thread(target=signal.pause, name="sampler", daemon=True).start()

    arbiter = LittleArbiter(tmp_path, app=App(config(preload_app=True), wsgi=load))
    _, channel = start_mold(arbiter, 1)
    assert "warning: preload_app: threads" in arbiter.log.text()
    assert "sampler" in arbiter.log.text()
    channel.close()
    arbiter.close()


@isolated
def test_mold_serves_its_generations_listeners(tmp_path):
    def body(worker):
        worker.ready()
        select.select(worker.sockets, [], [])
        worker.sockets[0].accept()[0].sendall(b"here")

    cfg = config(
        address=[("127.0.0.1", 0)],
        worker_class=worker(body),
        logger_class=lambda cfg: FileLog(tmp_path / "log"),
    )
    old, new = create_listeners(cfg, None), create_listeners(cfg, None)
    arbiter = LittleArbiter(tmp_path, app=App(cfg, reload=lambda: cfg), sockets=old)
    _, channel = start_mold(arbiter, 2, [listener.fileno() for listener in new])
    child = arbiter.spawn(channel=channel)
    old_address, new_address = old[0].address, new[0].address
    with socket.create_connection(new_address, timeout=30) as client:
        assert client.recv(10) == b"here"
    assert child.exit() == 0
    # The arbiter drops the old address; the root must not keep it in LISTEN.
    close_listeners(old, unlink=True)
    arbiter.channel.send(Listeners(), [listener.fileno() for listener in new])
    start_mold(arbiter, 3)[1].close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(old_address, timeout=30)
    channel.close()
    arbiter.close()


@isolated
def test_retired_mold_leaves_its_workers_alone_and_goes_with_the_last(tmp_path):
    def body(worker):
        worker.ready()
        worker.report.receive()  # drains for longer than a spawner would wait

    arbiter = LittleArbiter(tmp_path, preload_app=True, worker_class=worker(body))
    pid, channel = start_mold(arbiter, 1)
    mold = os.pidfd_open(pid)
    child = arbiter.spawn(channel=channel)
    assert child.hear() == WorkerReady()
    channel.close()
    with pytest.raises(AssertionError, match="nothing within"):
        wait_readable(child.pidfd, 2.2)
    child.report.send(WorkerReady())
    assert child.exit() == 0
    wait_readable(mold)
    arbiter.close()


@isolated
def test_mold_can_stand_in_for_the_root(tmp_path):
    arbiter = LittleArbiter(tmp_path, preload_app=True)
    _, channel = start_mold(arbiter, 1)
    answer, fds = arbiter.ask(StartMold(1), channel=channel)
    assert isinstance(answer, MoldReady)
    Channel.from_fd(fds[0]).close()
    channel.close()
    arbiter.close()


STUCK = """
import ctypes, json, os, sys
sys.path.insert(0, {support!r})
import pathlib
from little_arbiter import LittleArbiter, worker
from gunicorn.process import lineage
from gunicorn.process.channel import Channel
from gunicorn.process.messages import StartMold

def stuck(worker):
    worker.ready()
    ctypes.PyDLL(None).sleep(60)

lineage.become_subreaper()
arbiter = LittleArbiter(pathlib.Path({tmp!r}), preload_app=True, worker_class=worker(stuck))
answer, fds = arbiter.ask(StartMold(1))
channel = Channel.from_fd(fds[0])
retired = {retired}
child = arbiter.spawn(channel=channel)
child.hear()
root = arbiter.spawn(slot=1, age=2)
root.hear()
if retired:
    channel.close()
print(json.dumps([arbiter.pid, answer.pid, child.pid, root.pid]), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("retired", [False, True], ids=["serving", "retired"])
def test_death_of_the_arbiter_ends_everything(tmp_path, retired):
    """Molds, retired or not, and workers stuck in C code: all gone within two seconds of a SIGKILL."""
    script = STUCK.format(
        support=os.path.dirname(sys.modules["little_arbiter"].__file__), tmp=str(tmp_path), retired=retired
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        wait_readable(process.stdout)
        pidfds = [os.pidfd_open(pid) for pid in json.loads(process.stdout.readline())]
        process.kill()
        for pidfd in pidfds:
            wait_readable(pidfd)
            os.close(pidfd)


EXECUTED = """
import sys, pathlib
sys.path.insert(0, {support!r})
from little_arbiter import App, FileLog, config
from gunicorn.process import forkserver
cfg = config()
forkserver.attach_from_environment(App(cfg), cfg, FileLog(pathlib.Path({log!r})))
"""


@isolated
def test_fork_server_that_was_started_by_exec(tmp_path):
    slots = Slots.create(4)
    listeners = create_listeners(config(address=[("127.0.0.1", 0)]), None)
    ours, theirs = Channel.pair()
    variables, fds = forkserver.replacement_environment(theirs, slots, listeners)
    script = EXECUTED.format(
        support=os.path.dirname(sys.modules["little_arbiter"].__file__), log=str(tmp_path / "log")
    )
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, **variables}, pass_fds=fds)
    theirs.close()
    arbiter = LittleArbiter.__new__(LittleArbiter)
    arbiter.channel, arbiter.pid, arbiter.slots = ours, process.pid, slots
    assert arbiter.hear()[0] == Hello(process.pid)
    child = arbiter.spawn(slot=2)
    assert child.hear() == WorkerReady()
    assert slots[2].pid == child.pid
    child.report.close()
    assert child.exit() == 0
    ours.close()
    assert process.wait(10) == 0


@pytest.mark.parametrize("text", ["", "1", "a,b", "700,701", "3,x,5"])
def test_variable_that_nobody_running_has_set(text):
    with pytest.raises(ConfigError, match="GUNICORN_FORK_SERVER"):
        forkserver.attach_from_environment(None, config(), None, {"GUNICORN_FORK_SERVER": text})
