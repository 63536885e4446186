"""The picture of ``gunicornc top``, drawn with rich."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from gunicorn.control.cli.table import clean, clip
from gunicorn.control.cli.trend import sparkline
from gunicorn.control.cli.units import duration, number, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from gunicorn.control.cli.trend import Rates, Trend

    Load = Mapping[str, Any]

__all__ = ["picture"]

_STATES = {"ready": "green", "booting": "yellow", "retiring": "magenta"}
#: Lines of the head without its facts: the headline, the rate, two rules, and the one between the tables.
_HEAD = 5
_SHORTEST = 3
#: Seconds in flight from which a request is shown as slow, and as very slow.
_SLOW, _VERY_SLOW = 1.0, 10.0


def picture(load: Load, rates: Rates, trend: Trend, width: int, height: int) -> RenderableType:
    """One frame, in exactly the room that there is."""
    requests = load["requests"]
    facts = _facts(load, rates)
    rows = max(min(len(facts) // _columns(width), height - _HEAD - 2 * _SHORTEST), 1)
    room = height - _HEAD - rows
    wanted = len(load["workers"]) + 1
    # Workers first, as many as fit; but what is in flight keeps a few lines.
    for_workers = min(wanted, room - min(len(requests) + 2, room // 2)) if requests else min(wanted, room - 2)
    for_requests = room - for_workers
    parts: list[RenderableType] = [
        _headline(load, width),
        Rule(style="dim"),
        _rate(rates, trend, width),
        _grid(facts, _columns(width), rows),
        Rule(style="dim"),
        _workers(load["workers"], rates, for_workers, width),
        Text(""),
        _in_flight(requests, for_requests, width),
    ]
    return Group(*parts)


def _headline(load: Load, width: int) -> RenderableType:
    stats = load["stats"]
    left = Text.assemble(
        (f" {clip(clean(load['name']), width // 3)}", "bold cyan"), f"  {load['worker_class']}"
    )
    left.append(f"  pid {stats['pid']}", "dim")
    right = Text.assemble(("up ", "dim"), duration(stats["uptime"]), ("   q quits ", "dim"))
    return _apart(left, right)


def _apart(left: Text, right: Text) -> Table:
    line = Table.grid(expand=True)
    line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    line.add_column(justify="right", no_wrap=True)
    line.add_row(left, right)
    return line


def _facts(load: Load, rates: Rates) -> list[Text]:
    """The most important first: a small window shows no others."""
    stats, workers = load["stats"], load["workers"]
    ready = sum(worker["state"] == "ready" for worker in workers)
    target = stats["workers_target"]
    memory = [worker["memory"] for worker in workers if worker.get("memory") is not None]
    queued = [one["queued"] for one in load["listeners"] if one.get("queued") is not None]
    return [
        _fact("workers", f"{ready}/{target}", "green" if ready >= target else "yellow"),
        _fact("in flight", number(stats["in_flight"])),
        _fact("latency", "-" if rates.latency is None else f"≈{duration(rates.latency)}"),
        _fact("memory", size(sum(memory)) if memory else "-"),
        _fact("deaths", number(load["deaths"]), "red" if load["deaths"] else ""),
        _fact("queued", number(sum(queued)) if queued else "-", "yellow" if any(queued) else ""),
        _fact("waited", duration(rates.queued) if rates.queued else "-"),
        _fact("errors/s", number(rates.errors), "red" if rates.errors else ""),
        _fact("reloads", number(stats["reloads"])),
        _fact("requests", number(stats["requests"])),
        _fact("sent", f"{size(rates.sent)}/s"),
        _fact("dirty", _dirty(load["dirty"])),
    ]


def _columns(width: int) -> int:
    """Facts beside each other: a number that twelve can be divided by."""
    return 4 if width >= 76 else 3 if width >= 57 else 2


def _grid(facts: Sequence[Text], columns: int, rows: int) -> Table:
    grid = Table.grid(expand=True)
    for _ in range(columns):
        grid.add_column(no_wrap=True, ratio=1)
    for first in range(0, rows * columns, columns):
        grid.add_row(*facts[first : first + columns])
    return grid


def _rate(rates: Rates, trend: Trend, width: int) -> Text:
    peak = f" peak {number(max(trend.requests, default=0.0))}"
    line = Text.assemble(("  requests/s ", "dim"), (f"{number(rates.requests):>8}", "bold green"), "  ")
    room = max(width - len(line.plain) - len(peak) - 2, 8)
    return line.append(sparkline(trend.requests, room), "green").append(peak, "dim")


def _fact(label: str, value: str, style: str = "") -> Text:
    return Text.assemble((f" {label:>9} ", "dim"), (value, f"bold {style}".strip()))


def _dirty(dirty: Mapping[str, Any]) -> str:
    if not dirty["enabled"]:
        return "off"
    backlog = sum(worker.get("backlog", 0) for worker in dirty["workers"])
    return f"{len(dirty['workers'])} ({backlog} wait)"


def _workers(workers: Sequence[Mapping[str, Any]], rates: Rates, lines: int, width: int) -> RenderableType:
    table = _plain_table()
    is_wide = width >= 76
    for title in ("PID", "SLOT", "GEN") if is_wide else ("PID",):
        table.add_column(title, justify="right")
    table.add_column("STATE")
    for title in (
        ("REQ/S", "REQUESTS", "BUSY", "CONNS", "ERRORS", "MEMORY", "UP")
        if is_wide
        else ("REQ/S", "BUSY", "MEMORY")
    ):
        table.add_column(title, justify="right", no_wrap=True)
    for worker in workers[: max(lines - 1, 1)]:
        table.add_row(*_worker_cells(worker, rates, is_wide=is_wide))
    return table


def _worker_cells(worker: Mapping[str, Any], rates: Rates, *, is_wide: bool) -> list[str | Text]:
    rate = number(rates.by_worker.get(worker["pid"], 0.0))
    state = (
        Text("hangs", "bold red")
        if worker["aborted"]
        else Text(worker["state"], _STATES.get(worker["state"], ""))
    )
    busy = Text(number(worker["in_flight"]), "bold" if worker["in_flight"] else "dim")
    memory = "-" if worker.get("memory") is None else size(worker["memory"])
    if not is_wide:
        return [str(worker["pid"]), state, rate, busy, memory]
    errors = Text(number(worker["errors"]), "red" if worker["errors"] else "dim")
    return [
        *(str(worker[name]) for name in ("pid", "slot", "generation")),
        state,
        rate,
        number(worker["requests"]),
        busy,
        number(worker["connections"]),
        errors,
        memory,
        duration(worker["uptime"]),
    ]


def _in_flight(requests: Sequence[Mapping[str, Any]], lines: int, width: int) -> RenderableType:
    if not requests:
        return Text("  nothing in flight", "dim")
    is_wide = width >= 60
    table = _plain_table()
    for title in ("PID", "FOR"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("PHASE", "REQUEST, OLDEST FIRST") if is_wide else ("OLDEST FIRST",):
        table.add_column(title, no_wrap=True)
    for request in requests[: max(lines - 1, 1)]:
        line = clip(f"{clean(request['method'])} {clean(request['path'])}", width - (30 if is_wide else 21))
        age = Text(duration(request["age"]), _style_of(request["age"]))
        table.add_row(str(request["pid"]), age, *([request["phase"]] if is_wide else []), line)
    return table


def _style_of(age: float) -> str:
    return "bold red" if age >= _VERY_SLOW else "yellow" if age >= _SLOW else ""


def _plain_table() -> Table:
    return Table(box=None, pad_edge=True, padding=(0, 1), header_style="dim", expand=False)
