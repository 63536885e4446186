"""What control sees of the arbiter: workers, requests, listeners, generations, read where they are kept."""

from __future__ import annotations

import math
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Protocol

from gunicorn.arbiter.members import State
from gunicorn.control.operations import GenerationState, ListenerState, RequestState, WorkerState

if TYPE_CHECKING:
    from gunicorn.arbiter.child import Child
    from gunicorn.arbiter.master import Master
    from gunicorn.arbiter.roster import Roster
    from gunicorn.process.listeners import Listener

__all__ = ["Survey"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
# tcp_info of Linux, up to tcpi_unacked: of a listening socket that is the number of queued connections.
_TCP_INFO = struct.Struct("8B5I")


class Watched(Protocol):
    """The running server, to look at."""

    server: Master
    roster: Roster
    children: dict[int, Child]


class Survey:
    """Looks at the running server."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    @property
    def pid(self) -> int:
        """Process id of the arbiter."""
        return self._watched.server.pid

    @property
    def config(self) -> Any:
        """The configuration in effect."""
        return self._watched.server.cfg

    def workers(self) -> list[WorkerState]:
        """All workers that have a process."""
        return [self._state_of(child) for child in self._watched.children.values() if child.pid]

    def _state_of(self, child: Child) -> WorkerState:
        slot, now = child.slot, time.monotonic()
        member = self._watched.roster.members.get(child.age)
        state = State.RETIRING if member is None else member.state
        promised = slot.deadline - now
        return WorkerState(
            pid=child.pid,
            age=child.age,
            slot=child.order.slot,
            generation=child.order.generation,
            state=state.value,
            booted=child.is_ready,
            aborted=promised < 0,
            uptime=now - slot.started,
            last_heartbeat=self._since_beat(promised) if child.is_ready else None,
            requests=slot.requests,
            errors=slot.errors,
            # A worker class of somebody else may keep one of them only.
            in_flight=max(slot.in_flight, len(slot.table.snapshot())),
            connections=slot.connections,
            bytes_sent=slot.bytes_sent,
            queue_time=slot.queue_time,
            memory=_own_memory(child.pid),
        )

    def _since_beat(self, promised: float) -> float | None:
        # A beat promises the next one within `timeout`.
        return None if math.isinf(promised) else max(0.0, self.config.timeout - promised)

    def requests(self) -> list[RequestState]:
        """The requests in flight, from shared memory: a worker that hangs is seen too."""
        now = time.monotonic()
        return [
            RequestState(child.pid, child.order.slot, r.method, r.path, now - r.started, r.phase.name.lower())
            for child in self._watched.children.values()
            for r in child.slot.table.snapshot()
        ]

    def listeners(self) -> list[ListenerState]:
        """The listening sockets."""
        found = self._watched.server.LISTENERS
        return [ListenerState(str(one), one.fileno(), _type_of(one), _queued(one)) for one in found]

    def generations(self) -> list[GenerationState]:
        """The generations that have workers, oldest first."""
        roster = self._watched.roster
        candidate = roster.candidate.generation if roster.candidate else None
        roles = {candidate: "candidate", roster.wanted.generation: "serving"}
        members = roster.members.values()
        found = {member.generation for member in members} | {roster.wanted.generation}
        return [
            GenerationState(
                generation,
                roles.get(generation, "retiring"),
                sum(m.generation == generation for m in members),
                sum(m.generation == generation and m.state is State.READY for m in members),
            )
            for generation in sorted(found)
        ]

    def deaths(self) -> list[dict[str, Any]]:
        """The records of workers that did not end as planned, oldest first."""
        return [record.as_dict() for record in self._watched.server.deaths]


def _type_of(listener: Listener) -> str:
    names = {socket.AF_UNIX: "unix", socket.AF_INET: "tcp", socket.AF_INET6: "tcp6"}
    return names.get(socket.AddressFamily(listener.family), "unknown")


def _queued(listener: Listener) -> int | None:
    """Connections that wait to be accepted; None where the system does not tell."""
    if listener.is_unix or not hasattr(socket, "TCP_INFO"):
        return None
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    queued: int = _TCP_INFO.unpack(info)[-1]
    return queued


def _own_memory(pid: int) -> int | None:
    """Bytes in memory that belong to no file. Quick, unlike the exact sum that takes a walk of the pages."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, shared, *_ = map(int, file.read().split())
    except (OSError, ValueError):
        return None
    return (resident - shared) * _PAGE
