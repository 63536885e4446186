"""``wsgi.file_wrapper`` (PEP 3333, "Optional Platform-Specific File Handling")."""

from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FileWrapper"]


_PLAIN = (io.FileIO, io.BufferedReader, io.BufferedRandom)


class Readable(Protocol):
    """As much of a file as PEP 3333 promises."""

    def read(self, size: int, /) -> bytes: ...


class FileWrapper:
    """Iterates over a file in blocks; the server sends it with sendfile where it can.

    Args:
        filelike: Has ``read(size)``; its ``close()`` is called at the end of the response.
        blksize: Bytes for each read.
    """

    def __init__(self, filelike: Readable, blksize: int = 8192) -> None:
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data = self.filelike.read(self.blksize)
        if data:
            return data
        raise StopIteration

    def regular(self) -> tuple[int, int, int] | None:
        """``(descriptor, offset, bytes left)`` when sendfile gives the same bytes as ``read``, else None.

        Only for Python's own files: a ``GzipFile`` has a ``fileno()`` too, but of the compressed file. The
        position is the file object's (``tell``), not the descriptor's, which a buffered reader has moved
        ahead.
        """
        raw = getattr(self.filelike, "raw", self.filelike)
        if not isinstance(raw, io.FileIO) or not isinstance(self.filelike, _PLAIN):
            return None
        try:
            fd, offset = self.filelike.fileno(), self.filelike.tell()
            status = os.fstat(fd)
        except (OSError, ValueError):
            return None  # closed, or a pipe: reading it reports what is wrong
        if not stat.S_ISREG(status.st_mode):
            return None
        return fd, offset, max(0, status.st_size - offset)
