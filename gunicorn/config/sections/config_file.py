"""Which configuration file is read, and which application is served when the command line names none."""

from __future__ import annotations

from gunicorn.config.kinds import Section

__all__ = ["SETTINGS"]

_here = Section("Config File")

SETTINGS = (
    _here.text(
        "config",
        "-c --config",
        "./gunicorn.conf.py",
        """
        The configuration file, which is Python: `PATH`, `file:PATH`, or `python:MODULE` for a module that
        can be imported. Each name at its top level that is the name of a setting sets it. Only the command
        line and `GUNICORN_CMD_ARGS` can choose the file; without a choice, `gunicorn.conf.py` of the
        current directory is read when it exists.
        """,
        meta="CONFIG",
    ),
    _here.text(
        "wsgi_app",
        "",
        None,
        """
        The application to serve when the command line names none, as `MODULE:NAME` or
        `MODULE:FACTORY(ARGUMENTS)`.
        """,
    ),
)
