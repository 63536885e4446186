"""The state of the master process: what hooks and the parts of the arbiter see of it.

Everything below ``gunicorn.arbiter.startup`` is written against this class; ``run`` is added above it.
"""

from __future__ import annotations

import collections
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gunicorn.arbiter.death import DeathRecord
    from gunicorn.process.listeners import Listener
    from gunicorn.process.pidfile import Pidfile

__all__ = ["Master", "WorkerView"]

#: Records that are kept. One is some kilobytes, most of it stacks.
_DEATHS = 64


class WorkerView:
    """What the arbiter and its hooks see of a worker; the worker object itself lives in another process."""

    def __init__(self, pid: int, age: int, slot: int, generation: int) -> None:
        self.pid = pid
        self.age = age
        self.slot = slot
        self.generation = generation

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"


class Master:
    """The master process.

    Args:
        app: The application object of ``gunicorn.app``, with its configuration loaded.

    Attributes:
        cfg, log, app: Configuration, logger, application object.
        pid: Process id.
        address: The configured addresses.
        LISTENERS: The listening sockets.
        WORKERS: Process id to ``WorkerView``.
        proc_name: Name in the process title.
        master_name: ``Master``, or ``Master.2`` during an upgrade.
        deaths: The latest records of workers that did not end as planned.
    """

    def __init__(self, app: Any) -> None:
        os.environ["SERVER_SOFTWARE"] = _server_software()
        self.app = app
        self.cfg = app.cfg
        self.log: Any = None
        self.pid = os.getpid()
        self.LISTENERS: list[Listener] = []
        self.WORKERS: dict[int, WorkerView] = {}
        self.master_name = "Master"
        self.deaths: collections.deque[DeathRecord] = collections.deque(maxlen=_DEATHS)
        self.has_inherited = False
        self.pidfile: Pidfile | None = None
        self._num_workers: int | None = None

    @property
    def address(self) -> list[Any]:
        """The configured addresses."""
        addresses: list[Any] = self.cfg.address
        return addresses

    @property
    def proc_name(self) -> str:
        """Name in the process title, as configured now."""
        name: str = self.cfg.proc_name
        return name

    @property
    def num_workers(self) -> int:
        """How many workers are wanted; setting it calls ``nworkers_changed``."""
        return self._num_workers or 0

    @num_workers.setter
    def num_workers(self, count: int) -> None:
        before, self._num_workers = self._num_workers, count
        if count != before:
            self.cfg.nworkers_changed(self, count, before)

    def scaled(self, count: int) -> None:
        """The running server wants ``count`` workers from now on."""
        before, self._num_workers = self._num_workers, count
        if count != before:
            self.call_hook("nworkers_changed", self, count, before)

    def call_hook(self, name: str, *args: Any) -> None:
        """Call a hook of a running server; what it raises is logged and never stops the service."""
        try:
            getattr(self.cfg, name)(*args)
        except Exception:
            # Any error at all: the hook is the user's code, and the workers must not pay for it.
            self.log.exception("Exception in the %s hook", name)


def _server_software() -> str:
    from gunicorn import SERVER_SOFTWARE

    return SERVER_SOFTWARE
