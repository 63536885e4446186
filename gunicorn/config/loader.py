"""Applies the layers of configuration, later ones over earlier ones.

Built-in defaults < application or framework < configuration file < ``GUNICORN_CMD_ARGS`` < command line. A
list that a later layer gives replaces the list of an earlier one.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from gunicorn.config import directory
from gunicorn.config.checks import check
from gunicorn.config.file import ConfigFile, read_config
from gunicorn.config.misspelt import misspelt_lines
from gunicorn.config.parser import COMMAND_LINE, Parser, separate_optional_values
from gunicorn.config.sources import FRAMEWORK, Source, command_line
from gunicorn.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from gunicorn.config.config import Config

    Init = Callable[[argparse.ArgumentParser, argparse.Namespace, list[str]], Mapping[str, Any] | None]

__all__ = [
    "ARGUMENTS_VARIABLE",
    "Flags",
    "apply_file",
    "apply_flags",
    "apply_framework",
    "choose_file",
    "load",
    "load_file",
    "parse_flags",
    "parse_variable",
]

ARGUMENTS_VARIABLE = "GUNICORN_CMD_ARGS"


class Flags(NamedTuple):
    """What one layer of flags gives."""

    layer: str
    values: dict[str, Any]
    positional: list[str]
    namespace: argparse.Namespace


def load(
    cfg: Config, argv: Sequence[str], *, init: Init | None = None, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Fills ``cfg`` from all layers, checks it as a whole, and returns the positional arguments.

    It changes to the directory that ``chdir`` names, and puts it on ``sys.path``.

    Args:
        argv: Arguments of the command, without its name.
        init: The application's say, called with parser, parsed options and positional arguments; may return
            settings.

    Raises:
        ConfigError: Something is wrong; one line says what and where. A cause is an exception of the user's
            own code.
        SystemExit: From argparse: 2 for wrong usage, 0 for ``--help`` and ``--version``.
    """
    parser = cast("Parser", cfg.parser())
    given = parse_flags(cfg, parser, argv)
    variable = parse_variable(cfg, parser, environ)
    if init is not None:
        apply_framework(cfg, init(parser, given.namespace, given.positional))
    enter_directory(cfg)
    choice = choose_file(cfg, variable, given)
    if choice is not None:
        apply_file(cfg, load_file(cfg, *choice))
    apply_flags(cfg, variable)
    apply_flags(cfg, given)
    enter_directory(cfg)
    check(cfg)
    return given.positional


def parse_flags(cfg: Config, parser: Parser, argv: Sequence[str], layer: str = COMMAND_LINE) -> Flags:
    parser.layer = layer
    namespace = parser.parse_args(separate_optional_values(cfg.settings.values(), argv))
    parser.layer = COMMAND_LINE
    values = {
        name: value for name, value in vars(namespace).items() if name in cfg.settings and value is not None
    }
    return Flags(layer, values, list(namespace.args), namespace)


def parse_variable(cfg: Config, parser: Parser, environ: Mapping[str, str]) -> Flags:
    """The flags in ``GUNICORN_CMD_ARGS``, split as a shell would."""
    try:
        words = shlex.split(environ.get(ARGUMENTS_VARIABLE, ""))
    except ValueError as error:
        parser.error(f"in {ARGUMENTS_VARIABLE}: {error}")
    flags = parse_flags(cfg, parser, words, ARGUMENTS_VARIABLE)
    if flags.positional:
        cfg.warn(f"{ARGUMENTS_VARIABLE}: {flags.positional[0]!r} is ignored: only flags belong there")
    return flags


def apply_framework(cfg: Config, settings: Mapping[str, Any] | None) -> None:
    for name, value in (settings or {}).items():
        if name.lower() not in cfg.settings:
            raise ConfigError(f"{FRAMEWORK}: no setting is called {name!r}")
        cfg.set(name.lower(), value, FRAMEWORK)


def apply_flags(cfg: Config, flags: Flags) -> None:
    for name, value in flags.values.items():
        cfg.set(name, value, command_line(cfg.settings[name].flag, flags.layer))


def choose_file(cfg: Config, variable: Flags, given: Flags) -> tuple[str, Source] | None:
    """The configuration file and who chose it; the default one only when it exists."""
    for flags in (given, variable):
        if flags.values.get("config"):
            return flags.values["config"].strip(), command_line("--config", flags.layer)
    default: str = cfg.settings["config"].default
    return (default, cfg.settings["config"].source) if os.path.isfile(default) else None


def load_file(cfg: Config, location: str, source: Source) -> ConfigFile:
    try:
        file = read_config(location)
    except FileNotFoundError as error:
        raise ConfigError(f"{source.located()}: config = {location!r}: {error}") from None
    if not location.startswith("python:") and not location.endswith((".py", ".pyc")):
        cfg.warn(f"{file.shown}: a configuration file should be called .py; it was read as Python")
    return file


def apply_file(cfg: Config, file: ConfigFile) -> None:
    """Sets what the file sets. Other names are the file's own business, unless they look like a slip."""
    for name, value in file.values.items():
        if name in cfg.settings:
            cfg.set(name, value, file.source(name))
    for line in misspelt_lines(file, cfg.settings):
        cfg.warn(line)


def enter_directory(cfg: Config) -> None:
    """Changes to ``chdir``; the application and the configuration can import from there."""
    path: str = cfg.settings["chdir"].get()
    try:
        directory.enter(path)
    except OSError as error:
        raise cfg.error("chdir", error.strerror) from None
    if path not in sys.path:
        sys.path.insert(0, path)
