"""Many small applications under one worker, for tests that read the ASGI specification line by line.

A test module makes an ``Exam``, each application of it answers under the path of its name, and what it finds
out it leaves in a file that the test reads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from asgi_worker import AsgiWorker
from harness import DEADLINE, wait_until

LOOPS = ("asyncio", "uvloop", "trio")

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class Exam:
    """``@exam`` above an application puts it under the path of its name."""

    def __init__(self) -> None:
        self._apps: dict[str, App] = {}
        self._folder = Path()

    def __call__(self, app: App) -> App:
        self._apps[app.__name__] = app
        return app

    def note(self, scope: dict[str, Any], finding: object) -> None:
        """From an application: leave a value that ``repr`` can write and ``eval`` can read."""
        with (self._folder / name_of(scope)).open("a") as file:
            file.write(repr(finding) + "\n")

    async def app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["shared"] = ["from the lifespan"]
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await self._apps[name_of(scope)](scope, receive, send)

    def worker(self, loop: str, **settings: Any) -> ExamWorker:
        folder = tempfile.TemporaryDirectory(prefix="exam-")
        self._folder = Path(folder.name)
        return ExamWorker(self.app, folder, asgi_loop=loop, **settings)


class ExamWorker(AsgiWorker):
    """A worker under an ``Exam``."""

    def __init__(self, app: App, folder: tempfile.TemporaryDirectory[str], **settings: Any) -> None:
        super().__init__(app, **settings)
        self._findings = folder
        self._read: dict[str, int] = {}

    def forget(self) -> None:
        """What has been found so far is no concern of the next test, whatever became of the one before."""
        for path in Path(self._findings.name).iterdir():
            self._read[path.name] = len(path.read_text().splitlines())

    def found(self, name: str, count: int = 1, timeout: float = DEADLINE) -> list[Any]:
        """The next ``count`` findings of the application ``name``, waited for."""
        path = Path(self._findings.name) / name
        read = self._read.get(name, 0)

        def lines() -> list[str]:
            return path.read_text().splitlines()[read:] if path.exists() else []

        wait_until(lambda: len(lines()) >= count, timeout, f"{count} findings of {name}:\n{self.log()}\n")
        self._read[name] = read + count
        return [eval(line) for line in lines()[:count]]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self._findings.cleanup()


def name_of(scope: dict[str, Any]) -> str:
    """The first part of the path."""
    return str(scope["path"]).split("/")[1]


def tried(error: BaseException) -> list[str]:
    """What an application saw raised: names of the classes, most special first, and the text."""
    return [*(kind.__name__ for kind in type(error).__mro__), str(error)]
