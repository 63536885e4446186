"""Bounded fuzzing of the HTTP/1.1 core: ``python tests/conformance/fuzz_http.py --seconds 60``.

The corpus is damaged in ways that know the grammar, and played to both engines in lock-step, whole and in
random pieces. Any bytes must either parse or end in a ``ProtocolError``; every engine and every split must
give the same; and what is accepted must match the grammar. A finding is printed and written to a file as a
case. With atheris installed, ``--atheris`` lets coverage lead.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from random import Random

from attrs import define, field

sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus.case import Case
from mutation import SEEDS, check, damaged, random_edits
from replay import ENGINES


@define
class Fuzzer:
    """Runs inputs and keeps one finding of each kind.

    Attributes:
        engines: Which engines run in lock-step.
        folder: Where findings are written.
    """

    engines: tuple[str, ...]
    folder: Path
    inputs: int = 0
    accepted: int = 0
    findings: dict[str, Path] = field(factory=dict)

    def run(self, data: bytes, case: Case, rng: Random) -> None:
        """Play one input; a broken rule becomes a finding."""
        self.inputs += 1
        try:
            outcome = check(data, case.settings, rng, self.engines)
        except Exception as error:  # noqa: BLE001 - every exception is what is searched for
            self._note(data, case, error)
        else:
            self.accepted += outcome.error is None

    def _note(self, data: bytes, case: Case, error: Exception) -> None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
        if kind in self.findings:
            return
        path = self.folder / f"finding_{len(self.findings)}.py"
        path.write_text(f"# {kind}: {error}\nSETTINGS = {dict(case.settings)!r}\nDATA = {data!r}\n")
        self.findings[kind] = path
        print(f"{path}: {kind}: {str(error)[:300]}", flush=True)


def inputs(rng: Random) -> Iterator[tuple[bytes, Case]]:
    """Damaged corpus without end: single cases, two joined ones, and sometimes plain rubbish."""
    while True:
        case = rng.choice(SEEDS)
        data = case.data
        chance = rng.random()
        if chance < 0.2:
            data += rng.choice(SEEDS).data
        elif chance < 0.25:
            other = rng.choice(SEEDS).data
            data = data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]
        elif chance < 0.26:
            data = rng.randbytes(rng.randrange(200))
        yield damaged(data, random_edits(rng)), case


def run_random(fuzzer: Fuzzer, seconds: float, seed: int) -> None:
    rng = Random(seed)
    deadline = time.monotonic() + seconds
    for data, case in inputs(rng):
        if time.monotonic() > deadline:
            return
        fuzzer.run(data, case, rng)


def run_atheris(fuzzer: Fuzzer, seconds: float, seed: int) -> None:
    """Coverage-guided; libFuzzer ends the process by itself."""
    import atheris

    rng = Random(seed)
    plain = SEEDS[0]
    folder = fuzzer.folder / "seeds"
    folder.mkdir(exist_ok=True)
    for number, case in enumerate(SEEDS):
        if not case.settings:
            (folder / str(number)).write_bytes(case.data)
    atheris.instrument_all()
    options = [sys.argv[0], f"-max_total_time={int(seconds)}", "-max_len=2000", str(folder)]
    atheris.Setup(options, lambda data: fuzzer.run(data, plain, rng))
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--engine", choices=[*ENGINES, "both"], default="both")
    parser.add_argument("--seed", type=int, default=None, help="default: from the clock; it is printed")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--atheris", action="store_true")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else time.time_ns()
    options.out.mkdir(parents=True, exist_ok=True)
    fuzzer = Fuzzer(ENGINES if options.engine == "both" else (options.engine,), options.out)
    (run_atheris if options.atheris else run_random)(fuzzer, options.seconds, seed)
    print(f"{fuzzer.inputs} inputs, {fuzzer.accepted} accepted, {len(fuzzer.findings)} findings, seed {seed}")
    return 1 if fuzzer.findings else 0


if __name__ == "__main__":
    sys.exit(main())
