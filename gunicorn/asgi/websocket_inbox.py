"""What a WebSocket client has sent and the application has not received yet."""

from __future__ import annotations

from collections import deque
from typing import Any

__all__ = ["Inbox"]

# What may wait before reading pauses; the message that crosses the line may be as large as messages may be.
_MAX_MESSAGES = 32
_MAX_BYTES = 64 * 1024


class Inbox:
    """The queue behind ``receive``: a connect, messages, and a disconnect that is given again for ever.

    Attributes:
        paused: Enough waits: read nothing more. Cleared when half of it has gone.
    """

    __slots__ = ("_bytes", "_end", "_messages", "paused")

    def __init__(self) -> None:
        self._messages: deque[tuple[dict[str, Any], int]] = deque([({"type": "websocket.connect"}, 0)])
        self._bytes = 0
        self._end: dict[str, Any] | None = None
        self.paused = False

    @property
    def end_code(self) -> int | None:
        """The code of the disconnect; None while there is none."""
        return None if self._end is None else self._end["code"]

    def put(self, item: str | bytes) -> None:
        """Add a message."""
        size = len(item)
        key = "text" if type(item) is str else "bytes"
        self._messages.append(({"type": "websocket.receive", key: item}, size))
        self._bytes += size
        if len(self._messages) >= _MAX_MESSAGES or self._bytes >= _MAX_BYTES:
            self.paused = True

    def end(self, code: int, reason: str) -> None:
        """Put a disconnect behind the messages; the first one counts."""
        if self._end is None:
            self._end = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self.paused = False

    def next(self) -> dict[str, Any] | None:
        """The next message, None when there is none yet."""
        if not self._messages:
            return self._end.copy() if self._end is not None else None
        message, size = self._messages.popleft()
        self._bytes -= size
        if self.paused and len(self._messages) <= _MAX_MESSAGES // 2 and self._bytes <= _MAX_BYTES // 2:
            self.paused = False
        return message
