"""What the control server asks of the arbiter: the operations, carried out on the running supervisor."""

from __future__ import annotations

import enum
import signal
import time
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from gunicorn.arbiter.actions import Promoted, Retire
from gunicorn.arbiter.members import State
from gunicorn.arbiter.survey import Survey
from gunicorn.config.sources import DEFAULT
from gunicorn.control.arguments import WAIT
from gunicorn.control.operations import (
    DirtyPool,
    NoSuchWorkerError,
    RefusedError,
    Scaled,
    Stats,
)
from gunicorn.control.server import ControlServer, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gunicorn.arbiter.actions import Action
    from gunicorn.arbiter.boot import Boot
    from gunicorn.arbiter.child import Child
    from gunicorn.arbiter.commands import Commands
    from gunicorn.arbiter.master import Master
    from gunicorn.arbiter.roster import Roster
    from gunicorn.dirty.service import DirtyService

__all__ = ["Control"]


class Supervisor(Protocol):
    """What control needs of the running server."""

    server: Master
    roster: Roster
    children: dict[int, Child]
    commands: Commands
    boot: Boot

    @property
    def pool(self) -> DirtyService | None: ...
    def execute(self, actions: Sequence[Action]) -> None: ...


class Outcome(enum.Enum):
    """What has become of the latest reload."""

    NONE = "none"
    PENDING = "pending"
    FAILED = "failed"


@attrs.define
class LatestReload:
    """The latest reload; ``count`` since the start."""

    count: int = 0
    outcome: Outcome = Outcome.NONE
    reason: str = ""


class Control(Survey):
    """The operations on one supervisor, and the server that takes them from the control socket.

    Args:
        supervisor: The running server.
        obey: Acts upon a signal as if it had come.

    Attributes:
        server: The control server; ``server.run`` is its task.
    """

    def __init__(self, supervisor: Supervisor, obey: Callable[[int], None]) -> None:
        super().__init__(supervisor)
        self._supervisor = supervisor
        self._obey = obey
        self._started = time.monotonic()
        self._spawned = self._killed = 0
        self._reload = LatestReload()
        self._news = trio.Event()
        self.server = ControlServer(self, self._settings, supervisor.server.log)

    # --- what the supervisor tells ---

    def executed(self, actions: Sequence[Action]) -> None:
        """Something happened to the workers, and this was done about it."""
        self._spawned = max(self._spawned, *self._supervisor.children, 0)
        self._killed += sum(isinstance(action, Retire) for action in actions)
        if any(isinstance(action, Promoted) for action in actions):
            self._reload.outcome = Outcome.NONE
            self.server.changed()
        self._tell()

    def reload_started(self) -> None:
        """A reload has begun; one that was in the air is superseded."""
        self._reload = LatestReload(self._reload.count + 1, Outcome.PENDING)
        self._tell()

    def reload_failed(self, reason: str) -> None:
        """It came to nothing."""
        self._reload.outcome, self._reload.reason = Outcome.FAILED, reason
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    # --- looking, beyond the survey ---

    @property
    def dirty(self) -> DirtyPool | None:
        """The dirty arbiter, when there is one."""
        service, home = self._supervisor.pool, self._supervisor.boot.pool
        if service is None or home is None:
            return None
        # Imported with the first question: without a pool nothing of it is.
        from gunicorn.arbiter.pool import PoolLink

        return PoolLink(service, home.path, lambda: self.config.dirty_apps)

    def stats(self) -> Stats:
        """Counters since the start."""
        supervisor = self._supervisor
        return Stats(
            uptime=time.monotonic() - self._started,
            pid=self.pid,
            workers_current=len(supervisor.roster.members),
            workers_target=supervisor.roster.count,
            workers_spawned=max(self._spawned, *supervisor.children, 0),
            workers_killed=self._killed,
            reloads=self._reload.count,
        )

    async def stacks(self, pids: Sequence[int]) -> dict[int, str]:
        """The stacks of all threads of each worker, also of one that is stuck in C code; of one that does not
        answer "". All at the same time: a server full of workers that hang is when one asks.
        """
        children = [self._child(pid) for pid in pids]
        found: dict[int, str] = {}

        async def ask(pid: int, child: Child) -> None:
            found[pid] = await child.stacks()

        async with trio.open_nursery() as nursery:
            for child in children:
                nursery.start_soon(ask, child.pid, child)
        return found

    # --- changing ---

    async def scale(self, change: int) -> Scaled:
        """More or fewer workers; returns when they serve, or have left."""
        roster = self._supervisor.roster
        previous = roster.count
        total = self._resize(max(1, previous + change))
        done = await self._until(lambda: len(roster.members) == roster.serving == roster.count)
        return Scaled(previous, total, roster.serving, done)

    async def drain(self) -> int:
        """No workers; returns when the last one has left."""
        self._resize(0)
        members = self._supervisor.roster.members
        await self._until(lambda: not members)
        return len(members)

    def _resize(self, count: int) -> int:
        supervisor = self._supervisor
        self._refuse_while_stopping()
        supervisor.execute(supervisor.roster.resize(count, trio.current_time()))
        supervisor.server.scaled(supervisor.roster.count)
        return supervisor.roster.count

    async def kill(self, pid: int) -> bool:
        """Stop a worker now; its successor is made at the same time and not before."""
        child, supervisor = self._child(pid), self._supervisor
        self._refuse_while_stopping()
        member = supervisor.roster.members[child.age]
        if member.state is not State.RETIRING:
            # Planned, so it is no failure to the roster, and the place is free at once.
            member.state = State.RETIRING
            supervisor.execute([Retire(child.age), *supervisor.roster.tick(trio.current_time())])
        return await self._until(lambda: child.age not in supervisor.children)

    async def retire(self, pid: int) -> bool:
        """Replace a worker; returns when it has left."""
        child, supervisor = self._child(pid), self._supervisor
        self._refuse_while_stopping()
        supervisor.execute(supervisor.roster.leaving(child.age, trio.current_time()))
        return await self._until(lambda: child.age not in supervisor.children)

    def reload(self) -> None:
        """As HUP."""
        self._refuse_while_stopping()
        self._obey(signal.SIGHUP)

    async def reload_and_wait(self, seconds: float) -> int:
        """As HUP; returns the generation when all workers are of it.

        A reload that another one supersedes has that one's outcome: it read its configuration later.
        """
        before = self._reload.count
        self.reload()
        roster = self._supervisor.roster

        def is_over() -> bool:
            if self._reload.count == before or self._reload.outcome is Outcome.PENDING:
                return False
            return self._reload.outcome is Outcome.FAILED or self._is_rolled_out()

        if not await self._until(is_over, seconds):
            raise RefusedError(f"the reload is not through after {seconds:g} s; it goes on")
        if self._reload.outcome is Outcome.FAILED:
            raise RefusedError(
                f"the reload was abandoned, the server goes on as before: {self._reload.reason}"
            )
        return roster.wanted.generation

    def _is_rolled_out(self) -> bool:
        """Also the last older worker has finished its requests and left."""
        roster = self._supervisor.roster
        return roster.is_settled and all(
            member.generation == roster.wanted.generation for member in roster.members.values()
        )

    def reopen(self) -> None:
        """As USR1."""
        self._obey(signal.SIGUSR1)

    def shut_down(self, *, quick: bool) -> None:
        """As INT or TERM."""
        self._obey(signal.SIGINT if quick else signal.SIGTERM)

    # --- steps ---

    async def _until(self, condition: Callable[[], bool], seconds: float = WAIT) -> bool:
        """Wait for ``condition``, which is looked at after each event; whether it came true in time.

        Raises:
            RefusedError: the server stops.
        """
        with trio.move_on_after(seconds):
            while not condition():
                await self._news.wait()
                self._refuse_while_stopping()
            return True
        return False

    def _refuse_while_stopping(self) -> None:
        if self._supervisor.commands.is_ending:
            raise RefusedError("the server is stopping")

    def _child(self, pid: int) -> Child:
        for child in self._supervisor.children.values():
            if pid and child.pid == pid:
                return child
        raise NoSuchWorkerError(pid)

    def _settings(self) -> Settings:
        cfg = self.config
        return Settings(
            None if cfg.control_socket_disable else cfg.control_socket,
            is_default=cfg.sources["control_socket"] is DEFAULT,
            mode=cfg.control_socket_mode,
            readonly=cfg.control_socket_readonly,
        )
