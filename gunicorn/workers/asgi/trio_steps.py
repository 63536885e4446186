"""Running an application's coroutine step by step inside the task of its connection.

No task for each request: most applications answer without waiting for anything, and then neither a task nor a
reader beside it is needed. Whoever must know that the application does wait is told at its first suspension.
"""

from __future__ import annotations

from types import coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextvars import Context

__all__ = ["stepwise"]


@coroutine
def stepwise(awaitable: Any, context: Context, suspended: Callable[[], None]) -> Generator[Any, Any, None]:
    """Await ``awaitable``.

    Args:
        context: Each step runs in it: what an application sets must not be seen by the next request of the
            connection, which behind a proxy is somebody else's.
        suspended: Called before each suspension.
    """
    steps = awaitable if hasattr(awaitable, "send") else awaitable.__await__()
    run = context.run
    try:
        trap = run(steps.send, None)
        while True:
            suspended()
            try:
                value = yield trap
            except BaseException as error:  # noqa: BLE001 - handed to the application, as await would
                trap = run(steps.throw, error)
            else:
                trap = run(steps.send, value)
    except StopIteration:
        return
