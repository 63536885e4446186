"""The stash from asyncio and trio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.dirty.errors import StashKeyNotFoundError
from gunicorn.dirty.protocol import StashOp
from gunicorn.dirty.stash_client import comparison, message

if TYPE_CHECKING:
    from gunicorn.dirty.calling import DirtyClient

__all__ = ["AsyncStash"]


class AsyncStash:
    """The same operations, to be awaited: ``stash = await use_async(); await stash.put(…)``."""

    def __init__(self, client: DirtyClient) -> None:
        self._client = client

    async def put(self, table: str, key: Any, value: Any, *, ttl: float | None = None) -> bool:
        """Store a value, for ``ttl`` seconds or for ever; makes the table."""
        done: bool = await self._client.stash_async(
            message(StashOp.PUT, table, key=key, value=value, ttl=ttl)
        )
        return done

    async def get(self, table: str, key: Any, default: Any = None) -> Any:
        """The value, or ``default`` when there is no such key or table."""
        try:
            return await self._client.stash_async(message(StashOp.GET, table, key=key))
        except StashKeyNotFoundError:
            return default

    async def delete(self, table: str, key: Any) -> bool:
        """Remove a key; whether it was there."""
        done: bool = await self._client.stash_async(message(StashOp.DELETE, table, key=key))
        return done

    async def keys(self, table: str, pattern: str | None = None) -> list[Any]:
        """The keys, or those whose text matches a shell pattern."""
        found: list[Any] = await self._client.stash_async(message(StashOp.KEYS, table, pattern=pattern))
        return found

    async def items(self, table: str) -> list[tuple[Any, Any]]:
        """All keys with their values, as they are at one moment."""
        found = await self._client.stash_async(message(StashOp.ITEMS, table))
        return [(key, value) for key, value in found]

    async def clear(self, table: str) -> bool:
        """Remove all keys; the table stays."""
        done: bool = await self._client.stash_async(message(StashOp.CLEAR, table))
        return done

    async def info(self, table: str) -> dict[str, Any]:
        """``size`` and ``table`` (its name).

        Raises:
            StashTableNotFoundError: there is no such table.
        """
        found: dict[str, Any] = await self._client.stash_async(message(StashOp.INFO, table))
        return found

    async def ensure(self, table: str) -> bool:
        """Make the table if it is not there."""
        done: bool = await self._client.stash_async(message(StashOp.ENSURE, table))
        return done

    async def exists(self, table: str, key: Any = None) -> bool:
        """Whether there is the table, or the key in it."""
        found: bool = await self._client.stash_async(message(StashOp.EXISTS, table, key=key))
        return found

    async def delete_table(self, table: str) -> None:
        """Remove a table with all that is in it."""
        await self._client.stash_async(message(StashOp.DELETE_TABLE, table))

    async def tables(self) -> list[str]:
        """The names of all tables."""
        names: list[str] = await self._client.stash_async(message(StashOp.TABLES, ""))
        return names

    async def incr(self, table: str, key: Any, amount: float = 1, *, ttl: float | None = None) -> int | float:
        """Add to a number, which begins at 0, and return it.

        Raises:
            StashError: the value is not a number.
        """
        fields = message(StashOp.INCR, table, key=key, amount=amount, ttl=ttl)
        number: int | float = await self._client.stash_async(fields)
        return number

    async def compare_and_set(
        self, table: str, key: Any, expected: Any, value: Any, *, ttl: float | None = None
    ) -> bool:
        """Store ``value`` if the present one is ``expected``; whether it was."""
        done: bool = await self._client.stash_async(comparison(table, key, expected, value, ttl))
        return done

    async def expire(self, table: str, key: Any, ttl: float | None) -> bool:
        """Give a key that is there ``ttl`` seconds from now, or for ever (None); whether it is there."""
        done: bool = await self._client.stash_async(message(StashOp.EXPIRE, table, key=key, ttl=ttl))
        return done

    async def ttl(self, table: str, key: Any) -> float | None:
        """Seconds that the key has left; None is for ever.

        Raises:
            StashKeyNotFoundError: there is no such key.
        """
        left: float | None = await self._client.stash_async(message(StashOp.TTL, table, key=key))
        return left
