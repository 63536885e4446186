"""The stash from synchronous code: its operations, and one table as a dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.dirty.calling import DEFAULT_TIMEOUT, DirtyClient
from gunicorn.dirty.client import get_dirty_client
from gunicorn.dirty.errors import StashKeyNotFoundError, StashTableNotFoundError
from gunicorn.dirty.protocol import StashOp

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ABSENT", "StashClient", "StashTable", "comparison", "message", "thread_client"]


class Absent:
    """The type of ``ABSENT``."""

    def __repr__(self) -> str:
        return "ABSENT"


#: For ``compare_and_set``: the key must not exist.
ABSENT = Absent()


def message(operation: StashOp, table: str, **more: Any) -> dict[str, Any]:
    """A stash message; what is None does not travel, which means the same."""
    given = {name: value for name, value in more.items() if value is not None}
    return {"op": int(operation), "table": table, **given}


def comparison(table: str, key: Any, expected: Any, value: Any, ttl: float | None) -> dict[str, Any]:
    """The message of ``compare_and_set``."""
    fields = message(StashOp.COMPARE_AND_SET, table, key=key, value=value, ttl=ttl)
    return fields if isinstance(expected, Absent) else {**fields, "expected": expected}


class StashClient:
    """The stash behind one client.

    Args:
        socket_path: As for ``DirtyClient``.
        timeout: Seconds for one operation.
        client: Use this client instead.
    """

    def __init__(
        self,
        socket_path: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        *,
        client: DirtyClient | None = None,
    ) -> None:
        self._client = DirtyClient(socket_path, timeout) if client is None else client

    def put(self, table: str, key: Any, value: Any, *, ttl: float | None = None) -> bool:
        """Store a value, for ``ttl`` seconds or for ever; makes the table."""
        done: bool = self._client.stash(message(StashOp.PUT, table, key=key, value=value, ttl=ttl))
        return done

    def get(self, table: str, key: Any, default: Any = None) -> Any:
        """The value, or ``default`` when there is no such key or table."""
        try:
            return self.fetch(table, key)
        except StashKeyNotFoundError:
            return default

    def fetch(self, table: str, key: Any) -> Any:
        """The value.

        Raises:
            StashKeyNotFoundError: there is no such key or table.
        """
        return self._client.stash(message(StashOp.GET, table, key=key))

    def delete(self, table: str, key: Any) -> bool:
        """Remove a key; whether it was there."""
        done: bool = self._client.stash(message(StashOp.DELETE, table, key=key))
        return done

    def keys(self, table: str, pattern: str | None = None) -> list[Any]:
        """The keys, or those whose text matches a shell pattern (``user:*``)."""
        found: list[Any] = self._client.stash(message(StashOp.KEYS, table, pattern=pattern))
        return found

    def items(self, table: str) -> list[tuple[Any, Any]]:
        """All keys with their values, as they are at one moment."""
        return [(key, value) for key, value in self._client.stash(message(StashOp.ITEMS, table))]

    def clear(self, table: str) -> bool:
        """Remove all keys; the table stays."""
        done: bool = self._client.stash(message(StashOp.CLEAR, table))
        return done

    def info(self, table: str) -> dict[str, Any]:
        """``size`` and ``table`` (its name).

        Raises:
            StashTableNotFoundError: there is no such table.
        """
        found: dict[str, Any] = self._client.stash(message(StashOp.INFO, table))
        return found

    def ensure(self, table: str) -> bool:
        """Make the table if it is not there."""
        done: bool = self._client.stash(message(StashOp.ENSURE, table))
        return done

    def exists(self, table: str, key: Any = None) -> bool:
        """Whether there is the table, or the key in it."""
        found: bool = self._client.stash(message(StashOp.EXISTS, table, key=key))
        return found

    def delete_table(self, table: str) -> None:
        """Remove a table with all that is in it."""
        self._client.stash(message(StashOp.DELETE_TABLE, table))

    def tables(self) -> list[str]:
        """The names of all tables."""
        names: list[str] = self._client.stash(message(StashOp.TABLES, ""))
        return names

    def incr(self, table: str, key: Any, amount: float = 1, *, ttl: float | None = None) -> int | float:
        """Add to a number, which begins at 0, and return it. ``ttl`` applies when the key is new.

        Raises:
            StashError: the value is not a number.
        """
        number: int | float = self._client.stash(
            message(StashOp.INCR, table, key=key, amount=amount, ttl=ttl)
        )
        return number

    def compare_and_set(
        self, table: str, key: Any, expected: Any, value: Any, *, ttl: float | None = None
    ) -> bool:
        """Store ``value`` if the present one is ``expected`` (``ABSENT``: none); whether it was."""
        done: bool = self._client.stash(comparison(table, key, expected, value, ttl))
        return done

    def expire(self, table: str, key: Any, ttl: float | None) -> bool:
        """Give a key that is there ``ttl`` seconds from now, or for ever (None); whether it is there."""
        done: bool = self._client.stash(message(StashOp.EXPIRE, table, key=key, ttl=ttl))
        return done

    def ttl(self, table: str, key: Any) -> float | None:
        """Seconds that the key has left; None is for ever.

        Raises:
            StashKeyNotFoundError: there is no such key.
        """
        left: float | None = self._client.stash(message(StashOp.TTL, table, key=key))
        return left

    def table(self, name: str) -> StashTable:
        """The table as a dictionary."""
        return StashTable(name, self)


class StashTable:
    """One table as a dictionary. Each access is a message, and others change the table meanwhile.

    Attributes:
        name: Its name.
    """

    def __init__(self, name: str, client: StashClient | None = None) -> None:
        self.name = name
        self._own = client

    @property
    def _client(self) -> StashClient:
        # Looked up at each use: a table that a module makes once is used by all threads.
        return self._own or thread_client()

    def __getitem__(self, key: Any) -> Any:
        return self._client.fetch(self.name, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._client.put(self.name, key, value)

    def __delitem__(self, key: Any) -> None:
        if not self._client.delete(self.name, key):
            raise StashKeyNotFoundError(self.name, key)

    def __contains__(self, key: Any) -> bool:
        return self._client.exists(self.name, key)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._client.keys(self.name))

    def __len__(self) -> int:
        try:
            size: int = self._client.info(self.name)["size"]
        except StashTableNotFoundError:
            return 0
        return size

    def get(self, key: Any, default: Any = None) -> Any:
        """The value, or ``default``."""
        return self._client.get(self.name, key, default)

    def keys(self, pattern: str | None = None) -> list[Any]:
        """The keys, or those that match a shell pattern."""
        return self._client.keys(self.name, pattern)

    def items(self) -> list[tuple[Any, Any]]:
        """All keys with their values."""
        return self._client.items(self.name)

    def values(self) -> list[Any]:
        """All values."""
        return [value for _, value in self.items()]

    def clear(self) -> None:
        """Remove all keys."""
        self._client.clear(self.name)

    def __repr__(self) -> str:
        return f"<StashTable {self.name!r}>"


def thread_client() -> StashClient:
    """The stash behind the calling thread's client."""
    return StashClient(client=get_dirty_client())
