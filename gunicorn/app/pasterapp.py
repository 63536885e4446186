"""PasteDeploy: whole servers that an ini file describes. Needs the ``PasteDeploy`` package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.app.pastedeploy import get_wsgi_app, get_wsgi_app_name, has_logging_config, paste_settings
from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.config import loader
from gunicorn.config.sources import FRAMEWORK

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PasterServerApplication", "get_wsgi_app", "get_wsgi_app_name", "paste_settings", "serve"]


class PasterServerApplication(WSGIApplication):
    """The server of a ``[server:main]`` section with ``use = egg:gunicorn#main``.

    Args:
        app: The WSGI callable, made by whoever read the ini file.
        global_conf: Its ``[DEFAULT]``; ``__file__`` names the ini file.
        host, port: Where to listen, unless ``bind`` is given.
        settings: Any settings by name; ``config`` names a configuration file besides.
    """

    def __init__(
        self,
        app: Any,
        global_conf: Mapping[str, str] | None = None,
        host: str | None = None,
        port: str | int | None = None,
        **settings: Any,
    ) -> None:
        self._app = app
        self._file = (global_conf or {}).get("__file__")
        self._settings = {name: value for name, value in settings.items() if name != "use"}
        if host and "bind" not in self._settings:
            address = f"[{host}]" if ":" in host else host
            self._settings["bind"] = f"{address}:{port}" if port else address
        BaseApplication.__init__(self)

    def load_config(self) -> None:
        """Settings of the section over those of the configuration file that it names.

        Raises:
            ConfigError: one line.
        """
        settings = dict(self._settings)
        file = settings.pop("config", None)
        if self._file is not None:
            self.cfg.set("default_proc_name", self._file, FRAMEWORK)
            if has_logging_config(self._file):
                self.cfg.set("logconfig", self._file, FRAMEWORK)
        if file:
            self.load_config_from_file(file)
        loader.apply_framework(self.cfg, settings)

    def load(self) -> Any:
        """The callable that was given."""
        return self._app


def serve(app: Any, global_conf: Mapping[str, str] | None = None, **settings: Any) -> None:
    """Entry point ``paste.server_runner``: serve ``app`` as the section says."""
    PasterServerApplication(app, global_conf, **settings).run()
