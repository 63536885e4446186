"""The control socket, for looking into a server that runs."""

from __future__ import annotations

import os
from typing import Any

from gunicorn.config.kinds import Section
from gunicorn.config.validators import validate_string

__all__ = ["SETTINGS"]

_here = Section("Control")


def _default_socket() -> str:
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
        The path of the socket on which the server takes commands. `None` or empty means that there is none.
        The default is `gunicorn.ctl` in `XDG_RUNTIME_DIR` where that directory exists, else in
        `~/.gunicorn`.
        """,
        meta="PATH",
        validator=_path_or_off,
        default_factory=_default_socket,
        default_text="$XDG_RUNTIME_DIR/gunicorn.ctl or ~/.gunicorn/gunicorn.ctl",
        since="25.1",
        effective=False,
    ),
    _here.mode(
        "control_socket_mode",
        "--control-socket-mode",
        0o600,
        "The file mode of the control socket. Whoever may write to it controls the server.",
        since="25.1",
        effective=False,
    ),
    _here.switch(
        "control_socket_disable",
        "--no-control-socket",
        False,
        "No control socket, whatever `control_socket` says.",
        since="25.1",
    ),
)
