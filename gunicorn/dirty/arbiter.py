"""The state of the dirty arbiter: what hooks and the parts of it see. Free of any event loop."""

from __future__ import annotations

import os
from typing import Any

from gunicorn.dirty.specs import parse_all

__all__ = ["DirtyArbiter", "DirtyWorkerView"]


class DirtyWorkerView:
    """What the dirty arbiter and its hooks see of a worker; the worker object lives in another process."""

    def __init__(self, pid: int, age: int) -> None:
        self.pid = pid
        self.age = age

    def __str__(self) -> str:
        return f"<DirtyWorker {self.pid}>"


class DirtyArbiter:
    """The process that owns the pool.

    Args:
        app: The application object of ``gunicorn.app``, with its configuration loaded.
        socket_path: Where callers connect.

    Attributes:
        cfg, log, app: Configuration, logger, application object.
        pid: Process id.
        workers: Process id to ``DirtyWorkerView``.
        num_workers: Workers wanted.
    """

    def __init__(self, app: Any, socket_path: str) -> None:
        self.app = app
        self.cfg = app.cfg
        self.log: Any = None
        self.pid = os.getpid()
        self.socket_path = socket_path
        self.workers: dict[int, DirtyWorkerView] = {}
        self.num_workers: int = self.cfg.dirty_workers

    @property
    def paths(self) -> list[str]:
        """The configured classes.

        Raises:
            ConfigError: one is not a class path.
        """
        return [spec.path for spec in parse_all(self.cfg.dirty_apps)]

    def call_hook(self, name: str, *args: Any) -> None:
        """Call a hook; what it raises is logged and never stops the pool."""
        try:
            getattr(self.cfg, name)(*args)
        except Exception:
            # Any error at all: the hook is the user's code, and calls must not pay for it.
            self.log.exception("Exception in the %s hook", name)
