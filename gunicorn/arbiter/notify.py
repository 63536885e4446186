"""What the service manager is told: systemd's sd_notify(3) protocol, at the moments at which it is true."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import trio

from gunicorn.process import systemd

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Notifier", "Progress"]


class Progress(Protocol):
    """How far the workers are; the roster knows."""

    @property
    def count(self) -> int: ...
    @property
    def serving(self) -> int: ...
    @property
    def is_settled(self) -> bool: ...
    @property
    def is_crash_looping(self) -> bool: ...


class Notifier:
    """Tells what has changed since it last told.

    ``READY=1`` waits for the workers: a unit that is ordered after this one, or a balancer that waits for
    ``systemctl start``, would otherwise meet a server whose application still loads, or will never load.
    """

    def __init__(self, notify: Callable[[str], bool] = systemd.notify) -> None:
        self._notify = notify
        self._is_ready = False
        self._status = ""

    def update(self, progress: Progress) -> None:
        """Look at the workers, tell if that is news."""
        trouble = ", crash-looping" if progress.is_crash_looping else ""
        status = f"STATUS={progress.serving} of {progress.count} workers serve{trouble}"
        if not self._is_ready and progress.is_settled:
            self._is_ready = True
            self._tell("READY=1", status)
        elif status != self._status:
            self._tell(status)
        self._status = status

    def reloading(self) -> None:
        """A reload has begun; ``update`` tells when it is over (sd_notify(3), RELOADING)."""
        self._is_ready = False
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=Reloading")

    def unchanged(self, reason: str) -> None:
        """The reload did not come to pass; the server serves as before."""
        self._is_ready = True
        self._tell("READY=1", f"STATUS=Reload failed: {reason.partition(chr(10))[0]}")

    def draining(self, seconds: float, graceful: float) -> None:
        """The end has been asked for, and comes in ``seconds``; the stop may take ``graceful`` more."""
        microseconds = round((seconds + graceful + 5) * 1_000_000)
        self._tell(
            "STOPPING=1",
            f"EXTEND_TIMEOUT_USEC={microseconds}",
            f"STATUS=Stopping in {seconds:g} s, serving until then",
        )

    def stopping(self) -> None:
        """The end has begun."""
        self._tell("STOPPING=1", "STATUS=Stopping")

    def successor(self, pid: int) -> None:
        """An upgraded server takes over: it is the main process of the service from now on."""
        self._tell(f"MAINPID={pid}")

    async def watchdog(self, progress: Progress) -> None:
        """Beat for the manager's watchdog at half its interval, but only while somebody serves who should."""
        interval = systemd.watchdog_interval()
        if interval is None:
            return
        while True:
            if progress.serving or not progress.count:
                self._tell("WATCHDOG=1")
            await trio.sleep(interval / 2)

    def _tell(self, *lines: str) -> None:
        self._notify("\n".join(lines))
