"""What the words of a command, and the data of its answer, mean to the one who waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.control import commands
from gunicorn.control.arguments import WAIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["DONE", "FAILED", "UNFINISHED", "exit_status", "patience"]

DONE, FAILED, UNFINISHED = 0, 1, 3


def patience(words: Sequence[str]) -> float:
    """Seconds to wait for the answer: a little longer than the server's own deadline."""
    try:
        return commands.parse("", words).seconds + commands.SLACK
    except ValueError:
        # Perhaps a newer server knows it; otherwise it says what is wrong at once.
        return WAIT + 2 * commands.SLACK


def exit_status(words: Sequence[str], data: Mapping[str, Any]) -> int:
    """The status that tells a script what the answer to the command ``words`` says."""
    if data.get("success") is False:
        return FAILED
    # A server that does not know --wait has only begun.
    if len(words) > 1 and data.get("status") == "reloading":
        return UNFINISHED
    if data.get("done") is False or data.get("gone") is False or data.get("remaining"):
        return UNFINISHED
    return DONE
