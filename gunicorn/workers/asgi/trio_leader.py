"""Waiting for the next requests of all connections in one task (the pattern "Leader/Followers", POSA 2).

A task of trio that waits for its own socket pays at each request for a system call and for its way through
the scheduler, from cold caches when there are many. So connections between requests wait in an epoll set of
ours. One task, the leader, waits for that, and runs the applications of those for which something has
arrived. When an application suspends, the task belongs to it and leads no more; a new leader begins. So an
application never changes its task, and its nurseries and scopes are what trio expects.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import Abort, current_task, reschedule, wait_readable, wait_task_rescheduled

if TYPE_CHECKING:
    from gunicorn.workers.asgi.trio_connection import Connection
    from gunicorn.workers.asgi.trio_cycle import Cycle

__all__ = ["Leader", "Leaders"]

# Connections that are served before other tasks have their turn.
_AT_ONCE = 64


class Leader:
    """One leader.

    Attributes:
        scope: Around all that it does.
        task: What it runs in.
        leads: Whether it has not stepped down.
        connection: That it serves.
        cycle: Whose application it has stepped down for.
    """

    __slots__ = ("_leaders", "_scopes", "connection", "cycle", "leads", "scope", "task")

    def __init__(self, leaders: Leaders) -> None:
        self._leaders = leaders
        self.scope = trio.CancelScope()
        self.task = current_task()
        self.leads = True
        self._scopes: object = None
        self.connection: Connection | None = None
        self.cycle: Cycle | None = None

    def enter(self) -> None:
        """``scope`` has been entered, and nothing in it yet."""
        self._scopes = getattr(self.task, "_cancel_status", None)

    def step_down(self, cycle: Cycle | None) -> None:
        """Another task leads. The application of ``cycle`` suspends: this task is its own from here on."""
        self.leads = False
        self.cycle = cycle
        self._leaders.begin()

    @property
    def sound(self) -> bool:
        """Whether an application has left the task as it found it.

        One that forgets a scope or a nursery (in a generator that it abandons) must not end another one.
        """
        # Not trio's to show. What it does show, the effective deadline, is looked for in all scopes around
        # the task: 2 us for each request, and a scope without a deadline would not be found.
        return getattr(self.task, "_cancel_status", None) is self._scopes


class Leaders:
    """The connections of one worker that wait for a request, and the leader.

    Args:
        nursery: Of the leaders.
        log: Learns of applications that spoil their task.
    """

    def __init__(self, nursery: trio.Nursery, log: Any) -> None:
        self._nursery = nursery
        self._log = log
        self._epoll = select.epoll()
        self._waiting: dict[int, Connection] = {}
        self._sleepers: dict[Connection, trio.lowlevel.Task] = {}
        self._results: dict[Connection, object] = {}

    def begin(self) -> None:
        """Start a leader."""
        self._nursery.start_soon(self._lead)

    def close(self) -> None:
        """Nobody waits any more."""
        self._epoll.close()

    async def wait(self, connection: Connection) -> Any:
        """Leave ``connection`` to the leaders until its own task is needed.

        Returns:
            What ``resume`` was given; an exception is raised.
        """
        fd = connection.link.fd
        self._epoll.register(fd, select.EPOLLIN)
        self._waiting[fd] = connection
        self._sleepers[connection] = current_task()

        def abort(_: object) -> Abort:
            self.take(connection)
            self._sleepers.pop(connection, None)
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
        result = self._results.pop(connection)
        if isinstance(result, Exception):
            raise result
        return result

    def take(self, connection: Connection) -> None:
        """What arrives for ``connection`` is no matter of leaders now."""
        if self._waiting.pop(connection.link.fd, None) is not None:
            self._epoll.unregister(connection.link.fd)

    def resume(self, connection: Connection, result: object) -> None:
        """The connection's own task goes on, if it still waits."""
        self.take(connection)
        task = self._sleepers.pop(connection, None)
        if task is not None:
            self._results[connection] = result
            reschedule(task)

    async def _lead(self) -> None:
        leader = Leader(self)
        try:
            with leader.scope:
                leader.enter()
                while leader.leads:
                    await wait_readable(self._epoll.fileno())
                    await self._serve_some(leader)
        except RuntimeError as error:
            # Of trio, about what an application has entered and not left; the others go on.
            self._log.error("An application has left a cancel scope or a nursery open: %s", error)
            if leader.leads:
                self.begin()
        if leader.cycle is not None and leader.connection is not None:
            leader.connection.led_to_its_end(leader.cycle, cancelled=leader.scope.cancelled_caught)

    async def _serve_some(self, leader: Leader) -> None:
        """Serve those for which something has arrived."""
        for fd, _ in self._epoll.poll(0, _AT_ONCE):
            connection = self._waiting.get(fd)
            if connection is not None:
                await self._serve(leader, connection)
            if not leader.leads:
                return  # whoever leads now is told of the others again

    async def _serve(self, leader: Leader, connection: Connection) -> None:
        leader.connection = connection
        try:
            await connection.lead(leader)
        except Exception as error:  # noqa: BLE001 - of ours, in one connection, whose own task reports it
            self.resume(connection, error)
