"""What the tests of the ASGI worker share: a worker on either loop, and small applications."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from engine_worker import EngineWorker

from gunicorn.process.messages import WorkerReady

LOOPS = ("asyncio", "uvloop")


class AsgiWorker(EngineWorker):
    """``with AsgiWorker(app, asgi_loop="uvloop") as worker``: serves when the block begins.

    ``worker.notes`` is a file that applications write to with ``note``: the test sees what happened inside.
    """

    def __init__(self, app: Any, *, ready: bool = True, **settings: Any) -> None:
        super().__init__(app, worker_class="asgi", **settings)
        self._ready = ready

    def __enter__(self) -> AsgiWorker:
        super().__enter__()
        with ExitStack() as stack:
            stack.push(self)
            if self._ready:
                message = self.message()
                assert message == WorkerReady(), f"{message}\n{self.log()}"
            stack.pop_all()
        return self


class Notes:
    """Lines that an application in another process leaves for its test."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notes"
        self.path.touch()

    def __call__(self, line: str) -> None:
        with self.path.open("a") as file:
            file.write(line + "\n")

    def __contains__(self, line: str) -> bool:
        return line in self.lines

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()


async def start(send: Any, status: int = 200, headers: Any = (), **more: Any) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers), **more})


async def body(send: Any, data: bytes = b"", *, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def answer(send: Any, data: bytes, status: int = 200, headers: Any = ()) -> None:
    """A whole response with its length."""
    await start(send, status, [(b"content-length", b"%d" % len(data)), *headers])
    await body(send, data)


async def read_body(receive: Any) -> bytes:
    data = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        data += message["body"]
        if not message["more_body"]:
            return data


def http_only(app: Any) -> Any:
    """``app`` for HTTP alone: it refuses the lifespan, as simple applications do."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await app(scope, receive, send)

    return wrapped
