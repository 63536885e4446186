"""The base class of what runs in the pool."""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = ["DirtyApp"]


class DirtyApp:
    """A stateful object that lives in processes of the pool, one instance in each.

    ``init`` is where models, connections and caches are made; every method whose name does not start with an
    underscore is an action. An action may be a function, a coroutine function, a generator function or an
    asynchronous generator function; the last two stream what they yield. Any class with callable ``init``,
    ``__call__`` and ``close`` does as well, without this base.
    """

    #: At most so many processes load this class; None is all of them. ``module:Class:N`` overrides it.
    workers: ClassVar[int | None] = None

    def init(self) -> None:
        """Called once in each process, before it takes calls. What it raises ends the process."""

    def __call__(self, action: str, *args: Any, **kwargs: Any) -> Any:
        """Run ``action``.

        Raises:
            ValueError: there is no such action.
        """
        method = None if action.startswith("_") else getattr(self, action, None)
        if not callable(method) or action in _NO_ACTIONS:
            raise ValueError(f"Unknown action: {action}")
        return method(*args, **kwargs)

    def close(self) -> None:
        """Called when the process leaves in good order."""


#: Part of the life of an instance; a caller must not be able to end it.
_NO_ACTIONS = frozenset({"init", "close"})
