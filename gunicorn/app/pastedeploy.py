"""What an ini file of PasteDeploy says: the application, and what is in it for the server."""

from __future__ import annotations

import configparser
import os
from typing import TYPE_CHECKING, Any

from gunicorn.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["get_wsgi_app", "get_wsgi_app_name", "has_logging_config", "paste_settings"]


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
