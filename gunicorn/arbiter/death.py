"""One record for each worker that did not end as planned: what is needed to find out why, in one place."""

from __future__ import annotations

import enum
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gunicorn.process.memory import Memory
    from gunicorn.process.slots import InFlight

__all__ = ["Cause", "DeathRecord", "Request", "in_flight", "signal_name"]

#: More requests than this in one record help nobody.
_SHOWN = 8
_MEGABYTE = 1 << 20
_BIRTH = os.path.join("gunicorn", "process", "birth.py")


class Cause(enum.Enum):
    """Why a worker ended."""

    TIMEOUT = "timeout"
    BOOT_TIMEOUT = "boot timeout"
    BOOT = "failed to boot"
    STUCK = "did not stop in time"
    HELD_CALL = "did not let go of a call"
    OUT_OF_MEMORY = "out of memory"
    KILLED = "killed from outside"
    KILLED_OR_OUT_OF_MEMORY = "killed from outside, or out of memory"
    SIGNAL = "signal"
    EXIT = "unexpected exit"


# What people search their logs for stays as it was where it was true.
_SENTENCES = {
    Cause.TIMEOUT: "was ended: it gave no sign of life for {seconds:g} s (timeout).",
    Cause.BOOT_TIMEOUT: "was ended: it was not ready to serve within {seconds:g} s (boot_timeout).",
    Cause.BOOT: "failed to boot: it {how}.",
    Cause.STUCK: "was ended: it still had not left at the end of graceful_timeout.",
    Cause.HELD_CALL: "was ended: it did not let go of a call:",
    Cause.OUT_OF_MEMORY: "was sent SIGKILL! Out of memory: the kernel killed it, its control group says.",
    Cause.KILLED: "was sent SIGKILL! Not by the kernel for want of memory: somebody sent it.",
    Cause.KILLED_OR_OUT_OF_MEMORY: "was sent SIGKILL! Perhaps out of memory?",
    Cause.SIGNAL: "was sent {how}!",
    Cause.EXIT: "{how}.",
}


@attrs.frozen
class Request:
    """A request that was begun and not ended.

    Attributes:
        seconds: For how long.
        phase: ``app`` or ``response``.
    """

    method: str
    path: str
    seconds: float
    phase: str

    def __str__(self) -> str:
        return f"{self.method} {_printable(self.path)} for {self.seconds:.1f} s ({self.phase})"


@attrs.frozen
class DeathRecord:
    """The end of one worker.

    Attributes:
        cause: Why.
        at: Unix time, seconds.
        pid, number, slot, generation: Which worker; ``number`` is its running number (``worker.age``).
        exit_code, signal: One of them is None.
        seconds: The limit that was passed, where the cause is one.
        reason: What the worker said about it itself.
        lived: Seconds from its start.
        requests: How many it has served.
        memory: Bytes, shortly before the end; None when it ended by surprise.
        peak_memory: Most resident memory that it ever had, bytes; None where the system does not tell.
        in_flight: What it was doing, oldest first.
        stacks: Of all its threads, as ``faulthandler`` prints them; empty when there was no time for them.
    """

    cause: Cause
    at: float
    pid: int
    number: int
    slot: int
    generation: int
    exit_code: int | None
    signal: int | None
    seconds: float
    reason: str
    lived: float
    requests: int
    memory: Memory | None
    peak_memory: int | None
    in_flight: tuple[Request, ...]
    stacks: str

    @property
    def how(self) -> str:
        """The end as the kernel tells it."""
        if self.signal is not None:
            return signal_name(self.signal)
        return f"exited with code {self.exit_code}"

    def __str__(self) -> str:
        """The record as lines of text, the first of which says it all."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterable[str]:
        sentence = _SENTENCES[self.cause].format(seconds=self.seconds, how=self.how)
        yield f"Worker (pid:{self.pid}) {sentence}{' ' + self.reason if self.reason else ''}"
        yield f"  {self._identity()}"
        shown = self.in_flight[:_SHOWN]
        for request in shown:
            yield f"  in flight: {request}"
        if len(self.in_flight) > len(shown):
            yield f"  in flight: {len(self.in_flight) - len(shown)} more"
        if self.stacks:
            yield "  stacks:"
            yield from (f"    {line}" for line in _without_birth(self.stacks.splitlines()))

    def _identity(self) -> str:
        ended = f", {self.how}" if self.cause not in (Cause.SIGNAL, Cause.EXIT, Cause.BOOT) else ""
        facts = [f"worker {self.number} in slot {self.slot} of generation {self.generation}{ended}"]
        facts.append(f"lived {self.lived:.1f} s, {self.requests} requests")
        if self.memory is not None:
            facts.append(f"memory: {_megabytes(self.memory.private)} private")
        if self.peak_memory is not None:
            facts.append(f"peak: {_megabytes(self.peak_memory)} resident")
        return "; ".join(facts)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        record = attrs.asdict(self, recurse=False)
        record["cause"] = self.cause.value
        record["signal"] = None if self.signal is None else signal_name(self.signal)
        record["memory"] = None if self.memory is None else self.memory._asdict()
        record["in_flight"] = [attrs.asdict(request) for request in self.in_flight]
        return record


def in_flight(requests: Iterable[InFlight]) -> tuple[Request, ...]:
    """The requests of a slot's table, as of now.

    To be called before a worker is aborted: one that can still unwind clears its table on the way out.
    """
    now = time.monotonic()
    return tuple(Request(r.method, r.path, now - r.started, r.phase.name.lower()) for r in requests)


def signal_name(number: int) -> str:
    """Such as ``SIGKILL``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _without_birth(lines: Iterable[str]) -> Iterable[str]:
    """Leave out what every main thread has at its bottom: how the fork server came to be this worker."""
    is_shown = True
    for line in lines:
        is_shown = is_shown or not line.startswith("  File")
        if is_shown:
            yield line
        if _BIRTH in line:
            is_shown = False


def _megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:.1f} MB"


def _printable(path: str) -> str:
    """A path comes from a client; it may hold bytes that a terminal would obey."""
    return path.encode("unicode_escape").decode("ascii")
