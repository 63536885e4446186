"""The commands: which there are, and how a line of text becomes one of them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn.control import changing, looking
from gunicorn.control.arguments import WAIT, worth_waiting
from gunicorn.control.operations import NoSuchWorkerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from gunicorn.control.operations import Operations

    Data = dict[str, Any]
    Handler = Callable[[Operations, Sequence[str]], Awaitable[Data]]

__all__ = ["COMMANDS", "LONGEST", "SLACK", "Command", "Invocation", "find", "parse", "run"]

#: Beyond the wait itself, seconds: a command that has not answered by then never will.
SLACK = 5.0
#: Characters of a command line. Splitting one takes a microsecond for each, and the arbiter waits meanwhile.
LONGEST = 2000


class Command(NamedTuple):
    """One command. ``changes``: more than looking; ``usage`` as the help shows it."""

    usage: str
    help: str
    handler: Handler
    changes: bool = False


class Invocation(NamedTuple):
    """A command with its arguments."""

    command: Command
    args: list[str]

    @property
    def seconds(self) -> float:
        """The deadline of the whole."""
        return (worth_waiting(self.args) if self.command.handler is changing.reload else WAIT) + SLACK


def parse(line: str, more: Sequence[str] = ()) -> Invocation:
    """The command that a line asks for; ``more`` are arguments that need no quoting.

    Raises:
        ValueError: there is no such command; the text is for the operator.
    """
    if len(line) > LONGEST:
        raise ValueError(f"a command has at most {LONGEST} characters")
    words = [*shlex.split(line), *more]
    if not words:
        raise ValueError("Empty command")
    return find(words)


def find(words: Sequence[str]) -> Invocation:
    """The command that begins with these words. Commands are found in any case.

    Raises:
        ValueError: there is none.
    """
    first = words[0].lower()
    if first in COMMANDS:
        return Invocation(COMMANDS[first], list(words[1:]))
    verb = _VERBS.get(first)
    if verb is None:
        raise ValueError(f"Unknown command: {words[0]}")
    choices = ", ".join(name.split()[1] for name in COMMANDS if name.startswith(f"{first} "))
    if len(words) < 2:
        raise ValueError(f"Missing {verb} after {first}: {choices}")
    found = COMMANDS.get(f"{first} {words[1].lower()}")
    if found is None:
        raise ValueError(f"Unknown {first} {verb}: {words[1]} (there is {choices})")
    return Invocation(found, list(words[2:]))


async def run(operations: Operations, invocation: Invocation) -> Data:
    """The data of the answer.

    Raises:
        ValueError: the arguments are wrong.
        RefusedError: the command could not be done.
    """
    try:
        return await invocation.command.handler(operations, invocation.args)
    except NoSuchWorkerError as error:
        return {"success": False, "error": str(error)}


async def help_(operations: Operations, args: Sequence[str]) -> Data:
    return {"commands": {command.usage: command.help for command in COMMANDS.values()}}


_VERBS = {"show": "target", "worker": "action", "dirty": "action"}

COMMANDS: Mapping[str, Command] = {
    "show all": Command("show all", "All processes: arbiter, web workers, dirty workers", looking.show_all),
    "show workers": Command("show workers", "The workers and what they have done", looking.show_workers),
    "show requests": Command("show requests", "The requests in flight, oldest first", looking.show_requests),
    "show deaths": Command("show deaths [N]", "The last workers that died, and why", looking.show_deaths),
    "show generations": Command("show generations", "Which configuration serves", looking.show_generations),
    "show dirty": Command("show dirty", "Dirty workers and their apps", looking.show_dirty),
    "show config": Command("show config", "The configuration in effect", looking.show_config),
    "show stats": Command("show stats", "Counters of the server", looking.show_stats),
    "show listeners": Command("show listeners", "The listening sockets", looking.show_listeners),
    "show load": Command("show load", "All that gunicornc top shows", looking.show_load),
    "stack": Command("stack <PID|all>", "What every thread of a worker does now", looking.stack),
    "worker add": Command("worker add [N]", "N more workers (default 1)", changing.worker_add, changes=True),
    "worker remove": Command(
        "worker remove [N]", "N fewer workers (default 1)", changing.worker_remove, changes=True
    ),
    "worker retire": Command(
        "worker retire <PID>", "Replace one worker, then let it finish", changing.worker_retire, changes=True
    ),
    "worker kill": Command(
        "worker kill <PID>", "Stop one worker gracefully (TERM)", changing.worker_kill, changes=True
    ),
    "dirty add": Command(
        "dirty add [N]", "N more dirty workers (default 1)", changing.dirty_add, changes=True
    ),
    "dirty remove": Command(
        "dirty remove [N]", "N fewer dirty workers (default 1)", changing.dirty_remove, changes=True
    ),
    "reload": Command(
        "reload [--wait [SECONDS]]", "New configuration and workers (HUP)", changing.reload, changes=True
    ),
    "drain": Command(
        "drain", "Let all workers finish; reload brings workers back", changing.drain, changes=True
    ),
    "reopen": Command("reopen", "Reopen the log files (USR1)", changing.reopen, changes=True),
    "shutdown": Command(
        "shutdown [graceful|quick]", "Stop the server (TERM, INT)", changing.shutdown, changes=True
    ),
    "help": Command("help", "This list", help_),
}
