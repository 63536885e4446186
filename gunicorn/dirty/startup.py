"""A process becomes the dirty arbiter: what the door does when the main arbiter has started it for that.

It is started by exec and not by fork, because the main arbiter runs a loop; so it is as pristine as the main
arbiter was, and forks its own fork server before it imports trio.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any, NoReturn

from gunicorn.arbiter.launch import LAUNCH
from gunicorn.dirty.arbiter import DirtyArbiter
from gunicorn.dirty.boot import POOL, SIGNALS, VARIABLE, Boot
from gunicorn.dirty.config import PoolApplication
from gunicorn.dirty.home import SOCKET_VARIABLE, remove
from gunicorn.dirty.pidfile import DirtyPidfile, end_orphan, path_for
from gunicorn.errors import ConfigError
from gunicorn.process import forkserver, lineage
from gunicorn.process.channel import Channel
from gunicorn.process.slots import Slots
from gunicorn.process.titles import set_title

__all__ = ["VARIABLE", "serve_from_environment"]

_SLOTS = 512
UNHANDLED_ERROR = 255


def serve_from_environment(app: Any) -> NoReturn:
    """Be what the variable says, to the end of the process.

    Raises:
        ConfigError: the variable was not set by a running arbiter, or ``dirty_apps`` is wrong.
    """
    text = os.environ.pop(VARIABLE, "")
    os.environ.update(app.cfg.env)
    if text == POOL:
        pool = PoolApplication(app)
        forkserver.attach_from_environment(pool, pool.cfg, app.cfg.logger_class(app.cfg))
    master, listener = _adopt(text)
    server = DirtyArbiter(app, os.environ.get(SOCKET_VARIABLE, ""))
    sys.exit(_serve(server, master, listener))


def _adopt(text: str) -> tuple[Channel, socket.socket]:
    numbers = text.split(",")
    try:
        channel, listener = (int(number) for number in numbers)
        return Channel.from_fd(channel), _listener(listener)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{VARIABLE} is set by Gunicorn itself; unset it ({error})") from error


def _listener(fd: int) -> socket.socket:
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    return sock


def _serve(server: DirtyArbiter, master: Channel, listener: socket.socket) -> int:
    cfg = server.cfg
    server.log = log = cfg.logger_class(cfg)
    set_title("dirty arbiter", cfg.proc_name)
    server.paths  # noqa: B018 - a wrong one is refused here, before anything is made
    early = _note_signals()
    pidfile = DirtyPidfile(path_for(cfg.proc_name))
    if end_orphan(pidfile.read()):
        log.warning("A dirty arbiter that outlived its server was ended.")
    pidfile.create(os.getppid())
    try:
        server.call_hook("on_dirty_starting", server)
        boot = _start_fork_server(server, master, listener, early)
        from gunicorn.dirty import main  # here: trio may only be imported once the fork server is there

        return main.run(server, boot)
    except Exception:
        # A bug. The workers stop with the end of their channels; this record is all that tells why.
        log.exception("Unhandled exception in the dirty arbiter")
        return UNHANDLED_ERROR
    finally:
        pidfile.unlink()
        if _has_ended(master):
            remove(server.socket_path)


def _note_signals() -> list[int]:
    """Note signals until the loop takes over."""
    early: list[int] = []
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: early.append(number))
    return early


def _start_fork_server(
    server: DirtyArbiter, master: Channel, listener: socket.socket, early: list[int]
) -> Boot:
    lineage.become_subreaper()
    # Forked processes have no business with either, and a copy of the channel would hide its end.
    os.register_at_fork(after_in_child=master.close)
    os.register_at_fork(after_in_child=listener.close)
    pool = PoolApplication(server.app)
    slots = Slots.create(_SLOTS, server.cfg.worker_tmp_dir)
    fork_server = forkserver.start(pool, pool.cfg, server.log, [], slots)
    return Boot(LAUNCH, slots, fork_server, master, listener, early)


def _has_ended(master: Channel) -> bool:
    """Whether the main arbiter is gone, so that its files are left to us."""
    from gunicorn.process.channel import ChannelClosed

    try:
        master.setblocking(False)
        master.receive()
    except (ChannelClosed, OSError) as error:
        return isinstance(error, ChannelClosed)
    return False
