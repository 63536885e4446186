"""The control server: a trio task of the arbiter that takes commands on a unix socket.

Whatever a client does, it costs the server little: connections are few, frames are short, and every wait has
an end. When all connections are taken, the one that has idled longest makes room.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import attrs
import trio

from gunicorn.control import commands
from gunicorn.control.credentials import Access, Peer, Rules, peer_of
from gunicorn.control.operations import RefusedError
from gunicorn.control.places import default_places, open_socket
from gunicorn.control.protocol import (
    MAX_REQUEST,
    FrameError,
    FrameReader,
    decode_request,
    encode_error,
    encode_ok,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gunicorn.control.operations import Operations
    from gunicorn.control.places import ControlSocket
    from gunicorn.control.protocol import Request

__all__ = ["CONNECTIONS", "ControlServer", "Settings"]

#: Connections at a time.
CONNECTIONS = 32
#: Between two commands, seconds.
IDLE = 300.0
#: From the first byte of a frame to its last, seconds.
FRAME = 10.0
#: For a client to take its answer, seconds.
WRITE = 10.0
#: After an accept that failed for want of descriptors, seconds: nothing tells when there are some again.
PAUSE = 1.0

_CHUNK = 1 << 14


@attrs.frozen
class Settings:
    """The settings of the control socket.

    Attributes:
        name: Its path; None when there is to be none.
        is_default: Nobody chose the path, so another place will do.
        mode: File mode bits.
        readonly: Commands may only look.
    """

    name: str | None
    is_default: bool = False
    mode: int = 0o600
    readonly: bool = False

    @property
    def places(self) -> list[str]:
        """Where the socket may be, in order."""
        if self.name is None:
            return []
        return default_places(self.name) if self.is_default else [os.path.abspath(self.name)]


@attrs.define(eq=False)
class Connection:
    """One client."""

    scope: trio.CancelScope
    since: float
    is_busy: bool = False


class ControlServer:
    """Takes commands, on one socket at a time.

    Args:
        operations: The server under control.
        settings: Gives the settings that are valid now.
        log: Told in one line where the socket is, or why there is none.
    """

    def __init__(self, operations: Operations, settings: Callable[[], Settings], log: Any) -> None:
        self._operations = operations
        self._settings = settings
        self._log = log
        self._connections: dict[int, Connection] = {}
        self._numbers = 0
        self._current: Settings | None = None
        self._listening = trio.CancelScope()
        self._is_displaced = False

    # --- commands ---

    def changed(self) -> None:
        """The settings may be others now: follow them."""
        if self._current is not None and self._settings() != self._current:
            self._listening.cancel()

    def promoted(self) -> None:
        """The server that had the first place is gone: take it."""
        if self._is_displaced:
            self._listening.cancel()

    # --- the task ---

    async def run(self) -> None:
        """Serve until cancelled. A socket that cannot be had is a line in the log and no error."""
        async with trio.open_nursery() as nursery:
            while True:
                self._listening = trio.CancelScope()
                self._current = self._settings()
                with self._listening:
                    await self._serve_at(self._current, nursery)

    async def _serve_at(self, settings: Settings, nursery: trio.Nursery) -> None:
        opened = self._open(settings)
        if opened is None:
            await trio.sleep_forever()
            return
        self._is_displaced = not opened.is_first_choice
        try:
            rules = Rules(os.geteuid(), opened.gid, settings.mode)
            await self._accept(trio.socket.from_stdlib_socket(opened.socket), rules, nursery)
        finally:
            opened.close()

    def _open(self, settings: Settings) -> ControlSocket | None:
        reasons = []
        for place in settings.places:
            try:
                # A home that does not exist is not ours to make.
                opened = open_socket(place, settings.mode, make_parents=not settings.is_default)
            except (OSError, ValueError) as error:
                # ValueError: a path with a zero byte. Without an errno it is a path that is too long.
                reasons.append(f"{place}: {getattr(error, 'strerror', None) or error}")
                continue
            taken = "" if opened.is_first_choice else f" ({place} belongs to another server)"
            self._log.info("Control socket: %s%s", opened.name, taken)
            return opened
        if reasons:
            self._log.info("No control socket: %s", "; ".join(reasons))
        return None

    async def _accept(self, listening: trio.socket.SocketType, rules: Rules, nursery: trio.Nursery) -> None:
        while True:
            try:
                connection, _ = await listening.accept()
            except OSError as error:
                # Its client left already, or there are no descriptors.
                if error.errno != errno.ECONNABORTED:
                    await trio.sleep(PAUSE)
                continue
            nursery.start_soon(self._welcome, connection, rules)

    async def _welcome(self, connection: trio.socket.SocketType, rules: Rules) -> None:
        with connection:
            try:
                peer = peer_of(connection)
            except OSError:
                return
            await self.serve(trio.SocketStream(connection), peer, rules.access_of(peer))

    # --- one connection ---

    async def serve(self, stream: trio.abc.Stream, peer: Peer | None, access: Access) -> None:
        """Answer commands until the client leaves, breaks the protocol or wastes our time."""
        if not self._make_room():
            return
        self._numbers += 1
        number, scope = self._numbers, trio.CancelScope()
        self._connections[number] = connection = Connection(scope, trio.current_time())
        try:
            with scope:
                await self._converse(stream, connection, peer, access)
        except (trio.BrokenResourceError, FrameError):
            return
        finally:
            del self._connections[number]

    def _make_room(self) -> bool:
        if len(self._connections) < CONNECTIONS:
            return True
        idle = [c for c in self._connections.values() if not c.is_busy and not c.scope.cancel_called]
        if idle:
            min(idle, key=lambda connection: connection.since).scope.cancel()
        return bool(idle)

    async def _converse(
        self, stream: trio.abc.Stream, connection: Connection, peer: Peer | None, access: Access
    ) -> None:
        reader = FrameReader(MAX_REQUEST)
        while True:
            request = await self._next_request(stream, reader)
            if request is None:
                return
            connection.is_busy = True
            reply = await self._answer(request, peer, access)
            connection.is_busy, connection.since = False, trio.current_time()
            with trio.move_on_after(WRITE) as writing:
                await stream.send_all(reply)
            if writing.cancelled_caught:
                return

    async def _next_request(self, stream: trio.abc.Stream, reader: FrameReader) -> Request | None:
        """The next request; None at the end of the connection, or of our patience."""
        with trio.move_on_after(IDLE if reader.is_empty else FRAME) as patience:
            while (frame := reader.next_frame()) is None:
                data = await stream.receive_some(_CHUNK)
                if not data:
                    return None
                if reader.is_empty:
                    patience.deadline = trio.current_time() + FRAME
                reader.receive_data(bytes(data))
            return decode_request(frame)
        return None

    async def _answer(self, request: Request, peer: Peer | None, access: Access) -> bytes:
        try:
            return encode_ok(request.identity, await self._obey(request, peer, access))
        except FrameError as error:
            return encode_error(request.identity, f"Command failed: {error}")
        except ValueError as error:
            text = str(error)
            wrong = text if text == "Empty command" else f"Invalid argument: {text}"
            return encode_error(request.identity, wrong)
        except RefusedError as error:
            return encode_error(request.identity, f"Command failed: {error}")
        except Exception as error:  # noqa: BLE001 - a bug in a command must not end the server
            self._log.exception("Control command %r failed", request.command)
            return encode_error(request.identity, f"Command failed: {error!r}")

    async def _obey(self, request: Request, peer: Peer | None, access: Access) -> dict[str, Any]:
        if access is Access.NONE:
            raise RefusedError(f"uid {peer.uid if peer else '?'} may not use this control socket")
        invocation = commands.parse(request.command, request.args)
        if invocation.command.changes:
            self._check_change(request, peer, access)
        with trio.move_on_after(invocation.seconds):
            return await commands.run(self._operations, invocation)
        raise RefusedError(f"no result after {invocation.seconds:g} s; look at the server's log")

    def _check_change(self, request: Request, peer: Peer | None, access: Access) -> None:
        if self._settings().readonly:
            raise RefusedError("this server takes no changes here (control_socket_readonly)")
        if access is not Access.CHANGE:
            raise RefusedError(f"uid {peer.uid if peer else '?'} may look, but not change anything")
        by = f" (pid:{peer.pid}, uid:{peer.uid})" if peer else ""
        self._log.info("Control command: %s%s", _shown(request), by)


def _shown(request: Request) -> str:
    """The command for the log: one line, whatever the client sent."""
    text = " ".join([request.command, *request.args])
    return text.encode("unicode_escape").decode("ascii")[:200]
