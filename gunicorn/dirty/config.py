"""The configuration as the pool's fork server sees it: the user's, without what is about the web."""

from __future__ import annotations

from typing import Any

__all__ = ["PoolApplication", "PoolConfig"]


def _nothing(*args: Any) -> None:
    """Stands for a hook that is about web workers."""


class PoolConfig:
    """A view of ``cfg``. The spawner makes workers of ``worker_class``, so here that is the pool's own."""

    timeout = 0  # calls have deadlines of their own, kept by the dirty arbiter
    boot_timeout = 0
    preload_app = False
    max_requests = 0
    reuse_port = False
    pre_fork = staticmethod(_nothing)
    post_fork = staticmethod(_nothing)
    post_worker_init = staticmethod(_nothing)
    worker_int = staticmethod(_nothing)
    worker_abort = staticmethod(_nothing)
    worker_exit = staticmethod(_nothing)

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg

    @property
    def worker_class(self) -> type[Any]:
        # Only where workers are made: the arbiter's process has no use for their modules.
        from gunicorn.dirty.worker import DirtyWorker

        return DirtyWorker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cfg, name)


class PoolApplication:
    """A view of the application object, for molds: they re-read its configuration."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.cfg = PoolConfig(app.cfg)

    def do_load_config(self) -> None:
        """Read the configuration again."""
        self._app.do_load_config()
        self.cfg = PoolConfig(self._app.cfg)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)
