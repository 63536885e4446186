"""WebSocket echoes beside uvicorn's: ``python benchmarks/websocket.py [--seconds 3] [--rounds 5]``.

One worker per server, on uvloop, pinned to one CPU; the client on another. The servers take turns in each
round, so that a slow minute of the machine hits all of them; the figures are medians. Ends with status 1 when
a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from peers import OURS, Contender, default_cache, interpreter
from server import cpus, serve
from websocket_load import Echo, Echoed, run

if TYPE_CHECKING:
    from collections.abc import Sequence

ECHOES = (
    Echo("16 B", 16),
    Echo("16 B, 16 at once", 16, ahead=16),
    Echo("1 kB", 1_000),
    Echo("16 kB", 16_000, connections=20),
    Echo("1 MB", 1_000_000, connections=4),
)
GOAL = 1.0  # our rate to that of uvicorn, with either of its libraries, at least
Figures = defaultdict[tuple[str, str], list[Echoed]]


def _ours(loop: str) -> Contender:
    arguments = ("-w", "1", "-k", "asgi", "--asgi-loop", loop, "--asgi-lifespan", "off")
    return Contender(OURS, loop, "gunicorn", (*arguments, "-b", "127.0.0.1:{port}", "asgi_apps:app"))


def _uvicorn(library: str) -> Contender:
    arguments = (
        "--loop", "uvloop", "--http", "httptools", "--ws", library, "--lifespan", "off", "--no-access-log",
        "--log-level", "warning", "--ws-max-size", "16777216", "--host", "127.0.0.1", "--port", "{port}",
        "asgi_apps:app",
    )  # fmt: skip
    name = "uvicorn, wsproto" if library == "wsproto" else "uvicorn"
    return Contender(name, library, "uvicorn", arguments)


FIRST = _ours("uvloop")
PEERS = (_uvicorn("websockets"), _uvicorn("websockets-sansio"), _uvicorn("wsproto"))
CONTENDERS = (FIRST, *PEERS, _ours("asyncio"), _ours("trio"))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of which medians are shown (%(default)s)")
    parser.add_argument("--only", metavar="TEXT", default="", help="only servers and libraries with TEXT")
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), help="folder of the peers' environments (%(default)s)"
    )
    options = parser.parse_args(argv)
    contenders = [each for each in CONTENDERS if options.only in _title(each)]
    figures = measure(contenders, options.cache, options.rounds, options.seconds)
    print(table(figures, contenders))
    missed = shortfalls(figures)
    print("\nMissed: " + "; ".join(missed) if missed else "\nAll goals met.")
    return 1 if missed else 0


def _title(contender: Contender) -> str:
    return f"{contender.name.partition(',')[0]}, {contender.worker}"


def measure(contenders: Sequence[Contender], cache: Path, rounds: int, seconds: float) -> Figures:
    figures: Figures = defaultdict(list)
    server_cpus, load_cpus = cpus()
    before = os.sched_getaffinity(0)
    for number in range(rounds):
        for contender in contenders:
            print(f"round {number + 1}/{rounds}: {_title(contender)}", file=sys.stderr)
            python = interpreter(contender.name, cache)
            with serve(lambda port, c=contender, p=python: c.command(p, port), server_cpus) as server:
                os.sched_setaffinity(0, load_cpus)
                try:
                    for echo in ECHOES:
                        figures[_title(contender), echo.name].append(run(server, echo, seconds))
                finally:
                    os.sched_setaffinity(0, before)
    return figures


def table(figures: Figures, contenders: Sequence[Contender]) -> str:
    """Messages per second, and microseconds of the server's CPU for each."""
    names = [echo.name for echo in ECHOES]
    lines = [f"| echoes/s (us of CPU each) | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for contender in contenders:
        cells = [
            f"{_rate(runs):,.0f} ({median(run.cpu for run in runs):.1f})"
            for runs in (figures[_title(contender), name] for name in names)
        ]
        lines.append(f"| {_title(contender)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _rate(runs: Sequence[Echoed]) -> float:
    return median(run.rate for run in runs)


def shortfalls(figures: Figures) -> list[str]:
    """One line for each goal that was missed."""
    missed = []
    for peer in PEERS:
        for echo in ECHOES:
            ours, theirs = figures.get((_title(FIRST), echo.name)), figures.get((_title(peer), echo.name))
            if ours and theirs and _rate(ours) < GOAL * _rate(theirs):
                missed.append(f"{echo.name}: {_rate(ours) / _rate(theirs):.2f} of {_title(peer)}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
