"""The stacks of a worker's threads, written into a pipe that the arbiter reads.

Of a worker that is fine a Python signal handler writes them: it has the interpreter lock, so no thread can
change its frames meanwhile. Without the lock that is a race, which was seen to end a busy worker in a
segmentation fault, and nobody may be killed by being looked at. Of a worker that does not answer so,
``faulthandler`` writes from inside the C signal handler: it needs no interpreter lock, so it also shows a
worker that is stuck in a regular expression or in a C library; and no ptrace, which containers forbid. The
pipe is made before the fork, because a worker that crashes can open nothing any more.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["LOOK_SIGNAL", "STACK_SIGNAL", "arm", "make_pipe", "without_writer"]

#: Asks a worker for its stacks, whatever it does. A real-time signal, since applications and libraries use
#: the named ones; macOS has none, and there it is the one that terminals send for "what are you doing?".
STACK_SIGNAL: int = signal.SIGRTMAX - 4 if hasattr(signal, "SIGRTMAX") else getattr(signal, "SIGINFO", 29)

#: Asks a worker that is to live on; it answers as soon as its main thread gets to it. 0: there is none.
LOOK_SIGNAL: int = signal.SIGRTMAX - 5 if hasattr(signal, "SIGRTMAX") else 0


def make_pipe() -> tuple[int, int]:
    """Read end and write end. Neither blocks: a dump that nobody reads is cut off and not waited for."""
    ends = os.pipe()
    for fd in ends:
        os.set_blocking(fd, False)
    return ends


def arm(fd: int) -> None:
    """Write the stacks of this process to ``fd`` on either signal, and when it crashes (SIGSEGV and the
    like).
    """

    def write(number: int, frame: FrameType | None) -> None:
        faulthandler.dump_traceback(file=fd, all_threads=True)

    if LOOK_SIGNAL:
        signal.signal(LOOK_SIGNAL, write)
    faulthandler.register(STACK_SIGNAL, file=fd, all_threads=True, chain=False)
    # Somebody who runs Python with -X faulthandler wants to see crashes on the standard error.
    if not faulthandler.is_enabled():
        faulthandler.enable(file=fd, all_threads=True)


def without_writer(text: str) -> str:
    """Stacks without the frame of the handler that has written them."""
    return "".join(line for line in text.splitlines(keepends=True) if f'File "{__file__}"' not in line)
