"""Every call that the dirty arbiter has: running, queued, or waiting for the first worker to take it."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from typing import TYPE_CHECKING

import trio

from gunicorn.dirty import protocol
from gunicorn.dirty.errors import (
    DirtyAppNotFoundError,
    DirtyError,
    DirtyNoWorkersAvailableError,
    DirtyQueueFullError,
    DirtyTimeoutError,
)
from gunicorn.dirty.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gunicorn.dirty.calls import Call
    from gunicorn.dirty.crews import Crew

__all__ = ["Dispatcher"]


class Dispatcher:
    """Gives calls to crews, and keeps the deadlines of those that wait.

    Attributes:
        paths: The configured classes.
        queue_limit: Calls that may wait for one worker, and for each class that no worker has yet.
        failure: Why there may be no worker for long, or None when one is expected.
        is_draining: No new calls.
    """

    def __init__(self, paths: Iterable[str], queue_limit: int) -> None:
        self.paths = frozenset(paths)
        self.queue_limit = queue_limit
        self.failure: str | None = None
        self.is_draining = False
        self.pool: Pool[Call] = Pool()
        self.crews: dict[int, Crew] = {}
        self._waiting: dict[str, deque[Call]] = {}
        self._alarms: list[tuple[float, int, Call]] = []
        self._order = itertools.count()
        self._scope = trio.CancelScope()
        self._became_idle: trio.Event | None = None
        self._nursery: trio.Nursery

    @property
    def is_idle(self) -> bool:
        """No call is running, queued or waiting."""
        return not any(self._waiting.values()) and not any(crew.is_busy for crew in self.crews.values())

    async def drain(self) -> None:
        """Take no new calls; wait for the end of those that are there."""
        self.is_draining = True
        self._became_idle = trio.Event()
        for crew in self.crews.values():
            crew.recall()
        self.look_whether_idle()
        await self._became_idle.wait()

    def look_whether_idle(self) -> None:
        """A call has ended. While nobody waits for the last one this costs a comparison."""
        if self._became_idle is not None and self.is_idle:
            self._became_idle.set()

    # --- calls ---

    def submit(self, call: Call) -> None:
        """Run the call, or queue it.

        Raises:
            DirtyError: it is refused, and why.
        """
        if self.is_draining:
            raise DirtyNoWorkersAvailableError(call.app_path, "The server is stopping")
        if self.pool.serves(call.app_path):
            self.crews[self.pool.choose(call.app_path).age].take(call)
        else:
            self._wait(call)
        if call.link is None and call.deadline != math.inf:
            self._set_alarm(call)

    def lend(self, call: Call) -> bool:
        """Begin the lease that ``call`` is, if a worker can be spared."""
        if self.is_draining or not self.pool.serves(call.app_path):
            return False
        try:
            return self.crews[self.pool.choose(call.app_path).age].lend(call)
        except DirtyQueueFullError:
            return False

    def abandon(self, call: Call, *, cancel: bool) -> None:
        """The caller is gone, or does not want the answer. ``cancel``: a call at work is interrupted."""
        if call.is_done:
            return
        call.is_done = True
        if call.link is None:
            self._unqueue(call)
        elif cancel or call.is_streaming:
            call.link.cancel()
        else:
            call.link.forget()
        self.look_whether_idle()

    def _wait(self, call: Call) -> None:
        if call.app_path not in self.paths:
            raise DirtyAppNotFoundError(call.app_path)
        if self.failure is not None:
            text = f"No worker available for {call.app_path}: {self.failure}"
            raise DirtyNoWorkersAvailableError(call.app_path, text)
        waiting = self._waiting.setdefault(call.app_path, deque())
        if len(waiting) >= self.queue_limit:
            raise DirtyQueueFullError(call.app_path)
        waiting.append(call)

    def _unqueue(self, call: Call) -> None:
        queue = call.lane.queue if call.lane is not None else self._waiting.get(call.app_path, deque())
        if call in queue:
            queue.remove(call)

    def _refuse(self, call: Call, error: DirtyError) -> None:
        """Answer a call that waits with an error. A caller that does not read must hold nobody up."""
        if not call.is_done:
            self._nursery.start_soon(self._answer, call, protocol.error(call.request_id, error))
            call.finish()
            self.look_whether_idle()

    async def _answer(self, call: Call, data: bytes) -> None:
        pending = call.caller.write([data])
        if pending is not None:
            with trio.move_on_after(10.0):
                await pending
                return
            call.caller.drop()

    # --- workers ---

    def ready(self, crew: Crew) -> None:
        """The worker serves."""
        self.failure = None
        self.crews[crew.lane.age] = crew
        self.pool.add(crew.lane)
        for path in sorted(crew.lane.apps):
            self._flush(path)

    def holds(self, crew: Crew, path: str) -> None:
        """The worker has loaded one more class."""
        self.pool.hold(crew.lane, path)
        if crew.lane.age in self.crews:
            self._flush(path)

    def retire(self, age: int) -> None:
        """The worker takes no more calls. Those that it had not begun go elsewhere."""
        crew = self.crews.get(age)
        queued = self.pool.remove(age)
        if crew is not None:
            crew.leave()
        self._resubmit(queued)

    def gone(self, age: int) -> None:
        """The worker has ended."""
        self.retire(age)
        crew = self.crews.pop(age, None)
        if crew is not None:
            crew.close()

    def fail(self, reason: str) -> None:
        """Workers keep failing: who waits for one must not wait for ever."""
        self.failure = reason
        for path, waiting in self._waiting.items():
            if not self.pool.serves(path):
                while waiting:
                    text = f"No worker available for {path}: {reason}"
                    self._refuse(waiting.popleft(), DirtyNoWorkersAvailableError(path, text))

    def _flush(self, path: str) -> None:
        waiting = self._waiting.pop(path, None)
        if waiting:
            self._resubmit(waiting)

    def _resubmit(self, calls: Iterable[Call]) -> None:
        for call in calls:
            call.lane = None
            if call.is_done:
                continue
            try:
                if self.pool.serves(call.app_path):
                    self.crews[self.pool.choose(call.app_path).age].take(call)
                else:
                    self._wait(call)
            except DirtyError as error:
                self._refuse(call, error)

    # --- deadlines of calls that wait ---

    def _set_alarm(self, call: Call) -> None:
        heapq.heappush(self._alarms, (call.deadline, next(self._order), call))
        if self._alarms[0][2] is call:
            self._scope.deadline = call.deadline

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer calls whose deadline passes before they are begun."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            while True:
                with trio.CancelScope(deadline=self._next_alarm()) as self._scope:
                    await trio.sleep_forever()
                self._ring(trio.current_time())

    def _next_alarm(self) -> float:
        while self._alarms and (self._alarms[0][2].is_done or self._alarms[0][2].link is not None):
            heapq.heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else math.inf

    def _ring(self, now: float) -> None:
        while self._alarms and self._alarms[0][0] <= now:
            call = heapq.heappop(self._alarms)[2]
            if call.link is None and not call.is_done:
                self._unqueue(call)
                text = f"No worker for {call.app_path} was free in time"
                self._refuse(call, DirtyTimeoutError(text, timeout=call.budget))
