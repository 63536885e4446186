"""What the control server may ask of the server that it controls: one narrow interface, and plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "DirtyPool",
    "GenerationState",
    "ListenerState",
    "NoSuchWorkerError",
    "Operations",
    "RefusedError",
    "RequestState",
    "Scaled",
    "Stats",
    "WorkerState",
]


class RefusedError(Exception):
    """It cannot be done, or did not happen; the text is for the operator."""


class NoSuchWorkerError(Exception):
    """No worker of this server has that process id."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"Worker {pid} not found")


class WorkerState(NamedTuple):
    """One worker.

    Attributes:
        age: Running number, server-wide.
        state: ``booting``, ``ready`` or ``retiring``.
        booted: It serves, or did.
        aborted: It missed its deadline and is being ended.
        uptime: Seconds since it was asked for.
        last_heartbeat: Seconds since its last sign of life; None when it gives none.
        queue_time: Seconds that its requests have waited, together.
        memory: Bytes that are its own; None where the system does not tell.
    """

    pid: int
    age: int
    slot: int
    generation: int
    state: str
    booted: bool
    aborted: bool
    uptime: float
    last_heartbeat: float | None
    requests: int
    errors: int
    in_flight: int
    connections: int
    bytes_sent: int
    queue_time: float
    memory: int | None


class RequestState(NamedTuple):
    """One request in flight. ``age`` in seconds; ``phase`` is ``app`` or ``response``."""

    pid: int
    slot: int
    method: str
    path: str
    age: float
    phase: str


class ListenerState(NamedTuple):
    """One listening socket. ``queued``: connections that nobody has accepted yet; None where unknown."""

    address: str
    fd: int
    type: str
    queued: int | None


class GenerationState(NamedTuple):
    """The workers of one configuration. ``role`` is ``serving``, ``candidate`` or ``retiring``."""

    generation: int
    role: str
    workers: int
    ready: int


class Stats(NamedTuple):
    """Counters of the server since its start; ``uptime`` in seconds."""

    uptime: float
    pid: int
    workers_current: int
    workers_target: int
    workers_spawned: int
    workers_killed: int
    reloads: int


class Scaled(NamedTuple):
    """What a change of the number of workers has come to. ``done``: before the deadline."""

    previous: int
    total: int
    serving: int
    done: bool


class DirtyPool(Protocol):
    """The dirty arbiter, as its status and manage messages tell and take it; plain JSON values."""

    @property
    def pid(self) -> int: ...
    async def status(self) -> dict[str, Any]: ...
    async def manage(self, action: str, count: int) -> dict[str, Any]: ...


class Operations(Protocol):
    """The server under control. What is ``async`` returns when it has happened."""

    @property
    def pid(self) -> int: ...
    @property
    def config(self) -> Any: ...
    @property
    def dirty(self) -> DirtyPool | None: ...

    def workers(self) -> Sequence[WorkerState]: ...
    def requests(self) -> Sequence[RequestState]: ...
    def listeners(self) -> Sequence[ListenerState]: ...
    def generations(self) -> Sequence[GenerationState]: ...
    def deaths(self) -> Sequence[dict[str, Any]]: ...
    def stats(self) -> Stats: ...

    async def scale(self, change: int) -> Scaled:
        """Change the number of workers; at least one stays."""

    async def kill(self, pid: int) -> bool:
        """TERM to one worker. Whether it had gone by the deadline. Raises ``NoSuchWorkerError``."""

    async def retire(self, pid: int) -> bool:
        """Replace one worker, then let it finish. Whether it had gone by the deadline."""

    async def stacks(self, pids: Sequence[int]) -> dict[int, str]:
        """The stacks of all threads of each of these workers. Raises ``NoSuchWorkerError``."""

    async def drain(self) -> int:
        """Let all workers finish and leave; how many are still there at the deadline."""

    def reload(self) -> None:
        """Start a reload."""

    async def reload_and_wait(self, seconds: float) -> int:
        """Reload, wait until no older worker is left; the new generation.

        Raises:
            RefusedError: it was abandoned, or is not through after ``seconds``.
        """

    def reopen(self) -> None:
        """Reopen the log files."""

    def shut_down(self, *, quick: bool) -> None:
        """Begin the end of the server."""
