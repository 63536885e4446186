"""The examples of the pool, each in a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from harness import Server

Serve = Callable[..., Server]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(serve: Serve, example: str, *options: str, app: str) -> Server:
    return serve(*options, app=app, env={"PYTHONPATH": str(EXAMPLES / example)})


def test_dirty_example(serve: Serve) -> None:
    config = str(EXAMPLES / "dirty_example" / "gunicorn_conf.py")
    server = run(serve, "dirty_example", "-c", config, app="wsgi_app:app")
    assert json.loads(server.get("/predict?n=0&n=1000"))["score"] == 1.0
    epochs = [json.loads(line) for line in server.get("/train?epochs=3").splitlines()]
    assert [progress["epoch"] for progress in epochs] == [1, 2, 3]
    token = json.loads(server.get("/session/login?user=ann"))["token"]
    assert json.loads(server.get(f"/session/who?token={token}")) == {"user": "ann"}
    assert json.loads(server.get("/session/who?token=none")) == {"user": None}
    assert json.loads(server.get("/session/count")) == {"logins": 1}
    assert server.request("/nothing").status == 404


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_streaming_chat(serve: Serve, loop: str) -> None:
    options = ("-k", "asgi", "--asgi-loop", loop, "--dirty-app", "chat:Chat", "--dirty-workers", "1")
    server = run(serve, "streaming_chat", *options, app="app:app")
    text = server.get("/chat?how+are+you")
    words = [json.loads(line[6:]) for line in text.splitlines() if line.startswith('data: "')]
    assert " ".join(words).startswith("You said 'how are you'. That is 3 words")
    assert "event: done" in text
    assert "EventSource" in server.get("/")


def test_tasks_of_the_celery_alternative() -> None:
    run_tests("test_tasks.py", {})


@pytest.mark.skipif(find_spec("fastapi") is None, reason="fastapi is not installed")
def test_celery_alternative(serve: Serve) -> None:
    config = str(EXAMPLES / "celery_alternative" / "gunicorn_conf.py")
    folders = [str(EXAMPLES / "celery_alternative"), *filter(None, [os.environ.get("PYTHONPATH")])]
    server = serve("-c", config, app="app:app", env={"PYTHONPATH": os.pathsep.join(folders)})
    run_tests("test_integration.py", {"APP_URL": server.url})


def run_tests(name: str, env: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull]
    file = EXAMPLES / "celery_alternative" / "tests" / name
    done = subprocess.run(
        [*command, str(file)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " skipped" not in done.stdout
