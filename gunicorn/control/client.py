"""Speaking to a running server from Python.

    with ControlClient("/run/shop/gunicorn.ctl") as client:
        print(client.send_command("show workers")["count"])

``AsyncControlClient`` is the same under asyncio and trio.
"""

from __future__ import annotations

import itertools
import os
import socket
from typing import TYPE_CHECKING, Any

from gunicorn.config.sections.control import default_socket
from gunicorn.control.places import address_of, default_places, existing
from gunicorn.control.protocol import FrameError, FrameReader, Request, decode_reply, encode_request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from anyio.abc import SocketStream

__all__ = ["AsyncControlClient", "CommandError", "ControlClient", "ControlClientError", "default_path"]

_CHUNK = 1 << 16


class ControlClientError(Exception):
    """There is no server, or the conversation with it broke off."""


class CommandError(ControlClientError):
    """The server answered that the command is wrong, or was not done; the connection goes on."""


def default_path() -> str:
    """Where a server of this user listens, or would."""
    return existing(default_places(default_socket()))


class _Conversation:
    """One connection's requests and replies, without the connection."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._reader = FrameReader()
        self._expected = 0

    def ask(self, command: str, args: Sequence[str]) -> bytes:
        self._expected = next(self._numbers)
        return encode_request(Request(self._expected, command, tuple(args)))

    def take(self, data: bytes) -> dict[str, Any] | None:
        """The data of the answer; None when more has to come.

        Raises:
            CommandError: the server says that something went wrong.
            ControlClientError: this is no answer.
        """
        if not data:
            raise ControlClientError("the server closed the connection")
        self._reader.receive_data(data)
        try:
            frame = self._reader.next_frame()
            reply = None if frame is None else decode_reply(frame)
        except FrameError as error:
            raise ControlClientError(f"not an answer of a control server: {error}") from error
        if reply is None:
            return None
        if reply.identity != self._expected:
            raise ControlClientError("the server answered another question")
        if reply.error is not None:
            raise CommandError(reply.error)
        return reply.data


class ControlClient:
    """A connection to a control socket; connects at the first command.

    Args:
        socket_path: Path of the socket, ``@name`` of an abstract one; by default that of this user's server.
        timeout: Seconds for which an answer may take; None waits for ever.
    """

    def __init__(
        self, socket_path: str | os.PathLike[str] | None = None, timeout: float | None = 30.0
    ) -> None:
        self.socket_path = default_path() if socket_path is None else os.fspath(socket_path)
        self.timeout = timeout
        self._socket: socket.socket | None = None
        self._conversation = _Conversation()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, as far as we know."""
        return self._socket is not None

    def connect(self) -> None:
        """Connect; nothing happens when connected already.

        Raises:
            ControlClientError: nobody listens there, or it is not ours to use.
        """
        if self._socket is not None:
            return
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self.timeout)
        try:
            connection.connect(address_of(self.socket_path))
        except OSError as error:
            connection.close()
            raise _cannot_connect(self.socket_path, error) from error
        self._socket, self._conversation = connection, _Conversation()

    def send_command(self, command: str, args: Sequence[str] = ()) -> dict[str, Any]:
        """The data with which the server answers.

        Raises:
            CommandError: it answered with an error.
            ControlClientError: it did not answer. The connection is closed; the next command makes another.
        """
        self.connect()
        assert self._socket is not None
        try:
            self._socket.settimeout(self.timeout)
            self._socket.sendall(self._conversation.ask(command, args))
            while (data := self._conversation.take(self._socket.recv(_CHUNK))) is None:
                pass
        except CommandError:
            raise
        except BaseException as error:
            # Also when interrupted: an answer that comes later would be taken for that to the next command.
            self.close()
            if isinstance(error, TimeoutError):
                raise ControlClientError(f"no answer within {self.timeout:g} s") from error
            if isinstance(error, OSError):
                raise ControlClientError(f"the connection broke: {error.strerror or error}") from error
            raise
        return data

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> ControlClient:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncControlClient:
    """As ``ControlClient``, for code under asyncio or trio. One command at a time.

    Use it with ``async with``; a command that is cancelled, or has no answer, closes the connection.
    """

    def __init__(
        self, socket_path: str | os.PathLike[str] | None = None, timeout: float | None = 30.0
    ) -> None:
        self.socket_path = default_path() if socket_path is None else os.fspath(socket_path)
        self.timeout = timeout
        self._stream: SocketStream | None = None
        self._conversation = _Conversation()

    async def connect(self) -> None:
        """As ``ControlClient.connect``."""
        # Imported here: it takes longer than a whole command of the synchronous client.
        import anyio

        if self._stream is not None:
            return
        try:
            self._stream = await anyio.connect_unix(address_of(self.socket_path))
        except OSError as error:
            raise _cannot_connect(self.socket_path, error) from error
        self._conversation = _Conversation()

    async def send_command(self, command: str, args: Sequence[str] = ()) -> dict[str, Any]:
        """As ``ControlClient.send_command``."""
        import anyio

        await self.connect()
        assert self._stream is not None
        try:
            with anyio.fail_after(self.timeout):
                await self._stream.send(self._conversation.ask(command, args))
                while (data := self._conversation.take(await self._stream.receive(_CHUNK))) is None:
                    pass
        except CommandError:
            raise
        except BaseException as error:
            # Also when cancelled: an answer that comes later would be taken for that to the next command.
            await self.aclose()
            if isinstance(error, TimeoutError):
                raise ControlClientError(f"no answer within {self.timeout:g} s") from error
            if isinstance(error, anyio.EndOfStream | anyio.BrokenResourceError):
                raise ControlClientError("the server closed the connection") from error
            raise
        return data

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        import anyio

        stream, self._stream = self._stream, None
        if stream is not None:
            await anyio.aclose_forcefully(stream)

    async def __aenter__(self) -> AsyncControlClient:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _cannot_connect(name: str, error: OSError) -> ControlClientError:
    if isinstance(error, FileNotFoundError):
        problem = "there is no such socket (is the server running? with --no-control-socket?)"
    elif isinstance(error, ConnectionRefusedError):
        problem = "no server listens there any more"
    elif isinstance(error, PermissionError):
        problem = "permission denied: only root and the user of the server may connect"
    elif isinstance(error, BlockingIOError):
        problem = "the server is busy: too many clients wait for it"
    else:
        problem = error.strerror or str(error)
    return ControlClientError(f"cannot connect to {name}: {problem}")
