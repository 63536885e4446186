"""Ten thousand calls with random deadlines, cancellations and deaths: everybody gets an answer of its own or
a typed error, and in time. And two callers that call so fast that they get workers for themselves.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from harness import Server, wait_until

from gunicorn.dirty import DirtyClient, DirtyError, line

pytestmark = pytest.mark.slow

Serve = Callable[..., Server]
WORK = "dirty_tasks:Work"
TIMEOUTS = (0.01, 0.05, 0.2, 1.0, 5.0)
#: Nobody waits longer than the deadline and this, seconds.
LATE = 0.5
THREADS, CALLS = 6, 1000
TASKS, TASK_CALLS = 20, 100
LONERS, LONER_CALLS = 2, 20_000
WORKERS = 4


class Record:
    """What all callers have seen."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[object] = []
        self.latest = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def call(self, timeout: float) -> Iterator[None]:
        """One call: its end must come in time, and be an answer or a typed error."""
        started, outcome = time.monotonic(), "answer"
        try:
            yield
        except DirtyError as error:
            outcome = type(error).__name__
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            outcome = "untyped"
            self.wrong.append(repr(error))
        late = time.monotonic() - started - timeout
        with self._lock:
            self.outcomes[outcome] += 1
            self.latest = max(self.latest, late)

    def expect(self, found: object, wanted: object) -> None:
        if found != wanted:
            self.wrong.append((found, wanted))


class Stalls(threading.Thread):
    """How long this process was kept from running, at most: so much later a caller may see its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0
        self.finished = threading.Event()

    def run(self) -> None:
        before = time.monotonic()
        while not self.finished.wait(0.02):
            now = time.monotonic()
            self.longest, before = max(self.longest, now - before - 0.02), now


def action_of(chance: random.Random, who: str, number: int) -> tuple[str, Any]:
    kind = chance.random()
    if kind < 0.03:
        return "sleep", chance.choice([0.02, 0.1])
    return ("coroutine" if kind < 0.08 else "echo"), [who, number]


def call_in_thread(path: str, seed: int, record: Record) -> None:
    chance, who = random.Random(seed), f"thread {seed}"
    client = DirtyClient(path)
    for number in range(CALLS):
        timeout = chance.choice(TIMEOUTS)
        with record.call(timeout):
            if chance.random() < 0.05:
                leave_a_stream(client.with_timeout(timeout), chance, record)
                continue
            action, value = action_of(chance, who, number)
            record.expect(client.with_timeout(timeout).execute(WORK, action, value), value)
    client.close()


def call_in_a_row(path: str, seed: int, record: Record) -> None:
    """Hardly anything but the shortest calls, and now and then one that takes too long."""
    chance, who = random.Random(seed), f"loner {seed}"
    client = DirtyClient(path)
    for number in range(LONER_CALLS):
        is_rare = chance.random() < 0.001
        action, value = ("sleep", 0.1) if is_rare else ("echo", [who, number])
        timeout = chance.choice(TIMEOUTS) if is_rare or chance.random() < 0.01 else 5.0
        with record.call(timeout):
            record.expect(client.with_timeout(timeout).execute(WORK, action, value), value)
    client.close()


def leave_a_stream(client: DirtyClient, chance: random.Random, record: Record) -> None:
    stream = client.stream(WORK, "numbers", 50)
    for expected, piece in zip(range(chance.randrange(1, 30)), stream, strict=False):
        record.expect(piece, expected)
    stream.close()


async def call_in_tasks(path: str, backend: str, record: Record) -> None:
    async def call(seed: int) -> None:
        chance, who = random.Random(seed), f"{backend} {seed}"
        for number in range(TASK_CALLS):
            timeout, patience = chance.choice(TIMEOUTS), chance.choice([0.0, 0.005, 0.05, 60, 60, 60])
            action, value = action_of(chance, who, number)
            with record.call(min(timeout, patience)), anyio.move_on_after(patience):
                found = await client.with_timeout(timeout).execute_async(WORK, action, value)
                record.expect(found, value)

    async with DirtyClient(path) as client, anyio.create_task_group() as tasks:
        for seed in range(TASKS):
            tasks.start_soon(call, seed)


class Killer(threading.Thread):
    """Kills a worker whenever all are there."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self.killed = 0
        self.leases = 0
        self.finished = threading.Event()

    def run(self) -> None:
        chance = random.Random(0)
        with DirtyClient(self._path, timeout=20) as client:
            while not self.finished.wait(0.3):
                status = client.status()["workers"]
                self.leases = max(self.leases, *(worker["leases"] for worker in status))
                workers = [worker["pid"] for worker in status if worker["booted"]]
                if len(workers) == WORKERS:
                    os.kill(chance.choice(workers), signal.SIGKILL)
                    self.killed += 1


def run(server: Server, threads: Callable[[str, Record], list[threading.Thread]]) -> tuple[Record, Killer]:
    """Let them call until they are through, and check what holds for all calls."""
    path = server.get("/socket")
    record, stalls, killer = Record(), Stalls(), Killer(path)
    callers = threads(path, record)
    for thread in (stalls, killer, *callers):
        thread.start()
    for thread in callers:
        thread.join()
    for helper in (killer, stalls):
        helper.finished.set()
        helper.join()
    assert record.wrong == []
    assert record.latest < LATE + 3 * stalls.longest
    assert server.count("did not let go of a call") == 0, "a worker was killed that was free"
    with DirtyClient(path, timeout=20) as client:
        wait_until(lambda: not load_of(client), what="the end of every call")
        assert client.execute(WORK, "echo", 1) == 1
    print(record.outcomes, record.latest, stalls.longest, killer.killed, killer.leases)
    return record, killer


def crowd(path: str, record: Record) -> list[threading.Thread]:
    threads = [threading.Thread(target=call_in_thread, args=(path, seed, record)) for seed in range(THREADS)]
    for backend in ("asyncio", "trio"):
        loop = {"target": anyio.run, "args": (call_in_tasks, path, backend, record)}
        threads.append(threading.Thread(**loop, kwargs={"backend": backend}))
    return threads


def loners(path: str, record: Record) -> list[threading.Thread]:
    return [threading.Thread(target=call_in_a_row, args=(path, seed, record)) for seed in range(LONERS)]


POOL = ("--dirty-app", WORK, "--dirty-workers", str(WORKERS))


def test_ten_thousand_calls_with_deadlines_cancellations_and_deaths(serve: Serve) -> None:
    record, killer = run(serve(*POOL, app="dirty_tasks:app"), crowd)
    assert record.outcomes.total() == THREADS * CALLS + 2 * TASKS * TASK_CALLS == 10_000
    assert killer.killed >= 2
    assert record.outcomes["answer"] > 5000, record.outcomes


def test_calls_that_go_straight_to_workers_that_die(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "QUICK", 1.0)  # they are worth a line, however slow this machine is
    record, killer = run(serve(*POOL, app="dirty_tasks:app"), loners)
    assert record.outcomes.total() == LONERS * LONER_CALLS
    assert killer.killed
    assert killer.leases
    assert record.outcomes["answer"] > 0.9 * record.outcomes.total(), record.outcomes


def load_of(client: DirtyClient) -> int:
    return sum(worker["running"] + worker["backlog"] for worker in client.status()["workers"])
