"""What commands may be given: numbers, process ids, times."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RELOAD_WAIT", "WAIT", "count_of", "pid_of", "worth_waiting"]

#: For what should have happened by the time of the answer, seconds: less than the 30 for which clients wait.
WAIT = 20.0
#: A reload that is waited for, unless the command says otherwise, seconds.
RELOAD_WAIT = 120.0


def worth_waiting(args: Sequence[str]) -> float:
    """Seconds for which the answer to a reload with these arguments may take.

    Raises:
        ValueError: not a number of seconds.
    """
    if len(args) < 2:
        return RELOAD_WAIT if args else WAIT
    try:
        seconds = float(args[1])
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86400:
        raise ValueError(f"--wait takes seconds, from 1 to 86400, not {args[1]!r}")
    return seconds


def count_of(args: Sequence[str], default: int = 1) -> int:
    """The number of workers, or of records, at least 1.

    Raises:
        ValueError: not a number.
    """
    return max(1, _number(args[0], "N")) if args else default


def pid_of(args: Sequence[str], command: str) -> int:
    """The worker that ``command`` is about.

    Raises:
        ValueError: there is none, or it is not a number.
    """
    if not args:
        raise ValueError(f"Missing PID for {command}")
    return _number(args[0], "PID")


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} is a whole number, not {text!r}") from None
