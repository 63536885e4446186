"""A WebSocket client that costs next to nothing: what a server echoes is counted, and not read."""

from __future__ import annotations

import os
import selectors
import socket
import time
from typing import TYPE_CHECKING

from attrs import define, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from server import Server

__all__ = ["Echo", "Echoed", "run"]

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
TIMEOUT = 10.0
CHUNK = 1 << 18
TEXT = 0x81  # FIN and the opcode


@frozen
class Echo:
    """Messages of ``size`` bytes of text over several connections, ``ahead`` of them under way on each."""

    name: str
    size: int
    connections: int = 50
    ahead: int = 1


@frozen
class Echoed:
    """The outcome of one run; microseconds of the server's CPU per message, there and back."""

    rate: float
    cpu: float


@define
class Client:
    """One connection; ``due`` are the bytes that the echo of the messages under way still has."""

    sock: socket.socket
    due: int = 0


def run(server: Server, echo: Echo, seconds: float) -> Echoed:
    """Keep ``echo.ahead`` messages on the way on each connection for ``seconds``.

    Raises:
        RuntimeError: the server does not do WebSockets, or closes one, or sends what it was not sent.
    """
    message = _message(echo.size)
    clients = [Client(_open(server.port)) for _ in range(echo.connections)]
    try:
        size = _answer_size(clients, message, echo.size) * echo.ahead
        cpu, started = server.cpu_seconds(), time.perf_counter()
        bursts = _exchange(clients, message * echo.ahead, size, seconds)
        spent, taken = server.cpu_seconds() - cpu, time.perf_counter() - started
    finally:
        for client in clients:
            client.sock.close()
    count = bursts * echo.ahead
    return Echoed(count / taken, spent / count * 1e6)


def _message(size: int) -> bytes:
    """A text message in one masked frame (RFC 6455 5.2)."""
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    key = os.urandom(4)
    masked = bytes(byte ^ key[at & 3] for at, byte in enumerate(b"x" * size))
    return bytes([TEXT]) + length + key + masked


def _open(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(HANDSHAKE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1) or b"\r\n\r\n"
    if not head.startswith(b"HTTP/1.1 101 ") or ACCEPT not in head:
        raise RuntimeError(f"no WebSocket: {head!r}")
    return sock


def _answer_size(clients: Sequence[Client], message: bytes, size: int) -> int:
    """Bytes of an echo, frames and all: the first ones are read and compared, and so the server is warm."""
    found = set()
    for client in clients:
        with client.sock.makefile("rb") as file:
            for _ in range(20):
                client.sock.sendall(message)
                found.add(_read_echo(file, size))
    if len(found) != 1:
        raise RuntimeError(f"echoes of several sizes: {found}")
    return found.pop()


def _read_echo(file: BinaryIO, size: int) -> int:
    """The size of a message on the wire, which may be several frames."""
    payload, heads, last = b"", 0, False
    while not last:
        first, length = file.read(2)
        last, extended = bool(first & 0x80), {126: 2, 127: 8}.get(length, 0)
        if extended:
            length = int.from_bytes(file.read(extended), "big")
        payload += file.read(length)
        heads += 2 + extended
    if payload != b"x" * size:
        raise RuntimeError(f"not an echo: {payload[:50]!r}")
    return heads + size


def _exchange(clients: Sequence[Client], burst: bytes, size: int, seconds: float) -> int:
    """How many bursts came back."""
    bursts = 0
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.sock, selectors.EVENT_READ, client)
            client.due = size
            client.sock.sendall(burst)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for key, _ in selector.select(TIMEOUT):
                client = key.data
                got = len(client.sock.recv(CHUNK))
                if not got or got > client.due:
                    raise RuntimeError("the server closed a WebSocket, or said more than it was told")
                client.due -= got
                if not client.due:
                    bursts += 1
                    client.due = size
                    client.sock.sendall(burst)
    return bursts
