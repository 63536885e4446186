"""Whether a client takes what it was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gunicorn.process import sendqueue

if TYPE_CHECKING:
    import asyncio

__all__ = ["unsent"]


def unsent(transport: asyncio.Transport) -> int:
    """Bytes that the client has not confirmed yet: the transport's, and where known the kernel's.

    The transport alone hears of progress in large steps: a slow client would look dead for a minute.
    """
    sock = transport.get_extra_info("socket")
    queued = 0 if sock is None else sendqueue.unsent(sock.fileno())
    return transport.get_write_buffer_size() + queued
