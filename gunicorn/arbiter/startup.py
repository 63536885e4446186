"""From a loaded configuration to workers that boot, without an event loop; then hand over to the loop.

The first requests to spawn are written before trio is imported: the fork server works on them while this
process imports.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from gunicorn import __version__
from gunicorn.arbiter import handover
from gunicorn.arbiter.boot import SIGNALS, Boot, boot_seconds, prepare_slot
from gunicorn.arbiter.launch import LAUNCH
from gunicorn.errors import ConfigError, HaltServer
from gunicorn.process import forkserver, lineage
from gunicorn.process.birth import flush_stdio
from gunicorn.process.listeners import adopt, close_listeners, create_listeners, inherited_fds
from gunicorn.process.messages import Spawn, StartMold
from gunicorn.process.pidfile import Pidfile
from gunicorn.process.slots import Slots
from gunicorn.process.titles import set_title

if TYPE_CHECKING:
    from gunicorn.arbiter.handover import Handover
    from gunicorn.arbiter.master import Master
    from gunicorn.dirty.home import Home
    from gunicorn.process.listeners import Listener

__all__ = ["serve"]

UNHANDLED_ERROR = 255
#: More than anyone scales to: an untouched slot costs no memory, and the mapping cannot grow later.
_SLOTS = 1024


def serve(server: Master) -> int:
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
            if boot.bequest is not None:
                _flush_logs()
                boot.bequest.become_next_image(*boot.launch)
        except Exception:
            # A bug. The workers stop with the end of their report channels; this record is all that tells
            # why.
            server.log.exception("Unhandled exception in main loop")
            return UNHANDLED_ERROR
        server.call_hook("on_exit", server)
        return status
    finally:
        _clean_up(server, boot)


def _start(server: Master) -> Boot:
    cfg, log = server.cfg, server.log
    predecessor = int(os.environ.get("GUNICORN_PID") or 0)
    server.master_name = "Master.2" if predecessor else "Master"
    os.environ.update(cfg.env)
    server.num_workers = cfg.workers
    log.info("Starting gunicorn %s", __version__)
    server.pidfile = _write_pidfile(cfg, predecessor)
    set_title("master", cfg.proc_name + (".2" if predecessor else ""))
    cfg.on_starting(server)
    inheritance = handover.receive()
    former = _take_listeners(server, inheritance) if inheritance is not None else []
    is_systemd = _listen(server) if inheritance is None else inheritance.is_systemd
    # From the moment that the log names an address, TERM means a stop in good order and not sudden death.
    early = _note_signals()
    # Those that came while the image was replaced.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    log.info("Listening at: %s (%s)", ",".join(map(str, server.LISTENERS)), server.pid)
    log.info("Using worker: %s", cfg.worker_class_str)
    lineage.become_subreaper()
    pool = _find_home(cfg)
    cfg.when_ready(server)
    cfg.freeze()
    if inheritance is None:
        slots = Slots.create(max(_SLOTS, 2 * cfg.workers + 8), cfg.worker_tmp_dir)
    else:
        slots = Slots.attach(inheritance.slots)
    channels = inheritance.channels() if inheritance is not None else ()
    fork_server = forkserver.start(server.app, cfg, log, server.LISTENERS, slots, channels)
    boot = Boot(
        LAUNCH,
        early,
        slots,
        fork_server,
        predecessor=predecessor,
        is_systemd=is_systemd,
        inheritance=inheritance,
    )
    boot.former_listeners = former
    boot.pool = pool
    _order_workers(server, boot)
    return boot


def _write_pidfile(cfg: Any, predecessor: int) -> Pidfile | None:
    if cfg.pidfile is None:
        return None
    pidfile = Pidfile(cfg.pidfile + (".2" if predecessor else ""))
    pidfile.create()
    return pidfile


def _listen(server: Master) -> bool:
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


def _take_listeners(server: Master, inheritance: Handover) -> list[Listener]:
    """Go on with those of the image before this one, and open what ``bind`` says beyond them; the former."""
    cfg = server.cfg
    taken = [adopt(fd, cfg.is_ssl, configured) for fd, configured in inheritance.listeners]
    server.has_inherited = inheritance.is_systemd
    server.LISTENERS = taken
    if not inheritance.is_systemd:
        try:
            server.LISTENERS = create_listeners(cfg, server.log, current=taken, attempts=1)
        except (ConfigError, HaltServer) as error:
            # There is no way back, and workers serve on those that there are.
            server.log.error("The listeners are kept as they were: %s", error)
    return taken


def _find_home(cfg: Any) -> Home | None:
    """The socket of the pool, whose path is in the environment of all workers; nothing without a pool."""
    if not (cfg.dirty_workers and cfg.dirty_apps):
        return None
    from gunicorn.dirty.home import Home

    return Home.create(cfg)


def _note_signals() -> list[int]:
    """Note signals from here until the loop takes over; a mask would do too, but every process forked here
    would inherit it.
    """
    early: list[int] = []
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: early.append(number))
    return early


def _order_workers(server: Master, boot: Boot) -> None:
    channel = boot.fork_server.channel
    boot.needs_mold = server.cfg.preload_app
    if boot.inheritance is not None:
        # Workers serve already: nobody waits for the first one.
        return
    if boot.needs_mold:
        channel.send(StartMold(1), [listener.fileno() for listener in server.LISTENERS])
        return
    # As the roster would say, which is imported (with attrs and trio) while these boot.
    for age in range(1, server.cfg.workers + 1):
        order = Spawn(age - 1, age, 1)
        prepare_slot(boot.slots[order.slot], order.generation, boot_seconds(server.cfg))
        channel.send(order)
        boot.orders.append(order)


def _clean_up(server: Master, boot: Boot | None) -> None:
    owns_files = boot.owns_socket_files if boot is not None else not server.has_inherited
    close_listeners(server.LISTENERS, unlink=owns_files)
    if boot is not None and boot.pool is not None:
        boot.pool.close()
    if server.pidfile is not None:
        server.pidfile.unlink()


def _flush_logs() -> None:
    import logging

    logging.shutdown()
    flush_stdio()
