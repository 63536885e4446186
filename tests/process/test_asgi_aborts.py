"""A thousand clients that give up, one that hardly reads, and one that is killed: what is left of them."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import resource
import shutil
import socket
import struct
import subprocess
import threading
import time
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
import sniffio
from asgi_exam import LOOPS
from asgi_worker import AsgiWorker, Notes, answer, body, start
from engine_worker import read_until
from harness import wait_until

pytestmark = pytest.mark.slow

GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
CURL = shutil.which("curl")
POOL = 8

needs_curl = pytest.mark.skipif(CURL is None, reason="curl is not installed")
needs_database = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sqlalchemy", "aiosqlite", "greenlet")),
    reason="sqlalchemy, aiosqlite or greenlet is not installed",
)


@pytest.fixture(params=LOOPS)
def loop(request):
    return request.param


@pytest.fixture
def notes(tmp_path):
    return Notes(tmp_path)


def count_tasks() -> int:
    """Tasks of the loop that this is called from."""
    if sniffio.current_async_library() == "asyncio":
        return len(asyncio.all_tasks())
    import trio

    def count(task: trio.lowlevel.Task) -> int:
        return 1 + sum(count(child) for nursery in task.child_nurseries for child in nursery.child_tasks)

    root = trio.lowlevel.current_root_task()
    assert root is not None
    return count(root)


def open_sockets() -> int:
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that the list was made with
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return found


class Database:
    """SQLAlchemy's pool: of its asynchronous engine on asyncio, of its plain one in threads on trio."""

    def __init__(self, path: Path) -> None:
        from sqlalchemy import create_engine, event
        from sqlalchemy.ext.asyncio import create_async_engine

        options = {"pool_size": POOL, "max_overflow": 0, "pool_timeout": 60}
        self._is_async = sniffio.current_async_library() == "asyncio"
        if self._is_async:
            self._engine = create_async_engine(f"sqlite+aiosqlite:///{path}", **options)
        else:
            plain = {"check_same_thread": False}
            self._engine = create_engine(f"sqlite:///{path}", connect_args=plain, **options)
        self.pool = self._engine.pool
        self._turns = anyio.CapacityLimiter(POOL)
        self.open = 0
        event.listen(self.pool, "connect", lambda *_: self._count(1))
        for name in ("close", "close_detached"):
            event.listen(self.pool, name, lambda *_: self._count(-1))

    def _count(self, change: int) -> None:
        self.open += change

    @asynccontextmanager
    async def connection(self):
        """A connection with a query behind it, given back whatever happens."""
        from sqlalchemy import text

        if self._is_async:
            async with self._engine.connect() as connection:
                await connection.execute(text("select 1"))
                yield
            return
        # Who waits in a thread cannot be cancelled, and would keep the threads from those who give back.
        async with self._turns:
            connection = await anyio.to_thread.run_sync(self._engine.connect)
            try:
                await anyio.to_thread.run_sync(connection.execute, text("select 1"))
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(connection.close)

    async def dispose(self) -> None:
        if self._is_async:
            await self._engine.dispose()
        else:
            self._engine.dispose()


def with_database(path: Path):
    """``/count`` tells what there is; any other request holds a connection until its client leaves."""

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["database"] = database = Database(path)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await database.dispose()
            await send({"type": "lifespan.shutdown.complete"})
            return
        database = scope["state"]["database"]
        if scope["path"] == "/count":
            found = [count_tasks(), open_sockets(), database.pool.checkedout(), database.open]
            await answer(send, repr(found).encode())
            return
        if scope["path"] == "/upload":
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        async with database.connection():
            await start(send)
            await body(send, b"x", more=True)
            if scope["path"] == "/stream":
                while True:
                    await body(send, b"x" * 1000, more=True)
                    await anyio.sleep(0.001)
            elif scope["path"] == "/receive":
                while (await receive())["type"] != "http.disconnect":
                    pass
            else:
                await anyio.sleep(60)

    return app


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


REQUESTS = [
    GET % b"/sleep",
    GET % b"/stream",
    GET % b"/receive",
    b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf",
    b"GET /receive HTTP/1.1\r\nHo",
]


@needs_database
def test_a_thousand_aborted_requests_leave_no_task_no_descriptor_and_no_connection(loop, tmp_path):
    app = with_database(tmp_path / "data")
    with AsgiWorker(app, asgi_loop=loop, asgi_lifespan="on", asgi_disconnect_grace_period=0) as worker:
        head, data = worker.get("/count")
        assert b" 200 OK" in head, worker.log()
        tasks, sockets, checked_out, _ = eval(data)
        assert checked_out == 0
        for round_ in range(10):
            clients = [worker.connect() for _ in range(100)]
            for number, client in enumerate(clients):
                client.sendall(REQUESTS[number % len(REQUESTS)])
            if round_ % 2:
                # The pool is empty then: some hold a connection, the others wait for one.
                wait_until(lambda: worker.slot.connections >= 100)
            for number, client in enumerate(clients):
                (reset if number % 2 else socket.socket.close)(client)
        worker.slot_idle()

        def left() -> list[int]:
            return eval(worker.get("/count")[1])

        wait_until(lambda: left()[:3] == [tasks, sockets, 0], 30, f"{[tasks, sockets, 0]}, and not {left()}")
        assert left()[3] <= POOL
        assert worker.slot.table.snapshot() == []
        # All of the pool is there for those who come next.
        with ExitStack() as stack:
            for client in [stack.enter_context(worker.connect()) for _ in range(POOL)]:
                client.sendall(GET % b"/sleep")
                read_until(client, b"x")
        assert worker.stop() < 10
        assert "Traceback" not in worker.log()
        assert "never retrieved" not in worker.log()


# A reader of a thousand bytes each second


def peak_memory(pid: int) -> int:
    """Bytes that were resident at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


@needs_curl
@pytest.mark.parametrize("how", ["small parts", "large parts", "file"])
def test_a_slow_reader_of_a_large_stream_costs_no_memory(loop, notes, tmp_path, how):
    size = 500_000_000
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(size)

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        if scope["path"] != "/large":
            await answer(send, b"x" * 1_000_000)
            return
        notes("begun")
        await start(send)
        if how == "file":
            await send({"type": "http.response.pathsend", "path": str(path)})
        part = 4_000_000 if how == "large parts" else 10_000
        for _ in range(size // part):
            await body(send, bytes(part), more=True)
            notes(str(part))

    with AsgiWorker(app, asgi_loop=loop) as worker:
        worker.get()
        before = resident(worker.pid)
        url = "http://{}:{}/large".format(*worker.address)
        options = ["--silent", "--noproxy", "*", "--limit-rate", "1k", "--output", os.devnull]
        curl = subprocess.Popen([CURL, *options, url])
        try:
            wait_until(lambda: "begun" in notes)
            seen = -1
            # As long as the buffers take: then the application stands still.
            while seen < len(notes.lines):
                seen = len(notes.lines)
                threading.Event().wait(0.5)
            assert sum(map(int, notes.lines[1:])) < 32_000_000
            assert peak_memory(worker.pid) - before < 16_000_000
            # It is only this client who waits.
            assert worker.get()[1] == b"x" * 1_000_000
            assert curl.poll() is None
        finally:
            curl.kill()
            curl.wait()
        worker.slot_idle()


# A client that is killed


@needs_curl
@pytest.mark.parametrize("begun", [False, True], ids=["waiting", "streaming"])
def test_a_killed_curl_is_seen_in_a_fifth_of_a_second(loop, notes, begun):
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await receive()
        if begun:
            await start(send)
            await body(send, b"x", more=True)
        notes("waiting")
        message = await receive()
        notes(f"{time.monotonic()} {message['type']}")

    with AsgiWorker(app, asgi_loop=loop) as worker:
        taken = []
        # The best of three: a busy machine may hold up one, and a server that polls or waits holds up all.
        for attempt in range(3):
            url = "http://{}:{}/".format(*worker.address)
            curl = subprocess.Popen(
                [CURL, "--silent", "--no-buffer", "--noproxy", "*", url], stdout=subprocess.DEVNULL
            )
            wait_until(lambda seen=2 * attempt: len(notes.lines) == seen + 1)
            killed = time.monotonic()
            curl.kill()
            curl.wait()
            wait_until(lambda seen=2 * attempt: len(notes.lines) == seen + 2)
            seen, kind = notes.lines[-1].split()
            assert kind == "http.disconnect"
            taken.append(float(seen) - killed)
        assert min(taken) < 0.2
