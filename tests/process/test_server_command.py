"""The command itself: exit statuses, one-line errors, checks, the daemon, the pidfile."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import sys
from pathlib import Path

import pytest
from harness import is_running, wait_gone, wait_until

import gunicorn as package


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_version(gunicorn):
    done = gunicorn("--version")
    assert (done.returncode, done.stdout) == (0, f"gunicorn (version {package.__version__})\n")


def test_check_config_accepts(gunicorn):
    done = gunicorn("--check-config", "hello:app")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("app", ["nosuchmodule:app", "hello:nosuch", "probe:not_callable"])
def test_check_config_refuses_an_app_that_does_not_load(gunicorn, app):
    assert gunicorn("--check-config", app).returncode == 1


def test_print_config_shows_the_merged_values_sorted(gunicorn):
    env = {"GUNICORN_CMD_ARGS": "--backlog 99"}
    done = gunicorn("--print-config", "--threads", "3", "hello:app", config="workers = 7\n", env=env)
    assert done.returncode == 0, done.stderr
    values = dict(re.findall(r"^(\w+)\s+= (.*)$", done.stdout, re.M))
    assert (values["workers"], values["threads"], values["backlog"]) == ("7", "3", "99")
    assert list(values) == sorted(values)


@pytest.mark.parametrize(
    ("args", "config", "status", "words"),
    [
        (["--nosuchflag", "hello:app"], None, 2, ["nosuchflag"]),
        (["--workers", "many", "hello:app"], None, 2, ["workers", "many"]),
        (["hello:app"], "workers = 'many'\n", 1, ["workers", "many", "command.conf.py"]),
        (["hello:app"], "bind = ['127.0.0.1:99999']\n", 1, ["99999"]),
        (["-c", "/nosuch/file.py", "hello:app"], None, 1, ["/nosuch/file.py"]),
        (["--certfile", "/nosuch.pem", "-b", "127.0.0.1:0", "hello:app"], None, 1, ["/nosuch.pem"]),
        ([], None, 1, ["gunicorn: error:"]),
    ],
)
def test_wrong_values_are_one_line(gunicorn, args, config, status, words):
    done = gunicorn(*args, config=config)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: " in last_line(done.stderr)
    assert [word for word in words if word not in last_line(done.stderr)] == []


@pytest.mark.parametrize(
    ("app", "status", "words"),
    [
        ("nosuchmodule:app", 3, "nosuchmodule"),
        ("hello:nosuch", 4, "nosuch"),
        ("probe:not_callable", 4, "not_callable"),
    ],
)
def test_a_first_boot_that_fails_ends_the_server(gunicorn, app, status, words, workers):
    done = gunicorn("-b", "127.0.0.1:0", "-w", "2", *workers, app)
    assert done.returncode == status, done.stderr
    assert words in done.stderr


def test_address_in_use(gunicorn):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = gunicorn("-b", f"127.0.0.1:{port}", "hello:app")
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_app_from_the_configuration_file(serve):
    assert serve(app=None, config="wsgi_app = 'probe:make(\"hi\")'\n").get() == "hi"


def test_pidfile_in_use_is_refused(gunicorn, tmp_path):
    pidfile = tmp_path / "pid"
    pidfile.write_text(f"{os.getpid()}\n")
    done = gunicorn("-b", "127.0.0.1:0", "-p", str(pidfile), "hello:app")
    assert done.returncode == 1
    assert str(os.getpid()) in done.stderr
    assert pidfile.read_text() == f"{os.getpid()}\n"


def test_stale_pidfile_is_taken_over_and_removed_at_the_end(serve, tmp_path):
    pidfile = tmp_path / "pid"
    pidfile.write_text("999999999\n")
    server = serve("-p", str(pidfile))
    assert int(pidfile.read_text()) == server.pid
    assert stat.S_IMODE(pidfile.stat().st_mode) == 0o644
    assert server.stop() == 0
    assert not pidfile.exists()


def test_daemon(serve, tmp_path):
    pidfile = tmp_path / "pid"
    server = serve("-D", "-p", str(pidfile), fifo=tmp_path / "log")
    daemon = int(server.wait_for(r"Listening at: .* \((\d+)\)")[1])
    server.adopt(daemon)
    assert server.wait() == 0
    assert int(pidfile.read_text()) == daemon
    assert os.getsid(daemon) != server.pid
    assert server.get() == "Hello, World!\n"
    assert Path(f"/proc/{daemon}/fd/0").readlink() == Path(os.devnull)

    # WINCH stops the workers of a daemon only; HUP brings back the configured number.
    (worker,) = server.wait_workers(1)
    server.signal(signal.SIGWINCH, daemon)
    wait_gone(worker)
    assert is_running(daemon)
    server.signal(signal.SIGHUP, daemon)
    server.wait_workers(1)
    assert server.get() == "Hello, World!\n"

    server.signal(signal.SIGTERM, daemon)
    wait_gone(daemon)
    wait_until(lambda: not pidfile.exists(), what="the end of the pidfile")


def test_winch_in_the_foreground_is_ignored(serve):
    server = serve()
    (worker,) = server.wait_workers(1)
    server.signal(signal.SIGWINCH)
    server.wait_for("(?i)winch")
    assert server.get() == "Hello, World!\n"
    assert server.workers() == [worker]


def test_titles(serve):
    pytest.importorskip("setproctitle")
    server = serve("--name", "shop", app="probe:app")
    worker = int(server.get("/pid"))
    assert server.processes()[server.pid] == "gunicorn: master [shop]"
    assert server.processes()[worker] == "gunicorn: worker [shop]"


def readable_by_others(path: str) -> bool:
    place = Path(path).resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in place.parents)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(
    not readable_by_others(sys.base_prefix) or not readable_by_others(__file__),
    reason="another user could not read this interpreter or these tests",
)
def test_user_and_group_of_the_workers(serve, workers):
    server = serve(*workers, "-u", "65534", "-g", "65534", app="probe:app")
    ids = json.loads(server.get("/ids"))
    assert (ids["uid"], ids["gid"]) == (65534, 65534)
    assert 0 not in ids["groups"]
    assert Path(f"/proc/{server.pid}").stat().st_uid == 0
