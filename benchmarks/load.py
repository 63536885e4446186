"""One run of wrk, and what it saw."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from server import Server

__all__ = ["Load", "Scenario", "run"]

SCRIPT = Path(__file__).with_name("load.lua")
RESULT = re.compile(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$", re.MULTILINE)


@frozen
class Scenario:
    """A request that is repeated, over how many connections."""

    name: str
    path: str = "/"
    connections: int = 50
    close: bool = False
    post: int = 0


@frozen
class Load:
    """The outcome of one run; latency in milliseconds, and microseconds of the server's CPU per request."""

    rate: float
    cpu: float
    latency_99: float
    bad_status: int
    failed: int
    timeouts: int

    @property
    def errors(self) -> int:
        return self.bad_status + self.failed + self.timeouts


def run(server: Server, scenario: Scenario, seconds: int) -> Load:
    """Load the server for ``seconds`` with one thread of wrk, on the CPUs of this process.

    Raises:
        RuntimeError: wrk failed.
    """
    argv = ["wrk", "-t1", f"-c{scenario.connections}", f"-d{seconds}s", "--timeout", "5s", "-s", str(SCRIPT)]
    if scenario.close:
        argv += ["-H", "Connection: close"]
    argv += [
        f"http://127.0.0.1:{server.port}{scenario.path}",
        "--",
        *([str(scenario.post)] if scenario.post else []),
    ]
    before = server.cpu_seconds()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 60, check=False)
    cpu = server.cpu_seconds() - before
    match = RESULT.search(done.stdout)
    if match is None:
        raise RuntimeError(f"wrk said: {done.stdout}{done.stderr}")
    requests, microseconds, latency, bad_status, failed, timeouts = map(int, match.groups())
    return Load(
        requests / microseconds * 1e6,
        cpu / max(requests, 1) * 1e6,
        latency / 1000,
        bad_status,
        failed,
        timeouts,
    )
