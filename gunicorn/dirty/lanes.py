"""The arbiter's side of the links to the workers.

A link runs one call at a time. Its task waits for the socket with the call's deadline on it; when it is free
it takes the next call from its worker's queue. Requests and answers pass undecoded: only their ids are
exchanged, and a link whose answer has another id than was asked for is not trusted any further.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Protocol

import trio

from gunicorn.dirty import protocol
from gunicorn.dirty.errors import DirtyError, DirtyProtocolError, DirtyTimeoutError, DirtyWorkerError
from gunicorn.dirty.frames import HANDED, Frame, FrameDecoder, Kind, header, pack
from gunicorn.dirty.lease import Event
from gunicorn.dirty.outbox import Outbox

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from gunicorn.dirty.calls import Call
    from gunicorn.dirty.lease import Lease
    from gunicorn.dirty.pool import Lane

__all__ = ["CANCEL_GRACE", "Link", "Worker"]

#: Seconds that a worker has to let go of a cancelled call before it is killed and replaced.
CANCEL_GRACE = 2.0
#: Seconds for which a caller may leave its answer unread when calls have no deadline.
PATIENCE = 300.0
#: In the place of what was passed on.
SENT = Frame(Kind.REQUEST, 0, b"")


def _answer_parts(call: Call, frame: Frame) -> tuple[bytes, bytes | bytearray | memoryview]:
    """What the caller gets: the same frame, with its own number on it."""
    if frame.written:
        return header(frame.kind | HANDED, call.request_id, frame.written), b""
    return header(frame.kind, call.request_id, len(frame.payload)), frame.payload


class Worker(Protocol):
    """The process behind a link."""

    @property
    def age(self) -> int: ...
    @property
    def pid(self) -> int: ...
    def interrupt(self) -> None:
        """Have it look for cancelled calls."""

    def kill(self, app_path: str) -> None:
        """It does not let go of a call to ``app_path``: end it."""


class Crew(Protocol):
    """What the links of one worker have in common."""

    worker: Worker
    lane: Lane[Call]
    idle: list[Link]
    is_leaving: bool
    answered: int

    @property
    def freed(self) -> Callable[[], None]: ...
    def next_call(self) -> Call | None: ...


class Link:
    """One link to one thread of a worker."""

    def __init__(self, sock: socket.socket, crew: Crew) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._crew = crew
        self._decoder = FrameDecoder()
        self._outbox = Outbox(sock, self._flushed)
        self._asked = 0
        self._is_running = False
        self._is_cancelling = False
        self._scope = trio.CancelScope()
        self._due = math.inf
        self._armed = math.inf
        self._call: Call | None = None
        self._lease: Lease | None = None
        self._budget = math.inf
        self._path = ""
        self.is_open = True

    # --- commands ---

    def begin(self, call: Call) -> None:
        """Send the call to the worker. The link is idle."""
        self._asked += 1
        self._call, call.link = call, self
        self._path, self._lease, self._budget = call.app_path, call.lease, call.budget
        self._is_running, self._is_cancelling = True, False
        self._crew.lane.running += 1
        self._set_deadline(call.deadline)
        frame, call.frame = call.frame, SENT  # the payload may be large
        self._outbox.send(frame, self._asked)

    def cancel(self) -> None:
        """Nobody wants the answer any more: have the worker let go of the call, or end the worker."""
        self._call = None
        if self._is_cancelling:
            return
        self._is_cancelling = True
        self._take_back(Event.DROPPED)
        self._set_deadline(trio.current_time() + CANCEL_GRACE)
        if not self._outbox.is_flushing:
            self._send_cancel()

    def forget(self) -> None:
        """Nobody wants the answer any more, but the call may run to its end."""
        self._take_back(Event.DROPPED)
        self._call = None

    def recall(self) -> bool:
        """End a lease; False if there is none that has not been ended. Nobody waits for its caller."""
        return self._take_back(Event.RECALLED)

    def close(self) -> None:
        """Close the socket: the worker's thread finds the end of its link."""
        if self.is_open:
            self.is_open = False
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def converse(self, answer: Callable[[Frame], bytes]) -> None:
        """Before the link serves: hear one frame, answer it."""
        while (frame := self._decoder.next_frame()) is None:
            if not await self._read():
                return
        self._outbox.write(answer(frame), b"")

    # --- the task ---

    async def run(self) -> None:
        """Carry calls until the worker closes the link, or this side does."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._until_broken, self._outbox.run)
                await self._until_broken(self._carry)
                nursery.cancel_scope.cancel()
        finally:
            self.close()
            await self._fail_call()

    async def _until_broken(self, work: Callable[[], Awaitable[None]]) -> None:
        """Closed on this side, or broken: either way the link has ended, which its task then deals with."""
        with contextlib.suppress(trio.ClosedResourceError, OSError, DirtyProtocolError):
            await work()

    async def _carry(self) -> None:
        while True:
            self._armed = self._due
            with trio.CancelScope(deadline=self._armed) as self._scope:
                await self._pump()
                return
            if trio.current_time() >= self._due:
                await self._overdue()

    async def _pump(self) -> None:
        """Pass on what arrives, until the end of the link."""
        # Passing the last answer on may close the link, and a closed socket cannot be waited for.
        while self.is_open and await self._read():
            await self._pass_on()

    async def _pass_on(self) -> None:
        call, final = self._call, None
        out: list[bytes | bytearray | memoryview] = []
        while (frame := self._decoder.next_frame()) is not None:
            if frame.request_id != self._asked or not self._is_running:
                raise DirtyProtocolError(f"an answer to call {frame.request_id} instead of {self._asked}")
            if call is not None:
                out += _answer_parts(call, frame)
            if frame.kind != Kind.CHUNK:
                final = frame
        if call is not None and out:
            await self._answer(call, out, is_last=final is not None)
        elif call is not None and final is not None:
            self._finish(call)
        if final is not None:
            self._end_lease(final)
            self._become_free()

    def _finish(self, call: Call) -> None:
        if call.lease is None:
            self._crew.answered += 1
        call.finish()

    def _take_back(self, event: Event) -> bool:
        """Whether there was an open lease. The time of the call that runs on it, if one does, begins now."""
        lease = self._lease
        if lease is None:
            return False
        was_open = lease.is_open
        lease.take(event)
        if was_open:
            self._set_deadline(trio.current_time() + self._budget)
        return was_open

    def _end_lease(self, final: Frame | None = None) -> None:
        """The worker is through with it, and says how many calls it has answered; None: it is gone."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.take(Event.RETURNED)
            self._crew.lane.lent -= 1
            if final is not None and final.kind == Kind.RESPONSE:
                self._crew.answered += protocol.result_of(final)

    async def _answer(
        self, call: Call, parts: list[bytes | bytearray | memoryview], *, is_last: bool
    ) -> None:
        pending = call.caller.write(parts)
        if pending is not None:
            await self._patiently(call, pending)
        if is_last:
            self._finish(call)
        else:
            self._go_on(call)

    def _go_on(self, call: Call) -> None:
        """A piece of a stream has gone out: the next one has as long again."""
        if not call.is_done:
            call.is_streaming = True
            if call.budget != math.inf:
                self._set_deadline(trio.current_time() + call.budget)

    async def _patiently(self, call: Call, pending: Awaitable[None]) -> None:
        """The caller does not read as fast as the worker writes: the worker waits, its deadline too."""
        self._due = self._armed = self._scope.deadline = math.inf
        with trio.move_on_after(min(call.budget, PATIENCE)) as waiting:
            await pending
        if waiting.cancelled_caught:
            call.caller.drop()

    def _become_free(self) -> None:
        self._is_running = self._is_cancelling = False
        self._call = None
        self._crew.lane.running -= 1
        self._set_deadline(math.inf)
        call = self._crew.next_call()
        if call is not None:
            self.begin(call)
        else:
            if self._crew.is_leaving:
                self.close()
            else:
                self._crew.idle.append(self)
            self._crew.freed()

    async def _overdue(self) -> None:
        """The deadline has passed: of the call, of the grace after it, or of a lease."""
        if self._is_cancelling:
            self._set_deadline(math.inf)
            self._crew.worker.kill(self._path)
        elif not self.recall():
            await self._time_out()

    async def _time_out(self) -> None:
        call = self._call
        self.cancel()
        if call is not None:
            error = DirtyTimeoutError(f"{call.app_path} did not answer in time", timeout=call.budget)
            await self._answer(call, [protocol.error(call.request_id, error)], is_last=True)
            self._set_deadline(trio.current_time() + CANCEL_GRACE)

    async def _fail_call(self) -> None:
        """The worker is gone. Its caller must know, also when this server is being stopped."""
        if not self._is_running:
            return
        self._is_running = False
        self._end_lease()
        self._crew.lane.running -= 1
        self._crew.freed()
        call = self._call
        if call is None or call.is_done:
            return
        error: DirtyError = DirtyWorkerError(
            f"The worker (pid {self._crew.worker.pid}) ended while it ran a call to {call.app_path}",
            worker_id=self._crew.worker.pid,
        )
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
            await self._answer(call, [protocol.error(call.request_id, error)], is_last=True)

    # --- bytes ---

    async def _read(self) -> bool:
        await trio.lowlevel.wait_readable(self._sock)
        try:
            count = self._sock.recv_into(self._decoder.space())
        except BlockingIOError:
            return True
        self._decoder.wrote(count)
        return count > 0

    def _flushed(self) -> None:
        if self._is_cancelling:
            self._send_cancel()

    def _send_cancel(self) -> None:
        self._outbox.write(pack(Kind.CANCEL, self._asked), b"")
        self._crew.worker.interrupt()

    def _set_deadline(self, deadline: float) -> None:
        """A later deadline is not told to trio, which costs more than to wake up for nothing now and then."""
        self._due = deadline
        if deadline < self._armed:
            self._armed = self._scope.deadline = deadline
