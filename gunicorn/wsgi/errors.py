"""``wsgi.errors``: what an application writes there goes where the error log goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from logging import Logger

__all__ = ["ErrorStream"]


class ErrorStream:
    """A text stream over the handlers of the error log (PEP 3333, "Input and Error Streams").

    The streams are looked up at each write: a rotation (USR1) replaces them.
    """

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    def _streams(self) -> list[Any]:
        streams = (getattr(handler, "stream", None) for handler in self._logger.handlers)
        return [stream for stream in streams if stream is not None]

    def write(self, text: str) -> int:
        streams = self._streams()
        for stream in streams:
            stream.write(text)
            stream.flush()
        if not streams and text.strip():
            # syslog and the like have no stream; a record is the next best thing.
            self._logger.error(text.rstrip())
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        for stream in self._streams():
            stream.flush()
