"""Process titles as ``ps`` shows them."""

from __future__ import annotations

import sys

__all__ = ["set_title"]


def set_title(role: str, name: str) -> None:
    """Show this process as ``gunicorn: ROLE [NAME]`` when setproctitle is installed.

    Never on macOS, where setproctitle loads frameworks that do not survive a fork.
    """
    if sys.platform == "darwin":
        return
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(f"gunicorn: {role} [{name}]")
