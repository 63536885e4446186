"""Child processes of the arbiter that are no workers: waited for as a task, started only by exec."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import trio

from gunicorn.process import forkserver
from gunicorn.process.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gunicorn.arbiter.launch import Launch
    from gunicorn.process.listeners import Listener
    from gunicorn.process.slots import Slots

__all__ = ["Forked", "execute", "start_fork_server"]


class Forked:
    """A child that was forked before the loop was there."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.is_gone = False

    async def wait(self) -> None:
        """Wait for its end and reap it."""
        if self.is_gone:
            return
        if hasattr(os, "pidfd_open"):
            await self._wait_readable()
        else:
            await trio.to_thread.run_sync(self._reap, abandon_on_cancel=True)
        self.is_gone = True

    async def _wait_readable(self) -> None:
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)
        self._reap()

    def _reap(self) -> None:
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            return

    def kill(self) -> None:
        """End it, if it is there."""
        if not self.is_gone:
            os.kill(self.pid, signal.SIGKILL)


async def execute(
    argv: Sequence[str], launch: Launch, variables: dict[str, str], fds: Sequence[int]
) -> trio.Process:
    """Start ``argv`` where and as this server was started, with ``variables`` and ``fds`` in addition.

    fork and exec happen in C with no Python between them: the only kind of fork that a process with a loop
    may do.

    Raises:
        OSError: it cannot be started.
    """
    environ = {**launch.environ, **variables}
    return await trio.lowlevel.open_process(list(argv), pass_fds=tuple(fds), env=environ, cwd=launch.cwd)


async def start_fork_server(
    launch: Launch, slots: Slots, listeners: Sequence[Listener]
) -> tuple[Channel, trio.Process]:
    """Another root fork server, by exec of our own command line; its channel and process."""
    ours, theirs = Channel.pair()
    try:
        variables, fds = forkserver.replacement_environment(theirs, slots, listeners)
        return ours, await execute(launch.argv, launch, variables, fds)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
