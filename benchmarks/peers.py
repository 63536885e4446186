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
REQUIREMENTS = {
    REGISTRY: "gunicorn==27.0.1",
    f"{REGISTRY}, uvloop": "gunicorn==27.0.1 uvloop",
    "granian": "granian",
    "granian, uvloop": "granian[uvloop]",
    "hypercorn": "hypercorn[trio]",
    "uvicorn": "uvicorn[standard]",
    "uvicorn, wsproto": "uvicorn[standard] wsproto",
    "waitress": "waitress",
}


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


def _asgi(name: str, loop: str, worker: str = "asgi") -> Contender:
    options = (
        "-w", "1", "-k", "asgi", "--asgi-loop", loop, "--asgi-lifespan", "off", "-b", "127.0.0.1:{port}",
    )  # fmt: skip
    return Contender(name, worker, "gunicorn", (*options, "asgi_apps:app"))


def _granian_asgi() -> Contender:
    arguments = (
        "--interface", "asginl", "--workers", "1", "--loop", "uvloop", "--host", "127.0.0.1",
        "--port", "{port}", "asgi_apps:app",
    )  # fmt: skip
    return Contender("granian, uvloop", "asgi", "granian", arguments)


def _uvicorn(worker: str, loop: str, http: str) -> Contender:
    arguments = (
        "--loop", loop, "--http", http, "--lifespan", "off", "--no-access-log", "--log-level", "warning",
        "--host", "127.0.0.1", "--port", "{port}", "asgi_apps:app",
    )  # fmt: skip
    return Contender("uvicorn", worker, "uvicorn", arguments)


def _hypercorn(worker: str, kind: str) -> Contender:
    arguments = ("-w", "0", "-k", kind, "-b", "127.0.0.1:{port}", "asgi_apps:app")
    return Contender("hypercorn", worker, "hypercorn", arguments)


CONTENDERS = (
    _gunicorn(OURS, "gthread", "--threads", "4"),
    _gunicorn(REGISTRY, "gthread", "--threads", "4"),
    _granian("gthread", 4),
    _waitress("gthread", 4),
    _gunicorn(OURS, "sync"),
    _gunicorn(REGISTRY, "sync"),
    _granian("sync", 1),
    _asgi(OURS, "uvloop"),
    _asgi(f"{REGISTRY}, uvloop", "uvloop"),
    _uvicorn("asgi", "uvloop", "httptools"),
    _granian_asgi(),
    _asgi(OURS, "trio", "asgi on trio"),
    # uvicorn with h11 runs on asyncio: the nearest to a server without C in its path.
    _uvicorn("asgi on trio", "asyncio", "h11"),
    _hypercorn("asgi on trio", "trio"),
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
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *requirement.split()], check=True)
        complete.touch()
    return python
