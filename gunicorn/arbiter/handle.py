"""The arbiter's hold on one worker process: signal it, wait for its end, hear its reports."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import trio

from gunicorn.arbiter.actions import ChildExit
from gunicorn.process.stacks import LOOK_SIGNAL, STACK_SIGNAL, without_writer

if TYPE_CHECKING:
    from gunicorn.process.channel import Channel
    from gunicorn.process.messages import Message

__all__ = ["Handle", "SpawnError", "receive", "receive_pending", "send"]

#: For the main thread of a worker to come to its signals, seconds: longer than a busy machine makes it wait.
LOOK_WAIT = 0.4
#: For a worker to write its stacks, seconds. It takes milliseconds where the processor is free, and a process
#: that is stopped never does.
DUMP_WAIT = 0.3
#: The stacks have no end mark: this long (seconds) after the last piece they are complete.
DUMP_QUIET = 0.05
_PIPE = 65536


class SpawnError(Exception):
    """The spawner could not make the process."""

    def __init__(self, exit_code: int, reason: str) -> None:
        super().__init__(reason)
        self.exit_code = exit_code
        self.reason = reason


async def receive(channel: Channel) -> tuple[Message, list[int]]:
    """The next message and its descriptors.

    Raises:
        ChannelClosed: the other side is gone.
    """
    while True:
        try:
            return channel.receive()
        except BlockingIOError:
            await trio.lowlevel.wait_readable(channel.fileno())


def receive_pending(channel: Channel) -> tuple[Message, list[int]] | None:
    """A message that has already arrived, or None.

    Raises:
        ChannelClosed: the other side is gone.
    """
    try:
        return channel.receive()
    except BlockingIOError:
        return None


async def send(channel: Channel, message: Message, fds: tuple[int, ...] = ()) -> None:
    """Send ``message``, waiting for room.

    Raises:
        ChannelClosed: the other side is gone.
    """
    while True:
        try:
            channel.send(message, fds)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(channel.fileno())
        else:
            return


class Handle:
    """One live worker process.

    On Linux the worker is the arbiter's own child and ``pidfd`` says which: a pid can be reused between a
    look and a signal, a pidfd cannot. Elsewhere the spawner reaps and tells; ``set_status`` is then called
    with its word.

    Args:
        pid: Process id.
        report: Its report channel.
        stacks: The pipe to which it writes its stacks when asked.
        pidfd: Its pidfd, or None where the spawner reaps. All three belong to the handle.
    """

    def __init__(self, pid: int, report: Channel, stacks: int, pidfd: int | None) -> None:
        self.pid = pid
        self.report = report
        self._stacks = stacks
        self._dumping = trio.Lock()
        self._pidfd = pidfd
        self._ended: ChildExit | None = None
        self._told = trio.Event()

    async def wait(self) -> ChildExit:
        """Wait for the end of the process and reap it. A cancelled wait loses nothing."""
        if self._pidfd is None:
            await self._told.wait()
        elif self._ended is None:
            await trio.lowlevel.wait_readable(self._pidfd)
            self._ended = _reap(self._pidfd, self.pid)
        assert self._ended is not None
        return self._ended

    def send_signal(self, number: int) -> None:
        """Send a signal; a process that is gone already is no error."""
        if self._ended is not None:
            return
        try:
            if self._pidfd is None:
                # The spawner tells of an exit right after it reaped; that moment is all the time a wrong
                # process has.
                os.kill(self.pid, number)
            else:
                signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            pass

    async def look_at_stacks(self) -> str:
        """The stacks of all its threads, of a worker that is to live on; what came until then if it does not
        answer in time.
        """
        async with self._dumping:
            text = await self._ask_for_stacks(LOOK_SIGNAL, LOOK_WAIT) if LOOK_SIGNAL else ""
            # Its main thread is held up by C code. If that has the interpreter lock no frame changes; where
            # it has not, other threads may run on: the race of which ``process.stacks`` tells is still there.
            return without_writer(text) or await self._ask_for_stacks(STACK_SIGNAL, DUMP_WAIT)

    async def dump_stacks(self) -> str:
        """As ``look_at_stacks``, but at once: of a worker that is to be ended, for it may not survive it."""
        async with self._dumping:
            return await self._ask_for_stacks(STACK_SIGNAL, DUMP_WAIT)

    async def _ask_for_stacks(self, number: int, seconds: float) -> str:
        pieces: list[bytes] = []
        self.read_stacks()
        self.send_signal(number)
        deadline = trio.current_time() + seconds
        with trio.CancelScope(deadline=deadline) as scope, contextlib.suppress(trio.ClosedResourceError):
            while self._stacks >= 0 and (not pieces or pieces[-1]):
                await trio.lowlevel.wait_readable(self._stacks)
                pieces.append(self._read())
                scope.deadline = min(deadline, trio.current_time()) + DUMP_QUIET
        return b"".join(pieces).decode("utf-8", "replace")

    def read_stacks(self) -> str:
        """What it has written unasked: the stacks of a crash."""
        pieces = [self._read()]
        while pieces[-1]:
            pieces.append(self._read())
        return b"".join(pieces).decode("utf-8", "replace")

    def _read(self) -> bytes:
        if self._stacks < 0:
            return b""
        try:
            return os.read(self._stacks, _PIPE)
        except BlockingIOError:
            return b""

    def set_status(self, status: int) -> None:
        """The spawner reaped the process; ``status`` is as from ``os.waitpid``."""
        self._ended = _as_exit(status)
        self._told.set()

    def give_away(self) -> tuple[int, int, int]:
        """Report channel, stacks and pidfd, for another image of this process."""
        assert self._pidfd is not None
        return self.report.detach(), self._stacks, self._pidfd

    def close(self) -> None:
        """Give the descriptors back. The worker sees the end of its report channel and stops."""
        self.report.close()
        if self._stacks >= 0:
            # Somebody may be waiting for a dump, on demand.
            trio.lowlevel.notify_closing(self._stacks)
            os.close(self._stacks)
            self._stacks = -1
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def _reap(pidfd: int, pid: int) -> ChildExit:
    try:
        # Only a look: as long as it is not reaped the pid cannot be another process's.
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
        _, status, usage = os.wait4(pid, 0)
    except ChildProcessError:
        # Something in this process (a hook with os.wait(), say) took the status. The process is gone, that
        # is certain.
        return ChildExit(code=0, reason="its exit status was taken by someone else")
    return _as_exit(status, usage.ru_maxrss * 1024)


def _as_exit(status: int, peak_memory: int | None = None) -> ChildExit:
    if os.WIFSIGNALED(status):
        return ChildExit(signal=os.WTERMSIG(status), peak_memory=peak_memory)
    return ChildExit(code=os.WEXITSTATUS(status), peak_memory=peak_memory)
