"""The control socket as a file: where it is, whose it is, who may use it; and never a nuisance."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_harness import NOBODY, PACKAGES, as_user, client_of, descriptors, gunicornc, python_for_others
from harness import PROMPT, ROOT, wait_gone, wait_until

from gunicorn.control.client import CommandError, ControlClient

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or python_for_others() is None,
    reason="only root can become another user, who needs an interpreter",
)
PLAIN = {"XDG_RUNTIME_DIR": None, "RUNTIME_DIRECTORY": None}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path that every user can reach."""
    path = Path(tempfile.mkdtemp(prefix="ctl"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def pid_of(path: object) -> int:
    with ControlClient(path) as client:
        pid: int = client.send_command("show stats")["pid"]
        return pid


# --- where ---


def test_default_path_is_in_the_home_and_gone_at_the_end(controlled):
    server, client = controlled()
    path = server.cwd / ".gunicorn" / "gunicorn.ctl"
    assert client.socket_path == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert server.stop() == 0
    assert not path.exists()


def test_the_runtime_directory_comes_first(controlled, folder):
    server, client = controlled(env={"XDG_RUNTIME_DIR": str(folder)})
    assert client.socket_path == str(folder / "gunicorn.ctl")
    assert not (server.cwd / ".gunicorn").exists()


@pytest.mark.parametrize("options", [("--no-control-socket",), ()])
def test_none_when_it_is_not_wanted(serve, options):
    config = "" if options else "control_socket = None\n"
    server = serve(*options, config=config, env=PLAIN)
    server.get()
    server.stop()
    assert server.count("(?i)control") == 0
    assert not (server.cwd / ".gunicorn").exists()


def test_a_relative_path_is_in_the_working_directory(controlled):
    server, client = controlled("--control-socket", "run/shop.ctl", "--control-socket-mode", "0660")
    assert client.socket_path == str(server.cwd / "run" / "shop.ctl")
    assert stat.S_IMODE(os.stat(client.socket_path).st_mode) == 0o660


def is_quiet(log: str) -> bool:
    return not any(word in log for word in ("WARNING", "ERROR", "CRITICAL", "Traceback"))


@pytest.mark.parametrize("home", ["/nonexistent", "/dev/null", "/proc", None, "/" + "long/" * 40])
def test_without_a_usable_home_there_is_a_socket_without_a_file(controlled, home):
    if home is None and os.geteuid() == 0:
        pytest.skip("without HOME the account says where the home is, and root's is there")
    server, client = controlled(env={"HOME": home})
    assert client.socket_path.startswith(f"@gunicorn-{os.geteuid()}")
    assert client.send_command("show stats")["pid"] == server.pid
    assert server.count("(?i)control socket") == 1
    assert is_quiet(server.log)
    assert not os.path.exists("/nonexistent")
    # And the command finds it by itself.
    done = gunicornc("show", "stats", env={**PLAIN, "HOME": home})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ["/proc/none/gunicorn.ctl", "x" * 200, "/dev/null", "/dev/null/ctl"])
def test_a_path_that_cannot_be_is_one_line_of_information(serve, path):
    server = serve("--control-socket", path, env=PLAIN)
    server.wait_for(r"\[INFO\] No control socket: .*" + path[:30])
    assert server.get() == "Hello, World!\n"
    assert is_quiet(server.log)
    (before,) = server.wait_workers(1)
    server.signal(signal.SIGHUP)
    wait_gone(before)
    server.signal(signal.SIGTTIN)
    server.wait_workers(2)
    assert server.count("(?i)control") == 1  # and no more of them later


# Exponential time in C code that holds the interpreter lock all the while.
REGEX = """
import re
def app(environ, start_response):
    if environ["PATH_INFO"] == "/regex":
        re.match(r"(a+)+$", "a" * 40 + "b")
    start_response("200 OK", [])
    return [b"mine"]
"""


@needs_root
def test_a_user_without_account_or_home(controlled, folder):
    (folder / "mine.py").write_text(REGEX)
    command = as_user(NOBODY, str(python_for_others()), "-m", "gunicorn")
    env = {"HOME": "/", "PYTHONPATH": f"{folder}:{ROOT}:{PACKAGES}"}
    server, client = controlled(app="mine:app", command=command, cwd=folder, env=env)
    assert client.socket_path == f"@gunicorn-{NOBODY}"
    assert client.send_command("show stats")["pid"] == server.pid  # root may
    assert server.get() == "mine"
    assert is_quiet(server.log)
    args = {"uid": NOBODY, "env": {**PLAIN, "HOME": "/"}, "cwd": folder}
    assert gunicornc("show", "workers", **args).returncode == 0
    with server.connect() as stuck:
        stuck.sendall(b"GET /regex HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: client.send_command("show requests")["count"], what="the request")
        (worker,) = client.send_command("show workers")["workers"]
        started = time.monotonic()
        (one,) = client.send_command(f"stack {worker['pid']}")["stacks"]
        assert time.monotonic() - started < PROMPT
        assert "mine.py" in one["stack"]
        server.signal(signal.SIGKILL, worker["pid"])


# --- whose ---


def test_a_stale_socket_of_a_killed_server_is_replaced(controlled, folder):
    path = folder / "gunicorn.ctl"
    first, _ = controlled("--control-socket", str(path))
    first.signal(signal.SIGKILL)
    first.wait()
    assert path.exists()
    second, client = controlled("--control-socket", str(path))
    assert client.socket_path == str(path)
    assert pid_of(path) == second.pid


def test_a_second_server_has_a_socket_of_its_own(controlled, folder):
    path = folder / "gunicorn.ctl"
    first, _ = controlled("--control-socket", str(path))
    second, client = controlled("--control-socket", str(path))
    assert client.socket_path == str(folder / f"gunicorn.{second.pid}.ctl")
    assert second.count(r"\[INFO\] Control socket: .*another server") == 1
    assert pid_of(path) == first.pid
    assert second.stop() == 0
    assert [one.name for one in folder.iterdir()] == ["gunicorn.ctl"]
    assert pid_of(path) == first.pid


def test_a_file_that_is_somebody_elses_is_never_removed(controlled, folder):
    path = folder / "gunicorn.ctl"
    server, _ = controlled("--control-socket", str(path))
    path.unlink()
    path.write_text("precious")
    assert server.stop() == 0
    assert path.read_text() == "precious"


def test_upgrade_and_promotion(controlled, folder, opened):
    path = folder / "gunicorn.ctl"
    server, _ = controlled("--control-socket", str(path))
    server.get()
    mark = server.mark()
    server.signal(signal.SIGUSR2)
    new = int(server.wait_for(r"Listening at: .* \((\d+)\)", since=mark)[1])
    own = opened.enter_context(client_of(server, since=mark))
    assert own.socket_path == str(folder / f"gunicorn.{new}.ctl")
    assert pid_of(path) == server.pid
    mark = server.mark()
    assert server.stop() == 0
    # The old server did not take the socket of the new one along, and the new one moves in.
    assert server.wait_for(r"Control socket: (\S+)$", since=mark)[1] == str(path)
    assert pid_of(path) == new
    assert own.send_command("show stats")["pid"] == new  # a conversation goes on
    assert [one.name for one in folder.iterdir()] == ["gunicorn.ctl"]
    server.signal(signal.SIGTERM, new)
    wait_gone(new)
    assert list(folder.iterdir()) == []


def test_an_upgrade_that_is_taken_back(controlled, folder):
    path = folder / "gunicorn.ctl"
    server, _ = controlled("--control-socket", str(path))
    mark = server.mark()
    server.signal(signal.SIGUSR2)
    new = int(server.wait_for(r"Listening at: .* \((\d+)\)", since=mark)[1])
    client_of(server, since=mark).close()
    server.signal(signal.SIGTERM, new)
    wait_gone(new)
    assert pid_of(path) == server.pid
    assert [one.name for one in folder.iterdir()] == ["gunicorn.ctl"]


def test_an_upgrade_in_place(controlled, folder, opened):
    path = folder / "gunicorn.ctl"
    server, _ = controlled("--control-socket", str(path), "--upgrade-in-place")
    server.get()
    mark = server.mark()
    server.signal(signal.SIGUSR2)
    again = opened.enter_context(client_of(server, since=mark))
    assert again.socket_path == str(path)
    assert again.send_command("reload --wait")["status"] == "reloaded"
    assert again.send_command("show stats")["pid"] == server.pid
    assert [one.name for one in folder.iterdir()] == ["gunicorn.ctl"]


def test_a_reload_moves_the_socket(controlled, folder):
    one, two = folder / "one.ctl", folder / "two.ctl"
    server, client = controlled(config=f"control_socket = {str(one)!r}\n")
    # The arbiter has the descriptors of its worker before they are counted.
    wait_until(lambda: client.send_command("show stats")["workers_current"] == 1, what="the worker")
    server.get()
    before = descriptors(server.pid)
    server.configure(f"control_socket = {str(two)!r}\ncontrol_socket_mode = 0o660\n")
    # The connection that asked for it gets its answer.
    assert client.send_command("reload --wait")["status"] == "reloaded"
    wait_until(two.exists, what="the new socket")
    assert stat.S_IMODE(two.stat().st_mode) == 0o660
    assert not one.exists()
    assert pid_of(two) == server.pid
    server.configure("control_socket = None\n")
    assert client.send_command("reload --wait")["status"] == "reloaded"
    wait_until(lambda: not two.exists(), what="the end of the socket")
    client.close()
    wait_until(lambda: descriptors(server.pid) <= before, what="the descriptors of before")


def test_a_reload_that_is_abandoned_moves_nothing(controlled, folder):
    one, two = folder / "one.ctl", folder / "two.ctl"
    server, client = controlled(config=f"control_socket = {str(one)!r}\n")
    server.get()
    server.configure(f"control_socket = {str(two)!r}\nraw_env = 'no'\n")
    with pytest.raises(CommandError):
        client.send_command("reload --wait")
    assert pid_of(one) == server.pid
    assert not two.exists()


# --- who ---


def test_readonly(controlled):
    server, client = controlled("--control-socket-readonly")
    assert client.send_command("show workers")["count"] >= 0
    for command in ("reload", "shutdown", "worker add", "worker kill 1", "drain", "reopen", "dirty add"):
        with pytest.raises(CommandError, match="control_socket_readonly"):
            client.send_command(command)
    assert server.get() == "Hello, World!\n"


@needs_root
def test_other_users(controlled, folder):
    path = folder / "gunicorn.ctl"
    server, client = controlled("--control-socket", str(path))
    args = ("-s", str(path), "show", "stats")
    done = gunicornc(*args, uid=NOBODY, cwd=folder)
    assert done.returncode == 1
    assert "permission denied: only root and the user of the server" in done.stderr
    server.stop()

    # Everybody may write to the file: that is for looking only.
    server, client = controlled("--control-socket", str(path), "--control-socket-mode", "0666")
    assert gunicornc(*args, uid=NOBODY, cwd=folder).returncode == 0
    done = gunicornc("-s", str(path), "shutdown", uid=NOBODY, cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"uid {NOBODY} may look, but not change anything" in done.stderr
    assert client.send_command("show stats")["pid"] == server.pid


@needs_root
def test_another_user_at_a_socket_without_a_file_is_refused(controlled):
    server, client = controlled(env={"HOME": "/nonexistent"})
    done = gunicornc("-s", client.socket_path, "show", "workers", uid=NOBODY, cwd=Path("/"))
    assert done.returncode == 1
    assert done.stderr == f"Error: Command failed: uid {NOBODY} may not use this control socket\n"
    assert server.get() == "Hello, World!\n"
