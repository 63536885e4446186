"""The fork server: a pristine process that makes workers and molds, so that none with a loop ever forks.

It is forked by the entry point before trio is imported, has one thread and runs no loop but ``select.poll``.
Its life is its channel to the arbiter: at end of file it takes its workers with it.
"""

from __future__ import annotations

import atexit
import gc
import os
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from gunicorn.errors import ConfigError
from gunicorn.process import lineage, listeners
from gunicorn.process.birth import flush_stdio
from gunicorn.process.channel import Channel
from gunicorn.process.messages import Hello
from gunicorn.process.slots import Slots
from gunicorn.process.spawner import Spawner
from gunicorn.process.titles import set_title
from gunicorn.process.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gunicorn.process.listeners import Listener

__all__ = ["VARIABLE", "ForkServer", "attach_from_environment", "replacement_environment", "start"]

VARIABLE = "GUNICORN_FORK_SERVER"


class ForkServer(NamedTuple):
    """The arbiter's view of a fork server: its child ``pid``, and the channel on which it takes requests."""

    pid: int
    channel: Channel


def start(
    app: Any,
    cfg: Any,
    log: Any,
    sockets: Sequence[Listener],
    slots: Slots,
    arbiters_own: Sequence[int] = (),
) -> ForkServer:
    """Fork the root fork server. The caller has one thread and has not imported trio.

    Args:
        arbiters_own: Descriptors that it must not keep a copy of: ends of channels, whose closing is news.

    Raises:
        OSError: the process could not be made.
    """
    ours, theirs = Channel.pair()
    flush_stdio()
    # What lives now lives for good. Out of the collector's sight its pages stay shared with every worker.
    gc.collect()
    gc.freeze()
    arbiter = os.getpid()
    pid = os.fork()
    if pid == 0:
        for fd in (ours.detach(), *arbiters_own):
            os.close(fd)
        _protected(lambda: _serve(Workshop(app, cfg, log, list(sockets), slots, arbiter), theirs))
    theirs.close()
    return ForkServer(pid, ours)


def replacement_environment(
    channel: Channel, slots: Slots, sockets: Sequence[Listener]
) -> tuple[dict[str, str], tuple[int, ...]]:
    """For starting another fork server by exec: what its environment needs, and the descriptors to pass.

    Args:
        channel: The end that the new process gets; the caller closes it after the start.
    """
    fds = (channel.fileno(), slots.fd, *(listener.fileno() for listener in sockets))
    return {VARIABLE: ",".join(map(str, fds))}, fds


def attach_from_environment(
    app: Any, cfg: Any, log: Any, environ: Mapping[str, str] | None = None
) -> NoReturn:
    """Be the fork server that ``GUNICORN_FORK_SERVER`` describes, instead of an arbiter.

    Raises:
        ConfigError: the variable was not set by a running arbiter.
    """
    fds = _parse((os.environ if environ is None else environ).get(VARIABLE, ""))
    os.environ.pop(VARIABLE, None)
    try:
        channel, slots = Channel.from_fd(fds[0]), Slots.attach(fds[1])
    except (OSError, ValueError) as error:
        raise ConfigError(f"{VARIABLE} is set by Gunicorn itself; unset it ({error})") from error
    os.set_inheritable(slots.fd, False)
    sockets = [listeners.adopt(fd, cfg.is_ssl) for fd in fds[2:]]
    gc.collect()
    gc.freeze()
    _protected(lambda: _greet_and_serve(channel, Workshop(app, cfg, log, sockets, slots, os.getppid())))


def _parse(text: str) -> list[int]:
    fds = [int(number) for number in text.split(",") if number.isdecimal()]
    if len(fds) < 2 or len(fds) != text.count(",") + 1:
        raise ConfigError(f"{VARIABLE} is set by Gunicorn itself; unset it (it says {text!r})")
    return fds


def _greet_and_serve(channel: Channel, workshop: Workshop) -> None:
    channel.send(Hello(os.getpid()))
    _serve(workshop, channel)


def _serve(workshop: Workshop, channel: Channel) -> None:
    # The arbiter's exit handlers are the arbiter's. What the application registers from here on runs in its
    # worker.
    atexit._clear()
    spawner = Spawner(workshop, channel)
    set_title("fork server", workshop.cfg.proc_name)
    if lineage.are_adopted():
        workshop.arbiter_pidfd = os.pidfd_open(workshop.arbiter)
    spawner.serve()


def _protected(body: Callable[[], None]) -> NoReturn:
    """Run ``body`` and leave by ``os._exit``: a forked process must not unwind into its parent's frames."""
    status = 255
    try:
        body()
        status = 0
    except BaseException:  # noqa: BLE001 - the last boundary of the process
        traceback.print_exc()
    finally:
        flush_stdio()
        os._exit(status)
