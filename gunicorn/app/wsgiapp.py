"""The ``gunicorn`` command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.app.base import Application
from gunicorn.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

__all__ = ["WSGIApplication", "run"]


class WSGIApplication(Application):
    """Serves the application that the command line or ``wsgi_app`` names.

    Attributes:
        app_uri: ``module:name`` or ``module:factory(...)``; the ini file with ``--paste``.
    """

    app_uri: str | None = None

    def init(
        self, parser: argparse.ArgumentParser, opts: argparse.Namespace, args: list[str]
    ) -> Mapping[str, Any] | None:
        """The application named on the command line, and the process title that follows from it."""
        self.app_uri = None
        if opts.paste is not None:
            from gunicorn.app.pastedeploy import get_wsgi_app_name, paste_settings

            self.app_uri = get_wsgi_app_name(opts.paste)
            return paste_settings(opts.paste)
        if args:
            self.app_uri = args[0]
            return {"default_proc_name": args[0]}
        return None

    def load_config(self) -> None:
        """Apply all layers, then settle which application is meant.

        Raises:
            ConfigError: no application is named.
        """
        super().load_config()
        if self.app_uri is None:
            self.app_uri = self.cfg.wsgi_app
            if self.app_uri is None:
                raise ConfigError(
                    "no application: name it as MODULE:NAME on the command line, or as wsgi_app in the file"
                )
            self.cfg.set("default_proc_name", self.app_uri)

    def load(self) -> Any:
        """Import the application.

        Raises:
            AppImportError: the name leads to nothing callable.
        """
        assert self.app_uri is not None
        if self.cfg.paste is not None:
            from gunicorn.app.pastedeploy import get_wsgi_app

            return get_wsgi_app(self.app_uri, defaults=self.cfg.paste_global_conf)
        from gunicorn.util import import_app

        return import_app(self.app_uri)


def run(prog: str | None = None) -> None:
    """Be the ``gunicorn`` command."""
    WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog=prog).run()
