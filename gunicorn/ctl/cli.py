"""Another name of :mod:`gunicorn.control.cli`."""

from __future__ import annotations

from gunicorn.control.cli import main

__all__ = ["main"]
