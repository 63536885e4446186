"""The caller's side of ``dirty.py``: one run against one pool, its figures as JSON on the standard output.

It uses only what the client of every gunicorn with a pool has, and runs in that gunicorn's environment.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from gunicorn.dirty import DirtyClient, DirtyError

APP = "dirty_app:Work"
MEGABYTE = b"x" * 1_000_000
#: Of the stream with the slow reader.
PIECES = 1_000_000


def sequential(client: DirtyClient, seconds: float) -> float:
    calls, end = 0, time.monotonic() + seconds
    start = time.monotonic()
    while time.monotonic() < end:
        if client.execute(APP, "echo", calls) != calls:
            raise SystemExit("a wrong answer")
        calls += 1
    return calls / (time.monotonic() - start)


def streamed(path: str, pieces: int) -> float:
    with DirtyClient(path, timeout=60) as client:
        start = time.monotonic()
        found = sum(1 for _ in client.stream(APP, "count", pieces))
    if found != pieces:
        raise SystemExit(f"{found} pieces instead of {pieces}")
    return found / (time.monotonic() - start)


def large(client: DirtyClient, seconds: float) -> float:
    rounds, start = 0, time.monotonic()
    while time.monotonic() - start < seconds:
        if len(client.execute(APP, "echo", MEGABYTE)) != len(MEGABYTE):
            raise SystemExit("a wrong answer")
        rounds += 1
    return rounds / (time.monotonic() - start)


def crowd(path: str, callers: int, seconds: float) -> dict[str, Any]:
    """Tasks of 10 ms: calls per second, and how many each worker ran."""
    done: Counter[int] = Counter()
    lock = threading.Lock()
    end = time.monotonic() + seconds

    def call() -> None:
        mine: Counter[int] = Counter()
        with DirtyClient(path, timeout=60) as client:
            while time.monotonic() < end:
                mine[client.execute(APP, "nap", 0.01)] += 1
        with lock:
            done.update(mine)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"rate": sum(done.values()) / (time.monotonic() - start), "workers": sorted(done.values())}


def slow_reader(path: str, pieces: int) -> dict[str, Any]:
    """A long stream that is read with pauses: bytes by which the memory of arbiter and worker grew."""
    with DirtyClient(path, timeout=60) as client:
        status = client.status()
        pids = [status["arbiter_pid"], status["workers"][0]["pid"]]
        stream = client.stream(APP, "count", pieces)
        for _ in range(pieces // 50):
            next(stream)
        before = [memory_of(pid) for pid in pids]
        most = before
        for number in stream:
            if number % 10_000 == 0:
                time.sleep(0.01)
                most = [max(pair) for pair in zip(most, map(memory_of, pids), strict=True)]
    grown = [after - at_first for at_first, after in zip(before, most, strict=True)]
    return {"pieces": pieces, "grown": grown, "left": leave(path)}


def leave(path: str) -> float:
    """Seconds from the moment at which a stream is left until the ``finally`` of its generator has run."""
    with tempfile.TemporaryDirectory() as folder, DirtyClient(path, timeout=60) as client:
        file = Path(folder) / "closed"
        for number in client.stream(APP, "endless", str(file)):
            if number == 1000:
                break
        start = time.monotonic()
        while not file.exists() and time.monotonic() - start < 20:
            time.sleep(0.001)
        return time.monotonic() - start


def killed(path: str, callers: int) -> dict[str, Any]:
    """The dirty arbiter is killed: how its callers' calls end, and seconds until all are served again."""
    outcomes: Counter[str] = Counter()
    back: list[float] = []
    lock = threading.Lock()
    with DirtyClient(path, timeout=60) as client:
        arbiter = client.status()["arbiter_pid"]
    calling = threading.Barrier(callers + 1)
    was_killed = threading.Event()

    def call() -> None:
        mine: Counter[str] = Counter()
        with DirtyClient(path, timeout=60) as client:
            client.execute(APP, "echo", 0)
            calling.wait()
            while True:
                begun_after = was_killed.is_set()
                try:
                    client.execute(APP, "nap", 0.01)
                except DirtyError as error:
                    mine[type(error).__name__] += 1
                else:
                    mine["answer"] += 1
                    if begun_after and not alive(arbiter):
                        break
        with lock:
            outcomes.update(mine)
            back.append(time.monotonic())

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    calling.wait()
    time.sleep(0.5)
    start = time.monotonic()
    os.kill(arbiter, signal.SIGKILL)
    was_killed.set()
    for thread in threads:
        thread.join()
    return {"back": max(back) - start, "outcomes": outcomes}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def memory_of(pid: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    path, what, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    if what == "slow":
        figures = slow_reader(path, PIECES)
    elif what == "killed":
        figures = killed(path, 16)
    elif what == "crowd":
        figures = crowd(path, 64, seconds)
    else:
        with DirtyClient(path, timeout=60) as client:
            sequential(client, 0.3)
            figures = {"calls": sequential(client, seconds), "megabytes": large(client, seconds)}
        figures["chunks"] = streamed(path, 5_000)
    print(json.dumps(figures))


main()
