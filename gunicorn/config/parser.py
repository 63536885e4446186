"""The argument parser, made from the table of settings."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

from gunicorn import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gunicorn.config.setting import Setting

__all__ = ["COMMAND_LINE", "Parser", "build_parser", "separate_optional_values"]

COMMAND_LINE = "command line"


class Parser(argparse.ArgumentParser):
    """Reads flags of one layer at a time; a usage error names the layer unless it is the command line."""

    layer = COMMAND_LINE

    def error(self, message: str) -> NoReturn:
        super().error(message if self.layer == COMMAND_LINE else f"in {self.layer}: {message}")


def build_parser(settings: Iterable[Setting], prog: str | None, usage: str | None) -> Parser:
    """A parser with every flag, grouped by section. All defaults are None, to tell "not given"."""
    # Everything goes into groups: an argument that is added to the parser itself makes argparse create a help
    # formatter, and that imports shutil with its compressors at every start.
    parser = Parser(prog=prog, usage=usage, add_help=False)
    general = parser.add_argument_group("options")
    general.add_argument("-h", "--help", action="help", help="Show this help, then exit.")
    version = f"%(prog)s (version {__version__})"
    general.add_argument(
        "-v", "--version", action="version", version=version, help="Show the version, then exit."
    )
    general.add_argument("args", nargs="*", help=argparse.SUPPRESS)
    groups: dict[str, argparse._ArgumentGroup] = {}
    for setting in settings:
        if setting.cli:
            group = groups.get(setting.section) or parser.add_argument_group(setting.section)
            groups[setting.section] = group
            setting.add_option(group)
    return parser


def separate_optional_values(settings: Iterable[Setting], argv: Sequence[str]) -> list[str]:
    """Writes ``--flag`` as ``--flag=CONST`` where its value is optional and the next word is no choice.

    argparse would take any following word: ``gunicorn --proxy-protocol app:app`` would have no application.
    """
    flags = {flag: setting for setting in settings for flag in setting.cli or ()}
    separated = list(argv)
    for index, word in enumerate(separated):
        if word == "--":
            break
        setting = _resolve(flags, word)
        if setting is None or setting.nargs != "?" or not setting.choices:
            continue
        following = separated[index + 1 : index + 2]
        if not following or following[0].lower() not in setting.choices:
            separated[index] = f"{setting.flag}={setting.const}"
    return separated


def _resolve(flags: dict[str, Setting], word: str) -> Setting | None:
    """The setting of a flag, which may be shortened to an unambiguous beginning."""
    if word in flags or not word.startswith("--"):
        return flags.get(word)
    matches = {id(setting): setting for flag, setting in flags.items() if flag.startswith(word)}
    return next(iter(matches.values())) if len(matches) == 1 else None
