"""What the roster hears and says: how a child ended, and what has to be done."""

from __future__ import annotations

from typing import Union

import attrs

__all__ = [
    "Abandoned",
    "Action",
    "ChildExit",
    "CrashLooping",
    "Halt",
    "Promoted",
    "Retire",
    "SpawnChild",
    "Wake",
]


@attrs.frozen
class ChildExit:
    """How a child ended: by ``code`` or by ``signal``, whichever is not None.

    ``timed_out`` means that the arbiter ended it because it passed a deadline, ``reason`` is what the child
    (or the spawner) said. ``peak_memory`` is resident memory in bytes, where the system tells.
    """

    code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    reason: str = ""
    peak_memory: int | None = attrs.field(default=None, eq=False)

    def __str__(self) -> str:
        how = f"exit code {self.code}" if self.signal is None else f"signal {self.signal}"
        return f"{how}: {self.reason}" if self.reason else how


@attrs.frozen
class SpawnChild:
    """Ask ``generation``'s spawner for a worker in ``slot``."""

    slot: int
    age: int
    generation: int


@attrs.frozen
class Retire:
    """Stop the child ``age`` gracefully; it has been replaced or is no longer wanted."""

    age: int


@attrs.frozen
class Promoted:
    """The first worker of ``generation`` is ready: from now on replacements come from it."""

    generation: int


@attrs.frozen
class Abandoned:
    """The first worker of ``generation`` failed: the generation before it stays."""

    generation: int
    reason: str


@attrs.frozen
class CrashLooping:
    """Workers keep dying: the next one is tried ``seconds`` from now. ``failures`` in a row so far."""

    seconds: float
    failures: int


@attrs.frozen
class Halt:
    """End the server with ``exit_status``."""

    exit_status: int
    reason: str


@attrs.frozen
class Wake:
    """Nothing more to do before ``at`` (the clock of ``now``): call ``tick`` then."""

    at: float


Action = Union[SpawnChild, Retire, Promoted, Abandoned, CrashLooping, Halt, Wake]  # noqa: UP007 - evaluated on 3.10
