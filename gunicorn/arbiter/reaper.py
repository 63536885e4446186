"""Children that nobody here asked for: as PID 1 of a container, or as subreaper, the arbiter inherits
orphans.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["reap_strangers"]


def reap_strangers(is_ours: Callable[[int], bool]) -> None:
    """Reap, silently, every ended child that is not ours.

    It peeks before it takes: the status of one of ours belongs to the task that supervises it. The kernel
    always shows the first ended child, so one of ours hides those behind it until its task has reaped it:
    call this again then.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or is_ours(ended.si_pid):
            return
        os.waitpid(ended.si_pid, 0)
