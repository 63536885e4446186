"""Servers under test that are controlled: asked by clients, and looked at from outside."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from harness import ROOT, Server, server_environment

from gunicorn.control.client import ControlClient

GUNICORNC = (sys.executable, "-m", "gunicorn.control.cli")
NOBODY = 54_321  # a user that no account has

# Run as another user: what follows the uid on the command line.
AS_USER = """
import os, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
"""


def python_for_others() -> str | None:
    """An interpreter of our version that every user may run; None when there is none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    system = shutil.which(version, path="/usr/local/bin:/usr/bin")
    candidates = (sys.executable, os.path.join(sys.base_prefix, "bin", version), system)
    return next((one for one in candidates if one and _is_readable(one) and _is_readable(PACKAGES)), None)


def _is_readable(path: str) -> bool:
    place = Path(path).resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in place.parents)


#: What that interpreter needs to find the packages of this one.
PACKAGES = str(Path(attrs.__file__).parent.parent)


def as_user(uid: int, *command: str) -> list[str]:
    """``command`` as it is run by root to be run as ``uid``."""
    return [sys.executable, "-c", AS_USER, str(uid), *command]


def client_of(server: Server, since: int = 0) -> ControlClient:
    """A client of the socket that the log names."""
    client = ControlClient(server.wait_for(r"Control socket: (\S+)", since=since)[1])
    client.connect()
    return client


def gunicornc(
    *args: str,
    env: Mapping[str, str | None] = {},
    uid: int | None = None,
    stdin: str | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with pipes for a terminal."""
    command = [*GUNICORNC, *args]
    environment = server_environment(env)
    if uid is not None:
        command = as_user(uid, str(python_for_others()), *command[1:])
        environment["PYTHONPATH"] += f":{ROOT}:{PACKAGES}"
    return subprocess.run(
        command,
        env=environment,
        cwd=cwd,
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def gunicornc_json(*args: str, **options: Any) -> Any:
    """The answer to a command that must be done."""
    done = gunicornc("-j", *args, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
