"""The merged configuration that everything else reads."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.config.setting import Setting, make_settings
from gunicorn.config.sources import PROGRAM, SettingError, Source
from gunicorn.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from ipaddress import IPv4Network, IPv6Network

    from gunicorn.config.addresses import Address

__all__ = ["Config"]

SYNC_NAMES = ("sync", "gunicorn.workers.sync.SyncWorker")


class Config:
    """All settings, each with its value and its source; ``cfg.NAME`` reads one.

    Args:
        usage: Usage line of the argument parser.
        prog: Name of the program in messages.

    Raises:
        ConfigError: An environment variable that gives a default holds a wrong value.
    """

    def __init__(self, usage: str | None = None, prog: str | None = None) -> None:
        self.settings: dict[str, Setting] = make_settings()
        self.usage = usage
        self.prog = prog or os.path.basename(sys.argv[0])
        self.env_orig = os.environ.copy()
        self.warnings: list[str] = []
        self._frozen = False
        self._classes: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        settings = self.__dict__.get("settings", {})
        if name not in settings:
            raise AttributeError(f"no setting is called {name!r}")
        return settings[name].get()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("settings", ()):
            raise AttributeError("Invalid access!")
        super().__setattr__(name, value)

    def __str__(self) -> str:
        """One ``name = value`` line per setting, sorted by name."""
        width = max(len(name) for name in self.settings)
        return "\n".join(
            f"{name:{width}} = {_shown(self.settings[name].value)}" for name in sorted(self.settings)
        )

    def set(self, name: str, value: Any, source: Source | None = None) -> None:
        """Validates and stores a value.

        Raises:
            AttributeError: No such setting.
            ConfigError: The value is not allowed, or the configuration is frozen.
        """
        if name not in self.settings:
            raise AttributeError(f"no setting is called {name!r}")
        if self._frozen:
            raise ConfigError(f"{name} cannot be set: the configuration is frozen once the server runs")
        source = source or PROGRAM
        try:
            self.settings[name].set(value, source)
        except (TypeError, ValueError) as error:
            raise SettingError(f"{source.located()}: {name} = {value!r}: {error}") from error.__cause__
        self._classes.clear()

    def freeze(self) -> None:
        """From now on ``set`` raises: processes that were forked would not see a change."""
        self._frozen = True

    def warn(self, line: str) -> None:
        """Keeps a line for the command to print; a line is kept once."""
        if line not in self.warnings:
            self.warnings.append(line)

    def parser(self) -> argparse.ArgumentParser:
        """The argument parser of the command, made from the table."""
        from gunicorn.config.parser import build_parser

        return build_parser(self.settings.values(), self.prog, self.usage)

    @property
    def sources(self) -> Mapping[str, Source]:
        """Name of every setting to the place that its value came from."""
        return {name: setting.source for name, setting in self.settings.items()}

    def error(self, name: str, problem: object) -> SettingError:
        """The error to raise about the value that a setting has."""
        setting = self.settings[name]
        return SettingError(f"{setting.source.located()}: {name} = {setting.value!r}: {problem}")

    # -- sockets and peers

    @property
    def addresses(self) -> list[Address]:
        """The bind list, parsed."""
        from gunicorn.config.addresses import parse_address

        try:
            return [parse_address(text) for text in self.settings["bind"].get()]
        except ValueError as error:
            raise self.error("bind", error) from None

    @property
    def address(self) -> list[tuple[str, int] | str | int]:
        """The bind list as ``(host, port)`` pairs, paths and descriptors."""
        from gunicorn.config.addresses import classic

        return [classic(address) for address in self.addresses]

    def forwarded_allow_networks(self) -> list[IPv4Network | IPv6Network]:
        return self._networks("forwarded_allow_ips")

    def proxy_allow_networks(self) -> list[IPv4Network | IPv6Network]:
        return self._networks("proxy_allow_ips")

    def uwsgi_allow_networks(self) -> list[IPv4Network | IPv6Network]:
        return self._networks("uwsgi_allow_ips")

    def _networks(self, name: str) -> list[IPv4Network | IPv6Network]:
        from ipaddress import ip_network

        return [ip_network(text) for text in self.settings[name].get() if text != "*"]

    # -- processes

    @property
    def uid(self) -> int:
        value: int = self.settings["user"].get()
        return value

    @property
    def gid(self) -> int:
        value: int = self.settings["group"].get()
        return value

    @property
    def env(self) -> dict[str, str]:
        """``raw_env`` as a mapping."""
        return self._pairs("raw_env")

    @property
    def proc_name(self) -> str:
        value: str = self.settings["proc_name"].get() or self.settings["default_proc_name"].get()
        return value

    @property
    def paste_global_conf(self) -> dict[str, str]:
        """``raw_paste_global_conf`` as a mapping; ``\\=`` stands for an equals sign within a key."""
        pairs = [text.replace("\\=", "\0") for text in self.settings["raw_paste_global_conf"].get()]
        if not all("=" in text for text in pairs):
            raise self.error("raw_paste_global_conf", "expected KEY=VALUE")
        split = (text.partition("=") for text in pairs)
        return {key.replace("\0", "=").strip(): value.replace("\0", "=").strip() for key, _, value in split}

    def _pairs(self, name: str) -> dict[str, str]:
        pairs = {}
        for text in self.settings[name].get():
            key, equals, value = text.partition("=")
            if not (equals and key):
                raise self.error(name, f"expected KEY=VALUE, not {text!r}")
            pairs[key] = value
        return pairs

    # -- classes

    @property
    def worker_class_str(self) -> str:
        """The worker class as the log names it."""
        uri = self.settings["worker_class"].get()
        if isinstance(uri, type):
            return uri.__name__
        return "gthread" if self._uses_threads(uri) else str(uri)

    @property
    def worker_class(self) -> Any:
        """The worker class, imported at first use; its ``setup()`` is called once, then."""
        uri = self.settings["worker_class"].get()
        return self._class(
            "worker_class", "gthread" if self._uses_threads(uri) else uri, "gunicorn.workers", "setup"
        )

    def _uses_threads(self, uri: Any) -> bool:
        return uri in SYNC_NAMES and self.settings["threads"].get() > 1

    @property
    def logger_class(self) -> Any:
        """The logger class, imported at first use; its ``install()`` is called once, then."""
        setting = self.settings["logger_class"]
        uri = setting.get()
        if uri in (setting.default, "simple", None) and self.settings["statsd_host"].get():
            uri = "gunicorn.instrument.statsd.Statsd"
        return self._class("logger_class", uri, "gunicorn.loggers", "install")

    def _class(self, name: str, uri: Any, section: str, prepare: str) -> Any:
        if uri not in self._classes:
            from gunicorn.config.importing import load_class

            try:
                found = load_class(uri, str(self.settings[name].default), section)
            except ConfigError as error:
                raise self.error(name, error) from error.__cause__
            if hasattr(found, prepare):
                getattr(found, prepare)()
            self._classes[uri] = found
        return self._classes[uri]

    # -- TLS and files

    @property
    def is_ssl(self) -> bool:
        return bool(self.settings["certfile"].get() or self.settings["keyfile"].get())

    @property
    def ssl_options(self) -> dict[str, Any]:
        """Name to value of every setting of the SSL section."""
        return {name: setting.get() for name, setting in self.settings.items() if setting.section == "SSL"}

    @property
    def sendfile(self) -> bool:
        """Whether files are sent by the kernel: on unless it was switched off."""
        return self.settings["sendfile"].get() is not False


def _shown(value: Any) -> str:
    return f"<{value.__qualname__}()>" if callable(value) and hasattr(value, "__qualname__") else str(value)
