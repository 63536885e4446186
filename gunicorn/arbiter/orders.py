"""What was asked of the spawners and has not been answered."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import attrs
import trio

from gunicorn.arbiter.handle import Handle, SpawnError
from gunicorn.process.channel import Channel
from gunicorn.process.messages import Exited, MoldFailed, Spawn, Spawned, SpawnFailed, StartMold

if TYPE_CHECKING:
    from gunicorn.process.messages import Message

__all__ = ["MoldError", "Orders", "Request"]


class MoldError(Exception):
    """The mold could not load its configuration or application."""

    def __init__(self, exit_code: int, reason: str) -> None:
        super().__init__(reason)
        self.exit_code = exit_code
        self.reason = reason


@attrs.define(eq=False)
class Request:
    """A worker, or a mold, that was asked for."""

    message: Spawn | StartMold
    fds: tuple[int, ...] = ()
    answered: trio.Event = attrs.Factory(trio.Event)
    handle: Handle | None = None
    error: SpawnError | MoldError | None = None

    def answer(self, error: SpawnError | MoldError | None = None) -> None:
        """Whoever waits goes on."""
        self.error = error
        self.answered.set()


class Orders:
    """The table of open requests, by the age of the worker and the generation of the mold."""

    def __init__(self) -> None:
        self.workers: dict[int, Request] = {}
        self.molds: dict[int, Request] = {}
        self._reaped_by_spawners: dict[int, Handle] = {}

    def all(self) -> list[Request]:
        """Molds first: workers come from them."""
        return [*self.molds.values(), *self.workers.values()]

    def of_generation(self, generation: int) -> list[Request]:
        """The workers that this generation's spawner has to make."""
        return [request for request in self.workers.values() if request.message.generation == generation]

    def take(self, message: Message, fds: list[int]) -> None:
        """An answer, with the descriptors beside it; what nobody has asked for is undone."""
        if isinstance(message, Spawned):
            self._take_spawned(message, fds)
            return
        for fd in fds:
            os.close(fd)
        if isinstance(message, SpawnFailed):
            _answer(self.workers.get(message.age), SpawnError(message.exit_code, message.reason))
        elif isinstance(message, MoldFailed):
            _answer(self.molds.get(message.generation), MoldError(message.exit_code, message.reason))
        elif isinstance(message, Exited):
            handle = self._reaped_by_spawners.pop(message.pid, None)
            if handle is not None:
                handle.set_status(message.status)

    def _take_spawned(self, message: Spawned, fds: list[int]) -> None:
        report = Channel.from_fd(fds[0])
        report.setblocking(False)
        handle = Handle(message.pid, report, fds[1], fds[2] if len(fds) > 2 else None)
        if len(fds) == 2:
            self._reaped_by_spawners[message.pid] = handle
        request = self.workers.get(message.age)
        if request is None or request.answered.is_set():
            disown(handle)
            return
        request.handle = handle
        request.answer()


def disown(handle: Handle) -> None:
    """A worker that nobody waits for any more."""
    handle.send_signal(signal.SIGKILL)
    handle.close()


def _answer(request: Request | None, error: SpawnError | MoldError) -> None:
    if request is not None:
        request.answer(error)
