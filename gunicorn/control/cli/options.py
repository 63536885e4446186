"""The options of ``gunicornc``."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, NamedTuple

from gunicorn import __version__
from gunicorn.control.commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Options", "parse_options"]

_EPILOG = """\
Without a command: an interactive session.

commands:
{commands}
  {top:{column}}  A live view of it all

exit status: 0 done, 1 not done, 2 wrong options, 3 begun but not finished yet,
130 interrupted.
"""


class Options(NamedTuple):
    """What was asked for; no words mean an interactive session. ``socket`` None: find it."""

    socket: str | None
    words: list[str]
    json: bool


def parse_options(argv: Sequence[str]) -> Options:
    """Read the command line; ends the process with status 2 when it is wrong."""
    parser = _parser()
    found = parser.parse_args(argv)
    words = list(found.words)
    if found.command is not None:
        if words:
            parser.error("give the command once: with -c, or as words")
        words = _split(parser, found.command)
    elif words[-1:] in (["-j"], ["--json"]):
        # After the command everything belongs to it, but this is where the hand is when it comes to mind.
        del words[-1]
        found.json = True
    return Options(found.socket, words, found.json)


def _split(parser: argparse.ArgumentParser, command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        parser.error(f"-c {command!r}: {error}")


def _epilog() -> str:
    column = max(len(command.usage) for command in COMMANDS.values())
    lines = [f"  {command.usage:{column}}  {command.help}" for command in COMMANDS.values()]
    return _EPILOG.format(commands="\n".join(lines), top="top [SECONDS]", column=column)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gunicornc",
        description="Look at a running Gunicorn server, and steer it.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("-s", "--socket", metavar="PATH", help="the server's control socket; @NAME for an abstract one")
    add("-c", "--command", metavar="TEXT", help="the command, as one text")
    add("-j", "--json", action="store_true", help="print the answer as JSON")
    add("-v", "--version", action="version", version=f"gunicornc (gunicorn {__version__})")
    add("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="show workers, reload --wait, top, ...")
    return parser
