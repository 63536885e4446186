"""``http.response.pathsend`` on asyncio: the kernel copies the file where it can.

Not ``loop.sendfile``: uvloop has none, and asyncio's takes the transport away from its protocol meanwhile.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gunicorn.asgi.errors import ClientDisconnected

if TYPE_CHECKING:
    import asyncio

    from gunicorn.asgi.http import HttpExchange
    from gunicorn.workers.asgi.protocol import Connection

__all__ = ["send_file"]

_READ = 256 * 1024
_SENDFILE = 1 << 20


async def send_file(connection: Connection, exchange: HttpExchange, path: str) -> None:
    """Send the file at ``path`` as the rest of the body.

    Raises:
        OSError: it cannot be opened or read. Nothing was sent if it could not be opened.
        ClientDisconnected: the client left.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        before, count, after = exchange.begin_file(os.fstat(fd).st_size)
        if count and connection.can_send_files:
            await _copy_in_kernel(connection, before, fd, count)
        else:
            connection.transport.write(before)
            await _copy(connection, fd, count)
        if after:
            connection.transport.write(after)
    finally:
        os.close(fd)


async def _copy(connection: Connection, fd: int, count: int) -> None:
    loop = connection.service.loop
    offset = 0
    while offset < count:
        # In a thread: a disk may take its time, and every other connection would wait for it.
        size = min(_READ, count - offset)
        data = await loop.run_in_executor(None, os.pread, fd, size, offset)
        if not data:
            raise OSError(f"the file ended {count - offset} bytes early")
        offset += len(data)
        connection.transport.write(data)
        await connection.drained()


async def _copy_in_kernel(connection: Connection, before: bytes, fd: int, count: int) -> None:
    transport = connection.transport
    # What the transport still holds must be out before anything goes past it.
    transport.set_write_buffer_limits(0)
    try:
        transport.write(before)
        await connection.drained()
        # The loops refuse to watch a descriptor that a transport owns; a duplicate is another one.
        sock = os.dup(transport.get_extra_info("socket").fileno())
        try:
            offset = 0
            while offset < count:
                offset += await _send_some(connection, sock, fd, offset, count - offset)
        finally:
            os.close(sock)
    finally:
        transport.set_write_buffer_limits()


async def _send_some(connection: Connection, sock: int, fd: int, offset: int, left: int) -> int:
    if connection.lost:
        raise ClientDisconnected
    try:
        sent = os.sendfile(sock, fd, offset, min(left, _SENDFILE))
    except BlockingIOError:
        await _writable(connection, sock)
        return 0
    except OSError as error:
        raise ClientDisconnected(str(error)) from error
    if not sent:
        raise OSError(f"the file ended {left} bytes early")
    return sent


async def _writable(connection: Connection, sock: int) -> None:
    loop = connection.service.loop
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(sock, _settle, ready)
    connection.waits_for_client(ready)
    try:
        await ready
    finally:
        loop.remove_writer(sock)
        connection.waits_for_client(None)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
