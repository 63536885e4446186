"""The socket of the dirty arbiter: one task per connection, any number of calls at a time on each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import trio

from gunicorn.dirty import handing, protocol
from gunicorn.dirty.calls import Call
from gunicorn.dirty.errors import DirtyError, DirtyProtocolError, DirtyWorkerError
from gunicorn.dirty.frames import FrameDecoder, Kind
from gunicorn.dirty.lease import SECONDS, Event, Lease
from gunicorn.dirty.outbox import SMALL, join
from gunicorn.dirty.pool import call_deadline
from gunicorn.dirty.tables import Tables

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

    from gunicorn.dirty.dispatcher import Dispatcher
    from gunicorn.dirty.frames import Frame

__all__ = ["Connection", "Server"]

#: Pause after accept() failed (descriptors are used up), seconds.
ACCEPT_RETRY = 0.1
#: Bytes of socket buffer to ask for: a large message then takes fewer turns of all processes.
BUFFER = 1024 * 1024


class Log(Protocol):
    def debug(self, msg: str, *args: object) -> None: ...
    def warning(self, msg: str, *args: object) -> None: ...


class Desk(Protocol):
    """Who answers what is no call."""

    def status(self) -> dict[str, Any]: ...
    def manage(self, operation: int, count: int) -> dict[str, Any]: ...


class Server:
    """Accepts callers and carries out what they ask for.

    Args:
        limit: ``dirty_timeout``, seconds, 0 for none; may be set later.
        cancels_abandoned: ``dirty_cancel_abandoned``; may be set later.
    """

    def __init__(
        self, dispatcher: Dispatcher, desk: Desk, log: Log, *, limit: float, cancels_abandoned: bool
    ) -> None:
        self.dispatcher = dispatcher
        self.desk = desk
        self.log = log
        self.limit = limit
        self.cancels_abandoned = cancels_abandoned
        self.tables = Tables()

    async def serve(self, listener: socket.socket) -> None:
        """Accept until cancelled."""
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(listener)
                try:
                    sock, _ = listener.accept()
                except (BlockingIOError, ConnectionError):
                    continue
                except OSError as error:
                    self.log.warning("Dirty arbiter: cannot accept: %s", error.strerror)
                    await trio.sleep(ACCEPT_RETRY)
                    continue
                nursery.start_soon(Connection(sock, self).run)


class Connection:
    """One caller's connection."""

    def __init__(self, sock: socket.socket, server: Server) -> None:
        import socket as sockets

        sock.setblocking(False)
        sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, BUFFER)
        self._sock = sock
        self._server = server
        self._dispatcher = server.dispatcher
        self._calls: dict[int, Call] = {}
        self._lock = trio.Lock()
        self._is_open = True

    # --- the task ---

    async def run(self) -> None:
        """Serve the caller until it leaves."""
        try:
            await self._read_frames()
        except DirtyProtocolError as error:
            self._server.log.warning("Dirty arbiter: a caller broke the protocol: %s", error)
        except (OSError, trio.ClosedResourceError):
            # The caller broke the connection, or was dropped.
            pass
        finally:
            self.drop()
            self._abandon_all()

    async def _read_frames(self) -> None:
        decoder, sock = FrameDecoder(), self._sock
        while self._is_open:
            await trio.lowlevel.wait_readable(sock)
            try:
                count = handing.receive_into(sock, decoder)
            except BlockingIOError:
                continue
            if not count:
                break
            while (frame := decoder.next_frame()) is not None:
                answer = _HANDLERS.get(frame.kind, Connection._misdirected)(self, frame)
                if answer is not None and (pending := self.write([answer])) is not None:
                    await pending
        if not decoder.is_between_frames:
            self._server.log.debug("Dirty arbiter: a caller left in the middle of a message")

    def _abandon_all(self) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            self._dispatcher.abandon(call, cancel=self._server.cancels_abandoned)

    # --- requests ---

    def _request(self, frame: Frame) -> bytes | None:
        route = protocol.route_of(_start(frame))
        now, limit = trio.current_time(), self._server.limit
        deadline = call_deadline(now, limit, route.timeout)
        budget = math.inf if deadline == math.inf else deadline - now
        if frame.request_id in self._calls:
            raise DirtyProtocolError(f"request {frame.request_id} is at work already")
        call = Call(self, frame.request_id, route.app_path, frame, budget, deadline)
        self._calls[frame.request_id] = call
        try:
            self._dispatcher.submit(call)
        except DirtyError as error:
            del self._calls[frame.request_id]
            return protocol.error(frame.request_id, error)
        return None

    def _lease(self, frame: Frame) -> bytes | None:
        """A line to a worker, if one can be spared; else an answer without one."""
        path = str(protocol.decode_dict(frame.content()).get("app_path"))
        if frame.request_id in self._calls:
            raise DirtyProtocolError(f"request {frame.request_id} is at work already")
        refusal = protocol.response(frame.request_id, None)
        try:
            lease = Lease()
        except OSError:
            return refusal
        budget, end = self._server.limit or math.inf, trio.current_time() + SECONDS
        call = Call(self, frame.request_id, path, lease.order(), budget, end, lease)
        if not self._dispatcher.lend(call):
            lease.take(Event.RETURNED)
            return refusal
        try:
            lease.grant(self._sock, frame.request_id)
        except OSError:
            self._dispatcher.abandon(call, cancel=False)
            return refusal
        self._calls[frame.request_id] = call
        return None

    def _cancel(self, frame: Frame) -> bytes | None:
        call = self._calls.pop(frame.request_id, None)
        if call is not None:
            self._dispatcher.abandon(call, cancel=True)
        return None

    def _stash(self, frame: Frame) -> bytes | None:
        try:
            result = self._server.tables.apply(protocol.decode_dict(frame.content()), trio.current_time())
            return protocol.response(frame.request_id, result)
        except DirtyProtocolError:
            raise
        except DirtyError as error:
            return protocol.error(frame.request_id, error)

    def _status(self, frame: Frame) -> bytes | None:
        return protocol.response(frame.request_id, self._server.desk.status())

    def _manage(self, frame: Frame) -> bytes | None:
        fields = protocol.decode_dict(frame.content())
        try:
            count = max(1, int(fields.get("count", 1)))
        except (TypeError, ValueError):
            raise DirtyProtocolError(f"count is {fields.get('count')!r}, not a number") from None
        try:
            result = self._server.desk.manage(fields.get("op", 0), count)
        except DirtyError as error:
            return protocol.error(frame.request_id, error)
        return protocol.response(frame.request_id, result)

    def _misdirected(self, frame: Frame) -> bytes | None:
        name = Kind(frame.kind).name.lower()
        return protocol.error(frame.request_id, DirtyWorkerError(f"Unknown message type: {name}"))

    # --- answers ---

    def finished(self, call: Call) -> None:
        """The call has been answered."""
        if self._calls.get(call.request_id) is call:
            del self._calls[call.request_id]

    def drop(self) -> None:
        """Close the connection."""
        if self._is_open:
            self._is_open = False
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def write(self, parts: Sequence[bytes | bytearray | memoryview]) -> Awaitable[None] | None:
        """Write whole frames: at once if they fit and nobody else writes, else by awaiting the result."""
        if not self._is_open:
            return None
        if self._lock.locked():
            return self._write_later(join(parts))
        try:
            if len(parts) == 2 and len(parts[1]) > SMALL:
                rest = _after(parts, self._sock.sendmsg(parts))
            else:
                data = join(parts)
                rest = memoryview(data)[self._sock.send(data) :]
        except BlockingIOError:
            rest = memoryview(join(parts))
        except OSError:
            self.drop()
            return None
        if not rest:
            return None
        self._lock.acquire_nowait()
        return self._write_rest(rest)

    async def _write_later(self, data: bytes | bytearray) -> None:
        await self._lock.acquire()
        await self._write_rest(memoryview(data))

    async def _write_rest(self, rest: memoryview) -> None:
        try:
            while rest and self._is_open:
                await trio.lowlevel.wait_writable(self._sock)
                try:
                    rest = rest[self._sock.send(rest) :]
                except BlockingIOError:
                    continue
        except (OSError, trio.ClosedResourceError):
            self.drop()
        finally:
            if rest:
                # Half a frame is out: whatever came next would be read as the rest of it.
                self.drop()
            self._lock.release()


def _start(frame: Frame) -> bytes | bytearray | memoryview:
    """As much of a request as its route is in."""
    return frame.content() if frame.handed is None else frame.handed.start()


def _after(parts: Sequence[bytes | bytearray | memoryview], sent: int) -> memoryview:
    """What is left of two parts after ``sent`` bytes."""
    head, payload = parts
    if sent >= len(head):
        return memoryview(payload)[sent - len(head) :]
    return memoryview(join(parts))[sent:]


_HANDLERS: dict[int, Callable[[Connection, Frame], bytes | None]] = {
    Kind.REQUEST: Connection._request,
    Kind.LEASE: Connection._lease,
    Kind.CANCEL: Connection._cancel,
    Kind.STASH: Connection._stash,
    Kind.STATUS: Connection._status,
    Kind.MANAGE: Connection._manage,
}
