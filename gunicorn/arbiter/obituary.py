"""One record for each worker that died, as loud as the death deserves."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gunicorn.arbiter.child import Child, Log
    from gunicorn.arbiter.roster import ChildExit

__all__ = ["log_death", "log_requests"]

#: More requests than this in one line help nobody.
_SHOWN = 8


def log_death(log: Log, child: Child, ended: ChildExit, *, by_us: bool) -> None:
    """Log the end of ``child``. ``by_us``: the arbiter killed it and has said why already."""
    if ended.signal is not None:
        _log_signal(log, child.pid, ended.signal, by_us=by_us)
    elif ended.code and not by_us:
        log.error("Worker (pid:%s) exited with code %s.%s", child.pid, ended.code, _because(ended.reason))
    if not by_us and (ended.signal not in (None, signal.SIGTERM) or ended.code):
        log_requests(log, child)


def _log_signal(log: Log, pid: int, number: int, *, by_us: bool) -> None:
    name = _signal_name(number)
    if by_us:
        log.info("Worker (pid:%s) ended by %s.", pid, name)
    elif number == signal.SIGKILL:
        log.error("Worker (pid:%s) was sent SIGKILL! Perhaps out of memory?", pid)
    elif number == signal.SIGTERM:
        log.info("Worker (pid:%s) was sent SIGTERM!", pid)
    else:
        log.warning("Worker (pid:%s) was sent %s!", pid, name)


def log_requests(log: Log, child: Child) -> None:
    """What the worker does, or did: the reason why this is in shared memory and not in the worker.

    To be called before a worker is aborted: one that can still unwind clears its table on the way out.
    """
    requests = child.slot.table.snapshot()
    if not requests:
        return
    now = time.monotonic()
    shown = ", ".join(f"{r.method} {_printable(r.path)} ({now - r.started:.1f} s)" for r in requests[:_SHOWN])
    more = f" and {len(requests) - _SHOWN} more" if len(requests) > _SHOWN else ""
    log.error("Worker (pid:%s) was in %s%s, after %s requests", child.pid, shown, more, child.slot.requests)


def _because(reason: str) -> str:
    return f" {reason}" if reason else ""


def _printable(path: str) -> str:
    """A path comes from a client; it may hold bytes that a terminal would obey."""
    return path.encode("unicode_escape").decode("ascii")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
