"""A server under test: started on its own CPU, asked, measured and stopped."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Server", "cpus", "private_bytes", "serve"]

HERE = Path(__file__).parent
START_SECONDS = 30.0
STOP_SECONDS = 15.0
# What would change a server behind the back of its command line.
NOT_INHERITED = {"PYTHONPATH", "PYTHONHOME", "GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "PORT"}


def cpus() -> tuple[set[int], set[int]]:
    """The CPUs for the server and for the load: one each, or all for both where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return ({available[0]}, {available[1]}) if len(available) > 1 else (set(available), set(available))


def private_bytes(pid: int) -> int:
    """Memory that would be free if only process ``pid`` ended (Private_* of smaps_rollup)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE)) * 1024


@frozen
class Server:
    """A server that has answered; ``started`` is the time from its start to its first answer, in seconds."""

    port: int
    process: subprocess.Popen[bytes]
    started: float

    def ask(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def worker(self) -> int:
        """The process that answers."""
        return int(self.ask("/pid"))

    def total_bytes(self) -> int:
        """The proportional share (Pss) of all processes of the server."""
        return sum(_pss(pid) for pid, _ in self._processes())

    def cpu_seconds(self) -> float:
        """User and system time of all processes of the server."""
        ticks = sum(int(fields[11]) + int(fields[12]) for _, fields in self._processes())
        return ticks / os.sysconf("SC_CLK_TCK")

    def _processes(self) -> Iterator[tuple[int, list[str]]]:
        """Process ids in the server's session, with the fields of proc_pid_stat(5) from the third one on."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == self.process.pid and fields[0] != "Z":
                yield int(stat.parent.name), fields


def _pss(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)) * 1024


@contextmanager
def serve(command: Callable[[int], list[str]], on: set[int]) -> Iterator[Server]:
    """Run ``command(port)`` on the CPUs ``on`` until the block ends.

    Raises:
        RuntimeError: it does not answer; with what it printed.
    """
    port = _free_port()
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        process = _start(command(port), on, output.fileno())
        try:
            _first_answer(port, process)
            yield Server(port, process, time.perf_counter() - begin)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            output.seek(0)
            raise RuntimeError(
                f"{error}; the server printed:\n{output.read().decode(errors='replace')}"
            ) from error
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _start(argv: list[str], on: set[int], output: int) -> subprocess.Popen[bytes]:
    environ = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, on)  # inherited; a preexec_fn or taskset would be timed with the server's start
    try:
        # The folder of apps.py, not the tree's: there, every environment would import our gunicorn.
        return subprocess.Popen(
            argv, cwd=HERE, env=environ, stdout=output, stderr=output, start_new_session=True
        )
    finally:
        os.sched_setaffinity(0, before)


def _first_answer(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.perf_counter() + START_SECONDS
    while time.perf_counter() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if connection.recv(12).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            # Not bound yet. Nothing tells a stranger when it will be; 1 ms is the precision of the figure.
            time.sleep(0.001)
    raise RuntimeError("no answer")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
