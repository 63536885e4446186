"""The end of a WebSocket, among the messages that were received."""

from __future__ import annotations

__all__ = ["Closed"]


class Closed:
    """The end, as the client or a broken rule brought it.

    Args:
        code: The client's close code, or the one that it was sent (RFC 6455 7.4.1).
        reason: The text beside it.
    """

    __slots__ = ("code", "reason")

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
