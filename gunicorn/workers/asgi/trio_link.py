"""One socket on trio: receiving, and sending with a deadline for each wait.

Neither ``trio.SocketStream`` nor ``trio.SSLStream``: a non-blocking socket that is asked first, and waited
for only when it has nothing, costs half as much for each request; and ``ssl.SSLSocket`` is one, too.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import notify_closing, wait_readable, wait_writable

from gunicorn.asgi.errors import ClientDisconnected
from gunicorn.process.sendqueue import unsent

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = ["Link", "TlsLink"]

_CHUNK = 64 * 1024
_FILE_CHUNK = 256 * 1024
_SENDFILE = 1 << 20
# Pieces of a stream that follow each other faster than this (seconds) leave together. What comes later does
# not wait for the application's next suspension: one that blocks the loop would keep it from its client.
_BURST_GAP = 0.002
# As many bytes leave in one system call. It costs as much as 2 kB do on their way through the kernel.
_HOLD_LIMIT = 64 * 1024


class Link:
    """A connection over a plain socket.

    Args:
        sock: Accepted, not blocking.
        write_timeout: Seconds that the client may take nothing; 0 waits for ever.
        send_files: Whether the kernel may copy files to it.

    Attributes:
        broken: Nothing more can be sent: the client has gone, or got half of something.
        held: Pieces that wait for others to join them: whoever holds them flushes them before it suspends.
        can_be_led: Whether the descriptor alone tells that there is something to receive.
        on_progress: Called when a blocked write has gone on.
    """

    __slots__ = (
        "_held_size", "_lock", "_send_files", "_waited", "_write_timeout", "_wrote_at", "broken", "fd",
        "held", "on_progress", "sock",
    )  # fmt: skip

    can_be_led = True

    def __init__(self, sock: socket.socket, *, write_timeout: float, send_files: bool) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.broken = False
        self.on_progress: Callable[[], None] | None = None
        self._send_files = send_files
        self._write_timeout = write_timeout or inf
        self._lock = trio.Lock()
        self._waited = False
        self.held: list[bytes] = []
        self._held_size = 0
        self._wrote_at = 0.0

    # Receiving

    def receive(self) -> bytes | None:
        """What has arrived; ``b""`` at the end of it, None when nothing has."""
        try:
            return self.sock.recv(_CHUNK)
        except BlockingIOError:
            return None
        except OSError:
            self.broken = True
            return b""

    async def readable(self) -> None:
        """Return when ``receive`` is worth a try."""
        self._waited = True
        await wait_readable(self.fd)

    # Sending

    async def write(self, data: bytes) -> None:
        """Send all of ``data``, behind what is held. Several tasks may: whoever waits is next, and none comes
        in between.

        Raises:
            ClientDisconnected: it will not arrive.
        """
        lock = self._lock
        if lock.locked():
            async with lock:
                await self._write_rest(memoryview(self._behind_held(data)))
            return
        if self.held:
            data = self._behind_held(data)
        sent = self.write_now(data)
        if sent < len(data):
            lock.acquire_nowait()
            try:
                await self._write_rest(memoryview(data)[sent:])
            finally:
                lock.release()

    async def write_parts(self, *parts: bytes) -> None:
        """``write`` them as one, without making one of them: a copy of 64 kB costs as much as to send 20 kB.

        Raises:
            ClientDisconnected: as ``write``.
        """
        lock = self._lock
        if self.held or lock.locked() or self.broken:
            await self.write(b"".join(parts))
            return
        sent = self._send_parts(parts)
        if sent < sum(map(len, parts)):
            lock.acquire_nowait()
            try:
                for part in parts:
                    if sent < len(part):
                        await self._write_rest(memoryview(part)[sent:])
                    sent = max(0, sent - len(part))
            finally:
                lock.release()

    def _send_parts(self, parts: tuple[bytes, ...]) -> int:
        try:
            return self.sock.sendmsg(parts)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> ClientDisconnected:
        self.broken = True
        return ClientDisconnected(error.strerror or str(error))

    def write_now(self, data: bytes | memoryview) -> int:
        """Send what fits, without waiting.

        Raises:
            ClientDisconnected: nothing will arrive.
        """
        if self.broken:
            raise ClientDisconnected
        try:
            return self._send(data)
        except OSError as error:
            raise self._lost(error) from error

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    def hold(self, data: bytes) -> bool:
        """Keep a piece of a response that has more of them, to send it with the next ones.

        Returns:
            False when it has to be written now: the first of a burst, the one with which there are 64 kB, or
            one behind a client that takes no more.
        """
        now = monotonic()
        size = self._held_size + len(data)
        if size >= _HOLD_LIMIT or now - self._wrote_at > _BURST_GAP:
            self._wrote_at = now
            return False
        self._held_size = size
        self.held.append(data)
        return True

    def flush_now(self) -> bool:
        """Send of what is held what fits, without waiting; whether that was all.

        Raises:
            ClientDisconnected: nothing will arrive.
        """
        if not self._lock.locked():
            data = self._behind_held(b"")
            sent = self.write_now(data)
            if sent == len(data):
                return True
            self.held.append(data[sent:])
            self._held_size = len(data) - sent
        self._wrote_at = 0.0  # the next piece waits for the client, too
        return False

    async def flush(self) -> None:
        """Send what is held.

        Raises:
            ClientDisconnected: it will not arrive.
        """
        if self.held or self._lock.locked():
            await self.write(b"")

    def _behind_held(self, data: bytes) -> bytes:
        held = self.held
        if not held:
            return data
        held.append(data)
        self.held, self._held_size = [], 0
        return b"".join(held)

    async def _write_rest(self, rest: memoryview) -> None:
        try:
            while rest:
                sent = self.write_now(rest)
                rest = rest[sent:]
                if rest:
                    await self._wait_writable()
        except trio.Cancelled:
            # Half of it has gone: whatever was sent next would be taken for the other half.
            self.broken = True
            raise

    async def _wait_writable(self) -> None:
        self._waited = True
        queued = unsent(self.fd)
        while True:
            with trio.move_on_after(self._write_timeout):
                await wait_writable(self.fd)
                break
            before, queued = queued, unsent(self.fd)
            if queued >= before:
                self.broken = True
                raise ClientDisconnected(f"the client took nothing for {self._write_timeout} s")
        if self.on_progress is not None:
            self.on_progress()

    async def write_file(self, fd: int, count: int) -> None:
        """Send the first ``count`` bytes of the file ``fd``.

        Raises:
            ClientDisconnected: as ``write``.
            OSError: the file became shorter.
        """
        offset = 0
        async with self._lock:
            try:
                while offset < count:
                    offset += await self._write_some(fd, offset, count - offset)
            except (trio.Cancelled, OSError):
                self.broken = True
                raise

    async def _write_some(self, fd: int, offset: int, left: int) -> int:
        if self._send_files:
            return await self._copy_in_kernel(fd, offset, left)
        # In a thread: a disk may take its time, and every other connection would wait for it.
        data = await trio.to_thread.run_sync(os.pread, fd, min(left, _FILE_CHUNK), offset)
        await self._write_rest(memoryview(data))
        return _some(len(data), left)

    async def _copy_in_kernel(self, fd: int, offset: int, left: int) -> int:
        try:
            sent = os.sendfile(self.fd, fd, offset, min(left, _SENDFILE))
        except BlockingIOError:
            await self._wait_writable()
            return 0
        except OSError as error:
            raise ClientDisconnected(str(error)) from error
        # A client that is as fast as the file would keep every other connection waiting.
        await trio.lowlevel.checkpoint()
        return _some(sent, left)

    # The end

    def half_close(self) -> None:
        """Say that nothing more will be sent, so that a reset cannot cut what the client has not read yet."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # gone already: the next receive says so

    def close(self) -> None:
        """Close; whoever waits for the socket gets ``trio.ClosedResourceError``."""
        self.broken = True
        if self._waited:
            notify_closing(self.fd)
        self.sock.close()


class TlsLink(Link):
    """A connection over ``ssl.SSLSocket``, whose handshake and reads may each want either direction."""

    __slots__ = ("_errors", "_wants_write")

    can_be_led = False  # the kernel does not know what has been decrypted already

    def __init__(self, sock: ssl.SSLSocket, *, write_timeout: float, send_files: bool) -> None:
        import ssl

        super().__init__(sock, write_timeout=write_timeout, send_files=False)
        self._errors = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._wants_write = False

    @property
    def _tls(self) -> Any:
        return self.sock

    async def handshake(self) -> None:
        """Return when the connection is secured.

        Raises:
            OSError: it failed.
        """
        done = False
        while not done:
            done = self._try(self._tls.do_handshake) is not False
            if not done:
                await self.readable()

    def _try(self, step: Callable[[], Any]) -> Any:
        """The result of ``step``; False when it waits for the socket."""
        self._wants_write = False
        try:
            return step()
        except self._errors[0]:
            return False
        except self._errors[1]:
            self._wants_write = True
            return False

    def receive(self) -> bytes | None:
        try:
            data = self._try(lambda: self._tls.recv(_CHUNK))
        except (OSError, ValueError):
            self.broken = True
            return b""
        return None if data is False else data

    async def readable(self) -> None:
        self._waited = True
        if self._tls.pending():
            # Decrypted already: the kernel knows nothing of it.
            await trio.lowlevel.checkpoint()
        elif self._wants_write:
            await wait_writable(self.fd)
        else:
            await wait_readable(self.fd)

    async def write_parts(self, *parts: bytes) -> None:
        await self.write(b"".join(parts))

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self.sock.send(data)
        except self._errors:
            return 0
        except ValueError as error:
            raise OSError(str(error)) from error

    def half_close(self) -> None:
        # close_notify (RFC 8446 6.1). The client's own, which unwrap would wait for, is not needed.
        with suppress(OSError, ValueError):
            self._tls.unwrap()
        super().half_close()


def _some(count: int, left: int) -> int:
    if not count:
        raise OSError(f"the file ended {left} bytes early")
    return count
