"""What the start hands over to the loop, and what both need to know.

Written without attrs: it is imported on the way to the first answer, and attrs costs as much as all the rest.
"""

from __future__ import annotations

import math
import signal
import time
from typing import TYPE_CHECKING, Any

from gunicorn.process.slots import SlotState

if TYPE_CHECKING:
    from gunicorn.arbiter.handover import Handover
    from gunicorn.arbiter.launch import Launch
    from gunicorn.dirty.home import Home
    from gunicorn.process.forkserver import ForkServer
    from gunicorn.process.listeners import Listener
    from gunicorn.process.messages import Spawn
    from gunicorn.process.slots import Slot, Slots

__all__ = ["SIGNALS", "Boot", "boot_seconds", "prepare_slot"]

#: The signals that the arbiter acts upon.
SIGNALS = tuple(
    getattr(signal, f"SIG{name}")
    for name in ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "TTIN", "TTOU", "WINCH")
)


class Boot:
    """What the start has made and the loop takes over.

    Attributes:
        early: Numbers of the signals that came before the loop.
        orders: Workers already asked for; none when a mold has to load the application first
            (``needs_mold``).
        predecessor: Process id of the server that this one upgrades, or 0.
        successor: Process id of the server that upgrades this one, or 0.
        is_systemd: The listeners are systemd's.
        inheritance: What another image of this process has left, which this one takes over.
        former_listeners: Those of the workers that are taken over.
        generation: The generation of the workers that the fork server makes.
        bequest: Set at the end of the loop when this image is to be replaced.
        pool: The socket of the dirty arbiter; None without one.
    """

    def __init__(
        self,
        launch: Launch,
        early: list[int],
        slots: Slots,
        fork_server: ForkServer,
        *,
        predecessor: int,
        is_systemd: bool,
        inheritance: Handover | None = None,
    ) -> None:
        self.launch = launch
        self.early = early
        self.slots = slots
        self.fork_server = fork_server
        self.predecessor = predecessor
        self.is_systemd = is_systemd
        self.orders: list[Spawn] = []
        self.needs_mold = False
        self.successor = 0
        self.inheritance = inheritance
        self.generation = inheritance.generation + 1 if inheritance is not None else 1
        self.former_listeners: list[Listener] = []
        self.bequest: Handover | None = None
        self.pool: Home | None = None

    @property
    def owns_socket_files(self) -> bool:
        """Nobody else needs the files of unix sockets after this process."""
        return not (self.is_systemd or self.predecessor or self.successor)


def prepare_slot(slot: Slot, generation: int, boot_seconds: float) -> None:
    """Make ``slot`` ready for a worker that is about to be forked, which has ``boot_seconds`` (0: any time)
    to boot.
    """
    slot.reset()
    slot.state = SlotState.BOOTING
    slot.generation = generation
    slot.started = time.monotonic()
    slot.deadline = slot.started + boot_seconds if boot_seconds else math.inf


def boot_seconds(cfg: Any) -> float:
    """The deadline of a boot: its own one, or that of liveness."""
    seconds: float = cfg.boot_timeout or cfg.timeout
    return seconds
