"""Who is compared: this gunicorn and its peers, each in a virtual environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from attrs import frozen

__all__ = ["CONTENDERS", "OURS", "REGISTRY", "Contender", "default_cache", "interpreter"]

OURS = "this gunicorn"
REGISTRY = "gunicorn 27.0.1"
REQUIREMENTS = {REGISTRY: "gunicorn==27.0.1", "granian": "granian", "waitress": "waitress"}


@frozen
class Contender:
    """One server as it is started: ``python -m MODULE ARGUMENTS``, where ``{port}`` is filled in.

    ``worker`` groups those that are compared with each other.
    """

    name: str
    worker: str
    module: str
    arguments: tuple[str, ...]

    def command(self, python: Path, port: int) -> list[str]:
        return [str(python), "-m", self.module, *(argument.format(port=port) for argument in self.arguments)]


def _gunicorn(name: str, worker: str, *options: str) -> Contender:
    return Contender(
        name, worker, "gunicorn", ("-w", "1", "-k", worker, *options, "-b", "127.0.0.1:{port}", "apps:app")
    )


def _granian(worker: str, threads: int) -> Contender:
    arguments = (
        "--interface", "wsgi", "--workers", "1", "--blocking-threads", str(threads), "--host", "127.0.0.1",
        "--port", "{port}", "apps:app",
    )  # fmt: skip
    return Contender("granian", worker, "granian", arguments)


def _waitress(worker: str, threads: int) -> Contender:
    # Its default of 100 connections would refuse most of the 500, its default of select() the rest.
    limits = ("--connection-limit=5000", "--asyncore-use-poll")
    return Contender(
        "waitress",
        worker,
        "waitress",
        ("--listen=127.0.0.1:{port}", f"--threads={threads}", *limits, "apps:app"),
    )


CONTENDERS = (
    _gunicorn(OURS, "gthread", "--threads", "4"),
    _gunicorn(REGISTRY, "gthread", "--threads", "4"),
    _granian("gthread", 4),
    _waitress("gthread", 4),
    _gunicorn(OURS, "sync"),
    _gunicorn(REGISTRY, "sync"),
    _granian("sync", 1),
)


def default_cache() -> Path:
    """A folder outside the tree, where virtual environments survive from one run to the next."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gunicorn-benchmarks"


def interpreter(name: str, cache: Path) -> Path:
    """The Python for the server ``name``: for ours this one, else one in ``cache``, made when missing.

    Raises:
        subprocess.CalledProcessError: the package cannot be installed.
    """
    if name == OURS:
        return Path(sys.executable)
    requirement = REQUIREMENTS[name]
    home = (
        cache
        / f"{re.sub(r'[^a-z0-9.]+', '-', requirement)}-py{sys.version_info.major}.{sys.version_info.minor}"
    )
    python, complete = home / "bin" / "python", home / "complete"
    if not complete.exists():
        print(f"installing {requirement} into {home}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", requirement], check=True)
        complete.touch()
    return python
