"""A server under control that is none: what the control server asks of the arbiter, from a table."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from gunicorn.config import Config
from gunicorn.control.operations import (
    GenerationState,
    ListenerState,
    NoSuchWorkerError,
    RefusedError,
    RequestState,
    Scaled,
    Stats,
    WorkerState,
)


def worker(pid: int, age: int, **more: Any) -> WorkerState:
    fields = {
        "slot": age - 1,
        "generation": 1,
        "state": "ready",
        "booted": True,
        "aborted": False,
        "uptime": 12.345,
        "last_heartbeat": 0.126,
        "requests": 10,
        "errors": 1,
        "in_flight": 1,
        "connections": 2,
        "bytes_sent": 4096,
        "queue_time": 0.5,
        "memory": 11 << 20,
        **more,
    }
    return WorkerState(pid=pid, age=age, **fields)


class FakeServer:
    """Implements ``Operations``; ``done`` lists what it was asked to change."""

    def __init__(self) -> None:
        self.pid = 100
        self.config = Config(prog="gunicorn")
        self.dirty: Any = None
        self.done: list[Any] = []
        self.reload_fails = ""
        self.table = [worker(102, 2, last_heartbeat=None), worker(101, 1)]
        self.dead: list[dict[str, Any]] = [{"pid": number, "cause": "timeout"} for number in range(12)]

    def workers(self) -> list[WorkerState]:
        return self.table

    def requests(self) -> list[RequestState]:
        return [
            RequestState(101, 0, "GET", "/new", 0.0012, "app"),
            RequestState(102, 1, "POST", "/old", 7.5, "response"),
        ]

    def listeners(self) -> list[ListenerState]:
        return [
            ListenerState("http://127.0.0.1:8000", 3, "tcp", 0),
            ListenerState("unix:/s", 4, "unix", None),
        ]

    def generations(self) -> list[GenerationState]:
        return [GenerationState(1, "serving", 2, 2)]

    def deaths(self) -> list[dict[str, Any]]:
        return self.dead

    def stats(self) -> Stats:
        return Stats(12.3456, self.pid, 2, 2, 3, 1, 0)

    async def scale(self, change: int) -> Scaled:
        self.done.append(("scale", change))
        before = len(self.table)
        return Scaled(before, max(1, before + change), before, True)

    async def kill(self, pid: int) -> bool:
        self._find(pid)
        self.done.append(("kill", pid))
        return True

    async def retire(self, pid: int) -> bool:
        self._find(pid)
        self.done.append(("retire", pid))
        return False

    async def stacks(self, pids: Sequence[int]) -> dict[int, str]:
        for pid in pids:
            self._find(pid)
        return {pid: f"stack of {pid}" for pid in pids}

    async def drain(self) -> int:
        self.done.append("drain")
        return 1

    def reload(self) -> None:
        self.done.append("reload")

    async def reload_and_wait(self, seconds: float) -> int:
        self.done.append(("reload", seconds))
        if self.reload_fails:
            raise RefusedError(self.reload_fails)
        return 2

    def reopen(self) -> None:
        self.done.append("reopen")

    def shut_down(self, *, quick: bool) -> None:
        self.done.append("quick" if quick else "graceful")

    def _find(self, pid: int) -> None:
        if pid not in [one.pid for one in self.table]:
            raise NoSuchWorkerError(pid)


class FakeDirty:
    """Implements ``DirtyPool``."""

    pid = 200

    async def status(self) -> dict[str, Any]:
        return {
            "workers": [{"pid": 201, "age": 1, "apps": ["m:App"], "booted": True, "last_heartbeat": 0.1}],
            "apps": [{"import_path": "m:App", "worker_count": 1, "current_workers": 1, "worker_pids": [201]}],
        }

    async def manage(self, action: str, count: int) -> dict[str, Any]:
        return {"success": True, "operation": action, "requested": count}


def memory_log() -> Any:
    """A log whose ``lines`` can be looked at."""
    lines: list[str] = []

    def write(text: str, *args: object) -> None:
        lines.append(text % args)

    return SimpleNamespace(lines=lines, info=write, exception=write)
