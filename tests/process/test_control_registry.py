"""The released gunicorn and ours, each other's client and server.

``REGISTRY_GUNICORN`` names the Python interpreter of an environment with gunicorn 27.0.1; without it, one is
made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from control_harness import gunicornc
from harness import APPS, server_environment, wait_until

RELEASE = "gunicorn==27.0.1"
Ask = Callable[..., "subprocess.CompletedProcess[str]"]
POOL = ("--dirty-app", "shared:Shared", "--dirty-workers", "1")


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


def theirs(registry: str, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The released ``gunicornc``."""
    return subprocess.run(
        [str(Path(registry).parent / "gunicornc"), *args],
        env={**server_environment(), "PYTHONPATH": ""},
        cwd="/",
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# Every command of the release: its entry in the help, a line that gives it, and what of the answer must hold;
# {pid} is a worker's. Those that only look are also shown as text, in which the words that follow must be.
EVERY: list[tuple[str, str, Callable[[Any], bool], tuple[str, ...]]] = [
    ("help", "help", lambda a: len(a["commands"]) >= 15, ("worker kill <PID>", "shutdown [graceful|quick]")),
    (
        "show all",
        "show all",
        lambda a: (a["web_worker_count"], a["dirty_worker_count"], len(a["dirty_workers"])) == (2, 1, 1),
        ("ARBITER (master)", "WEB WORKERS (2)", "DIRTY WORKERS (1)", "Shared"),
    ),
    ("show workers", "show workers", lambda a: a["count"] == len(a["workers"]) == 2, ("Total: 2 workers",)),
    (
        "show dirty",
        "show dirty",
        lambda a: a["enabled"] and a["pid"] > 1 and a["apps"][0]["import_path"] == "shared:Shared",
        ("Dirty arbiter PID", "shared:Shared"),
    ),
    ("show config", "show config", lambda a: a["workers"] == 2, ("workers: 2", "worker_class: <class")),
    ("show stats", "SHOW Stats", lambda a: a["workers_current"] == 2, ("Workers current:",)),
    (
        "show listeners",
        "show listeners",
        lambda a: a["listeners"][0]["type"] == "tcp",
        ("Total: 1 listeners", "http://127.0.0.1:"),
    ),
    ("worker add [N]", "worker add 2", lambda a: (a["added"], a["previous"], a["total"]) == (2, 2, 4), ()),
    ("worker remove [N]", "worker remove 2", lambda a: (a["removed"], a["total"]) == (2, 2), ()),
    ("worker kill <PID>", "worker kill {pid}", lambda a: a["success"] is True, ()),
    ("dirty add [N]", "dirty add", lambda a: (a["operation"], a["spawned"]) == ("add", 1), ()),
    ("dirty remove [N]", "dirty remove 1", lambda a: (a["operation"], a["removed"]) == ("remove", 1), ()),
    ("reload", "reload", lambda a: a == {"status": "reloading"}, ()),
    ("reopen", "reopen", lambda a: a == {"status": "reopening"}, ()),
    (
        "shutdown [graceful|quick]",
        "shutdown quick",
        lambda a: a == {"status": "shutting_down", "mode": "quick"},
        (),
    ),
]


def go_through_every_command(ask: Ask) -> None:
    """Each command of the release, given by the client ``ask``, is done and answered as it should be."""

    def answer(command: str) -> Any:
        done = ask("-j", "-c", command)
        assert (done.returncode, done.stderr) == (0, ""), command
        return json.loads(done.stdout)

    wait_until(lambda: answer("show all")["dirty_worker_count"] == 1, what="a dirty worker")
    workers = 2
    for usage, line, holds, texts in EVERY:
        # Theirs goes on listing who has been told to leave.
        wait_until(lambda: answer("show workers")["count"] == workers, what=f"{workers} workers")  # noqa: B023
        command = line.format(pid=answer("show workers")["workers"][0]["pid"]) if "{pid}" in line else line
        found = answer(command)
        assert holds(found), (usage, found)
        workers = found.get("total", workers) if line.startswith("worker") else workers
        if texts:
            done = ask("-c", command)
            assert (done.returncode, done.stderr) == (0, ""), usage
            assert [text for text in texts if text not in done.stdout] == [], done.stdout


def test_their_client_works_with_our_server(controlled, registry):
    server, client = controlled("-w", "2", *POOL, app="shared:app")
    wait_until(
        lambda: client.send_command("show generations")["generations"][0]["ready"] == 2, what="two workers"
    )

    def ask(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return theirs(registry, "-s", client.socket_path, *args, stdin=stdin)

    done = ask("-j", "-c", "worker kill 1")
    assert json.loads(done.stdout) == {"success": False, "error": "Worker 1 not found"}
    done = ask("-c", "bogus")
    assert (done.returncode, done.stderr) == (1, "Error: Invalid argument: Unknown command: bogus\n")
    # A session goes on after what made a worker.
    done = ask(stdin="worker add\nshow workers\nbogus\nworker remove\nshow stats\nquit\n")
    assert done.returncode == 0
    for part in ("Total: 3 workers", "Unknown command: bogus", '"removed": 1', "Workers current:  2"):
        assert part in done.stdout
    go_through_every_command(ask)
    assert server.wait() == 0


def test_our_client_works_with_their_server(registry, tmp_path):
    path = str(tmp_path / "ctl")
    options = ["-w", "2", "-b", "127.0.0.1:0", "--control-socket", path, *POOL, "shared:app"]
    with subprocess.Popen(
        [registry, "-m", "gunicorn", *options],
        cwd=tmp_path,
        env={**server_environment(), "PYTHONPATH": str(APPS)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:

        def ask(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
            # Whenever theirs forks it is deaf for a moment, and cuts off who is connected.
            done = []

            def is_heard() -> bool:
                done.append(gunicornc("-s", path, *args, stdin=stdin))
                is_question = "show" in " ".join(args) and "the connection" in done[-1].stderr
                return "cannot connect" not in done[-1].stderr and not is_question

            wait_until(is_heard, what="an answer")
            return done[-1]

        try:
            wait_until(lambda: ask("help").returncode == 0, what="their server")
            published = json.loads(ask("-j", "help").stdout)["commands"]
            assert set(published) == {usage for usage, *_ in EVERY}
            wait_until(lambda: json.loads(ask("-j", "show", "workers").stdout)["count"] == 2, what="workers")
            _ask_too_much(ask)
            go_through_every_command(ask)
            process.wait(30)
        finally:
            process.kill()


def _ask_too_much(ask: Ask) -> None:
    """What they do not know is said, and does not look as if it were done."""
    assert ask("worker", "kill", "1").returncode == 1
    done = ask("show", "requests")
    assert done.returncode == 1
    assert "Unknown show target" in done.stderr
    done = ask("top")
    assert done.returncode == 1
    assert "this server has no live view" in done.stderr
