"""Everything that is checked before a change is merged: ``nox`` runs it all, ``nox -s NAME`` one part."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "layers", "tests", "docs"]
nox.options.error_on_missing_interpreters = True
nox.options.stop_on_first_error = False

ROOT = Path(__file__).parent
SOURCES = ("gunicorn", "tests", "examples", "benchmarks", "noxfile.py")


def install(session: nox.Session, extra: str = "") -> None:
    """Install the package as a user would, not editable: a file that the wheel forgets fails here."""
    # setuptools copies into build/ and never deletes there: it would ship a module that was removed.
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    session.install(f".[{extra}]" if extra else ".")


@nox.session
def lint(session: nox.Session) -> None:
    """Style: ruff's rules and its formatting."""
    session.install("ruff>=0.15")
    present = [name for name in SOURCES if (ROOT / name).exists()]
    session.run("ruff", "check", *present)
    session.run("ruff", "format", "--check", *present)


@nox.session
def types(session: nox.Session) -> None:
    """Types: the package is strictly typed."""
    install(session, "types")
    session.run("mypy", "--strict")


@nox.session
def layers(session: nox.Session) -> None:
    """Architecture: imports point down, and what a worker imports brings no event loop."""
    install(session, "test")
    session.run("pytest", "tests/unit/test_layers.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Behaviour: unit, memory, process and conformance tests; coverage of every process."""
    install(session, "test")
    session.run("coverage", "erase")
    # One after the other: servers, clients and coverage keep two cores busy, and a test that waits for
    # a process must not wait for its neighbours' as well.
    # 5: none of the tests that were asked for is of this kind.
    session.run("coverage", "run", "-m", "pytest", "-m", "not slow", *session.posargs, success_codes=[0, 5])
    # What these show is what happens at full speed, of which the tracer leaves a fifth.
    session.run("pytest", "-m", "slow", *session.posargs, success_codes=[0, 5])
    session.run("coverage", "combine", "--quiet")
    # A part of the tests covers a part of the code: the threshold is for the whole.
    session.run("coverage", "report", *(["--fail-under=0"] if session.posargs else []))


@nox.session
def docs(session: nox.Session) -> None:
    """Documentation: no warning, no dead link, and the page of settings as the code has them."""
    install(session, "docs")
    command = "python -m gunicorn.config.document > docs/settings.md"
    page = session.run("python", "-m", "gunicorn.config.document", silent=True, stderr=None)
    if page is not None and str(page).strip() != (ROOT / "docs" / "settings.md").read_text().strip():
        session.error(f"docs/settings.md is not what the code says: {command}")
    site = Path(session.create_tmp()) / "site"
    quiet = {"NO_MKDOCS_2_WARNING": "1"}  # an advertisement of the theme, not a fault of these pages
    session.run("mkdocs", "build", "--strict", "--site-dir", str(site), env=quiet)


@nox.session
def bench(session: nox.Session) -> None:
    """Speed beside other servers; needs wrk. Not part of the default run: a busy machine measures nothing."""
    install(session, "setproctitle")
    session.run("python", "benchmarks/run.py", *session.posargs)
