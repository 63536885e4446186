"""A worker's end of a socket with frames on it: of its link to the arbiter, or of a line to a caller."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING

from gunicorn.dirty import handing
from gunicorn.dirty.frames import Frame, FrameDecoder, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Wire"]


class Wire:
    """One thread receives and sends; the main thread may look at what has arrived, and end it.

    Args:
        sock: A connected blocking stream socket.

    Attributes:
        cancelled: The request that the last cancellation was of.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = FrameDecoder()
        self._reading = threading.Lock()
        self._early: deque[Frame] = deque()
        self.cancelled = -1

    @property
    def is_between_frames(self) -> bool:
        """Whether nothing has been read that is not done yet."""
        return not self._early and self._decoder.is_between_frames

    def receive(self) -> Frame | None:
        """The next frame; None at the end."""
        decoder = self._decoder
        with self._reading:
            if self._early:
                return self._early.popleft()
            while (frame := decoder.next_frame()) is None:
                if not handing.receive_into(self._sock, decoder):
                    return None
        return frame

    def look(self) -> bool:
        """Take in cancellations that have arrived; False while the thread itself reads."""
        if not self._reading.acquire(blocking=False):
            return False
        try:
            for frame in self._arrived():
                if frame.kind == Kind.CANCEL:
                    self.cancelled = frame.request_id
                else:
                    # The next call: the answer to the one before has just been sent.
                    self._early.append(frame)
        finally:
            self._reading.release()
        return True

    def _arrived(self) -> Iterator[Frame]:
        while True:
            while (frame := self._decoder.next_frame()) is not None:
                yield frame
            try:
                if not handing.receive_into(self._sock, self._decoder, socket.MSG_DONTWAIT):
                    return
            except OSError:
                return

    def end(self) -> None:
        """Take no more than has arrived: a thread that waits finds the end behind it."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def send(self, data: bytes) -> None:
        """Send a whole frame.

        Raises:
            ConnectionError: nobody is left to read it.
        """
        self._sock.sendall(data)

    def send_parts(self, parts: list[bytes]) -> None:
        """As ``send``; large parts are not copied to join them."""
        start = 0
        for position, part in enumerate(parts):
            if len(part) >= handing.LARGE:
                self.send(b"".join(parts[start:position]))
                self.send(part)
                start = position + 1
        self.send(b"".join(parts[start:]))
