"""The arbiter's hold on one worker process: signal it, wait for its end, hear its reports."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import trio

from gunicorn.arbiter.roster import ChildExit

if TYPE_CHECKING:
    from gunicorn.process.channel import Channel
    from gunicorn.process.messages import Message

__all__ = ["Handle", "receive", "receive_pending", "send"]


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
        pidfd: Its pidfd, or None where the spawner reaps. Owned by the handle, as is the channel.
    """

    def __init__(self, pid: int, report: Channel, pidfd: int | None) -> None:
        self.pid = pid
        self.report = report
        self._pidfd = pidfd
        self._ended: ChildExit | None = None
        self._told = trio.Event()

    async def wait(self) -> ChildExit:
        """Wait for the end of the process and reap it. A cancelled wait loses nothing."""
        if self._pidfd is None:
            await self._told.wait()
        elif self._ended is None:
            await trio.lowlevel.wait_readable(self._pidfd)
            self._ended = _reap(self._pidfd)
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

    def set_status(self, status: int) -> None:
        """The spawner reaped the process; ``status`` is as from ``os.waitpid``."""
        if os.WIFSIGNALED(status):
            self._ended = ChildExit(signal=os.WTERMSIG(status))
        else:
            self._ended = ChildExit(code=os.WEXITSTATUS(status))
        self._told.set()

    def close(self) -> None:
        """Give the descriptors back. The worker sees the end of its report channel and stops."""
        self.report.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def _reap(pidfd: int) -> ChildExit:
    try:
        info = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        # Something in this process (a hook with os.wait(), say) took the status. The process is gone, that
        # is certain.
        return ChildExit(code=0, reason="its exit status was taken by someone else")
    if info is None or info.si_code == os.CLD_EXITED:
        return ChildExit(code=info.si_status if info else 0)
    return ChildExit(signal=info.si_status)
