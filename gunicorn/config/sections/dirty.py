"""Dirty arbiters: a pool of stateful processes beside the web workers, for long or heavy work."""

from __future__ import annotations

from typing import Any

from gunicorn.config.kinds import Section

__all__ = ["SETTINGS"]

_here = Section("Dirty Arbiters")
_hooks = Section("Dirty Arbiter Hooks")


def on_dirty_starting(arbiter: Any) -> None: ...
def dirty_post_fork(arbiter: Any, worker: Any) -> None: ...
def dirty_worker_init(worker: Any) -> None: ...
def dirty_worker_exit(arbiter: Any, worker: Any) -> None: ...


SETTINGS = (
    _here.listing(
        "dirty_apps",
        "--dirty-app",
        [],
        """
        A class to run in the pool: `MODULE:CLASS`, or `MODULE:CLASS:N` for at most N processes. Can be
        given several times.
        """,
        meta="STRING",
        type=None,
        since="25.0",
    ),
    _here.number(
        "dirty_workers",
        "--dirty-workers",
        0,
        "The number of processes in the pool; 0 means that there is no pool.",
        since="25.0",
    ),
    _here.number(
        "dirty_timeout",
        "--dirty-timeout",
        300,
        "Seconds that one call to the pool may take; 0 is no limit.",
        since="25.0",
    ),
    _here.number(
        "dirty_threads",
        "--dirty-threads",
        1,
        "Calls that one process of the pool runs at the same time, each in a thread.",
        since="25.0",
    ),
    _here.number(
        "dirty_graceful_timeout",
        "--dirty-graceful-timeout",
        30,
        "Seconds that processes of the pool get to finish when the server stops.",
        since="25.0",
    ),
    _here.number(
        "dirty_queue_size",
        "--dirty-queue-size",
        1000,
        """
        Calls that may wait for one process of the pool. If every process that could take a call has so many,
        the call is refused at once.
        """,
        since="28.0",
    ),
    _here.switch(
        "dirty_cancel_abandoned",
        "--dirty-cancel-abandoned",
        False,
        """
        Interrupt a call whose caller has left. Without it, such a call runs to its end and its result is
        dropped; a stream always ends with its reader.
        """,
        since="28.0",
    ),
    _hooks.hook(
        on_dirty_starting,
        "Called in the dirty arbiter before it sets itself up.",
        since="25.0",
    ),
    _hooks.hook(
        dirty_post_fork,
        "Called in the dirty arbiter after a process was forked.",
        since="25.0",
    ),
    _hooks.hook(
        dirty_worker_init,
        "Called in a process of the pool once its classes are set up.",
        since="25.0",
    ),
    _hooks.hook(
        dirty_worker_exit,
        "Called in the dirty arbiter after a process has ended.",
        since="25.0",
    ),
)
