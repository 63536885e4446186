"""The released gunicorn and ours, each other's client and server.

``REGISTRY_GUNICORN`` names the Python interpreter of an environment with gunicorn 27.0.1; without it, one is
made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from control_harness import gunicornc, gunicornc_json
from harness import server_environment, wait_until

RELEASE = "gunicorn==27.0.1"
DEAF = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'ok']\n"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python interpreter with the released gunicorn."""
    if given := os.environ.get("REGISTRY_GUNICORN"):
        return given
    folder = tmp_path_factory.mktemp("registry")
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--no-input", RELEASE],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            pytest.skip(f"{RELEASE} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    return str(folder / "bin" / "python")


def theirs(registry: str, *args: str) -> subprocess.CompletedProcess[str]:
    """The released ``gunicornc``."""
    return subprocess.run(
        [str(Path(registry).parent / "gunicornc"), *args],
        env={**server_environment(), "PYTHONPATH": ""},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


TEXTS = {
    "show all": ["ARBITER (master)", "WEB WORKERS (2)", "yes"],
    "show workers": ["Total: 2 workers", "yes"],
    "show dirty": ["Dirty arbiter not running"],
    "show config": ["workers: 2", "worker_class: <class"],
    "show stats": ["Workers current:  2"],
    "show listeners": ["Total: 1 listeners"],
    "help": ["worker kill <PID>"],
}


def test_their_client_works_with_our_server(controlled, registry):
    server, client = controlled("-w", "2")
    wait_until(
        lambda: client.send_command("show generations")["generations"][0]["ready"] == 2, 10, "two workers"
    )

    def ask(command: str) -> dict:
        done = theirs(registry, "-s", client.socket_path, "-j", "-c", command)
        assert (done.returncode, done.stderr) == (0, ""), command
        return json.loads(done.stdout)

    for command, parts in TEXTS.items():
        done = theirs(registry, "-s", client.socket_path, "-c", command)
        assert (done.returncode, done.stderr) == (0, ""), command
        for part in parts:
            assert part in done.stdout, command
    assert ask("worker add 2")["total"] == 4
    assert ask("worker remove 2")["total"] == 2
    pid = server.workers()[0]
    assert ask(f"worker kill {pid}")["success"] is True
    assert ask("worker kill 1") == {"success": False, "error": "Worker 1 not found"}
    assert ask("dirty add") == ask("dirty remove") == {"success": False, "error": "Dirty arbiter not running"}
    assert ask("reload") == {"status": "reloading"}
    assert ask("reopen") == {"status": "reopening"}
    assert [w["booted"] for w in ask("show workers")["workers"]].count(True) >= 2
    done = theirs(registry, "-s", client.socket_path, "-c", "bogus")
    assert (done.returncode, done.stderr) == (1, "Error: Invalid argument: Unknown command: bogus\n")
    assert ask("shutdown quick") == {"status": "shutting_down", "mode": "quick"}
    assert server.wait() == 0


def test_our_client_works_with_their_server(registry, tmp_path):
    path = str(tmp_path / "ctl")
    (tmp_path / "deaf.py").write_text(DEAF)
    command = [
        registry,
        "-m",
        "gunicorn",
        "-w",
        "2",
        "-b",
        "127.0.0.1:0",
        "--control-socket",
        path,
        "deaf:app",
    ]
    with subprocess.Popen(
        [*command, "deaf:app"],
        cwd=tmp_path,
        env={**server_environment(), "PYTHONPATH": ""},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            wait_until(lambda: gunicornc("-s", path, "help").returncode == 0, what="their server")
            _look_at_their_server(path)
            assert gunicornc_json("-s", path, "shutdown") == {"status": "shutting_down", "mode": "graceful"}
            process.wait(30)
        finally:
            process.kill()


def _look_at_their_server(path: str) -> None:
    wait_until(lambda: gunicornc_json("-s", path, "show", "workers")["count"] == 2, what="two workers")
    for command, parts in TEXTS.items():
        done = gunicornc("-s", path, *command.split())
        assert (done.returncode, done.stderr) == (0, ""), command
        for part in parts:
            assert part.replace("yes", "no") in done.stdout, command
    assert gunicornc_json("-s", path, "worker", "add", "2")["total"] == 4
    assert gunicornc_json("-s", path, "worker", "remove", "2")["total"] == 2
    assert gunicornc("-s", path, "worker", "kill", "1").returncode == 1
    assert gunicornc_json("-s", path, "reload") == {"status": "reloading"}
    assert gunicornc_json("-s", path, "reopen") == {"status": "reopening"}
    done = gunicornc("-s", path, "show", "requests")
    assert done.returncode == 1
    assert "Unknown show target" in done.stderr
