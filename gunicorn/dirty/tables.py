"""The stash itself: tables of keys and values in the dirty arbiter. Pure; the clock is an argument."""

from __future__ import annotations

import heapq
import itertools
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from gunicorn.dirty.errors import DirtyError, StashError, StashKeyNotFoundError, StashTableNotFoundError
from gunicorn.dirty.protocol import StashOp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Tables"]

_NEVER = float("inf")
_INT64 = 2**63


class _Entry:
    __slots__ = ("expires", "value")

    def __init__(self, value: Any, expires: float) -> None:
        self.value = value
        self.expires = expires


class Tables:
    """All tables. Each operation is atomic, because one task applies them one after the other."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[Any, _Entry]] = {}
        self._expiries: list[tuple[float, int, str, Any]] = []
        self._order = itertools.count()

    def apply(self, fields: Mapping[str, Any], now: float) -> Any:
        """Carry out the operation that a stash message asks for.

        Args:
            fields: ``op``, ``table``, and what the operation needs of ``key``, ``value``, ``pattern``,
                ``amount``, ``expected``, ``ttl`` (seconds).
            now: The time, in seconds of any clock that only goes forward.

        Raises:
            StashKeyNotFoundError, StashTableNotFoundError: as their names say.
            DirtyError: an operation, or an operand, that does not exist.
        """
        operation = _OPERATIONS.get(fields.get("op"))  # type: ignore[arg-type]  # whatever arrived
        if operation is None:
            raise DirtyError(f"Unknown stash operation: {fields.get('op')}")
        table = fields.get("table") or ""
        if not isinstance(table, str):
            raise DirtyError("the name of a table must be a string")
        self._forget_expired(now)
        try:
            return operation(self, table, fields, now)
        except TypeError:
            raise DirtyError("a key must be a string, a number, a boolean, bytes or None") from None

    def _forget_expired(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            _, _, table, key = heapq.heappop(self._expiries)
            entry = self._tables.get(table, {}).get(key)
            # It may have been replaced since, or have got another time.
            if entry is not None and entry.expires <= now:
                del self._tables[table][key]

    def _entry(self, table: str, key: Any) -> _Entry:
        entry = self._tables.get(table, {}).get(key)
        if entry is None:
            raise StashKeyNotFoundError(table, key)
        return entry

    def _store(self, table: str, key: Any, value: Any, expires: float = _NEVER) -> None:
        self._tables.setdefault(table, {})[key] = _Entry(value, expires)
        if expires != _NEVER:
            heapq.heappush(self._expiries, (expires, next(self._order), table, key))

    def _put(self, table: str, fields: Mapping[str, Any], now: float) -> bool:
        self._store(table, fields.get("key"), fields.get("value"), _expiry(fields, now))
        return True

    def _get(self, table: str, fields: Mapping[str, Any], now: float) -> Any:
        return self._entry(table, fields.get("key")).value

    def _delete(self, table: str, fields: Mapping[str, Any], now: float) -> bool:
        return self._tables.get(table, {}).pop(fields.get("key"), None) is not None

    def _keys(self, table: str, fields: Mapping[str, Any], now: float) -> list[Any]:
        pattern = fields.get("pattern")
        keys = list(self._tables.get(table, ()))
        return keys if pattern is None else [key for key in keys if fnmatchcase(str(key), str(pattern))]

    def _items(self, table: str, fields: Mapping[str, Any], now: float) -> list[list[Any]]:
        return [[key, entry.value] for key, entry in self._tables.get(table, {}).items()]

    def _clear(self, table: str, fields: Mapping[str, Any], now: float) -> bool:
        self._tables.get(table, {}).clear()
        return True

    def _info(self, table: str, fields: Mapping[str, Any], now: float) -> dict[str, Any]:
        if table not in self._tables:
            raise StashTableNotFoundError(table)
        return {"size": len(self._tables[table]), "table": table}

    def _ensure(self, table: str, fields: Mapping[str, Any], now: float) -> bool:
        self._tables.setdefault(table, {})
        return True

    def _delete_table(self, table: str, fields: Mapping[str, Any], now: float) -> bool:
        return self._tables.pop(table, None) is not None

    def _list(self, table: str, fields: Mapping[str, Any], now: float) -> list[str]:
        return list(self._tables)

    def _exists(self, table: str, fields: Mapping[str, Any], now: float) -> bool:
        # A peer that means "the table" leaves the key out or sends null.
        if fields.get("key") is None:
            return table in self._tables
        return fields["key"] in self._tables.get(table, ())

    def _incr(self, table: str, fields: Mapping[str, Any], now: float) -> int | float:
        key, amount = fields.get("key"), fields.get("amount", 1)
        entry = self._tables.get(table, {}).get(key)
        before = 0 if entry is None else entry.value
        if not _is_number(before) or not _is_number(amount):
            raise StashError(f"{key!r} of {table!r} cannot be incremented: not a number")
        after: int | float = before + amount
        if isinstance(after, int) and not -_INT64 <= after < _INT64:
            raise StashError(f"{key!r} of {table!r} would leave the range of 64 bits")
        if entry is None:
            self._store(table, key, after, _expiry(fields, now))
        else:
            entry.value = after
        return after

    def _compare_and_set(self, table: str, fields: Mapping[str, Any], now: float) -> bool:
        entry = self._tables.get(table, {}).get(fields.get("key"))
        if entry is None or "expected" not in fields:
            matches = entry is None and "expected" not in fields
        else:
            matches = type(entry.value) is type(fields["expected"]) and entry.value == fields["expected"]
        if matches:
            self._put(table, fields, now)
        return matches

    def _expire(self, table: str, fields: Mapping[str, Any], now: float) -> bool:
        entry = self._tables.get(table, {}).get(fields.get("key"))
        if entry is not None:
            self._store(table, fields.get("key"), entry.value, _expiry(fields, now))
        return entry is not None

    def _ttl(self, table: str, fields: Mapping[str, Any], now: float) -> float | None:
        expires = self._entry(table, fields.get("key")).expires
        return None if expires == _NEVER else expires - now


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _expiry(fields: Mapping[str, Any], now: float) -> float:
    ttl = fields.get("ttl")
    if ttl is None:
        return _NEVER
    if not _is_number(ttl) or not ttl > 0:
        raise StashError(f"ttl must be a number of seconds above 0, not {ttl!r}")
    return now + float(ttl)


_OPERATIONS: dict[int, Callable[[Tables, str, Mapping[str, Any], float], Any]] = {
    StashOp.PUT: Tables._put, StashOp.GET: Tables._get, StashOp.DELETE: Tables._delete,
    StashOp.KEYS: Tables._keys, StashOp.CLEAR: Tables._clear, StashOp.INFO: Tables._info,
    StashOp.ENSURE: Tables._ensure, StashOp.DELETE_TABLE: Tables._delete_table, StashOp.TABLES: Tables._list,
    StashOp.EXISTS: Tables._exists, StashOp.INCR: Tables._incr,
    StashOp.COMPARE_AND_SET: Tables._compare_and_set, StashOp.EXPIRE: Tables._expire,
    StashOp.TTL: Tables._ttl, StashOp.ITEMS: Tables._items,
}  # fmt: skip
