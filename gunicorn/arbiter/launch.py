"""How this process was started: what an upgrade and a new fork server must repeat exactly."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

__all__ = ["LAUNCH", "Launch"]

#: Variables for this process alone: whoever it starts must not read them.
_OURS = "GUNICORN_HANDOVER"


class Launch(NamedTuple):
    """Command line, folder and environment as they were before anything changed them."""

    argv: tuple[str, ...]
    cwd: str
    environ: dict[str, str]

    @classmethod
    def capture(cls) -> Launch:
        """The present process, to be called before ``chdir`` and before ``raw_env`` is applied."""
        # orig_argv, unlike argv, still has `-m gunicorn`, `-X dev` and the like; its first item may be a
        # bare `python`.
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return cls((sys.executable, *sys.orig_argv[1:]), _working_directory(), environ)


def _working_directory() -> str:
    """The shell's idea of the folder when it is the same one: a ``current`` symlink must lead to the new
    release later.
    """
    actual = os.getcwd()
    named = os.environ.get("PWD", "")
    try:
        return named if os.path.isabs(named) and os.path.samefile(named, actual) else actual
    except OSError:
        return actual


LAUNCH = Launch.capture()
