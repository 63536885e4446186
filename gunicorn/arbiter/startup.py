"""From a loaded configuration to workers that boot, without an event loop; then hand over to the loop.

The first requests to spawn are written before trio is imported: the fork server works on them while this
process imports.
"""

from __future__ import annotations

import math
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import attrs

from gunicorn import __version__
from gunicorn.arbiter.launch import LAUNCH, Launch
from gunicorn.arbiter.roster import Roster, SpawnChild
from gunicorn.process import forkserver, lineage
from gunicorn.process.listeners import close_listeners, create_listeners, inherited_fds
from gunicorn.process.messages import Spawn, StartMold
from gunicorn.process.pidfile import Pidfile
from gunicorn.process.slots import Slot, Slots, SlotState
from gunicorn.process.titles import set_title

if TYPE_CHECKING:
    from gunicorn.arbiter.server import Arbiter
    from gunicorn.process.forkserver import ForkServer

__all__ = ["SIGNALS", "Boot", "boot_seconds", "prepare_slot", "serve"]

#: The signals that the arbiter acts upon.
SIGNALS = tuple(
    getattr(signal, f"SIG{name}")
    for name in ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "TTIN", "TTOU", "WINCH")
)
UNHANDLED_ERROR = 255
#: More than anyone scales to: an untouched slot costs no memory, and the mapping cannot grow later.
_SLOTS = 1024


@attrs.define
class Boot:
    """What the start has made and the loop takes over.

    Attributes:
        early: Numbers of the signals that came before the loop.
        orders: Workers already asked for; none when a mold has to load the application first
            (``needs_mold``).
        predecessor: Process id of the server that this one upgrades, or 0.
        successor: Process id of the server that upgrades this one, or 0.
        is_systemd: The listeners are systemd's.
    """

    launch: Launch
    early: list[int]
    slots: Slots
    fork_server: ForkServer
    roster: Roster
    pidfile: Pidfile | None
    predecessor: int
    is_systemd: bool
    orders: list[SpawnChild] = attrs.Factory(list)
    needs_mold: bool = False
    successor: int = 0

    @property
    def owns_socket_files(self) -> bool:
        """Nobody else needs the files of unix sockets after this process."""
        return not (self.is_systemd or self.predecessor or self.successor)


def serve(server: Arbiter) -> int:
    """Start, run, clean up; the exit status.

    Raises:
        ConfigError: a setting cannot be used; nothing is left behind.
        HaltServer: the start was refused, already logged.
    """
    server.log = server.cfg.logger_class(server.cfg)
    boot = None
    try:
        boot = _start(server)
        try:
            # Here and not above: see the head of this module.
            from gunicorn.arbiter import main

            status = main.run(server, boot)
        except Exception:
            # A bug. The workers stop with the end of their report channels; this record is all that tells
            # why.
            server.log.exception("Unhandled exception in main loop")
            return UNHANDLED_ERROR
        server.call_hook("on_exit", server)
        return status
    finally:
        _clean_up(server, boot)


def prepare_slot(slot: Slot, generation: int, boot_seconds: float) -> None:
    """Make ``slot`` ready for a worker that is about to be forked, which has ``boot_seconds`` (0: any time)
    to boot.
    """
    slot.reset()
    slot.state = SlotState.BOOTING
    slot.generation = generation
    slot.started = time.monotonic()
    slot.deadline = slot.started + boot_seconds if boot_seconds else math.inf


def boot_seconds(cfg: Any) -> float:
    """The deadline of a boot: its own one, or that of liveness."""
    seconds: float = cfg.boot_timeout or cfg.timeout
    return seconds


def _start(server: Arbiter) -> Boot:
    cfg, log = server.cfg, server.log
    predecessor = int(os.environ.get("GUNICORN_PID") or 0)
    server.master_name = "Master.2" if predecessor else "Master"
    os.environ.update(cfg.env)
    server.num_workers = cfg.workers
    log.info("Starting gunicorn %s", __version__)
    server.pidfile = _write_pidfile(cfg, predecessor)
    set_title("master", cfg.proc_name + (".2" if predecessor else ""))
    cfg.on_starting(server)
    is_systemd = _listen(server)
    # From the moment that the log names an address, TERM means a stop in good order and not sudden death.
    early = _note_signals()
    log.info("Listening at: %s (%s)", ",".join(map(str, server.LISTENERS)), server.pid)
    log.info("Using worker: %s", cfg.worker_class_str)
    lineage.become_subreaper()
    cfg.when_ready(server)
    cfg.freeze()
    slots = Slots.create(max(_SLOTS, 2 * cfg.workers + 8), cfg.worker_tmp_dir)
    fork_server = forkserver.start(server.app, cfg, log, server.LISTENERS, slots)
    roster = Roster(cfg.workers, len(slots), surge=cfg.reload_surge, unavailable=cfg.reload_unavailable)
    boot = Boot(LAUNCH, early, slots, fork_server, roster, server.pidfile, predecessor, is_systemd)
    _order_workers(server, boot)
    return boot


def _write_pidfile(cfg: Any, predecessor: int) -> Pidfile | None:
    if cfg.pidfile is None:
        return None
    pidfile = Pidfile(cfg.pidfile + (".2" if predecessor else ""))
    pidfile.create()
    return pidfile


def _listen(server: Arbiter) -> bool:
    """Open or take over the listeners; whether they are systemd's."""
    is_systemd = "LISTEN_FDS" in os.environ
    fds = inherited_fds()
    server.has_inherited = bool(fds)
    server.LISTENERS = create_listeners(server.cfg, server.log, fds)
    for listener in server.LISTENERS:
        # An inherited socket is known by its number; a reload has to find it by what `bind` says.
        if fds and listener.address in server.cfg.address:
            listener.configured = listener.address
    return is_systemd and bool(fds)


def _note_signals() -> list[int]:
    """Note signals from here until the loop takes over; a mask would do too, but every process forked here
    would inherit it.
    """
    early: list[int] = []
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: early.append(number))
    return early


def _order_workers(server: Arbiter, boot: Boot) -> None:
    channel = boot.fork_server.channel
    if server.cfg.preload_app:
        boot.needs_mold = True
        channel.send(StartMold(1), [listener.fileno() for listener in server.LISTENERS])
        return
    for order in boot.roster.tick(time.monotonic()):
        assert isinstance(order, SpawnChild)
        prepare_slot(boot.slots[order.slot], order.generation, boot_seconds(server.cfg))
        channel.send(Spawn(order.slot, order.age, order.generation))
        boot.orders.append(order)


def _clean_up(server: Arbiter, boot: Boot | None) -> None:
    owns_files = boot.owns_socket_files if boot is not None else not server.has_inherited
    close_listeners(server.LISTENERS, unlink=owns_files)
    if server.pidfile is not None:
        server.pidfile.unlink()
