"""The worker's side of a link: one thread, one socket to the arbiter, one call at a time.

A worker has a link for each of its threads. So there is nothing to hand from a thread that reads to one that
works, no answer can take another one's place, and a thread that is stuck holds up nobody else's bytes.
"""

from __future__ import annotations

import contextlib
import socket
import traceback
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from gunicorn.dirty import handing, protocol, tlv
from gunicorn.dirty.cancelling import Interrupt, TaskCancelled
from gunicorn.dirty.errors import (
    DirtyAppError,
    DirtyAppNotFoundError,
    DirtyCancelledError,
    DirtyError,
    DirtyProtocolError,
)
from gunicorn.dirty.frames import HANDED, Frame, Kind, header, pack
from gunicorn.dirty.wire import Wire
from gunicorn.process.slots import ERRORS, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gunicorn.dirty.apps import Apps
    from gunicorn.process.slots import Slot

__all__ = ["WorkerLink"]

_MAX_TRACEBACK = 64 * 1024  # characters


class WorkerLink:
    """One link. ``serve`` runs in the thread that the link belongs to.

    Args:
        sock: A connected blocking stream socket.
        is_leaving: Whether the process should take no further call.
    """

    def __init__(
        self, sock: socket.socket, apps: Apps, slot: Slot | None, is_leaving: Callable[[], bool]
    ) -> None:
        self._wire = Wire(sock)
        self._line: Wire | None = None
        self._apps = apps
        self._slot = slot
        self._is_leaving = is_leaving
        self._room = handing.Room()
        self._interrupt: Interrupt | None = None
        self._loop: Any = None
        self._look_again = False

    def claim(self, limits: dict[str, int | None], threads: int) -> list[str]:
        """Tell the arbiter what could be loaded here; what it says should be."""
        apps = [[path, limit] for path, limit in limits.items()]
        self._wire.send(pack(Kind.CLAIM, 0, tlv.encode({"apps": apps, "threads": threads})))
        frame = self._wire.receive()
        if frame is None or frame.kind != Kind.ASSIGN:
            raise SystemExit(0)
        paths: list[str] = protocol.decode_dict(frame.payload)["apps"]
        return paths

    def serve(self) -> None:
        """Take calls until the arbiter closes the link, or this process leaves.

        Either way the end is that of the bytes, so a call that has arrived is run.
        """
        self._interrupt = interrupt = Interrupt()
        try:
            while (frame := self._wire.receive()) is not None:
                if frame.kind in (Kind.REQUEST, Kind.LOAD):
                    self._work(frame, frame.request_id, interrupt, self._wire)
                elif frame.kind == Kind.LEASE:
                    self._serve_line(frame, interrupt)
                if self._is_leaving():
                    self.leave()
        except (ConnectionError, DirtyProtocolError):
            # The arbiter has gone in the middle of something; nobody is left to tell.
            return
        finally:
            self._close_loop()

    def cancel(self) -> None:
        """Look for a cancellation that has arrived. Called in the main thread, by a signal handler.

        Raises:
            TaskCancelled: the call of the main thread is cancelled.
        """
        # While the thread itself reads it has no call yet; it looks again before it begins one.
        self._look_again = True
        if self._interrupt is not None and self._wire.look():
            self._look_again = False
            self._interrupt.cancel(self._wire.cancelled)

    def leave(self) -> None:
        """Take no more calls than have arrived; one that is at work, or arriving, sees to it afterwards."""
        line = self._line
        if line is not None:
            # Its caller takes what does not arrive to another worker, so nothing has to be waited for.
            line.end()
        elif self._wire.is_between_frames and (self._interrupt is None or self._interrupt.request_id == 0):
            self._wire.end()

    def _serve_line(self, lease: Frame, interrupt: Interrupt) -> None:
        """Work for one caller alone, until the end of its line; the answer is how many calls that were."""
        count = 0
        if lease.handed is not None:
            with socket.socket(fileno=lease.handed.detach()) as sock:
                self._line = line = Wire(sock)
                if self._is_leaving():
                    line.end()
                with contextlib.suppress(ConnectionError, DirtyProtocolError):  # a caller that has gone
                    while (frame := line.receive()) is not None and frame.kind == Kind.REQUEST:
                        count += 1
                        self._work(frame, lease.request_id, interrupt, line)
                self._line = None
            interrupt.begin(0)  # also when its answer could not be sent
        self._wire.send(protocol.response(lease.request_id, count))

    # Calls

    def _work(self, frame: Frame, job: int, interrupt: Interrupt, wire: Wire) -> None:
        """Carry out a request and answer it. ``job``: the arbiter's number for what this thread does."""
        answer: bytes | list[bytes]
        interrupt.begin(job)
        # The cancellation may have been seen before the call was begun, or be there unseen.
        interrupt.cancel(self._wire.cancelled)
        if self._look_again:
            self.cancel()
        try:
            if frame.kind == Kind.LOAD:
                self._apps.load(protocol.decode_dict(frame.payload)["app_path"])
                answer = protocol.response(frame.request_id, True)
            else:
                answer = self._call(frame, interrupt, wire)
        except TaskCancelled:
            answer = protocol.error(frame.request_id, DirtyCancelledError("The call was cancelled"))
        except DirtyError as error:
            answer = protocol.error(frame.request_id, error)
        except Exception as error:  # noqa: BLE001 - init() of a class that is loaded late
            answer = protocol.error(frame.request_id, _describe(error, "", ""))
        finally:
            interrupt.disarm()
        if isinstance(answer, bytes):
            wire.send(answer)
        else:
            wire.send_parts(answer)
        interrupt.begin(0)

    def _call(self, frame: Frame, interrupt: Interrupt, wire: Wire) -> bytes | list[bytes]:
        call = protocol.decode_call(frame.content(self._room))
        app = self._apps[call.app_path]
        entry = self._note(call)
        try:
            interrupt.arm()
            result = app(call.action, *call.args, **call.kwargs)
            interrupt.disarm()
            if type(result) is GeneratorType:
                return self._stream(frame.request_id, result, interrupt, wire)
            if hasattr(result, "__anext__"):
                return self._stream(frame.request_id, self._steps(result, interrupt), interrupt, wire)
            if hasattr(result, "__await__"):
                result = self._run(result, interrupt)
            return _response(frame, result)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            # Whatever an action raises is its caller's to know; the process and its state go on.
            interrupt.disarm()
            if self._slot is not None:
                self._slot.add(ERRORS)
            raise _describe(error, call.app_path, call.action) from error
        finally:
            if self._slot is not None:
                self._slot.table.end(entry)

    def _note(self, call: protocol.Call) -> int:
        """Put the call into shared memory, where the arbiter finds it should this process die of it."""
        if self._slot is None:
            return -1
        self._slot.add(REQUESTS)
        return self._slot.table.begin(call.action[:16], call.app_path.encode("utf-8", "replace")[:160])

    # Streams

    def _stream(self, request_id: int, items: Iterator[Any], interrupt: Interrupt, wire: Wire) -> bytes:
        try:
            interrupt.arm()
            for item in items:
                interrupt.disarm()
                wire.send(protocol.chunk(request_id, item))
                interrupt.arm()
        finally:
            interrupt.disarm()
            items.close()  # type: ignore[attr-defined]  # generators, ours included, all have it
        return pack(Kind.END, request_id)

    def _steps(self, items: Any, interrupt: Interrupt) -> Iterator[Any]:
        """An asynchronous generator, one step at a time on this thread's loop."""
        try:
            while True:
                try:
                    yield self._run(items.__anext__(), interrupt)
                except StopAsyncIteration:
                    return
        finally:
            interrupt.begin(0)  # what a cancelled generator does in its ``finally`` is not cancelled again
            self._run(items.aclose(), interrupt)

    def _run(self, awaitable: Any, interrupt: Interrupt) -> Any:
        import asyncio  # only in a process whose classes have coroutines

        interrupt.disarm()
        if interrupt.is_cancelled:
            if hasattr(awaitable, "close"):
                awaitable.close()
            raise TaskCancelled
        if self._loop is None:
            # One loop for the life of the thread: clients and sessions that an action keeps belong to it.
            self._loop = asyncio.new_event_loop()
        task = self._loop.create_task(_await(awaitable))
        interrupt.watch_task(self._loop, task)
        try:
            if interrupt.is_cancelled:
                task.cancel()
            return self._loop.run_until_complete(task)
        except asyncio.CancelledError:
            raise TaskCancelled from None
        finally:
            interrupt.watch_task(None, None)

    def _close_loop(self) -> None:
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


def _response(frame: Frame, result: Any) -> bytes | list[bytes]:
    """A whole frame; of a large one only its header, if its request came in a file that can take it."""
    parts = protocol.response_parts(result)
    size = sum(map(len, parts))
    if size >= handing.LARGE and frame.handed is not None:
        head = header(Kind.RESPONSE | HANDED, frame.request_id, size)
        with contextlib.suppress(OSError):
            frame.handed.write(parts, size)
            return head
    parts.insert(0, header(Kind.RESPONSE, frame.request_id, size))
    return parts if size >= handing.LARGE else b"".join(parts)


async def _await(awaitable: Any) -> Any:
    return await awaitable


def _describe(error: BaseException, app_path: str, action: str) -> DirtyError:
    """What the caller is told of an exception of the application."""
    if isinstance(error, DirtyAppNotFoundError) and error.__traceback__ is None:
        return error
    text = "".join(traceback.format_exception(error))[-_MAX_TRACEBACK:]
    described = DirtyAppError(str(error), app_path or None, action or None, text)
    described.remote_type = type(error).__name__
    return described
