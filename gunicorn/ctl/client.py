"""Another name of :mod:`gunicorn.control.client`."""

from __future__ import annotations

from gunicorn.control.client import ControlClient, ControlClientError

__all__ = ["ControlClient", "ControlClientError"]
