"""When a worker has had its time: age and memory. Its requests (``max_requests``) it counts itself."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import attrs
import trio

from gunicorn.process import memory

if TYPE_CHECKING:
    from gunicorn.arbiter.log import Log

__all__ = ["Limits", "until_worn_out"]

_MEGABYTE = 1 << 20


@attrs.define
class Limits:
    """How long a worker may live, and how big it may get; 0 is for ever.

    Attributes:
        lifetime, jitter: Seconds.
        memory: Private bytes.
        is_impossible: A fresh worker was over the memory limit, and the log says so.
    """

    lifetime: float = 0.0
    jitter: float = 0.0
    memory: int = 0
    is_impossible: bool = False

    @classmethod
    def from_config(cls, cfg: Any) -> Limits:
        return cls(cfg.max_worker_lifetime, cfg.max_worker_lifetime_jitter, cfg.max_worker_memory)

    def lifespan(self) -> float:
        """Seconds for one worker, its jitter included; inf without a limit."""
        return self.lifetime + random.uniform(0, self.jitter) if self.lifetime else math.inf


async def until_worn_out(pid: int, limits: Limits, log: Log) -> str:
    """Wait until the worker ``pid``, which has just become ready, should be replaced; why."""
    with trio.move_on_after(limits.lifespan()):
        return await _until_too_big(pid, limits, log)
    return "max_worker_lifetime"


async def _until_too_big(pid: int, limits: Limits, log: Log) -> str:
    if not limits.memory or _is_born_too_big(pid, limits, log):
        await trio.sleep_forever()
    while True:
        # Spread out: workers that become ready together would else be looked at in the same turn of the loop.
        await trio.sleep(memory.CHECK_EVERY * random.uniform(0.8, 1.2))
        used = memory.measure(pid)
        if used is not None and used.private > limits.memory:
            return f"max_worker_memory ({_megabytes(used.private)} private)"


def _is_born_too_big(pid: int, limits: Limits, log: Log) -> bool:
    """A replacement would be as big, and so would be its replacement: the loop must not begin."""
    used = memory.measure(pid)
    if used is None or used.private <= limits.memory:
        return False
    if not limits.is_impossible:
        limits.is_impossible = True
        log.error(
            "max_worker_memory: %s cannot be kept, a fresh worker (pid:%s) has %s private already",
            _megabytes(limits.memory),
            pid,
            _megabytes(used.private),
        )
    return True


def _megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:.1f} MB"
