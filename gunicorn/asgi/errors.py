"""What an application hears from ``send``."""

from __future__ import annotations

from gunicorn.errors import GunicornError

__all__ = ["ClientDisconnected", "MessageError"]


class MessageError(GunicornError, RuntimeError):
    """The application sent a message that is malformed, or not possible now. Nothing has changed by it."""


class ClientDisconnected(GunicornError, OSError):
    """The client has gone: nothing that is sent arrives any more.

    An ``OSError``, as ASGI (HTTP, "Disconnected Client - send exception", since spec version 2.4) has it.
    """

    def __init__(self, reason: str = "the client has disconnected") -> None:
        super().__init__(reason)
