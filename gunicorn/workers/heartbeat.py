"""The ``worker.tmp`` of old, for classes that poke it instead of calling ``worker.notify()``."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gunicorn.process.slots import Slot

__all__ = ["Heartbeat"]


class Worker(Protocol):
    """What a beat needs of the worker."""

    slot: Slot | None
    cfg: Any

    @property
    def PIPE(self) -> Sequence[int]: ...


class Heartbeat:
    """Beats for a worker.

    The file that it once was is gone: a beat is a deadline in shared memory (``slot.deadline``).
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._last = time.monotonic()

    def notify(self) -> None:
        """Promise to beat again within ``timeout`` seconds; 0 promises nothing."""
        self._last = now = time.monotonic()
        slot = self._worker.slot
        if slot is not None:
            timeout = self._worker.cfg.timeout
            slot.deadline = now + timeout if timeout else math.inf

    def last_update(self) -> float:
        """Monotonic seconds of the latest beat."""
        return self._last

    def fileno(self) -> int:
        """A descriptor of this process, for code that marks it close-on-exec."""
        return self._worker.PIPE[0]

    def close(self) -> None:
        """Nothing to close; here for classes that do."""
