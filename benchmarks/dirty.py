"""The pool beside that of the registry's gunicorn: the same classes, the same load, each with its own client.

    python benchmarks/dirty.py [--seconds 3] [--registry FOLDER]

``--registry`` is a virtual environment with the registry's gunicorn, used as a black box; without it a new
one is made in a temporary folder. Prints a table, and ends with status 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
#: Ours is at least so many times the registry's.
GOALS = {"calls": 4.0, "chunks": 6.0, "megabytes": 6.0}
NAMES = {
    "calls": "sequential calls/s",
    "chunks": "streamed chunks/s",
    "megabytes": "1 MB round trips, MB/s",
}
#: 64 callers of 10 ms tasks on 4 workers: what the workers alone allow, and the share that is reached.
CROWD_LIMIT, CROWD_GOAL = 400.0, 0.8
#: Busiest to least busy worker.
BALANCE_GOAL = 1.1
#: A long stream: growth of a process in MB, and seconds until its generator is closed when it is left.
FLAT_GOAL, LEAVE_GOAL = 4.0, 1.0
#: Seconds until every caller is served again after the dirty arbiter was killed.
BACK_GOAL = 2.0
START_SECONDS = 20.0


def registry_python(folder: Path) -> str:
    """The interpreter of an environment with the registry's gunicorn, made if it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "gunicorn"], check=True)
    return str(python)


def environment(python: str) -> dict[str, str]:
    """Where the classes are, and for this interpreter the checkout that this file is in."""
    folders = [HERE, HERE.parent] if python == sys.executable else [HERE]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def pool(python: str, workers: int) -> Iterator[str]:
    """A server with a pool; the path of the pool's socket."""
    port = free_port()
    command = [python, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "--dirty-app", "dirty_app:Work"]
    command += ["--dirty-workers", str(workers), "--log-level", "warning", "dirty_app:app"]
    with subprocess.Popen(command, cwd=HERE, env=environment(python), start_new_session=True) as process:
        try:
            yield find_pool(python, f"http://127.0.0.1:{port}", process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def find_pool(python: str, url: str, process: subprocess.Popen[bytes]) -> str:
    """The path of the socket, once a first call has been answered."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                path: str = answer.read().decode()
            load(python, path, "pool", 0.1)
        except (OSError, subprocess.CalledProcessError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return path


def load(python: str, path: str, what: str, seconds: float) -> dict[str, Any]:
    """Run the load; its figures."""
    command = [python, str(HERE / "dirty_load.py"), path, what, str(seconds)]
    patience = 120 + 4 * seconds
    done = subprocess.run(
        command, cwd=HERE, env=environment(python), check=True, capture_output=True, timeout=patience
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def measure(python: str, seconds: float) -> dict[str, Any]:
    with pool(python, 1) as path:
        figures = load(python, path, "pool", seconds)
    with pool(python, 4) as path:
        figures["crowd"] = load(python, path, "crowd", seconds)
    return figures


def report_slow_reader(figures: dict[str, Any]) -> list[str]:
    """Print what a long stream costs, of ours alone; the goals that were missed."""
    arbiter, worker = (size / 1e6 for size in figures["grown"])
    print(
        f"\n{figures['pieces']:,} pieces to a slow reader: the arbiter grew by {arbiter:.1f} MB, the worker"
    )
    print(f"by {worker:.1f} MB. A stream that is left ran its finally after {figures['left']:.3f} s.")
    missed = ["memory of a stream"] if max(arbiter, worker) > FLAT_GOAL else []
    return [*missed, "leaving a stream"] if figures["left"] > LEAVE_GOAL else missed


def report_killed(figures: dict[str, Any]) -> list[str]:
    """Print what the death of the dirty arbiter costs; the goals that were missed."""
    ends = ", ".join(f"{count} {name}" for name, count in figures["outcomes"].items())
    print(f"\nThe dirty arbiter was killed under 16 callers: all served again after {figures['back']:.2f} s;")
    print(f"how their calls ended: {ends}")
    return ["death of the dirty arbiter"] if figures["back"] > BACK_GOAL else []


def report(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Print the table; the goals that were missed."""
    missed = []
    print("| one worker, one caller | ours | registry | ratio | goal |\n|---|---:|---:|---:|---:|")
    for key, goal in GOALS.items():
        ratio = ours[key] / theirs[key]
        print(f"| {NAMES[key]} | {ours[key]:,.0f} | {theirs[key]:,.0f} | {ratio:.1f} | {goal:.0f} |")
        if ratio < goal:
            missed.append(NAMES[key])
    share = ours["crowd"]["rate"] / CROWD_LIMIT
    counts = ours["crowd"]["workers"]
    rate, theirs_rate = ours["crowd"]["rate"], theirs["crowd"]["rate"]
    print(f"\n64 callers, 4 workers, tasks of 10 ms: {rate:.0f} calls/s ({share:.0%} of what the workers")
    print(f"allow), calls by worker {counts}; registry {theirs_rate:.0f} calls/s")
    if share < CROWD_GOAL:
        missed.append("64 callers")
    if max(counts) > BALANCE_GOAL * min(counts):
        missed.append("balance")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    parser.add_argument("--registry", type=Path, help="virtual environment with the registry's gunicorn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        other = registry_python(options.registry or Path(folder) / "registry")
        theirs = measure(other, options.seconds)
    missed = report(measure(sys.executable, options.seconds), theirs)
    with pool(sys.executable, 1) as path:
        missed += report_slow_reader(load(sys.executable, path, "slow", 60.0))
        missed += report_killed(load(sys.executable, path, "killed", 60.0))
    print("\nMissed: " + ", ".join(missed) if missed else "\nAll goals met.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
