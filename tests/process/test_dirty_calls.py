"""What a caller of the pool sees: results, errors, streams, deadlines, the stash. One server for all."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from harness import PROMPT, Server, wait_until

from gunicorn.dirty import (
    DirtyAppError,
    DirtyAppNotFoundError,
    DirtyClient,
    DirtyConnectionError,
    DirtyError,
    DirtyTimeoutError,
    StashClient,
    StashError,
    StashKeyNotFoundError,
    StashTableNotFoundError,
)
from gunicorn.dirty.stash import ABSENT, AsyncStash

WORK = "dirty_tasks:Work"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a pool of two workers."""
    options = ["--dirty-app", WORK, "--dirty-workers", "2", "--dirty-timeout", "30"]
    cwd = tmp_path_factory.mktemp("pool")
    with Server(*options, app="dirty_tasks:app", cwd=cwd).start() as server:
        yield server


@pytest.fixture(scope="module")
def pool(server: Server) -> str:
    """The path of the socket of its pool."""
    return server.get("/socket")


@pytest.fixture
def client(pool: str) -> Iterator[DirtyClient]:
    with DirtyClient(pool, timeout=20) as client:
        yield client


def quick(client: DirtyClient, seconds: float = 0.3) -> DirtyClient:
    return client.with_timeout(seconds)


def test_values_arrive_as_they_were_sent(client: DirtyClient) -> None:
    value = {"a": [1, -1, 2.5, None, True, b"\x00\xff", "é"], "b": {}}
    assert client.execute(WORK, "echo", value) == value
    assert client.execute(WORK, "add", 1, 2, third=3) == 6


@pytest.mark.parametrize("size", [0, 1, 65_000, 65_536, 1_000_000, 5_000_000])
def test_any_size(client: DirtyClient, size: int) -> None:
    assert client.execute(WORK, "echo", b"x" * size) == b"x" * size


def test_sizes_in_any_order(client: DirtyClient) -> None:
    for size in (1_000_000, 10, 300_000, 9_000_000, 200_000, 0):
        assert client.execute(WORK, "echo", b"x" * size) == b"x" * size
        assert client.execute(WORK, "make", size) == b"y" * size
        with pytest.raises(DirtyAppError, match=f"^{size}$|{size}:"):
            client.execute(WORK, "fail_with", b"x" * size)


def test_what_comes_late_for_a_large_call_reaches_no_other(client: DirtyClient) -> None:
    """The file of a call that was given up is still written by the worker: nobody else may use it."""
    for size in range(200_000, 200_005):
        with pytest.raises(DirtyTimeoutError):
            quick(client, 0.1).execute(WORK, "echo_late", b"l" * size, 30)
        assert client.execute(WORK, "echo", b"n" * size) == b"n" * size


def test_an_error_says_what_and_where(client: DirtyClient) -> None:
    with pytest.raises(DirtyAppError, match="nothing here") as caught:
        client.execute(WORK, "fail")
    error = caught.value
    assert (error.remote_type, error.app_path, error.action) == ("LookupError", WORK, "fail")
    assert error.traceback is not None
    assert 'raise LookupError("nothing here")' in error.traceback
    assert client.execute(WORK, "echo", 1) == 1


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("leave", "SystemExit"),
        ("unsendable", "DirtyProtocolError"),
        ("_hidden", "ValueError"),
        ("init", "ValueError"),
    ],
)
def test_what_an_action_does_wrong_costs_no_worker(client: DirtyClient, action: str, kind: str) -> None:
    def workers() -> dict[int, bool]:
        return {worker["pid"]: worker["booted"] for worker in client.status()["workers"]}

    wait_until(lambda: all(workers().values()), what="all workers")
    before = workers()
    with pytest.raises(DirtyError) as caught:
        client.execute(WORK, action)
    assert kind in (caught.value.remote_type, type(caught.value).__name__)
    assert workers() == before


def test_a_class_that_is_not_there(client: DirtyClient) -> None:
    with pytest.raises(DirtyAppNotFoundError, match="dirty_apps"):
        client.execute("dirty_tasks:Nothing", "echo", 1)


def test_coroutines_are_awaited(client: DirtyClient) -> None:
    assert client.execute(WORK, "coroutine", 7) == 7


@pytest.mark.parametrize("action", ["numbers", "numbers_async"])
def test_streams(client: DirtyClient, action: str) -> None:
    assert list(client.stream(WORK, action, 1000)) == list(range(1000))
    assert client.execute(WORK, action, 5) == [0, 1, 2, 3, 4]
    assert list(client.stream(WORK, "echo", "whole")) == ["whole"]


def test_an_error_in_the_middle_of_a_stream(client: DirtyClient) -> None:
    stream = client.stream(WORK, "fail_late", 3)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DirtyAppError, match="in the middle") as caught:
        next(stream)
    assert caught.value.remote_type == "LookupError"
    assert client.execute(WORK, "echo", 1) == 1


@pytest.mark.parametrize("action", ["endless", "endless_async"])
def test_leaving_a_stream_runs_its_finally(client: DirtyClient, tmp_path: Path, action: str) -> None:
    file = tmp_path / "closed"
    for number in client.stream(WORK, action, str(file)):
        if number == 100:
            break
    wait_until(file.exists, what="the end of the generator")
    assert client.execute(WORK, "echo", 1) == 1, "what was left of the stream reached the next call"


def test_memory_stays_flat_with_a_slow_reader(client: DirtyClient, tmp_path: Path) -> None:
    stream = client.stream(WORK, "endless", str(tmp_path / "closed"))
    for _ in range(20_000):
        next(stream)
    [arbiter, *workers] = [client.status()["arbiter_pid"], *(w["pid"] for w in client.status()["workers"])]
    before = [memory_of(pid) for pid in (arbiter, *workers)]
    for number in stream:
        if number > 100_000:
            break
    after = [memory_of(pid) for pid in (arbiter, *workers)]
    assert all(b - a < 4_000_000 for a, b in zip(before, after, strict=True))


def memory_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("action", ["sleep", "spin", "sleep_async"])
def test_a_deadline_stops_the_work_and_keeps_the_worker(client: DirtyClient, action: str) -> None:
    pids = {worker["pid"] for worker in client.status()["workers"]}
    started = time.monotonic()
    with pytest.raises(DirtyTimeoutError):
        quick(client).execute(WORK, action, 60)
    assert time.monotonic() - started < PROMPT
    wait_until(lambda: not any(w["running"] for w in client.status()["workers"]), what="the end of the work")
    assert {worker["pid"] for worker in client.status()["workers"]} == pids


def test_work_that_cannot_be_stopped_ends_with_its_worker(server: Server, client: DirtyClient) -> None:
    pids = {worker["pid"] for worker in client.status()["workers"]}
    with pytest.raises(DirtyTimeoutError):
        quick(client).execute(WORK, "stubborn")

    def is_replaced() -> bool:
        workers = client.status()["workers"]
        return len(workers) == 2 and all(w["booted"] for w in workers) and {w["pid"] for w in workers} != pids

    wait_until(is_replaced, what="the new worker")
    server.wait_for(r"did not let go of a call: dirty_tasks:Work, action stubborn, for \d+\.\d s")
    server.wait_for(r"DIRTY WORKER TIMEOUT \(pid:\d+\): dirty_tasks:Work, action stubborn, for \d")


def test_calls_on_one_client_do_not_mix(pool: str) -> None:
    wrong = []

    def call(number: int) -> None:
        with DirtyClient(pool, timeout=20) as client:
            wrong.extend(n for n in range(50) if client.execute(WORK, "echo", [number, n]) != [number, n])

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_stream_within_a_stream(client: DirtyClient) -> None:
    for number in client.stream(WORK, "numbers", 20):
        assert client.execute(WORK, "echo", number) == number


def test_a_forked_child_has_connections_of_its_own(client: DirtyClient) -> None:
    assert client.execute(WORK, "echo", "parent") == "parent"
    pid = os.fork()
    if pid == 0:
        right = all(client.execute(WORK, "echo", n) == n for n in range(50))
        os._exit(0 if right else 1)
    right = all(client.execute(WORK, "echo", -n) == -n for n in range(50))
    assert os.waitpid(pid, 0)[1] == 0
    assert right


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(DirtyConnectionError, match="cannot be reached"):
        DirtyClient(str(tmp_path / "nothing.sock")).execute(WORK, "echo", 1)


# The stash


def test_the_stash(client: DirtyClient) -> None:
    store = StashClient(client=client)
    assert store.put("t", "user:1", {"error": "a value"}) is True
    assert store.get("t", "user:1") == {"error": "a value"}
    assert store.get("t", "nothing", "default") == "default"
    assert store.get("nothing", "k") is None
    with pytest.raises(StashTableNotFoundError):
        store.info("nothing")
    table = store.table("t")
    table[5] = "five"
    assert table[5] == "five"
    assert (len(table), 5 in table, "5" in table, sorted(map(str, table))) == (
        2,
        True,
        False,
        ["5", "user:1"],
    )
    assert table.items() == [("user:1", {"error": "a value"}), (5, "five")]
    assert table.keys("user:*") == ["user:1"]
    del table[5]
    for missing in (lambda: table[5], lambda: table.__delitem__(5)):
        with pytest.raises(KeyError):
            missing()
    assert len(store.table("nothing")) == 0
    assert store.compare_and_set("t", "lock", ABSENT, 1) is True
    assert store.compare_and_set("t", "lock", ABSENT, 2) is False
    assert store.compare_and_set("t", "lock", 1, 2) is True
    with pytest.raises(StashError):
        store.incr("t", "user:1")
    assert store.put("t", "short", 1, ttl=0.05)
    assert 0 < (store.ttl("t", "short") or 0) <= 0.05
    wait_until(lambda: not store.exists("t", "short"), what="the expiry")
    with pytest.raises(StashKeyNotFoundError):
        store.ttl("t", "short")
    store.delete_table("t")
    assert "t" not in store.tables()


def test_counters_are_atomic(pool: str) -> None:
    def count() -> None:
        with DirtyClient(pool, timeout=20) as client:
            for _ in range(100):
                StashClient(client=client).incr("counters", "n")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with DirtyClient(pool) as client:
        assert StashClient(client=client).get("counters", "n") == 400


def test_workers_of_the_pool_share_the_stash(client: DirtyClient) -> None:
    client.execute(WORK, "remember", "k", [1, 2])
    assert StashClient(client=client).get("memory", "k") == [1, 2]


# Asynchronous callers

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@BACKENDS
def test_many_calls_at_once_over_few_connections(pool: str, backend: str) -> None:
    async def main() -> int:
        async with DirtyClient(pool, timeout=20) as client:
            results: dict[int, int] = {}

            async def call(number: int) -> None:
                results[number] = await client.execute_async(WORK, "echo", number)

            async with anyio.create_task_group() as tasks:
                for number in range(200):
                    tasks.start_soon(call, number)
            assert results == {number: number for number in range(200)}
            return len(client._connections()._shared)

    assert anyio.run(main, backend=backend) <= 4


@BACKENDS
def test_asynchronous_streams_errors_and_stash(pool: str, tmp_path: Path, backend: str) -> None:
    file = tmp_path / "closed"

    async def main() -> None:
        async with DirtyClient(pool, timeout=20) as client:
            assert [n async for n in client.stream_async(WORK, "numbers_async", 500)] == list(range(500))
            assert await client.execute_async(WORK, "echo", b"x" * 1_000_000) == b"x" * 1_000_000
            with pytest.raises(DirtyAppError) as caught:
                await client.execute_async(WORK, "fail")
            assert caught.value.remote_type == "LookupError"
            stream = client.stream_async(WORK, "endless", str(file))
            async for number in stream:
                if number == 50:
                    break
            await stream.aclose()
            store = AsyncStash(client)
            await store.put("async", "k", 1)
            assert await store.incr("async", "k") == 2
            assert await store.get("async", "none", 3) == 3

    anyio.run(main, backend=backend)
    wait_until(file.exists, what="the end of the generator")


@BACKENDS
def test_a_cancelled_task_cancels_its_call(pool: str, backend: str) -> None:
    async def main() -> None:
        async with DirtyClient(pool, timeout=20) as client:
            with pytest.raises(DirtyTimeoutError):
                await client.with_timeout(0.2).execute_async(WORK, "sleep", 60)
            with anyio.move_on_after(0.2) as scope:
                await client.execute_async(WORK, "sleep", 60)
            assert scope.cancelled_caught
            with anyio.fail_after(5):
                while await is_busy(client):  # noqa: ASYNC110 - the state is another process's
                    await anyio.sleep(0.01)
            assert await client.execute_async(WORK, "echo", 1) == 1

    anyio.run(main, backend=backend)


async def is_busy(client: DirtyClient) -> bool:
    return any(worker["running"] for worker in (await client.status_async())["workers"])
