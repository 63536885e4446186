"""Detaching from the terminal (daemon(7), the steps for SysV daemons)."""

from __future__ import annotations

import os
import sys

__all__ = ["daemonize"]

_UMASK = 0o022


def daemonize(inherit_stdio: bool) -> None:
    """Go on in the background: in a new session, without a terminal. The calling process exits with status 0.

    A server started by another one during an upgrade (``GUNICORN_FD``) is detached already and stays as it
    is.

    Args:
        inherit_stdio: Keep those of stdin, stdout and stderr that are not terminals.
    """
    if "GUNICORN_FD" in os.environ:
        return
    if "NOTIFY_SOCKET" in os.environ:
        print(
            "Warning: systemd waits for this process (NOTIFY_SOCKET is set); do not set daemon in a service",
            file=sys.stderr,
            flush=True,
        )
    _leave_parent()
    os.setsid()
    # A session leader that opens a terminal gets it as its own; its child is no leader.
    _leave_parent()
    os.umask(_UMASK)
    _redirect(inherit_stdio)


def _leave_parent() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if os.fork():
        os._exit(0)


def _redirect(inherit_stdio: bool) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        if not (inherit_stdio and _is_kept(fd)):
            os.dup2(null, fd, inheritable=True)
    if null > 2:
        os.close(null)


def _is_kept(fd: int) -> bool:
    """Whether ``fd`` is open and not a terminal, which would go away with its window."""
    try:
        return not os.isatty(fd) and os.fstat(fd) is not None
    except OSError:
        return False
