"""Telling an application's errors from our cancellation, which may come in one group."""

from __future__ import annotations

import sys
from math import inf

import trio

if sys.version_info < (3, 11):
    # Where the interpreter has no groups, trio brings them.
    from exceptiongroup import BaseExceptionGroup

__all__ = ["divide"]


def divide(error: BaseException | None) -> tuple[BaseException | None, BaseException | None]:
    """What of ``error`` is the application's own, and what must reach the cancel scope that it belongs to."""
    if trio.current_effective_deadline() > -inf:
        # Nobody cancels here: a Cancelled that the application has kept and raised again is its own mistake.
        return error, None
    if isinstance(error, BaseExceptionGroup):
        cancelled, own = error.split(trio.Cancelled)
        return own, cancelled
    return (None, error) if isinstance(error, trio.Cancelled) else (error, None)
