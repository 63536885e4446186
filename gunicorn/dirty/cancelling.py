"""How a call at work is interrupted, in a process whose threads are each busy with one call.

The main thread is interrupted by a signal, which also ends a blocking system call (``time.sleep``, a socket);
the handler raises there. Another thread gets an exception between two of its bytecodes, which is all that
CPython offers; it does not end a blocking call, and the arbiter then ends the process after a grace.
"""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["Interrupt", "TaskCancelled"]


class TaskCancelled(BaseException):
    """The call was cancelled: by its deadline, or by its caller.

    A ``BaseException``, so that ``except Exception`` in an action does not swallow it. ``finally`` and
    ``with`` work as ever; an action must let it pass.
    """


class Interrupt:
    """The right to interrupt one thread, which holds only while it runs the code of an action.

    Bytes of a half-sent message are never interrupted: outside of ``armed`` a cancellation is only noted.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread = threading.get_ident()
        self._is_main = threading.current_thread() is threading.main_thread()
        self._raised = False
        self._is_armed = False
        self._loop: Any = None
        self._task: Any = None
        self.request_id = 0
        self.is_cancelled = False

    def begin(self, request_id: int) -> None:
        """This thread works on ``request_id`` from now on; 0 is nothing."""
        self.request_id = request_id
        self.is_cancelled = False

    def arm(self) -> None:
        """Code of the action follows."""
        self._is_armed = True
        if self.is_cancelled:
            self._is_armed = False
            raise TaskCancelled

    def disarm(self) -> None:
        """Our own code follows."""
        self._is_armed = False
        if self._raised:
            with self._lock:
                _set_exception(self._thread, None)
                self._raised = False

    def watch_task(self, loop: Any, task: Any) -> None:
        """A coroutine follows: it is cancelled as asyncio does it. None for both: it is over."""
        self._loop, self._task = loop, task

    def cancel(self, request_id: int) -> None:
        """Interrupt the thread if it works on ``request_id``. Called in the main thread, by a signal handler.

        Raises:
            TaskCancelled: the main thread itself is the one.
        """
        if request_id != self.request_id or self.is_cancelled:
            return
        self.is_cancelled = True
        task = self._task
        if task is not None:
            self._loop.call_soon_threadsafe(task.cancel)
        elif self._is_armed and self._is_main:
            self._is_armed = False
            raise TaskCancelled
        elif self._is_armed:
            with self._lock:
                self._raised = True
                _set_exception(self._thread, TaskCancelled)


def _set_exception(thread: int, exception: type[BaseException] | None) -> None:
    import ctypes  # only when a call in a second thread is cancelled

    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(exception) if exception is not None else None
    )
