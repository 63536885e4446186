"""A class that a running worker has to load, because the one that had it is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.dirty.errors import DirtyError
from gunicorn.dirty.frames import FrameDecoder
from gunicorn.dirty.protocol import result_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from gunicorn.dirty.calls import Call
    from gunicorn.dirty.crews import Crew
    from gunicorn.dirty.dispatcher import Dispatcher

__all__ = ["Loading"]


class Loading:
    """The caller of a load: calls for the class go to the worker as soon as it is through."""

    def __init__(self, path: str, crew: Crew, dispatcher: Dispatcher, log: Any) -> None:
        self._path = path
        self._crew = crew
        self._dispatcher = dispatcher
        self._log = log

    def write(self, parts: Sequence[bytes | bytearray | memoryview]) -> Awaitable[None] | None:
        """Take the worker's answer."""
        for frame in FrameDecoder().feed(b"".join(parts)):
            try:
                result_of(frame)
            except DirtyError as error:
                self._log.error(
                    "Worker (pid:%s) cannot load %s: %s", self._crew.worker.pid, self._path, error
                )
            else:
                self._dispatcher.holds(self._crew, self._path)
        return None

    def drop(self) -> None:
        """Nothing is kept here."""

    def finished(self, call: Call) -> None:
        """What there was to do is done in ``write``."""
