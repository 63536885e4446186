"""This gunicorn beside its peers: ``python benchmarks/run.py [--quick] [--write]``.

One worker per server, pinned to one CPU; wrk on another. Each round starts every server anew, one after the
other, so that a slow minute of the machine hits all of them; the figures are medians. Only ratios mean
something elsewhere.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from load import Scenario
from load import run as run_load
from peers import CONTENDERS, Contender, default_cache, interpreter
from report import Figures, Memory, document, write_document
from server import cpus, private_bytes, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCENARIOS = (
    Scenario("hello, keep-alive"),
    Scenario("hello, Connection: close", close=True),
    Scenario("hello, 500 connections", connections=500),
    Scenario("20 items of JSON", path="/items"),
    Scenario("10 kB POST, echoed", path="/echo", post=10_000),
    Scenario("1 MB, streamed", path="/download?1000000"),
    Scenario("1 MB in 1,000 pieces", path="/pieces?1000"),
)


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    contenders = [each for each in CONTENDERS if _wanted(each, options.only)]
    scenarios = [each for each in SCENARIOS if not options.scenario or options.scenario in each.name]
    commands = {each: _command(each, options.cache) for each in contenders}
    figures = measure(commands, scenarios, options.rounds, options.seconds, options.starts)
    text = document(figures, scenarios, options.seconds, options.rounds)
    print(text)
    if options.write:
        write_document(Path(__file__).parents[1] / "docs" / "benchmarks.md", text)
    return 1 if figures.errors() else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick = "--quick" in sys.argv
    parser.add_argument("--quick", action="store_true", help="one short round, to see that everything runs")
    parser.add_argument(
        "--seconds", type=int, default=1 if quick else 6, help="length of one run (%(default)s)"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=1 if quick else 5,
        help="rounds, of which medians are shown (%(default)s)",
    )
    parser.add_argument(
        "--starts", type=int, default=1 if quick else 9, help="starts that are timed (%(default)s)"
    )
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="only servers whose name or worker class contains TEXT"
    )
    parser.add_argument(
        "--scenario", metavar="TEXT", default="", help="only scenarios whose name contains TEXT"
    )
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), help="folder of the peers' environments (%(default)s)"
    )
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    return parser


def _wanted(contender: Contender, text: str) -> bool:
    return text in f"{contender.name} {contender.worker}"


def _command(contender: Contender, cache: Path) -> Callable[[int], list[str]]:
    python = interpreter(contender.name, cache)
    return lambda port: contender.command(python, port)


def measure(
    commands: dict[Contender, Callable[[int], list[str]]],
    scenarios: Sequence[Scenario],
    rounds: int,
    seconds: int,
    starts: int,
) -> Figures:
    figures = Figures()
    for number in range(rounds):
        for contender, command in commands.items():
            print(f"round {number + 1}/{rounds}: {contender.name} {contender.worker}", file=sys.stderr)
            _measure_one(contender, command, scenarios, seconds, figures)
    for number in range(starts + 1):
        for contender, command in commands.items():
            with serve(command, os.sched_getaffinity(0)) as server:
                if number:  # the first start may have compiled modules
                    figures.starts[contender].append(server.started)
    return figures


def _measure_one(
    contender: Contender,
    command: Callable[[int], list[str]],
    scenarios: Sequence[Scenario],
    seconds: int,
    figures: Figures,
) -> None:
    server_cpus, load_cpus = cpus()
    before = os.sched_getaffinity(0)
    with serve(command, server_cpus) as server:
        os.sched_setaffinity(0, load_cpus)
        try:
            run_load(server, Scenario("warm-up"), 1)
            for scenario in scenarios:
                figures.loads[contender, scenario.name].append(run_load(server, scenario, seconds))
        finally:
            os.sched_setaffinity(0, before)
        figures.memory[contender].append(Memory(private_bytes(server.worker()), server.total_bytes()))


if __name__ == "__main__":
    sys.exit(main())
