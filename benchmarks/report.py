"""The tables: medians, ratios to the peers, and the goals that they are held against."""

from __future__ import annotations

import datetime
import os
from collections import defaultdict
from functools import partial
from math import inf
from statistics import median
from typing import TYPE_CHECKING

from attrs import Factory, define, frozen
from peers import OURS, REGISTRY, Contender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from load import Load, Scenario

__all__ = ["Figures", "Memory", "document", "write_document"]

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
HELLO, CROWD = "hello, keep-alive", "hello, 500 connections"
# Our rate is at least so many times that of the peer.
RATE_GOALS = {
    ("gthread", HELLO, REGISTRY): 8.0,
    ("gthread", HELLO, "granian"): 0.8,
    ("gthread", "hello, Connection: close", REGISTRY): 1.5,
    ("gthread", "20 items of JSON", REGISTRY): 5.0,
    ("gthread", "10 kB POST, echoed", REGISTRY): 5.0,
    ("sync", HELLO, REGISTRY): 8.0,
    ("sync", "hello, Connection: close", REGISTRY): 1.5,
    ("sync", "20 items of JSON", REGISTRY): 5.0,
    ("sync", "10 kB POST, echoed", REGISTRY): 5.0,
}
ASGI, TRIO = "asgi", "asgi on trio"
STREAM = "1 MB, streamed"
PIECES = "1 MB in 1,000 pieces"
ASGI_PEERS = {f"{REGISTRY}, uvloop": 1.5, "uvicorn": 1.4, "granian, uvloop": 1.0}
TRIO_PEERS = {"hypercorn": 12.0, "uvicorn": 2.0}
RATE_GOALS |= {
    (worker, scenario, peer): least
    for worker, peers in ((ASGI, ASGI_PEERS), (TRIO, TRIO_PEERS))
    for scenario in (HELLO, CROWD, "10 kB POST, echoed", STREAM, PIECES)
    for peer, least in peers.items()
}
WORKERS = ("gthread", "sync", ASGI, TRIO)
CROWD_GOAL = 0.9  # the rate with 500 connections to that with 50
MEMORY_GOAL = 1.0  # private memory of our worker to that of the registry's, at most
START_GOAL = 1.3  # time from start to first answer to the registry's, at most


@frozen
class Memory:
    """Bytes that the worker has for itself, and the share of all processes of the server."""

    worker: int
    total: int


@define
class Figures:
    """Everything that was measured, by contender."""

    loads: defaultdict[tuple[Contender, str], list[Load]] = Factory(lambda: defaultdict(list))
    memory: defaultdict[Contender, list[Memory]] = Factory(lambda: defaultdict(list))
    starts: defaultdict[Contender, list[float]] = Factory(lambda: defaultdict(list))

    def contenders(self, worker: str) -> list[Contender]:
        return [contender for contender in self.memory if contender.worker == worker]

    def rate(self, contender: Contender, scenario: str) -> float:
        return median(load.rate for load in self.loads[contender, scenario])

    def cpu(self, contender: Contender, scenario: str) -> float:
        return median(load.cpu for load in self.loads[contender, scenario])

    def errors(self) -> list[str]:
        """One line for each of our runs in which a request failed."""
        return [
            f"{contender.name} {contender.worker}, {scenario}: {load.errors} failed requests"
            for (contender, scenario), loads in self.loads.items()
            for load in loads
            if contender.name == OURS and load.errors
        ]


def document(figures: Figures, scenarios: Sequence[Scenario], seconds: int, rounds: int) -> str:
    """All tables as Markdown."""
    today = datetime.datetime.now(tz=datetime.timezone.utc).date()
    parts = [
        f"Measured on {today}, {os.cpu_count()} cores; medians of {rounds} rounds of {seconds} s."
        " In bold: how many times the rate of that server this one reaches."
    ]
    for worker in WORKERS:
        contenders = figures.contenders(worker)
        if contenders:
            parts.append(f"### {worker}: requests per second")
            parts.append("\n".join(_table(contenders, scenarios, partial(_rate, figures, contenders))))
            parts.append(f"### {worker}: CPU per request, microseconds")
            parts.append("\n".join(_table(contenders, scenarios, partial(_cpu, figures))))
    parts += ["### Memory and start", "\n".join(_resources(figures))]
    parts += ["### Goals", "\n".join(_goals(figures))]
    parts += [f"**{error}**" for error in figures.errors()]
    return "\n\n".join(parts) + "\n"


def _table(
    contenders: list[Contender], scenarios: Sequence[Scenario], cell: Callable[[Contender, str], str]
) -> Iterator[str]:
    yield _row("scenario", *(contender.name for contender in contenders))
    yield _rule(len(contenders))
    for scenario in scenarios:
        yield _row(scenario.name, *(cell(contender, scenario.name) for contender in contenders))


def _rate(figures: Figures, contenders: list[Contender], contender: Contender, scenario: str) -> str:
    rate = figures.rate(contender, scenario)
    failed = sum(load.errors for load in figures.loads[contender, scenario])
    text = f"{rate:,.0f}" + (f" ({failed} failed)" if failed else "")
    ours = next((each for each in contenders if each.name == OURS), None)
    if ours is None or ours is contender or not rate:
        return text
    return f"{text} (**{figures.rate(ours, scenario) / rate:.2f}x**)"


def _cpu(figures: Figures, contender: Contender, scenario: str) -> str:
    return f"{figures.cpu(contender, scenario):.1f}"


def _resources(figures: Figures) -> Iterator[str]:
    yield _row(
        "server", "worker, private MB", "all processes, MB", "start to first answer, ms", "p99 latency, ms"
    )
    yield _rule(4)
    for contender, memory in figures.memory.items():
        latencies = [load.latency_99 for load in figures.loads[contender, HELLO]]
        yield _row(
            f"{contender.name} {contender.worker}",
            _number(1e-6, [each.worker for each in memory]),
            _number(1e-6, [each.total for each in memory]),
            _number(1e3, figures.starts[contender], ".0f"),
            _number(1, latencies),
        )


def _goals(figures: Figures) -> Iterator[str]:
    yield _row("goal", "required", "measured", "met")
    yield _rule(3)
    named = {(contender.worker, contender.name): contender for contender in figures.memory}
    for (worker, scenario, peer), least in RATE_GOALS.items():
        pair = named.get((worker, OURS)), named.get((worker, peer))
        if all((contender, scenario) in figures.loads for contender in pair):
            rates = [figures.rate(who, scenario) for who in pair]
            ratio = rates[0] / rates[1] if rates[1] else inf
            yield _goal(f"{worker}, {scenario}, to {peer}", ratio, least=least)
    for worker in ("gthread", "sync"):
        ours, theirs = named.get((worker, OURS)), named.get((worker, REGISTRY))
        if worker == "gthread" and (ours, CROWD) in figures.loads and (ours, HELLO) in figures.loads:
            ratio = figures.rate(ours, CROWD) / figures.rate(ours, HELLO)
            yield _goal(f"{worker}, 500 connections to 50", ratio, least=CROWD_GOAL)
        if ours and theirs and figures.memory[ours]:  # not measured where only some scenarios are
            memory = [median(each.worker for each in figures.memory[who]) for who in (ours, theirs)]
            yield _goal(f"{worker}, private memory to {REGISTRY}", memory[0] / memory[1], most=MEMORY_GOAL)
            starts = [median(figures.starts[who]) for who in (ours, theirs)]
            yield _goal(f"{worker}, start to {REGISTRY}", starts[0] / starts[1], most=START_GOAL)


def _goal(title: str, ratio: float, *, least: float | None = None, most: float | None = None) -> str:
    required = f">= {least:g}x" if least is not None else f"<= {most:g}x"
    met = ratio >= least if least is not None else ratio <= (most or 0)
    measured = "it finished none" if ratio == inf else f"{ratio:.2f}x"
    return _row(title, required, measured, "yes" if met else "**no**")


def _number(scale: float, values: Sequence[float], form: str = ".1f") -> str:
    return format(median(values) * scale, form) if values else "-"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return "| --- |" + " ---: |" * columns


def write_document(path: Path, text: str) -> None:
    """Replace what stands between the two marks of the page at ``path``.

    Raises:
        ValueError: the page has no such marks.
    """
    page = path.read_text()
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no {BEGIN} and {END}")
    path.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{tail}")
