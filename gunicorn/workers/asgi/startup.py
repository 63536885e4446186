"""``lifespan_timeout``: an application that does not start in time is a boot failure.

The loop's own timer comes first, and cancels the application. A thread stands behind it, for one that blocks
the loop or does not let itself be cancelled. The arbiter's deadline for the boot is the last resort.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

from gunicorn.process.messages import BootFailed

if TYPE_CHECKING:
    from gunicorn.workers.asgi.worker import ASGIWorker

__all__ = ["BOOT_FAILURE", "StartupWatch"]

#: The exit code of a worker whose application does not start.
BOOT_FAILURE = 3
# What cleanup gets between the loop's timer and the thread; seconds.
_CLEANUP = 2.0
# The innermost frames are the application's.
_FRAMES = 16
# From the thread to the arbiter, which would name another setting; seconds.
_MARGIN = 1.0


class StartupWatch:
    """The time that the lifespan's startup may take. To be made when the application is loaded.

    Attributes:
        seconds: ``lifespan_timeout``; 0 is no limit.
    """

    def __init__(self, worker: ASGIWorker) -> None:
        self.seconds: float = worker.cfg.lifespan_timeout
        self._worker = worker
        self._over = threading.Event()
        self._is_told = False
        self._thread: threading.Thread | None = None
        if self.seconds:
            self._begin()

    def _begin(self) -> None:
        slot = self._worker.slot
        if slot is not None:
            # This deadline has its own setting, so a shorter rest of the boot's must not come first.
            slot.deadline = max(slot.deadline, time.monotonic() + self.seconds + _CLEANUP + _MARGIN)
        # Not joined when the startup failed: then the process ends, and until then the thread must see to it.
        self._thread = threading.Thread(target=self._watch, name="lifespan_timeout", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """The startup is over in time, well or not."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def expire(self) -> str:
        """The time is over, says the loop's timer: why the worker cannot serve, logged."""
        self._is_told = True
        self._worker.log.error("%s", self._failure)
        return self._failure

    @property
    def _failure(self) -> str:
        return f"Application startup failed: not complete after {self.seconds:g} s (lifespan_timeout)"

    def _watch(self) -> None:
        if self._over.wait(self.seconds + _CLEANUP):
            return
        if not self._is_told:
            self._worker.log.error("%s; the event loop is blocked here:\n%s", self._failure, _main_stack())
        self._worker.tell(BootFailed(BOOT_FAILURE, self._failure))
        # The main thread cannot be interrupted.
        os._exit(BOOT_FAILURE)


def _main_stack() -> str:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return "".join(traceback.format_stack(frame, _FRAMES)).rstrip() if frame is not None else ""
