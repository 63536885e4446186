"""``wsgi.input``: the request body, pulled from the connection only as the application reads (PEP 3333)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["NO_INPUT", "Input", "InputError"]


class InputError(OSError):
    """The body cannot be read: malformed, cut off, too large or too slow; ``__cause__`` says which.

    An ``OSError``, because that is what applications and frameworks expect of a failing ``read``.
    """


class Input:
    """A binary stream of one request body. Holds at most one chunk beyond what the application asked for.

    Args:
        source: Returns the next bytes of the body, ``b""`` at its end. It may block, and raises
        :class:`InputError`.
    """

    __slots__ = ("_chunk", "_ended", "_position", "_source")

    def __init__(self, source: Callable[[], bytes]) -> None:
        self._source = source
        self._chunk = b""
        self._position = 0
        self._ended = False

    def _fill(self) -> bool:
        """Have at least one unread byte, or return False at the end of the body."""
        if self._position < len(self._chunk):
            return True
        if self._ended:
            return False
        self._chunk, self._position = self._source(), 0
        self._ended = not self._chunk
        return not self._ended

    def _take(self, size: int) -> bytes:
        start = self._position
        piece = self._chunk[start : start + size]
        self._position += len(piece)
        return piece

    def read(self, size: int | None = -1) -> bytes:
        """``size`` bytes, less only at the end of the body; all that is left without a size."""
        if size is not None and size > 0 and self._fill():
            # Most bodies are one chunk, and are read by their length: the slice is then no copy.
            start, end = self._position, self._position + size
            if end <= len(self._chunk):
                self._position = end
                return self._chunk[start:end]
        left = -1 if size is None or size < 0 else size
        pieces = []
        while left and self._fill():
            piece = self._take(left if left > 0 else len(self._chunk))
            pieces.append(piece)
            if left > 0:
                left -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readline(self, size: int | None = -1) -> bytes:
        """One line with its end, or ``size`` bytes of it."""
        left = -1 if size is None or size < 0 else size
        pieces = []
        while left and self._fill():
            newline = self._chunk.find(b"\n", self._position)
            available = (newline + 1 if newline >= 0 else len(self._chunk)) - self._position
            piece = self._take(available if left < 0 else min(left, available))
            pieces.append(piece)
            if piece.endswith(b"\n"):
                break
            if left > 0:
                left -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readlines(self, hint: int | None = None) -> list[bytes]:
        """All lines, or as many as hold ``hint`` bytes."""
        lines: list[bytes] = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if line:
            return line
        raise StopIteration


NO_INPUT = Input(lambda: b"")
"""The stream of every request without a body. It holds nothing of any of them, so that one will do."""
