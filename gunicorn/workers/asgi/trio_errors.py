"""Telling an application's errors from our cancellation, which may come in one group."""

from __future__ import annotations

import sys

import trio

if sys.version_info < (3, 11):
    # Where the interpreter has no groups, trio brings them.
    from exceptiongroup import BaseExceptionGroup

__all__ = ["cancelled_part", "own_part"]


def own_part(error: BaseException | None) -> BaseException | None:
    """What of ``error`` is the application's."""
    if isinstance(error, BaseExceptionGroup):
        own: BaseException | None = error.split(trio.Cancelled)[1]
        return own
    return None if isinstance(error, trio.Cancelled) else error


def cancelled_part(error: BaseException | None) -> BaseException | None:
    """What of ``error`` must reach the cancel scope."""
    if isinstance(error, BaseExceptionGroup):
        cancelled: BaseException | None = error.split(trio.Cancelled)[0]
        return cancelled
    return error if isinstance(error, trio.Cancelled) else None
