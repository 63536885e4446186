"""The caller's side of a lease: calls that go straight to a worker, and when it is worth asking for that."""

from __future__ import annotations

import contextlib
import os
import socket
import time

from gunicorn.dirty import protocol
from gunicorn.dirty.connection import Connection, Message, can_hand, capabilities
from gunicorn.dirty.errors import DirtyConnectionError, DirtyError, DirtyTimeoutError, DirtyWorkerError
from gunicorn.dirty.frames import Frame, Kind

__all__ = ["Habit", "Line", "Lines"]

#: For what a call does not depend on, the arbiter has so long, seconds: it adds to the time of a call.
WAIT = 0.2
#: For the reason why a line has ended, when the call has no deadline, seconds.
REASON_WAIT = 10.0
#: A line is asked for after so many calls in a row to one class...
CALLS = 8
#: ...that took no longer than this on average, seconds: for slow work a shorter way is no gain.
QUICK = 0.005
#: After a refusal it takes twice as many calls, up to these.
MOST = 1024

#: So long a caller looks for its answer before it sleeps, seconds. For an idle CPU to go to sleep and wake up
#: takes longer than a short call does: 100 us instead of 45 us in all. A busy one is left to the worker.
EAGER = 50e-6
#: After so many answers in a row that took longer, a caller sleeps at once.
VAIN = 8


class Habit:
    """How a client calls. Pure."""

    def __init__(self) -> None:
        self._path = ""
        self._count = 0
        self._since = 0.0
        self._wanted = CALLS

    def called(self, path: str, now: float) -> bool:
        """A call begins: whether it is time to ask for a line."""
        if path != self._path or not self._count:
            self._path, self._count, self._since = path, 1, now
            return False
        self._count += 1
        if self._count <= self._wanted:
            return False
        is_quick = now - self._since < QUICK * self._count
        self._count = 0
        return is_quick

    def answered(self, *, granted: bool) -> None:
        """What became of it."""
        self._wanted = CALLS if granted else min(2 * self._wanted, MOST)


class Line(Connection):
    """A connection to one worker.

    A message that cannot be sent was not read, as on every connection. But why an answer does not come is the
    arbiter's to say, on the connection on which the line was asked for.

    Args:
        arbiter: That connection, on which nothing else is said meanwhile.
        lease_id: The number of the request for the line.
        app_path: The class that it is for.
    """

    slack = 0.0

    def __init__(self, sock: socket.socket, arbiter: Connection, lease_id: int, app_path: str) -> None:
        self._adopt(sock, arbiter.path, None)
        self.app_path = app_path
        self._arbiter = arbiter
        self._lease_id = lease_id
        self._in_vain = 0

    def receive(self, request_id: int, timeout: float | None) -> Frame:
        """As ``Connection.receive``.

        Raises:
            DirtyError: what the arbiter gives as the reason.
        """
        started = time.monotonic()
        try:
            return super().receive(request_id, timeout)
        except DirtyTimeoutError:
            # What runs there is this call, and nothing comes behind it.
            with contextlib.suppress(DirtyError):
                self._arbiter.send(Message.of(Kind.CANCEL, self._lease_id, []), WAIT)
            raise DirtyTimeoutError(f"{self.app_path} did not answer in time", timeout=timeout) from None
        except DirtyConnectionError:
            left = REASON_WAIT if timeout is None else max(started + timeout - time.monotonic(), 0.0) + WAIT
            protocol.result_of(self._arbiter.receive(self._lease_id, left))
            raise DirtyWorkerError(f"The worker left a call to {self.app_path} unanswered") from None

    def _fill(self) -> int:
        # Without a timeout the socket blocks, so there is nothing to gain.
        if self._in_vain < VAIN and self._timeout is not None:
            decoder, end = self._decoder, time.monotonic() + EAGER
            fd, buffers = self._sock.fileno(), [decoder.space()]
            while time.monotonic() < end:
                try:
                    count = os.readv(fd, buffers)
                except BlockingIOError:
                    os.sched_yield()
                else:
                    self._in_vain = 0
                    decoder.wrote(count)
                    return count
            self._in_vain += 1
        return super()._fill()

    def give_back(self) -> Connection | None:
        """End it, while no call is at work: the connection to the arbiter, if that is still good."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        super().close()
        try:
            self._arbiter.receive(self._lease_id, WAIT)
        except DirtyError:
            self._arbiter.close()
            return None
        return self._arbiter

    def close(self) -> None:
        super().close()
        self._arbiter.close()


class Lines:
    """A client's line: one at most, which belongs to the call that has taken it.

    Args:
        path: Of the pool's socket.
        idle: The client's connections that no call uses.
    """

    def __init__(self, path: str, idle: list[Connection]) -> None:
        self._path = path
        self._idle = idle
        self._habit = Habit()
        self._lines: list[Line] = []

    def send(self, app_path: str, message: Message, timeout: float | None, *, is_large: bool) -> Line | None:
        """The line on which ``message`` was sent; None when there is none.

        Raises:
            DirtyTimeoutError: it was not taken in time.
        """
        line = self._take(app_path, message.request_id)
        if line is None:
            return None
        try:
            line.send(message, timeout, in_file=is_large or line.wants_file)
        except DirtyConnectionError:
            self.keep(line)
            self.give_back()
            return None
        except BaseException:
            line.close()
            raise
        return line

    def keep(self, line: Line) -> None:
        """Its call has been answered."""
        self._lines.append(line)

    def give_back(self) -> None:
        """Do without: what comes now needs the arbiter, and a worker."""
        while self._lines:
            connection = self._lines.pop().give_back()
            if connection is not None:
                self._idle.append(connection)

    def close(self) -> None:
        while self._lines:
            self._lines.pop().close()

    def _take(self, app_path: str, request_id: int) -> Line | None:
        if self._lines:
            line = self._lines.pop()
            if line.app_path == app_path:
                return line
            self.keep(line)
            self.give_back()
        if not self._habit.called(app_path, time.monotonic()):
            return None
        new = self._ask(app_path, request_id)
        self._habit.answered(granted=new is not None)
        return new

    def _ask(self, app_path: str, request_id: int) -> Line | None:
        try:
            if not can_hand() or "lease" not in capabilities(self._path, WAIT):
                return None
            connection = self._idle.pop() if self._idle else Connection(self._path, WAIT)
        except DirtyError:
            return None
        try:
            sock = connection.ask_for_line(app_path, request_id, WAIT)
        except BaseException as error:
            connection.close()
            if isinstance(error, DirtyError):
                return None
            raise
        if sock is None:
            self._idle.append(connection)
            return None
        return Line(sock, connection, request_id, app_path)
