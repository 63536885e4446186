"""Memory and descriptors of one worker, with big bodies or many connections: ``benchmarks/memory.py``.

Exit status 1 when the worker's private memory grows by more than 32 MB, when later waves of connections
need more than the first, or when descriptors are left open.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen
from peers import OURS, REGISTRY, Contender, default_cache, interpreter
from server import Server, private_bytes, serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MB = 1_000_000
LIMIT = 32 * MB
LEAK = 2 * MB
PIECE = b"x" * 64 * 1024
# How many pieces pass between two looks at the worker: often enough to see a peak of a few MB.
LOOK_EVERY = 40


@frozen
class Usage:
    """What the worker holds at one moment."""

    memory: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        return cls(private_bytes(pid), sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))

    def __str__(self) -> str:
        return f"{self.memory / MB:.1f} MB, {self.descriptors} descriptors"


@frozen
class Outcome:
    """Before, at the worst moment, and after."""

    name: str
    before: Usage
    peak: Usage
    after: Usage

    @property
    def growth(self) -> int:
        return self.peak.memory - self.before.memory

    @property
    def passed(self) -> bool:
        # A few descriptors of slack: an epoll or a pool thread may come to life at the first use.
        return self.growth < LIMIT and self.after.descriptors <= self.before.descriptors + 4

    def __str__(self) -> str:
        verdict = "ok" if self.passed else "TOO MUCH"
        peak = f"{self.peak} (+{self.growth / MB:.1f} MB)"
        return f"{self.name}: before {self.before}; peak {peak}; after {self.after}: {verdict}"


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    _allow_descriptors(options.connections + 100)
    name = REGISTRY if options.registry else OURS
    python, contender = interpreter(name, options.cache), _contender(name, options)
    with serve(lambda port: contender.command(python, port), os.sched_getaffinity(0)) as server:
        pid = server.worker()
        outcomes = [upload(server, pid, options.upload * MB), download(server, pid, options.download * MB)]
        # What the first wave leaves is a pool (the allocator's, the threads'); what later ones add is a leak.
        waves = [connections(server, pid, options.connections) for _ in range(3)]
        outcomes += waves
    for outcome in outcomes:
        print(outcome)
    leak = waves[-1].peak.memory - waves[0].peak.memory
    print(f"peak of the last wave above the first: {leak / MB:.1f} MB: {'ok' if leak < LEAK else 'TOO MUCH'}")
    return 0 if leak < LEAK and all(outcome.passed for outcome in outcomes) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worker", default="gthread", help="worker class (%(default)s)")
    parser.add_argument("--registry", action="store_true", help=f"measure {REGISTRY} instead")
    parser.add_argument("--upload", type=int, default=200, metavar="MB")
    parser.add_argument("--download", type=int, default=500, metavar="MB")
    parser.add_argument("--connections", type=int, default=3000)
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), help="folder of the peers' environments (%(default)s)"
    )
    return parser


def _contender(name: str, options: argparse.Namespace) -> Contender:
    limits = (
        "--worker-connections",
        str(options.connections + 10),
        "--keep-alive",
        "120",
        "--timeout",
        "120",
    )
    threads = ("--threads", "4") if options.worker == "gthread" else ()
    arguments = ("-w", "1", "-k", options.worker, *threads, *limits, "-b", "127.0.0.1:{port}", "apps:app")
    return Contender(name, options.worker, "gunicorn", arguments)


def _allow_descriptors(count: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(count, 4096)) if hard > 0 else count, hard))


def _peak(name: str, pid: int, pieces: Iterator[None]) -> Outcome:
    """Let ``pieces`` run, and look at the worker in between."""
    before = peak = Usage.of(pid)
    for number, _ in enumerate(pieces):
        if (number + 1) % LOOK_EVERY == 0:
            now = Usage.of(pid)
            peak = Usage(max(peak.memory, now.memory), max(peak.descriptors, now.descriptors))
    return Outcome(name, before, peak, Usage.of(pid))


def upload(server: Server, pid: int, size: int) -> Outcome:
    return _peak(f"upload of {size // MB} MB", pid, _upload(server, size))


def _upload(server: Server, size: int) -> Iterator[None]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        head = f"POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
        client.sendall(head.encode())
        for start in range(0, size, len(PIECE)):
            client.sendall(PIECE[: size - start])
            yield
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    if not answer.endswith(f"\r\n{size}".encode()):
        raise RuntimeError(f"the upload was answered {answer!r}")


def download(server: Server, pid: int, size: int) -> Outcome:
    return _peak(f"download of {size // MB} MB", pid, _download(server, size))


def _download(server: Server, size: int) -> Iterator[None]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(f"GET /download?{size} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = 0
        while data := client.recv(len(PIECE)):
            received += len(data)
            yield
    if received < size:
        raise RuntimeError(f"the download ended after {received} bytes")


def connections(server: Server, pid: int, count: int) -> Outcome:
    return _peak(f"{count} connections", pid, _connections(server, count))


def _connections(server: Server, count: int) -> Iterator[None]:
    """Open ``count`` connections that have each been answered once and then idle, then close them."""
    clients: list[socket.socket] = []
    try:
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=60)
            clients.append(client)
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            if not client.recv(4096).startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"connection {len(clients)} was not answered")
            yield
    finally:
        for client in clients:
            client.close()
    # Threads answer in any order; by the time this many have been, the closed ones have been noticed.
    for _ in range(8):
        server.ask("/")


if __name__ == "__main__":
    sys.exit(main())
