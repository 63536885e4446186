"""``asgi``: see ``gunicorn.workers.asgi``. This module is the public name."""

from __future__ import annotations

from gunicorn.workers.asgi.worker import ASGIWorker

__all__ = ["ASGIWorker"]
