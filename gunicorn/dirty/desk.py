"""What the dirty arbiter says about itself, and lets others change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from gunicorn.dirty.errors import DirtyError
from gunicorn.dirty.handing import IS_SUPPORTED
from gunicorn.dirty.protocol import ManageOp

if TYPE_CHECKING:
    from gunicorn.dirty.allocation import Allocation
    from gunicorn.dirty.arbiter import DirtyArbiter
    from gunicorn.dirty.crews import Crew
    from gunicorn.dirty.dispatcher import Dispatcher
    from gunicorn.dirty.members import DirtyChild, DirtyRoster

__all__ = ["CAPABILITIES", "Desk"]

#: What a caller may use that not every arbiter knows: ``cancel`` messages, large payloads in files, leases.
#: Leases rest on what a half-closed socket does, and that is known of the system that has such files too.
CAPABILITIES = ["cancel", "files", "lease"] if IS_SUPPORTED else ["cancel"]


class Supervisor(Protocol):
    """What there is to tell and to change."""

    server: DirtyArbiter
    children: dict[int, DirtyChild]
    crews: dict[int, Crew]
    roster: DirtyRoster
    allocations: dict[int, Allocation]
    dispatcher: Dispatcher

    def scale(self, change: int) -> int: ...


class Desk:
    """Answers status and manage messages."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def status(self) -> dict[str, Any]:
        """The pool as it is now."""
        supervisor = self._supervisor
        workers = [self._worker(age) for age in sorted(supervisor.children)]
        return {
            "arbiter_pid": supervisor.server.pid,
            "workers": workers,
            "worker_count": len(workers),
            "target_workers": supervisor.roster.count,
            "apps": sorted(supervisor.dispatcher.paths),
            "capabilities": CAPABILITIES,
        }

    def _worker(self, age: int) -> dict[str, Any]:
        child, crew = self._supervisor.children[age], self._supervisor.crews.get(age)
        return {
            "pid": child.pid,
            "age": age,
            "apps": sorted(crew.lane.apps) if crew else [],
            "booted": child.is_ready,
            "last_heartbeat": None,
            "running": crew.lane.running if crew else 0,
            "backlog": len(crew.lane.queue) if crew else 0,
            "answered": crew.answered if crew else 0,
            "lent": crew.lane.lent if crew else 0,
            "leases": crew.leases if crew else 0,
        }

    def manage(self, operation: int, count: int) -> dict[str, Any]:
        """More workers, or fewer.

        Raises:
            DirtyError: there is no such operation.
        """
        if operation == ManageOp.ADD:
            return self._add(count)
        if operation == ManageOp.REMOVE:
            return self._remove(count)
        raise DirtyError(f"Unknown manage operation: {operation}")

    def _add(self, count: int) -> dict[str, Any]:
        supervisor = self._supervisor
        allocation = supervisor.allocations.get(supervisor.roster.wanted.generation)
        room = allocation.useful - supervisor.roster.count if allocation else count
        spawned = supervisor.scale(int(min(count, room))) if room > 0 else 0
        answer = {"success": True, "operation": "add", "requested": count, "spawned": spawned}
        if not spawned:
            answer["reason"] = "all apps have as many workers as their limits allow"
        return {**answer, **self._totals()}

    def _remove(self, count: int) -> dict[str, Any]:
        removed = -self._supervisor.scale(-count)
        answer = {"success": True, "operation": "remove", "requested": count, "removed": removed}
        return {**answer, **self._totals()}

    def _totals(self) -> dict[str, int]:
        roster = self._supervisor.roster
        return {"total_workers": len(self._supervisor.children), "target_workers": roster.count}
