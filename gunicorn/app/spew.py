"""The ``spew`` setting: print every line that runs."""

from __future__ import annotations

import linecache
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["spew"]


def spew() -> None:
    """Trace this thread and those that start later, in this process and in those forked from it."""
    threading.settrace(_trace)
    sys.settrace(_trace)


def _trace(frame: FrameType, event: str, arg: Any) -> Any:
    if event == "line":
        filename, number = frame.f_code.co_filename, frame.f_lineno
        line = linecache.getline(filename, number, frame.f_globals).rstrip()
        print(f"{frame.f_globals.get('__name__', '?')}:{number}: {line}", file=sys.stderr)
    return _trace
