"""The table of settings, a module per section, in the order of the documentation."""

from __future__ import annotations

from gunicorn.config.sections import (
    config_file,
    control,
    debugging,
    dirty,
    headers,
    hooks,
    http2,
    logs,
    mechanics,
    naming,
    security,
    server_socket,
    tls,
    workers,
)
from gunicorn.config.setting import register

__all__ = ["SECTIONS"]

SECTIONS = (
    config_file,
    server_socket,
    workers,
    security,
    debugging,
    mechanics,
    headers,
    logs,
    naming,
    hooks,
    tls,
    http2,
    dirty,
    control,
)

for section in SECTIONS:
    register(section.SETTINGS)
