"""What one image of the arbiter leaves to the next when it replaces itself by exec: same process, new code.

The table is JSON in an anonymous file whose descriptor goes through the exec, as do all those that it names.
Read before trio is imported, hence without attrs.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn.errors import ConfigError
from gunicorn.process import lineage, slots

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CHECK_VARIABLE", "FORMAT", "VARIABLE", "Handover", "Heir", "Spawning", "is_possible", "receive"]

#: Names the descriptor.
VARIABLE = "GUNICORN_HANDOVER"
#: Asks a new image whether it can take over; its value is the FORMAT of who asks.
CHECK_VARIABLE = "GUNICORN_HANDOVER_CHECK"
#: Whoever has another one must not read this table, nor the shared memory that it names.
FORMAT = f"1/{slots.LAYOUT}"


class Heir(NamedTuple):
    """A worker: what the roster knows of it, then its descriptors."""

    age: int
    slot: int
    generation: int
    state: str
    pid: int
    report: int
    stacks: int
    pidfd: int


class Spawning(NamedTuple):
    """The channel of a process that forks workers of ``generation``; 0 only holds one that does."""

    generation: int
    channel: int


class Handover(NamedTuple):
    """All of it. ``listeners`` pairs each descriptor with the address that it was
    configured by, ``wanted`` is the number of workers, ``age`` that of the latest."""

    slots: int
    listeners: list[tuple[int, Any]]
    is_systemd: bool
    generation: int
    wanted: int
    age: int
    heirs: list[Heir]
    spawners: list[Spawning]

    def descriptors(self) -> list[int]:
        """Those that have to stay open."""
        return [self.slots, *(fd for fd, _ in self.listeners), *self.channels()]

    def channels(self) -> list[int]:
        """Those of them that no other process may hold: their end is news to whoever has the other end."""
        of_workers = [fd for heir in self.heirs for fd in (heir.report, heir.stacks, heir.pidfd)]
        return [*(spawner.channel for spawner in self.spawners), *of_workers]

    def store(self) -> int:
        """A descriptor from which the next image reads this."""
        fd = os.memfd_create("gunicorn-handover")
        with os.fdopen(os.dup(fd), "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(self, file)
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def become_next_image(self, argv: tuple[str, ...], cwd: str, environ: Mapping[str, str]) -> None:
        """Replace this process.

        Raises:
            OSError: it could not be; nothing of this process is usable any more.
        """
        fd = self.store()
        for descriptor in (fd, *self.descriptors()):
            os.set_inheritable(descriptor, True)
        # The next image finds its listeners in the table, wherever this one has them from.
        passed = {name: value for name, value in environ.items() if name not in _SOCKET_VARIABLES}
        os.chdir(cwd)
        os.execve(argv[0], argv, {**passed, VARIABLE: str(fd)})


_SOCKET_VARIABLES = frozenset({"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "GUNICORN_FD", "GUNICORN_PID"})


def is_possible() -> bool:
    """Whether an arbiter can be replaced here: its workers have to be its own children."""
    return lineage.are_adopted() and hasattr(os, "memfd_create")


def receive() -> Handover | None:
    """What the image before this one has left, once; None at an ordinary start.

    Raises:
        ConfigError: the variable was not set by another image.
    """
    number = os.environ.pop(VARIABLE, "")
    if not number:
        return None
    try:
        with os.fdopen(int(number), encoding="utf-8", errors="surrogateescape") as file:
            table = Handover(*json.load(file))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{VARIABLE} is set by Gunicorn itself; unset it ({error})") from error
    handover = table._replace(
        listeners=[(fd, _address(configured)) for fd, configured in table.listeners],
        heirs=[Heir(*heir) for heir in table.heirs],
        spawners=[Spawning(*spawner) for spawner in table.spawners],
    )
    for descriptor in handover.descriptors():
        os.set_inheritable(descriptor, False)
    return handover


def _address(configured: Any) -> Any:
    return tuple(configured) if isinstance(configured, list) else configured
