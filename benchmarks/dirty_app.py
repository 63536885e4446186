"""What the pool under measurement runs, and a web application that says where the pool is."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.dirty import DirtyApp

if TYPE_CHECKING:
    from collections.abc import Iterator


class Work(DirtyApp):
    def init(self) -> None:
        pass

    def echo(self, value: Any) -> Any:
        return value

    def nap(self, seconds: float) -> int:
        time.sleep(seconds)
        return os.getpid()

    def count(self, pieces: int) -> Iterator[int]:
        yield from range(pieces)

    def endless(self, file: str) -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            Path(file).touch()

    def close(self) -> None:
        pass


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ.get("GUNICORN_DIRTY_SOCKET", "").encode()]
