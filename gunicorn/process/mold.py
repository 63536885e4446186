"""The life of a mold: a clone of the fork server that loads something for one generation."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from gunicorn.errors import AppImportError, ConfigError, HaltServer
from gunicorn.process.birth import Verdict, one_line
from gunicorn.process.channel import Channel, ChannelClosed
from gunicorn.process.messages import MoldFailed, MoldReady
from gunicorn.process.titles import set_title

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gunicorn.process.workshop import Workshop

__all__ = ["live"]


def live(
    workshop: Workshop,
    channel: Channel,
    generation: int,
    fds: Sequence[int],
    release: Callable[[], None],
    serve: Callable[[], None],
) -> NoReturn:
    """Be the mold until its channel ends, then exit. Runs in the new process and never returns or raises.

    Args:
        fds: The generation's listeners; none means those of the root.
        release: Closes what the root holds and a mold must not.
        serve: Forks workers on request, until the channel ends.
    """
    status = 255
    try:
        release()
        set_title("mold", workshop.cfg.proc_name)
        verdict = _prepare(workshop, generation, fds)
        status = verdict.exit_code
        with contextlib.suppress(ChannelClosed):
            if verdict.exit_code:
                channel.send(MoldFailed(generation, verdict.exit_code, verdict.reason))
            else:
                channel.send(MoldReady(generation, os.getpid()))
                serve()
    except BaseException:  # noqa: BLE001 - the last boundary of the process
        traceback.print_exc()
    finally:
        os._exit(status)


def _prepare(workshop: Workshop, generation: int, fds: Sequence[int]) -> Verdict:
    try:
        # The first generation is what the entry point has loaded; reading it again would run the user's file
        # twice.
        if generation > 1:
            workshop.reload()
        if fds:
            workshop.hold(fds)
        if workshop.cfg.preload_app:
            _preload(workshop)
    except BaseException as error:  # noqa: BLE001 - configuration and application are programs of the user
        return _judge(error, workshop)
    return Verdict(0, "")


def _preload(workshop: Workshop) -> None:
    workshop.app.wsgi()
    threading = sys.modules.get("threading")
    names = [thread.name for thread in threading.enumerate()[1:]] if threading else []
    if names:
        # They do not exist in workers, and a lock that one of them holds stays locked there for ever.
        workshop.log.warning(
            "preload_app: threads that the application started do not reach workers: %s", ", ".join(names)
        )
    gc.collect()
    gc.freeze()


def _judge(error: BaseException, workshop: Workshop) -> Verdict:
    """The exit code for a server whose first generation fails like this; a reload is just given up."""
    if isinstance(error, HaltServer):
        return Verdict(error.exit_status or 1, one_line(error))
    if isinstance(error, (AppImportError, ConfigError)):
        workshop.log.error("%s", error)
        return Verdict(error.exit_code, one_line(error))
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else 1
        return Verdict(code & 0xFF or 1, one_line(error))
    workshop.log.error("Exception while loading generation", exc_info=error)
    return Verdict(1, one_line(error))
