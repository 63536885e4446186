"""How long a worker may take, and how workers are asked to stop."""

from __future__ import annotations

import signal

import attrs

__all__ = ["StopPlan", "Timing"]


@attrs.define
class StopPlan:
    """How workers are asked to stop, shared by all: one signal, and one absolute deadline (trio clock) when
    the server ends. With ``hands_over`` their tasks end and they do not: another process image takes them.
    """

    signal: int = signal.SIGTERM
    deadline: float = float("inf")
    hands_over: bool = False


@attrs.frozen
class Timing:
    """Seconds; 0 is off."""

    liveness: float
    graceful: float
    boot: float = 0.0
