"""What the start of a dirty arbiter hands to its loop, and the names that both know. Free of trio."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket

    from gunicorn.arbiter.launch import Launch
    from gunicorn.process.channel import Channel
    from gunicorn.process.forkserver import ForkServer
    from gunicorn.process.slots import Slots

__all__ = ["POOL", "SIGNALS", "VARIABLE", "Boot"]

#: ``<channel fd>,<listener fd>`` in a dirty arbiter; ``pool`` in a fork server that it has started by exec.
VARIABLE = "GUNICORN_DIRTY_ARBITER"
POOL = "pool"
SIGNALS = tuple(
    getattr(signal, f"SIG{name}") for name in ("TERM", "INT", "QUIT", "HUP", "USR1", "TTIN", "TTOU")
)


class Boot(NamedTuple):
    """What the start has made and the loop takes over."""

    launch: Launch
    slots: Slots
    fork_server: ForkServer
    master: Channel
    listener: socket.socket
    early: list[int]
