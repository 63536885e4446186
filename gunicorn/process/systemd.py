"""The systemd side of a service: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3)."""

from __future__ import annotations

import os
import socket

__all__ = ["FIRST_FD", "listen_fds", "notify", "watchdog_interval"]

FIRST_FD = 3


def listen_fds() -> list[int]:
    """The descriptors of socket activation that are meant for this process; the variables are removed.

    They are removed even when they name another process: no child may take them for its own.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    return list(range(FIRST_FD, FIRST_FD + int(count)))


def notify(text: str) -> bool:
    """Send one datagram such as ``READY=1`` to ``NOTIFY_SOCKET``; whether somebody was there to take it.

    A service manager that does not listen is no reason to stop serving, so no error leaves this function.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        # Never wait for a manager whose queue is full: this is called from the event loop's thread.
        sock.setblocking(False)
        try:
            sock.sendto(text.encode(), address)
        except OSError:
            return False
    return True


def watchdog_interval() -> float | None:
    """Seconds within which ``WATCHDOG=1`` is due each time, or None when no watchdog watches this process."""
    pid, period = os.environ.get("WATCHDOG_PID", ""), os.environ.get("WATCHDOG_USEC", "")
    if not period.isdecimal() or int(period) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(period) / 1_000_000
