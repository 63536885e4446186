"""The directory that the server was started in, and the one it moved to.

The current directory belongs to the process, so this module has state. It is what makes ``-c conf.py --chdir
/srv`` mean the same
file at every reload: each starts again from the first directory.
"""

from __future__ import annotations

import os

__all__ = ["enter", "start"]

_start: str | None = None
_entered: str | None = None


def start() -> str:
    """Where the server was started; the current directory unless :func:`enter` has left it.

    ``$PWD`` is preferred while it names that directory: it keeps symbolic links that a deployment switches.
    """
    current = os.getcwd()
    if _start is not None and current == _entered:
        return _start
    shell = os.environ.get("PWD", "")
    try:
        return shell if shell and os.path.samefile(shell, current) else current
    except OSError:
        return current


def enter(directory: str) -> None:
    """Changes to ``directory``.

    Raises:
        OSError: It is not there, or not ours to enter.
    """
    global _start, _entered
    origin = start()
    os.chdir(directory)
    _start, _entered = origin, os.getcwd()
