"""What commands and custom applications have in common: load a configuration, then be the server it
describes.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

# First, because it notes folder and environment as they are before a configuration changes them.
from gunicorn.arbiter import handover, launch  # noqa: F401
from gunicorn.config import Config, loader
from gunicorn.config.sources import PROGRAM
from gunicorn.errors import AppImportError, ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

__all__ = ["Application", "BaseApplication"]

_FORK_SERVER = "GUNICORN_FORK_SERVER"
_DIRTY_ARBITER = "GUNICORN_DIRTY_ARBITER"


class BaseApplication:
    """A server whose settings and WSGI callable come from a program.

    Subclasses implement ``load_config``, which calls ``self.cfg.set(name, value)``, and ``load``, which
    returns the callable. Making an instance loads the configuration and ends the process with status 1 when
    it is wrong; ``run()`` serves.

    Attributes:
        cfg: The configuration.
        callable: What ``load`` returned, once it has been called.
    """

    def __init__(self, usage: str | None = None, prog: str | None = None) -> None:
        self.usage = usage
        self.prog = prog
        self.cfg: Any = None
        self.callable: Any = None
        self.logger: Any = None
        try:
            self.do_load_config()
        except ConfigError as error:
            self._refuse(error)

    # --- for subclasses ---

    def init(
        self, parser: argparse.ArgumentParser, opts: argparse.Namespace, args: list[str]
    ) -> Mapping[str, Any] | None:
        """Settings of the application or framework, below the configuration file; may look at the parsed
        command line.
        """
        raise NotImplementedError

    def load_config(self) -> None:
        """Fill ``self.cfg``."""
        raise NotImplementedError

    def load(self) -> Any:
        """Import or make the WSGI callable."""
        raise NotImplementedError

    # --- configuration ---

    def do_load_config(self) -> None:
        """Make a fresh configuration and fill it.

        Raises:
            ConfigError: one line. The configuration before is kept.
        """
        before = self.cfg
        try:
            self.load_default_config()
            self.load_config()
        except BaseException:
            self.cfg = before
            raise

    def load_default_config(self) -> None:
        """A configuration with nothing but defaults."""
        self.cfg = Config(self.usage, prog=self.prog)

    def reload(self) -> None:
        """Read the configuration again; the callable will be loaded again.

        Raises:
            ConfigError: one line. The configuration before is kept.
        """
        self.do_load_config()
        self.callable = None
        if self.cfg.spew:
            _spew()

    # --- serving ---

    def wsgi(self) -> Any:
        """The WSGI callable, loaded at the first call."""
        if self.callable is None:
            self.callable = self.load()
        return self.callable

    def run(self) -> None:
        """Serve until the end of the server; leaves the process with its exit status."""
        try:
            self._serve()
        except ConfigError as error:
            self._refuse(error)
        except RuntimeError as error:
            # What a hook raises to refuse the start.
            print(f"\nError: {error}\n", file=sys.stderr, flush=True)
            sys.exit(1)

    def _serve(self) -> None:
        extend_path(self.cfg)
        if _DIRTY_ARBITER in os.environ:
            self._be_dirty_arbiter()
        if _FORK_SERVER in os.environ:
            self._be_fork_server()
        if self.cfg.spew:
            _spew()
        if handover.CHECK_VARIABLE in os.environ:
            self._try_out()
        # The image before this one has become a daemon already.
        if self.cfg.daemon and handover.VARIABLE not in os.environ:
            from gunicorn.process.daemon import daemonize

            daemonize(self.cfg.enable_stdio_inheritance)
        from gunicorn.arbiter import Arbiter

        Arbiter(self).run()

    def _be_fork_server(self) -> NoReturn:
        """An arbiter that lost its fork server has started this process in its place."""
        from gunicorn.process import forkserver

        os.environ.update(self.cfg.env)
        forkserver.attach_from_environment(self, self.cfg, self.cfg.logger_class(self.cfg))

    def _try_out(self) -> NoReturn:
        """A running server wants to become this version: say whether it could, by the exit status."""
        theirs = os.environ[handover.CHECK_VARIABLE]
        from gunicorn.arbiter import main  # noqa: F401 - that it can be imported is half of the question

        if theirs != handover.FORMAT:
            print(
                f"{self.prog or 'gunicorn'}: error: upgrade_in_place: the running version hands over as "
                f"{theirs!r}, this one takes {handover.FORMAT!r}; restart, or upgrade without it",
                file=sys.stderr,
            )
            sys.exit(1)
        sys.exit(0)

    def _be_dirty_arbiter(self) -> NoReturn:
        """The arbiter of a server with a pool has started this process for it."""
        from gunicorn.dirty import startup

        startup.serve_from_environment(self)

    def _warn(self, line: str) -> None:
        print(f"{self.cfg.prog}: warning: {line}", file=sys.stderr, flush=True)

    def _refuse(self, error: ConfigError) -> NoReturn:
        """End with one line; what the user's own code raised comes with its traceback."""
        if error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        print(f"{self.prog or 'gunicorn'}: error: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)


class Application(BaseApplication):
    """A server with a command line and a configuration file."""

    def load_config(self) -> None:
        """Apply all layers; ``init`` gives the lowest.

        Raises:
            ConfigError: one line that names the source.
        """
        loader.load(self.cfg, self.arguments(), init=self.init)
        for line in self.cfg.warnings:
            self._warn(line)

    def arguments(self) -> Sequence[str]:
        """The command line, without the command."""
        return sys.argv[1:]

    def load_config_from_file(self, filename: str) -> None:
        """Apply one more configuration file.

        Raises:
            ConfigError: one line that names the file.
        """
        loader.apply_file(self.cfg, loader.load_file(self.cfg, filename, PROGRAM))

    def run(self) -> None:
        """Serve, or only check (``--check-config``, ``--print-config``)."""
        is_asked = _FORK_SERVER not in os.environ and handover.CHECK_VARIABLE not in os.environ
        if is_asked and (self.cfg.check_config or self.cfg.print_config):
            self._check()
        super().run()

    def _check(self) -> NoReturn:
        if self.cfg.print_config:
            print(self.cfg, flush=True)
        extend_path(self.cfg)
        try:
            self.wsgi()
        except AppImportError as error:
            print(f"{self.cfg.prog}: error: {error}", file=sys.stderr)
            sys.exit(1)
        except Exception:  # noqa: BLE001 - the application's own error, whatever it is, is the answer to the question
            print("\nError while loading the application:\n", file=sys.stderr)
            traceback.print_exc()
            sys.exit(1)
        sys.exit(0)


def extend_path(cfg: Any) -> None:
    """Put the folders of ``pythonpath`` first on ``sys.path``."""
    for folder in (cfg.pythonpath or "").split(","):
        path = os.path.abspath(folder.strip()) if folder.strip() else ""
        if path and path not in sys.path:
            sys.path.insert(0, path)


def _spew() -> None:
    from gunicorn.app.spew import spew

    spew()
