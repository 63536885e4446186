"""HUP: a new configuration, rolled out by new workers before old ones leave, or not at all.

Until the first worker of the new generation serves, everything can be undone: the old configuration,
listeners and molds are kept. What cannot be undone (the pidfile, closing listeners) waits for that moment.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from gunicorn.arbiter.foundry import MoldError
from gunicorn.arbiter.members import Wanted
from gunicorn.errors import ConfigError, HaltServer
from gunicorn.process.listeners import close_listeners, create_listeners
from gunicorn.process.pidfile import Pidfile
from gunicorn.process.titles import set_title

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gunicorn.arbiter.actions import Action
    from gunicorn.arbiter.boot import Boot
    from gunicorn.arbiter.foundry import Foundry
    from gunicorn.arbiter.master import Master
    from gunicorn.arbiter.notify import Notifier
    from gunicorn.arbiter.roster import Roster
    from gunicorn.process.listeners import Listener

__all__ = ["Reload"]


class Herald(Protocol):
    """Who is told what becomes of a reload."""

    def reload_started(self) -> None: ...
    def reload_failed(self, reason: str) -> None: ...


class Supervisor(Protocol):
    """What a reload needs of the running server."""

    server: Master
    boot: Boot
    roster: Roster
    foundry: Foundry
    notifier: Notifier

    @property
    def control(self) -> Herald: ...
    def execute(self, actions: Sequence[Action]) -> None: ...
    def start_service(self, task: Callable[..., Awaitable[Any]], *args: Any) -> None: ...
    def only_generation(self, generation: int) -> bool: ...


@attrs.frozen
class Before:
    """What a reload that fails goes back to."""

    cfg: Any
    listeners: list[Listener]


class Reload:
    """The reloads of one server; at most one is in the air."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._server = supervisor.server
        self._generation = 1
        self._before: Before | None = None
        self._loading = trio.CancelScope()
        self._outdated: list[Listener] = []

    async def take_over(self, generation: int, listeners: list[Listener]) -> None:
        """This image is an upgrade: its workers are ``generation``, those before it use ``listeners``.

        As a reload that has read its configuration. It has no way back to the old one, only to the old
        workers.
        """
        self._generation = generation
        self._before = Before(self._server.cfg, listeners)
        with trio.CancelScope() as self._loading:
            try:
                await self._roll_out(needs_mold=self._supervisor.boot.needs_mold)
            except MoldError as error:
                self._fail(error.reason)

    async def run(self) -> None:
        """Read the configuration, start the generation that follows it. A reload in the air is called off."""
        self._loading.cancel()
        self._undo()
        self._generation += 1
        self._supervisor.notifier.reloading()
        self._supervisor.control.reload_started()
        self._before = Before(self._server.cfg, self._server.LISTENERS)
        with trio.CancelScope() as self._loading:
            try:
                self._read()
                await self._roll_out()
            except MoldError as error:
                self._fail(error.reason)
            except (ConfigError, HaltServer) as error:
                self._fail(str(error))
            except (Exception, SystemExit) as error:
                # The configuration is a program of the user: whatever it raises, the old one still serves.
                self._server.log.exception("Reload failed")
                self._fail(repr(error))

    def promoted(self, generation: int) -> None:
        """The first worker of ``generation`` serves: there is no way back."""
        supervisor, server = self._supervisor, self._server
        supervisor.foundry.promote(generation)
        assert self._before is not None
        kept = server.LISTENERS
        self._outdated += [listener for listener in self._before.listeners if listener not in kept]
        self._before = None
        supervisor.start_service(supervisor.foundry.hold, [listener.fileno() for listener in kept])
        self._rewrite_pidfile()
        self.close_outdated()

    def abandoned(self, generation: int, reason: str) -> None:
        """The first worker of ``generation`` failed."""
        self._fail(f"the first worker of the new configuration failed: {reason}")

    def close_outdated(self) -> None:
        """Close listeners and molds that are no longer wanted, once no older worker is left."""
        if not self._supervisor.only_generation(self._supervisor.roster.wanted.generation):
            return
        self._supervisor.foundry.close_unwanted_molds()
        close_listeners(self._outdated, unlink=self._owns_files())
        self._outdated = []

    # --- steps ---

    def _read(self) -> None:
        """Read and apply. It blocks the loop for as long as the user's file runs, as it does at the start."""
        server = self._server
        assert self._before is not None
        old = server.cfg
        server.app.reload()
        server.cfg = server.app.cfg
        _replace_environment(old.env, server.cfg.env, self._supervisor.boot.launch.environ)
        self._set_up_logging()
        server.LISTENERS = self._rebind(old)
        server.call_hook("on_reload", server)
        set_title("master", server.cfg.proc_name)

    def _set_up_logging(self) -> None:
        """A mistake in the logging settings is reported to the old log, which stays; the rest of the reload
        goes on.
        """
        server = self._server
        try:
            server.log.setup(server.cfg)
        except Exception as error:  # noqa: BLE001 - setup() is overridden by users, and logging.config raises anything
            server.log.error("The logging settings are kept as they were: %s", error)
        server.log.reopen_files()

    def _rebind(self, old: Any) -> list[Listener]:
        server = self._server
        current = server.LISTENERS
        if server.cfg.address == old.address:
            return current
        if self._supervisor.boot.is_systemd:
            return current
        listeners = create_listeners(server.cfg, server.log, current=current, attempts=1)
        server.log.info("Listening at: %s (%s)", ",".join(map(str, listeners)), server.pid)
        return listeners

    async def _roll_out(self, *, needs_mold: bool = True) -> None:
        supervisor, cfg = self._supervisor, self._server.cfg
        generation = self._generation
        fds = [listener.fileno() for listener in self._server.LISTENERS]
        if needs_mold:
            await self._start_mold(generation, fds)
        cfg.freeze()
        self._server.scaled(cfg.workers)
        supervisor.execute(
            supervisor.roster.reload(
                Wanted(generation, cfg.workers),
                trio.current_time(),
                surge=cfg.reload_surge,
                unavailable=cfg.reload_unavailable,
            )
        )

    async def _start_mold(self, generation: int, fds: Sequence[int]) -> None:
        try:
            await self._supervisor.foundry.start_mold(generation, fds)
        finally:
            # Its answer, also a bad one, may have come together with the next HUP: the reload that is in the
            # air is then that one's, and not ours to go on with or to undo.
            await trio.lowlevel.checkpoint_if_cancelled()

    def _fail(self, reason: str) -> None:
        self._undo()
        self._server.log.error("Reload failed, the server goes on as before: %s", reason)
        self._supervisor.notifier.unchanged(reason)
        self._supervisor.control.reload_failed(reason)

    def _undo(self) -> None:
        """Go back to what serves, from wherever the reload in the air has come to."""
        supervisor, server, before = self._supervisor, self._server, self._before
        if before is None:
            return
        self._before = None
        new, server.LISTENERS = server.LISTENERS, before.listeners
        close_listeners([one for one in new if one not in before.listeners], unlink=self._owns_files())
        if server.cfg is not before.cfg:
            _replace_environment(server.cfg.env, before.cfg.env, supervisor.boot.launch.environ)
            server.cfg = server.app.cfg = before.cfg
            self._set_up_logging()
        supervisor.foundry.retire_mold(self._generation)
        supervisor.execute(supervisor.roster.call_off(trio.current_time()))
        server.scaled(supervisor.roster.count)

    def _rewrite_pidfile(self) -> None:
        server = self._server
        path = server.cfg.pidfile and server.cfg.pidfile + (".2" if self._supervisor.boot.predecessor else "")
        if server.pidfile is not None:
            server.pidfile.unlink()
        server.pidfile = Pidfile(path) if path else None
        try:
            if server.pidfile is not None:
                server.pidfile.create()
        except ConfigError as error:
            server.log.error("%s", error)

    def _owns_files(self) -> bool:
        return self._supervisor.boot.owns_socket_files


def _replace_environment(old: dict[str, str], new: dict[str, str], original: dict[str, str]) -> None:
    """Take ``raw_env`` of the old configuration back to what the process was started with, and apply the
    new one.
    """
    for name in old:
        if name in original:
            os.environ[name] = original[name]
        else:
            os.environ.pop(name, None)
    os.environ.update(new)
