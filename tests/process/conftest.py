"""Fixtures for tests with real processes: ``serve`` starts servers, ``gunicorn`` runs the command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from control_harness import client_of
from harness import Server, processes_of_session, server_environment, wait_until

from gunicorn.control.client import ControlClient

RunCommand = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def serve(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Server]]:
    """``serve(*args, app=…, bind=…, env=…, config=…, ready=…)`` starts a server and waits until it listens.

    At the end of the test every server is stopped and must leave nothing behind: no process, no taken port.
    """
    started: list[Server] = []

    def start(*args: str, ready: str | None = r"Listening at: (\S+)", **options: Any) -> Server:
        cwd = options.pop("cwd", None) or tmp_path / f"server{len(started)}"
        cwd.mkdir(exist_ok=True)
        server = Server(*args, cwd=cwd, **options)
        started.append(server)
        return server.start(ready)

    with ExitStack() as stack:
        yield start
        for server in started:
            stack.push(server)


@pytest.fixture
def controlled(serve: Callable[..., Server]) -> Iterator[Callable[..., tuple[Server, ControlClient]]]:
    """``controlled(...)`` starts a server as ``serve`` does: the server, and a client of its socket."""
    with ExitStack() as stack:

        def start(*args: str, **options: Any) -> tuple[Server, ControlClient]:
            env = {"XDG_RUNTIME_DIR": None, "RUNTIME_DIRECTORY": None, **options.pop("env", {})}
            server = serve(*args, env=env, **options)
            client = client_of(server)
            stack.callback(client.close)
            return server, client

        yield start


@pytest.fixture(params=[("-k", "sync"), ("-k", "gthread", "--threads", "2")], ids=["sync", "gthread"])
def workers(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Options of either worker class: a test that takes this runs with both."""
    return tuple(request.param)


@pytest.fixture
def gunicorn(tmp_path: Path) -> RunCommand:
    """``gunicorn(*args, env=…, config=…)`` runs the command to its end: exit status, stdout, stderr."""

    def run(
        *args: str,
        env: Mapping[str, str | None] = {},
        config: str | None = None,
        cwd: Path | None = None,
        timeout: float = 20.0,
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gunicorn"]
        if config is not None:
            path = tmp_path / "command.conf.py"
            path.write_text(config)
            command += ["-c", str(path)]
        return run_in_session(
            [*command, *args], cwd or tmp_path, server_environment(env, home=tmp_path), timeout
        )

    return run


def run_in_session(
    command: list[str], cwd: Path, env: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` to its end in its own session, in which nothing may be left."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
            wait_until(lambda: not processes_of_session(process.pid), what="the end of every process")
        finally:
            for pid in processes_of_session(process.pid):
                os.kill(pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``ca``, and ``server`` and ``client`` signed by it, each as ``.pem`` and ``.key``."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    def make(name: str, *options: str) -> None:
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2"]
        command = [openssl, "req", "-x509", *key, *files, "-subj", f"/CN={name}", *options]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=30)

    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
    make("ca", "-addext", "keyUsage=critical,keyCertSign")
    make("server", *signed, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    make("client", *signed)
    return folder
