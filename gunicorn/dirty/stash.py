"""The stash: tables of shared state in the dirty arbiter, for HTTP workers and workers of the pool.

The functions here use the calling thread's client; ``StashClient`` may have one of its own, and ``use_async``
gives the same operations to be awaited. Each operation is atomic. The tables are gone when the dirty arbiter
dies.
"""

from __future__ import annotations

from typing import Any

from gunicorn.dirty.client import get_dirty_client_async
from gunicorn.dirty.errors import StashError, StashKeyNotFoundError, StashTableNotFoundError
from gunicorn.dirty.stash_async import AsyncStash
from gunicorn.dirty.stash_client import ABSENT, StashClient, StashTable, thread_client

__all__ = [
    "ABSENT", "AsyncStash", "StashClient", "StashError", "StashKeyNotFoundError", "StashTable",
    "StashTableNotFoundError", "clear", "compare_and_set", "delete", "delete_table", "ensure", "exists",
    "expire", "get", "incr", "info", "keys", "put", "table", "tables", "ttl", "use_async",
]  # fmt: skip


async def use_async() -> AsyncStash:
    """The stash for this event loop."""
    return AsyncStash(await get_dirty_client_async())


def put(table: str, key: Any, value: Any, *, ttl: float | None = None) -> bool:
    """``StashClient.put`` with this thread's client."""
    return thread_client().put(table, key, value, ttl=ttl)


def get(table: str, key: Any, default: Any = None) -> Any:
    """``StashClient.get`` with this thread's client."""
    return thread_client().get(table, key, default)


def delete(table: str, key: Any) -> bool:
    """``StashClient.delete`` with this thread's client."""
    return thread_client().delete(table, key)


def keys(table: str, pattern: str | None = None) -> list[Any]:
    """``StashClient.keys`` with this thread's client."""
    return thread_client().keys(table, pattern)


def clear(table: str) -> bool:
    """``StashClient.clear`` with this thread's client."""
    return thread_client().clear(table)


def info(table: str) -> dict[str, Any]:
    """``StashClient.info`` with this thread's client."""
    return thread_client().info(table)


def ensure(table: str) -> bool:
    """``StashClient.ensure`` with this thread's client."""
    return thread_client().ensure(table)


def exists(table: str, key: Any = None) -> bool:
    """``StashClient.exists`` with this thread's client."""
    return thread_client().exists(table, key)


def delete_table(table: str) -> None:
    """``StashClient.delete_table`` with this thread's client."""
    thread_client().delete_table(table)


def tables() -> list[str]:
    """``StashClient.tables`` with this thread's client."""
    return thread_client().tables()


def incr(table: str, key: Any, amount: float = 1, *, ttl: float | None = None) -> int | float:
    """``StashClient.incr`` with this thread's client."""
    return thread_client().incr(table, key, amount, ttl=ttl)


def compare_and_set(table: str, key: Any, expected: Any, value: Any, *, ttl: float | None = None) -> bool:
    """``StashClient.compare_and_set`` with this thread's client."""
    return thread_client().compare_and_set(table, key, expected, value, ttl=ttl)


def expire(table: str, key: Any, ttl: float | None) -> bool:
    """``StashClient.expire`` with this thread's client."""
    return thread_client().expire(table, key, ttl)


def ttl(table: str, key: Any) -> float | None:
    """``StashClient.ttl`` with this thread's client."""
    return thread_client().ttl(table, key)


def table(name: str) -> StashTable:
    """The table as a dictionary, for all threads."""
    return StashTable(name)
