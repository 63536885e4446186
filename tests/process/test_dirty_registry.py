"""Our client against the arbiter of the registry's gunicorn, and its client against ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import APPS, Server

Serve = Callable[..., Server]
VERSION = "27.0.1"

# Run by either client, against either arbiter: what both promise.
SCRIPT = """
import json, sys
from gunicorn.dirty import DirtyAppError, DirtyClient, DirtyError, StashClient
found = {}
with DirtyClient(sys.argv[1], timeout=10) as client:
    value = {"a": [1, 2.5, None, True], "b": "é", "n": -5}
    found["echo"] = client.execute("shared:Shared", "echo", value) == value
    found["bytes"] = client.execute("shared:Shared", "echo", b"x" * 300000) == b"x" * 300000
    found["keywords"] = client.execute("shared:Shared", "add", 1, more=2)
    try:
        client.execute("shared:Shared", "fail")
    except DirtyAppError as error:
        found["error"] = error.message
        found["traceback"] = "ValueError: bad" in (error.traceback or "")
    try:
        client.execute("shared:Nothing", "echo", 1)
    except DirtyError:
        found["missing"] = True
store = StashClient(sys.argv[1], timeout=10)
store.put("t", "k", {"v": 1})
found["stash"] = store.get("t", "k")
found["keys"] = store.keys("t", "k*")
found["exists"] = [store.exists("t", "k"), store.exists("t", "none")]
found["info"] = store.info("t")["size"]
found["delete"] = store.delete("t", "k")
print(json.dumps(found))
"""
STREAM = """
import asyncio, json, sys
from gunicorn.dirty import DirtyClient
async def main():
    client = DirtyClient(sys.argv[1], timeout=10)
    result = await client.execute_async("shared:Shared", "echo", 1)
    pieces = [piece async for piece in client.stream_async("shared:Shared", "count", 100)]
    await client.close_async()
    return result, pieces
result, pieces = asyncio.run(main())
print(json.dumps([result, pieces == list(range(100))]))
"""
EXPECTED = {
    "echo": True, "bytes": True, "keywords": 3, "error": "bad", "traceback": True, "missing": True,
    "stash": {"v": 1}, "keys": ["k"], "exists": [True, False], "info": 1, "delete": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with the registry's gunicorn."""
    given = os.environ.get("REGISTRY_GUNICORN_VENV")
    folder = Path(given) if given else tmp_path_factory.mktemp("registry")
    python = folder / "bin" / "python"
    if given:
        return str(python)
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, timeout=60)
        install = [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            f"gunicorn=={VERSION}",
        ]
        subprocess.run(install, check=True, capture_output=True, timeout=90)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"gunicorn {VERSION} cannot be installed: {error}")
    return str(python)


@pytest.fixture
def start(serve: Serve) -> Callable[[str], str]:
    """Starts a server with a pool under an interpreter; the path of the pool's socket."""

    def start(python: str) -> str:
        options = ("--dirty-app", "shared:Shared", "--dirty-workers", "1")
        command = [python, "-m", "gunicorn"]
        return serve(*options, app="shared:app", bind="127.0.0.1:0", command=command).get("/")

    return start


def call(python: str, script: str, path: str) -> object:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", script, path],
        cwd=APPS,
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("client", ["ours", "registry"])
@pytest.mark.parametrize("server", ["ours", "registry"])
def test_any_client_talks_to_any_arbiter(
    start: Callable[[str], str], registry: str, client: str, server: str
) -> None:
    pythons = {"ours": sys.executable, "registry": registry}
    path = start(pythons[server])
    assert call(pythons[client], SCRIPT, path) == EXPECTED
    assert call(pythons[client], STREAM, path) == [1, True]
