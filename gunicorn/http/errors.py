"""What our own side did wrong; ``gunicorn.errors.ProtocolError`` is what the peer did wrong."""

from __future__ import annotations

from gunicorn.errors import GunicornError

__all__ = ["LocalProtocolError"]


class LocalProtocolError(GunicornError, ValueError):
    """The application or the driver asked for something that must not go on the wire.

    A ``ValueError`` too, because an application that catches what ``start_response`` raises knows nothing of
    this package. A worker answers it with 500.
    """
