"""The stacks of a worker's threads, written by C code into a pipe that the arbiter reads.

``faulthandler`` writes from inside the signal handler: it needs no interpreter lock, so it also shows a
worker that is stuck in a regular expression or in a C library; and no ptrace, which containers forbid. The
pipe is made before the fork, because a worker that crashes can open nothing any more.
"""

from __future__ import annotations

import faulthandler
import os
import signal

__all__ = ["STACK_SIGNAL", "arm", "make_pipe"]

#: Asks a worker for its stacks. A real-time signal, since applications and libraries use the named ones;
#: macOS has none, and there it is the one that terminals send for "what are you doing?".
STACK_SIGNAL: int = signal.SIGRTMAX - 4 if hasattr(signal, "SIGRTMAX") else getattr(signal, "SIGINFO", 29)


def make_pipe() -> tuple[int, int]:
    """Read end and write end. Neither blocks: a dump that nobody reads is cut off and not waited for."""
    ends = os.pipe()
    for fd in ends:
        os.set_blocking(fd, False)
    return ends


def arm(fd: int) -> None:
    """Write the stacks of this process to ``fd`` on ``STACK_SIGNAL`` and when it crashes (SIGSEGV and the
    like).
    """
    faulthandler.register(STACK_SIGNAL, file=fd, all_threads=True, chain=False)
    # Somebody who runs Python with -X faulthandler wants to see crashes on the standard error.
    if not faulthandler.is_enabled():
        faulthandler.enable(file=fd, all_threads=True)
