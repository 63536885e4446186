"""USR2: another server, of the same command line but maybe other code, on the same sockets."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import trio

from gunicorn.arbiter.processes import execute
from gunicorn.process.titles import set_title

if TYPE_CHECKING:
    from gunicorn.arbiter.boot import Boot
    from gunicorn.arbiter.master import Master

__all__ = ["Upgrade"]

#: systemd's LISTEN_PID must name the process that takes the sockets, which is known only after the fork.
_NAME_LISTENER = 'LISTEN_PID=$$ exec "$0" "$@"'


class Upgrade:
    """Both sides of it: starting a successor, and taking the place of a predecessor."""

    def __init__(self, server: Master, boot: Boot) -> None:
        self._server = server
        self._boot = boot
        self._is_under_way = False

    def claim(self) -> bool:
        """Whether there may be a successor now; if so, it has to be ``run``."""
        relative = "Child" if self._is_under_way else "Parent" if self._boot.predecessor else None
        if relative is not None:
            self._server.log.warning("USR2 signal ignored. %s exists.", relative)
            return False
        self._is_under_way = True
        return True

    async def run(self) -> None:
        """Start the successor and watch it; returns when it has ended."""
        try:
            await self._start_and_watch()
        finally:
            self._is_under_way = False

    async def _start_and_watch(self) -> None:
        server, boot = self._server, self._boot
        server.call_hook("pre_exec", server)
        try:
            process = await execute(self._command(), boot.launch, self._variables(), self._fds())
        except OSError as error:
            server.log.error("The upgrade cannot be started: %s", error)
            return
        boot.successor = process.pid
        await process.wait()
        boot.successor = 0
        server.log.error(
            "The upgraded server (pid:%s) ended with status %s.", process.pid, process.returncode
        )

    async def watch_predecessor(self) -> None:
        """Wait for the end of the server that this one upgrades, and become the server."""
        if not self._boot.predecessor:
            return
        await _wait_gone(self._boot.predecessor)
        self._promote()

    def _promote(self) -> None:
        server, boot = self._server, self._boot
        boot.predecessor = 0
        boot.launch.environ.pop("GUNICORN_PID", None)
        os.environ.pop("GUNICORN_PID", None)
        server.master_name = "Master"
        server.log.info("Master has been promoted.")
        if server.pidfile is not None and server.cfg.pidfile is not None:
            server.pidfile.rename(server.cfg.pidfile)
        set_title("master", server.cfg.proc_name)

    def _command(self) -> tuple[str, ...]:
        if self._boot.is_systemd:
            return ("/bin/sh", "-c", _NAME_LISTENER, *self._boot.launch.argv)
        return self._boot.launch.argv

    def _variables(self) -> dict[str, str]:
        fds = self._fds()
        variables = {"GUNICORN_PID": str(os.getpid())}
        if self._boot.is_systemd:
            variables["LISTEN_FDS"] = str(len(fds))
        else:
            variables["GUNICORN_FD"] = ",".join(map(str, fds))
        return variables

    def _fds(self) -> list[int]:
        return [listener.fileno() for listener in self._server.LISTENERS]


async def _wait_gone(pid: int) -> None:
    if not hasattr(os, "pidfd_open"):
        await _wait_orphaned(pid)
        return
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Another user's pid, reused long ago, is no predecessor: only a parent can be one.
        if os.getppid() == pid:
            await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)


async def _wait_orphaned(pid: int) -> None:
    """Wait for the end of a parent where the kernel only tells by kqueue."""
    import select

    kqueue = trio.lowlevel.current_kqueue()  # type: ignore[attr-defined,unused-ignore]
    watch = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)  # type: ignore[attr-defined,unused-ignore]
    assert sys.platform != "linux"
    with trio.lowlevel.monitor_kevent(pid, select.KQ_FILTER_PROC) as events:  # type: ignore[attr-defined,unused-ignore]
        kqueue.control([watch], 0)
        if os.getppid() == pid:
            async for _ in events:
                return
