"""The ``Arbiter`` that applications and hooks see."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import attrs

from gunicorn.errors import ConfigError, HaltServer

if TYPE_CHECKING:
    from gunicorn.process.listeners import Listener
    from gunicorn.process.pidfile import Pidfile

__all__ = ["Arbiter", "WorkerView"]


@attrs.define
class WorkerView:
    """What the arbiter and its hooks see of a worker; the worker object itself lives in another process."""

    pid: int
    age: int
    slot: int
    generation: int

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"


class Arbiter:
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

    def run(self) -> None:
        """Serve until the end, then leave the process with the server's exit status."""
        from gunicorn.arbiter import startup

        try:
            status = startup.serve(self)
        except HaltServer as halt:
            status = halt.exit_status
        except ConfigError as error:
            self._complain(str(error))
            status = error.exit_code
        sys.exit(status)

    def call_hook(self, name: str, *args: Any) -> None:
        """Call a hook of a running server; what it raises is logged and never stops the service."""
        try:
            getattr(self.cfg, name)(*args)
        except Exception:
            # Any error at all: the hook is the user's code, and the workers must not pay for it.
            self.log.exception("Exception in the %s hook", name)

    def _complain(self, line: str) -> None:
        if self.log is not None:
            self.log.error(line)
        else:
            print(f"gunicorn: error: {line}", file=sys.stderr)


def _server_software() -> str:
    from gunicorn import SERVER_SOFTWARE

    return SERVER_SOFTWARE
