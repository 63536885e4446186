"""The commands: which there are, what they may be given, and the data that each answers with.

The names and fields of the commands that every ``gunicornc`` knows are fixed; more fields may be added.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn.control.operations import NoSuchWorkerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from gunicorn.control.operations import Operations, Scaled, WorkerState

    Data = dict[str, Any]
    Handler = Callable[[Operations, Sequence[str]], Awaitable[Data]]

__all__ = ["COMMANDS", "WAIT", "Command", "find", "parse", "run", "worth_waiting"]

#: For what should have happened by the time of the answer, seconds: less than the 30 for which clients wait.
WAIT = 20.0
#: A reload that is waited for, unless the command says otherwise, seconds.
RELOAD_WAIT = 120.0
#: Beyond the wait itself, seconds: a command that has not answered by then never will.
SLACK = 5.0
#: Characters of a command line. Splitting one takes a microsecond for each, and the arbiter waits meanwhile.
LONGEST = 2000

_CONFIG = (
    *("bind", "workers", "worker_class", "threads", "timeout", "graceful_timeout", "keepalive"),
    *("max_requests", "max_requests_jitter", "worker_connections", "preload_app", "daemon", "pidfile"),
    *("proc_name", "reload", "dirty_workers", "dirty_apps", "dirty_timeout"),
    *("control_socket", "control_socket_disable"),
)


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
        return worth_waiting(self.args if self.command.handler is reload_ else []) + SLACK


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


def worth_waiting(args: Sequence[str]) -> float:
    """Seconds for which the answer to a reload with these arguments may take.

    Raises:
        ValueError: not a number of seconds.
    """
    if len(args) < 2:
        return RELOAD_WAIT if args else WAIT
    try:
        seconds = float(args[1])
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86400:
        raise ValueError(f"--wait takes seconds, from 1 to 86400, not {args[1]!r}")
    return seconds


# --- looking ---


async def show_all(operations: Operations, args: Sequence[str]) -> Data:
    web = [{"pid": w.pid, "type": "web", **_classic(w), **_more(w)} for w in _by_age(operations)]
    dirty = await _dirty_status(operations)
    pid, workers = dirty["pid"], dirty["workers"]
    return {
        "arbiter": {"pid": operations.pid, "type": "arbiter", "role": "master"},
        "web_workers": web,
        "web_worker_count": len(web),
        "dirty_arbiter": pid and {"pid": pid, "type": "dirty_arbiter", "role": "dirty master"},
        "dirty_workers": workers,
        "dirty_worker_count": len(workers),
    }


async def show_workers(operations: Operations, args: Sequence[str]) -> Data:
    workers = [{"pid": w.pid, **_classic(w), "aborted": w.aborted, **_more(w)} for w in _by_age(operations)]
    return {"workers": workers, "count": len(workers)}


async def show_dirty(operations: Operations, args: Sequence[str]) -> Data:
    return await _dirty_status(operations)


async def show_config(operations: Operations, args: Sequence[str]) -> Data:
    values = {name: getattr(operations.config, name) for name in _CONFIG}
    return {name: _plain(value) for name, value in values.items()}


async def show_stats(operations: Operations, args: Sequence[str]) -> Data:
    stats, dirty = operations.stats(), operations.dirty
    data = {**stats._asdict(), "uptime": round(stats.uptime, 2)}
    workers = operations.workers()
    return {
        **data,
        "dirty_arbiter_pid": dirty.pid if dirty is not None else None,
        "requests": sum(w.requests for w in workers),
        "in_flight": sum(w.in_flight for w in workers),
    }


async def show_listeners(operations: Operations, args: Sequence[str]) -> Data:
    listeners = [listener._asdict() for listener in operations.listeners()]
    return {"listeners": listeners, "count": len(listeners)}


async def show_requests(operations: Operations, args: Sequence[str]) -> Data:
    requests = sorted(operations.requests(), key=lambda request: -request.age)
    shown = [{**request._asdict(), "age": round(request.age, 3)} for request in requests]
    return {"requests": shown, "count": len(shown)}


async def show_deaths(operations: Operations, args: Sequence[str]) -> Data:
    deaths = list(operations.deaths())
    wanted = _count(args, default=10)
    return {"deaths": deaths[-wanted:], "count": len(deaths)}


async def show_generations(operations: Operations, args: Sequence[str]) -> Data:
    generations = [generation._asdict() for generation in operations.generations()]
    return {"generations": generations, "count": len(generations)}


async def show_load(operations: Operations, args: Sequence[str]) -> Data:
    """Everything that a live view draws, of one moment."""
    config = operations.config
    return {
        "name": config.proc_name,
        "worker_class": config.worker_class_str,
        "stats": await show_stats(operations, ()),
        "workers": (await show_workers(operations, ()))["workers"],
        "requests": (await show_requests(operations, ()))["requests"][:64],
        "listeners": (await show_listeners(operations, ()))["listeners"],
        "deaths": len(operations.deaths()),
        "dirty": await _dirty_status(operations),
    }


async def stack(operations: Operations, args: Sequence[str]) -> Data:
    if args and args[0].lower() == "all":
        pids = [worker.pid for worker in _by_age(operations)]
    else:
        pids = [_pid(args, "stack")]
    return {"stacks": [{"pid": pid, "stack": await operations.stacks(pid)} for pid in pids]}


async def help_(operations: Operations, args: Sequence[str]) -> Data:
    return {"commands": {command.usage: command.help for command in COMMANDS.values()}}


# --- changing ---


async def worker_add(operations: Operations, args: Sequence[str]) -> Data:
    return _scaled("added", await operations.scale(_count(args)))


async def worker_remove(operations: Operations, args: Sequence[str]) -> Data:
    return _scaled("removed", await operations.scale(-_count(args)))


async def worker_kill(operations: Operations, args: Sequence[str]) -> Data:
    pid = _pid(args, "worker kill")
    gone = await operations.kill(pid)
    return {"success": True, "killed": pid, "gone": gone}


async def worker_retire(operations: Operations, args: Sequence[str]) -> Data:
    pid = _pid(args, "worker retire")
    gone = await operations.retire(pid)
    return {"success": True, "retired": pid, "gone": gone}


async def dirty_add(operations: Operations, args: Sequence[str]) -> Data:
    return await _dirty_manage(operations, "add", _count(args))


async def dirty_remove(operations: Operations, args: Sequence[str]) -> Data:
    return await _dirty_manage(operations, "remove", _count(args))


async def reload_(operations: Operations, args: Sequence[str]) -> Data:
    if not args:
        # At once: loading a large application would outlast the patience of older clients.
        operations.reload()
        return {"status": "reloading"}
    if args[0] not in ("--wait", "wait") or len(args) > 2:
        raise ValueError(f"reload takes --wait [SECONDS], not {' '.join(args)!r}")
    generation = await operations.reload_and_wait(worth_waiting(args))
    return {"status": "reloaded", "generation": generation}


async def drain(operations: Operations, args: Sequence[str]) -> Data:
    remaining = await operations.drain()
    return {"status": "draining" if remaining else "drained", "remaining": remaining}


async def reopen(operations: Operations, args: Sequence[str]) -> Data:
    operations.reopen()
    return {"status": "reopening"}


async def shutdown(operations: Operations, args: Sequence[str]) -> Data:
    mode = args[0].lower() if args else "graceful"
    if mode not in ("graceful", "quick"):
        # A mistyped "quick" must not be the other thing.
        raise ValueError(f"shutdown is graceful or quick, not {args[0]!r}")
    operations.shut_down(quick=mode == "quick")
    return {"status": "shutting_down", "mode": mode}


# --- values ---


def _by_age(operations: Operations) -> list[WorkerState]:
    return sorted(operations.workers(), key=lambda worker: worker.age)


def _classic(worker: WorkerState) -> Data:
    beat = worker.last_heartbeat
    return {
        "age": worker.age,
        "booted": worker.booted,
        "last_heartbeat": None if beat is None else round(beat, 2),
    }


def _more(worker: WorkerState) -> Data:
    return {
        "slot": worker.slot,
        "generation": worker.generation,
        "state": worker.state,
        "uptime": round(worker.uptime, 2),
        "requests": worker.requests,
        "errors": worker.errors,
        "in_flight": worker.in_flight,
        "connections": worker.connections,
        "bytes_sent": worker.bytes_sent,
        "queue_time": round(worker.queue_time, 3),
        "memory": worker.memory,
    }


def _scaled(verb: str, scaled: Scaled) -> Data:
    return {
        verb: abs(scaled.total - scaled.previous),
        "previous": scaled.previous,
        "total": scaled.total,
        "serving": scaled.serving,
        "done": scaled.done,
    }


async def _dirty_status(operations: Operations) -> Data:
    if operations.dirty is None:
        return {"enabled": False, "pid": None, "workers": [], "apps": []}
    status = await operations.dirty.status()
    return {"enabled": True, "pid": operations.dirty.pid, "workers": [], "apps": [], **status}


async def _dirty_manage(operations: Operations, action: str, count: int) -> Data:
    if operations.dirty is None:
        return {"success": False, "error": "Dirty arbiter not running"}
    return await operations.dirty.manage(action, count)


def _plain(value: Any) -> Any:
    """A setting as JSON has it; a class shows as its text."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _count(args: Sequence[str], default: int = 1) -> int:
    return max(1, _number(args[0], "N")) if args else default


def _pid(args: Sequence[str], command: str) -> int:
    if not args:
        raise ValueError(f"Missing PID for {command}")
    return _number(args[0], "PID")


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} is a whole number, not {text!r}") from None


_VERBS = {"show": "target", "worker": "action", "dirty": "action"}

COMMANDS: Mapping[str, Command] = {
    "show all": Command("show all", "All processes: arbiter, web workers, dirty workers", show_all),
    "show workers": Command("show workers", "The workers and what they have done", show_workers),
    "show requests": Command("show requests", "The requests in flight, oldest first", show_requests),
    "show deaths": Command("show deaths [N]", "The last workers that died, and why", show_deaths),
    "show generations": Command("show generations", "Which configuration serves", show_generations),
    "show dirty": Command("show dirty", "Dirty workers and their apps", show_dirty),
    "show config": Command("show config", "The configuration in effect", show_config),
    "show stats": Command("show stats", "Counters of the server", show_stats),
    "show listeners": Command("show listeners", "The listening sockets", show_listeners),
    "show load": Command("show load", "All that gunicornc top shows", show_load),
    "stack": Command("stack <PID|all>", "What every thread of a worker does now", stack),
    "worker add": Command("worker add [N]", "N more workers (default 1)", worker_add, changes=True),
    "worker remove": Command("worker remove [N]", "N fewer workers (default 1)", worker_remove, changes=True),
    "worker retire": Command(
        "worker retire <PID>", "Replace one worker, then let it finish", worker_retire, changes=True
    ),
    "worker kill": Command(
        "worker kill <PID>", "Stop one worker gracefully (TERM)", worker_kill, changes=True
    ),
    "dirty add": Command("dirty add [N]", "N more dirty workers (default 1)", dirty_add, changes=True),
    "dirty remove": Command(
        "dirty remove [N]", "N fewer dirty workers (default 1)", dirty_remove, changes=True
    ),
    "reload": Command(
        "reload [--wait [SECONDS]]", "New configuration and workers (HUP)", reload_, changes=True
    ),
    "drain": Command("drain", "Let all workers finish; reload brings workers back", drain, changes=True),
    "reopen": Command("reopen", "Reopen the log files (USR1)", reopen, changes=True),
    "shutdown": Command("shutdown [graceful|quick]", "Stop the server (TERM, INT)", shutdown, changes=True),
    "help": Command("help", "This list", help_),
}
