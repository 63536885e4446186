"""The life of a worker process, from just after the fork to its exit."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from gunicorn.errors import AppImportError, ConfigError, HaltServer
from gunicorn.process.channel import Channel, ChannelClosed
from gunicorn.process.messages import BootFailed
from gunicorn.process.slots import Slot, SlotState
from gunicorn.process.stacks import arm
from gunicorn.process.titles import set_title

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BOOT_FAILURE", "Reports", "ServerView", "Verdict", "flush_stdio", "live", "one_line"]

BOOT_FAILURE = 3
_CRASH = 255
_MAX_REASON = 300  # characters


class ServerView(NamedTuple):
    """What hooks get as ``server`` outside the arbiter. ``pid`` is the arbiter's."""

    cfg: Any
    log: Any
    pid: int
    address: Any
    app: Any


class Reports(NamedTuple):
    """Where a worker reports: its channel to the arbiter, and the pipe for the stacks of its threads."""

    channel: Channel
    stacks: int


class Verdict(NamedTuple):
    """How a worker, or a mold's preparation, ended."""

    exit_code: int
    reason: str


def live(
    worker: Any,
    slot: Slot,
    reports: Reports,
    server: ServerView,
    generation: int,
    release: Callable[[], None],
) -> NoReturn:
    """Be the worker until it ends, then exit. Runs in the new process and never returns or raises.

    Args:
        release: Closes what the spawner holds and a worker must not.
    """
    status = _CRASH
    try:
        arm(reports.stacks)
        release()
        status = _serve(worker, slot, reports.channel, server, generation)
        _farewell(worker, server)
    except BaseException:  # noqa: BLE001 - the last boundary of the process
        traceback.print_exc()
    finally:
        os._exit(status)


def _serve(worker: Any, slot: Slot, report: Channel, server: ServerView, generation: int) -> int:
    try:
        _prepare(worker, slot, report, server, generation)
        worker.init_process()
        return 0
    except BaseException as error:  # noqa: BLE001 - every end of a worker has an exit code
        booted = bool(worker.booted)
        verdict = _judge(error, booted, server.log)
    if verdict.exit_code and not booted:
        # Whoever is not there to take it has read the exit code, or is gone.
        with contextlib.suppress(ChannelClosed, OSError):
            report.send(BootFailed(verdict.exit_code, verdict.reason))
    return verdict.exit_code


def _prepare(worker: Any, slot: Slot, report: Channel, server: ServerView, generation: int) -> None:
    cfg, pid = server.cfg, os.getpid()
    worker.pid, worker.slot, worker.report = pid, slot, report
    slot.pid, slot.generation, slot.started, slot.state = pid, generation, time.monotonic(), SlotState.BOOTING
    set_title("worker", cfg.proc_name)
    server.log.info("Booting worker with pid: %s", pid)
    cfg.post_fork(server, worker)


def _judge(error: BaseException, booted: bool, log: Any) -> Verdict:
    """The exit code for what ended a worker, said in the log once."""
    if isinstance(error, SystemExit):
        return _of_system_exit(error)
    if isinstance(error, HaltServer):
        return Verdict(error.exit_status, one_line(error))
    if isinstance(error, (AppImportError, ConfigError)) and not booted:
        log.error("%s", error)
        return Verdict(error.exit_code, one_line(error))
    log.error("Exception in worker process", exc_info=error)
    return Verdict(_CRASH if booted else BOOT_FAILURE, one_line(error))


def _of_system_exit(error: SystemExit) -> Verdict:
    """As the interpreter understands ``sys.exit``: a text is printed and means 1."""
    if error.code is None or isinstance(error.code, int):
        return Verdict((error.code or 0) & 0xFF, f"SystemExit: {error.code}")
    print(error.code, file=sys.stderr)
    return Verdict(1, f"SystemExit: {error.code}")


def _farewell(worker: Any, server: ServerView) -> None:
    # Leaving has begun: a second INT or TERM must not interrupt the hook. KILL still ends one that hangs.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    server.log.info("Worker exiting (pid: %s)", os.getpid())
    try:
        server.cfg.worker_exit(server, worker)
    except Exception:
        server.log.exception("Exception in worker_exit")
    # os._exit skips these, and applications flush their own buffers in them. Also flushes logging, if it is
    # in use.
    atexit._run_exitfuncs()
    _flush_logging()
    flush_stdio()


def _flush_logging() -> None:
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.shutdown()


def flush_stdio() -> None:
    """Empty the buffers: else a fork writes their content twice, and ``os._exit`` loses it."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            # Whoever read them may have gone, which is no reason to stop serving.
            with contextlib.suppress(OSError, ValueError):
                stream.flush()


def one_line(error: BaseException) -> str:
    """The error as one short line for a message or a log."""
    text = " ".join((error.reason if isinstance(error, HaltServer) else str(error)).split())
    if isinstance(error, (AppImportError, ConfigError, HaltServer)):
        return text[:_MAX_REASON]
    return f"{type(error).__name__}: {text}"[:_MAX_REASON] if text else type(error).__name__
