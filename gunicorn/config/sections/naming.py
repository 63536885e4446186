"""The names of the processes."""

from __future__ import annotations

from gunicorn.config.kinds import Section

__all__ = ["SETTINGS"]

_here = Section("Process Naming")

SETTINGS = (
    _here.text(
        "proc_name",
        "-n --name",
        None,
        """
        The name that `ps` and `top` show, useful when a machine runs several servers. Needs the
        setproctitle package. Without it the application's import string is shown.
        """,
    ),
    _here.text(
        "default_proc_name",
        "",
        "gunicorn",
        """
        The process name when `proc_name` is not set. The command sets it to the application's import
        string.
        """,
        meta=None,
    ),
)
