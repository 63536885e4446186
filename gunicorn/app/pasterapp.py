"""PasteDeploy: applications, and whole servers, that an ini file describes. Needs the ``PasteDeploy``
package.
"""

from __future__ import annotations

import configparser
import os
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.config import loader
from gunicorn.config.sources import FRAMEWORK
from gunicorn.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PasterServerApplication", "get_wsgi_app", "get_wsgi_app_name", "paste_settings", "serve"]


def get_wsgi_app_name(paste: str) -> str:
    """``FILE[#SECTION]`` as the URI that PasteDeploy takes.

    Raises:
        ConfigError: there is no such file.
    """
    path, hash_sign, section = paste.partition("#")
    path = os.path.abspath(os.path.normpath(path))
    if not os.path.isfile(path):
        raise ConfigError(f"paste: there is no file {path!r}")
    return f"config:{path}{hash_sign}{section}"


def paste_settings(paste: str) -> dict[str, Any]:
    """What the ini file says about the server: its ``[loggers]``, and a name for the process title."""
    path = _path(get_wsgi_app_name(paste))
    settings: dict[str, Any] = {"default_proc_name": paste}
    if has_logging_config(path):
        settings["logconfig"] = path
    return settings


def has_logging_config(path: str) -> bool:
    """Whether the file has a ``[loggers]`` section."""
    parser = configparser.RawConfigParser()
    parser.read(path)
    return parser.has_section("loggers")


def get_wsgi_app(uri: str, defaults: Mapping[str, str] | None = None) -> Any:
    """The application that ``uri`` describes, with ``defaults`` as its global configuration.

    Raises:
        ConfigError: PasteDeploy is not installed.
    """
    try:
        from paste.deploy import loadapp
    except ImportError as error:
        raise ConfigError("paste: needs the PasteDeploy package: pip install PasteDeploy") from error
    return loadapp(uri, name=None, relative_to=os.path.dirname(_path(uri)), global_conf=dict(defaults or {}))


def _path(uri: str) -> str:
    return uri.removeprefix("config:").partition("#")[0]


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
