"""The control socket, for looking into a server that runs."""

from __future__ import annotations

import os
from typing import Any

from gunicorn.config.kinds import Section
from gunicorn.config.validators import validate_string

__all__ = ["SETTINGS", "default_socket"]

_here = Section("Control")


def default_socket() -> str:
    """Where the socket of a server is that was told nothing, for this user."""
    directory = os.environ.get("XDG_RUNTIME_DIR", "")
    if not (directory and os.path.isdir(directory)):
        directory = os.path.join(os.path.expanduser("~"), ".gunicorn")
    return os.path.join(directory, "gunicorn.ctl")


def _path_or_off(value: Any) -> str | None:
    return validate_string(value) or None


SETTINGS = (
    _here.text(
        "control_socket",
        "--control-socket",
        None,
        """
        The path of the socket on which the server takes the commands of `gunicornc`. `None` or empty means
        that there is none. The default is `gunicorn.ctl` in `XDG_RUNTIME_DIR` where that directory exists,
        else in `~/.gunicorn`; without a home it is one of the [places](control.md#where-the-socket-is) that
        need none. A path that another live server has gets the process id as well.
        """,
        meta="PATH",
        validator=_path_or_off,
        default_factory=default_socket,
        default_text="$XDG_RUNTIME_DIR/gunicorn.ctl or ~/.gunicorn/gunicorn.ctl",
        since="25.1",
    ),
    _here.mode(
        "control_socket_mode",
        "--control-socket-mode",
        0o600,
        """
        The file mode of the control socket. Its owner and root may do everything; with write permission for
        it, so may the group of the file. Everybody else may look at most, with write permission for others.
        """,
        since="25.1",
    ),
    _here.switch(
        "control_socket_readonly",
        "--control-socket-readonly",
        False,
        "Commands on the control socket may look at the server but change nothing.",
        since="28.0",
    ),
    _here.switch(
        "control_socket_disable",
        "--no-control-socket",
        False,
        "No control socket, whatever `control_socket` says.",
        since="25.1",
    ),
)
