"""``gunicornc`` as people and scripts use it: words, exit status, a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator

import pytest
from control_harness import GUNICORNC, gunicornc, gunicornc_json
from harness import server_environment, wait_until

from gunicorn.control.client import (
    AsyncControlClient,
    CommandError,
    ControlClient,
    ControlClientError,
)


@pytest.fixture
def server(controlled):
    server, client = controlled("-w", "2", "--name", "shop")
    server.control = client.socket_path
    wait_until(
        lambda: client.send_command("show generations")["generations"][0]["ready"] == 2, 10, "two workers"
    )
    client.close()
    return server


# --- one command ---


def test_text_and_json(server):
    done = gunicornc("-s", server.control, "show", "workers")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["PID", "AGE", "STATE"]
    assert [int(line.split()[0]) for line in lines[1:3]] == server.workers()
    assert "\x1b" not in done.stdout
    data = gunicornc_json("-s", server.control, "-c", "show workers")
    assert [one["pid"] for one in data["workers"]] == server.workers()


@pytest.mark.parametrize(
    ("args", "status", "error"),
    [
        (["bogus"], 1, "Error: Invalid argument: Unknown command: bogus\n"),
        (["worker", "add", "many"], 1, "Error: Invalid argument: N is a whole number, not 'many'\n"),
        (["reload", "--wait", "never"], 1, "Error: Invalid argument: --wait takes seconds"),
        (["--bogus"], 2, "usage: gunicornc"),
        (["worker", "kill", "1"], 1, ""),
    ],
)
def test_what_is_wrong_shows_in_the_exit_status(server, args, status, error):
    done = gunicornc("-s", server.control, *args)
    assert done.returncode == status
    assert done.stderr.startswith(error)


def test_no_server(tmp_path):
    done = gunicornc("-s", str(tmp_path / "none"), "help")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: cannot connect to {tmp_path}/none: there is no such socket")
    assert done.stderr.count("\n") == 1


def test_the_default_path_is_found(server):
    env = {"HOME": str(server.cwd), "XDG_RUNTIME_DIR": None}
    assert gunicornc_json("show", "stats", env=env)["pid"] == server.pid


def test_the_result_of_a_reload_is_its_exit_status(controlled):
    server, client = controlled(config="workers = 1\n")
    server.get()
    assert gunicornc("-s", client.socket_path, "reload", "--wait").returncode == 0
    server.configure("workers = 'many'\n")
    done = gunicornc("-s", client.socket_path, "reload", "--wait", "30")
    assert (done.returncode, done.stdout) == (1, "")
    assert "abandoned" in done.stderr
    assert "server.conf.py" in done.stderr


def test_a_reader_that_leaves_early_is_no_error(server):
    command = " ".join([*GUNICORNC, "-s", server.control, "help"])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} | true"],
        env=server_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


# --- a session ---


def test_commands_from_a_pipe(server):
    done = gunicornc(
        "-s", server.control, stdin="show stats\n\nbogus\nworker add\nshow workers\nquit\nhelp\n"
    )
    assert done.returncode == 0
    assert f"Connected to {server.control}" in done.stdout
    assert "Error: Invalid argument: Unknown command: bogus" in done.stdout
    assert "Total: 3 workers" in done.stdout
    assert "Commands:" not in done.stdout


def test_the_session_ends_with_the_server(server):
    done = gunicornc("-s", server.control, stdin="shutdown quick\nshow stats\nshow stats\n")
    assert done.returncode in (0, 1)
    server.wait()
    done = gunicornc("-s", server.control)
    assert done.returncode == 1


# The keys for signals reach those who have the terminal as their controlling one.
CONTROLLING = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A command in a terminal of 24 lines and 80 columns."""

    def __init__(self, *args: str, env: dict[str, str]) -> None:
        self.ours, theirs = pty.openpty()
        self.resize(80, 24)
        self.before = termios.tcgetattr(self.ours)
        self.process = subprocess.Popen(
            [sys.executable, "-c", CONTROLLING, *GUNICORNC, *args],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=server_environment({"TERM": "xterm", "NO_COLOR": None, **env}),
            start_new_session=True,
        )
        os.close(theirs)
        self.text = ""

    def resize(self, columns: int, lines: int) -> None:
        import fcntl

        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def wait_for(self, part: str, timeout: float = 15.0) -> str:
        """Everything shown until ``part`` comes, which is then forgotten."""
        deadline = time.monotonic() + timeout
        while part not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, f"no {part!r} in {self.text!r}"
            assert select.select([self.ours], [], [], left)[0], f"no {part!r} in {self.text!r}"
            self.text += os.read(self.ours, 65536).decode(errors="replace")
        shown, _, self.text = self.text.partition(part)
        return shown + part

    def wait(self) -> int:
        """The exit status; what is still shown is read, or the command could not end."""
        with contextlib.suppress(OSError):  # the end of a terminal
            while select.select([self.ours], [], [], 15)[0] and (data := os.read(self.ours, 65536)):
                self.text += data.decode(errors="replace")
        return self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        os.close(self.ours)


@pytest.fixture
def terminal(tmp_path) -> Iterator[Callable[..., Terminal]]:
    with contextlib.ExitStack() as stack:

        def start(*args: str) -> Terminal:
            one = Terminal(*args, env={"HOME": str(tmp_path)})
            stack.callback(one.close)
            return one

        yield start


def test_a_session_in_a_terminal(server, terminal, tmp_path):
    pytest.importorskip("readline")
    session = terminal("-s", server.control)
    session.wait_for("gunicorn> ")
    session.type("show gen\t")
    session.wait_for("show generations ")
    session.type("\n")
    session.wait_for("serving")
    session.wait_for("gunicorn> ")
    session.type("stack a\t")
    session.wait_for("stack all ")
    session.type("\x15half a line")  # Ctrl-U
    session.wait_for("half a line")
    session.type("\x03")
    session.wait_for("^C")
    session.wait_for("gunicorn> ")
    session.type(f"worker kill {server.workers()[0]}"[:-1] + "\t\t")
    session.wait_for(str(server.workers()[0]))
    session.type("\x15")
    session.type("show workers\n")
    assert "\x1b[1m" in session.wait_for("Total: 2 workers")
    session.wait_for("gunicorn> ")
    session.type("quit\n")
    assert session.wait() == 0
    assert "show workers" in (tmp_path / ".gunicornc_history").read_text()


def test_the_live_view(server, terminal):
    pytest.importorskip("rich")
    view = terminal("-s", server.control, "top", "0.2")
    first = view.wait_for(str(server.workers()[1]))
    for part in ("shop", f"pid {server.pid}", "requests/s", "latency", "queued", "memory", "REQ/S"):
        assert part in first.replace("\x1b[0m", "").replace("\x1b[2m", "") or part in first
    server.get()
    server.signal(signal.SIGTTIN)
    server.wait_workers(3)
    view.wait_for(str(server.workers()[2]))
    view.resize(60, 16)
    view.wait_for("─" * 60)
    view.type("q")
    assert view.wait() == 0
    assert "\x1b[?1049l" in view.text  # the screen of before
    assert termios.tcgetattr(view.ours)[3] == view.before[3]


def test_the_live_view_says_when_the_server_is_gone(server, terminal):
    pytest.importorskip("rich")
    view = terminal("-s", server.control, "top", "0.2")
    view.wait_for("requests/s")
    server.stop()
    assert view.wait() == 1
    assert "Error: " in view.text


def test_one_frame_without_a_terminal(server):
    pytest.importorskip("rich")
    done = gunicornc("-s", server.control, "top")
    assert (done.returncode, done.stderr) == (0, "")
    assert "requests/s" in done.stdout
    assert "\x1b" not in done.stdout


def test_interrupted(controlled):
    server, client = controlled(app="probe:app")
    with server.connect() as slow:
        slow.sendall(b"GET /sleep?60 HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_for("sleeping")
        process = subprocess.Popen([*GUNICORNC, "-s", client.socket_path, "drain"], env=server_environment())
        server.wait_for("Control command: drain")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert client.send_command("show stats")["workers_target"] == 0
        server.stop(signal.SIGINT)


# --- the library ---


def test_client(server):
    client = ControlClient(server.control, timeout=5)
    assert client.send_command("show stats")["pid"] == server.pid  # connects by itself
    with pytest.raises(CommandError, match="Unknown command: bogus"):
        client.send_command("bogus")
    assert client.send_command("show", ["stats"])["pid"] == server.pid
    client.close()
    client.close()
    server.stop()
    with pytest.raises(ControlClientError, match="no such socket"):
        client.send_command("help")


def test_the_other_name_of_the_library(server):
    from gunicorn.ctl.cli import main
    from gunicorn.ctl.client import ControlClient as Other

    assert Other is ControlClient
    assert main(["-s", server.control, "show", "generations"]) == 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_client(server, backend):
    import anyio

    async def talk() -> None:
        async with AsyncControlClient(server.control) as client:
            assert (await client.send_command("show stats"))["pid"] == server.pid
            with pytest.raises(CommandError):
                await client.send_command("bogus")
            with anyio.move_on_after(0):
                await client.send_command("show all")
            # The answer to what was cancelled cannot be taken for that to the next one.
            assert "generations" in await client.send_command("show generations")
        with pytest.raises(ControlClientError):
            await AsyncControlClient("/nonexistent").connect()

    anyio.run(talk, backend=backend)


def test_the_command_needs_neither_trio_nor_asyncio(server):
    code = (
        "import sys; from gunicorn.control.cli import main; main(sys.argv[1:]); "
        "print(sorted({'trio', 'asyncio', 'anyio', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "-j", "-s", server.control, "show", "stats"],
        env=server_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    *answer, modules = done.stdout.splitlines()
    assert json.loads("\n".join(answer))["pid"] == server.pid
    assert modules == "[]"
