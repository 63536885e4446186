"""What can only be said about the configuration as a whole, once every layer is in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gunicorn.config.sources import DEFAULT

if TYPE_CHECKING:
    from gunicorn.config.config import Config
    from gunicorn.config.setting import Setting

__all__ = ["check"]

FILES = ("certfile", "keyfile", "ca_certs", "logconfig", "logconfig_json")


def check(cfg: Config) -> None:
    """Raises the first error, and leaves warnings in ``cfg.warnings``. It may run twice.

    Raises:
        ConfigError: A file is missing, or settings do not go together.
    """
    for name in FILES:
        _check_file(cfg, name)
    _ = cfg.addresses, cfg.env, cfg.paste_global_conf  # each raises when it cannot be parsed
    _check_key(cfg)
    _check_protocols(cfg)
    _warn_about_globs(cfg)
    _warn_about_version(cfg)
    _warn_about_later(cfg)


def _check_file(cfg: Config, name: str) -> None:
    path = cfg.settings[name].get()
    if path is not None and not os.path.isfile(path):
        raise cfg.error(name, "expected a file that exists")


def _check_key(cfg: Config) -> None:
    if cfg.keyfile and not cfg.certfile and cfg.settings["ssl_context"].source == DEFAULT:
        raise cfg.error("keyfile", "expected a certfile as well")


def _check_protocols(cfg: Config) -> None:
    if "h2" not in cfg.http_protocols:
        return
    from importlib.util import find_spec

    if find_spec("h2") is None:
        raise cfg.error("http_protocols", "HTTP/2 needs the h2 package")
    if not cfg.is_ssl and cfg.http2_cleartext == "off":
        cfg.warn("http_protocols: h2 without TLS needs http2_cleartext; HTTP/1.1 is served")


def _warn_about_globs(cfg: Config) -> None:
    if not cfg.reload_extra_files:
        return
    from glob import has_magic, iglob

    for pattern in cfg.reload_extra_files:
        if has_magic(pattern) and next(iglob(pattern, recursive=True), None) is None:
            cfg.warn(f"reload_extra_files: {pattern!r} matches no file yet")


def _warn_about_version(cfg: Config) -> None:
    if cfg.ssl_version != cfg.settings["ssl_version"].default:
        cfg.warn("ssl_version is ignored; set the TLS version in the ssl_context hook")


def _warn_about_later(cfg: Config) -> None:
    names = [name for name, setting in cfg.settings.items() if _is_later(setting)]
    if names:
        cfg.warn(f"accepted, not yet effective: {', '.join(names)}")


def _is_later(setting: Setting) -> bool:
    # What is switched off is absent, as was asked for.
    if setting.source == DEFAULT or setting.value in (setting.default, None, False):
        return False
    values = setting.value if isinstance(setting.value, list) else [setting.value]
    return not setting.effective or any(value in setting.later for value in values)
