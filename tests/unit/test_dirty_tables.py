"""The stash: every operation, and its rules for keys, expiry and concurrent counters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from gunicorn.dirty.errors import DirtyError, StashError, StashKeyNotFoundError, StashTableNotFoundError
from gunicorn.dirty.protocol import StashOp
from gunicorn.dirty.tables import Tables

KEYS = st.sampled_from(["a", "b", 5, "5", None, 1.5, b"x"])


@pytest.fixture
def tables() -> Tables:
    return Tables()


def do(tables: Tables, op: int, table: str = "t", now: float = 0.0, **fields: Any) -> Any:
    return tables.apply({"op": int(op), "table": table, **fields}, now)


def test_the_operations_as_agreed(tables: Tables) -> None:
    assert do(tables, StashOp.KEYS) == []
    assert do(tables, StashOp.CLEAR) is True
    assert do(tables, StashOp.DELETE, key="k") is False
    assert do(tables, StashOp.PUT, key="user:1", value={"error": "not one"}) is True
    assert do(tables, StashOp.PUT, key=5, value=None) is True
    assert do(tables, StashOp.GET, key="user:1") == {"error": "not one"}
    assert do(tables, StashOp.GET, key=5) is None
    assert do(tables, StashOp.KEYS, pattern="user:*") == ["user:1"]
    assert do(tables, StashOp.KEYS, pattern="5") == [5]
    assert do(tables, StashOp.INFO) == {"size": 2, "table": "t"}
    assert do(tables, StashOp.ENSURE, "other") is True
    assert do(tables, StashOp.TABLES, "") == ["t", "other"]
    assert do(tables, StashOp.EXISTS) is True
    assert do(tables, StashOp.EXISTS, "none") is False
    assert do(tables, StashOp.EXISTS, key=5) is True
    assert do(tables, StashOp.EXISTS, key="5") is False
    assert do(tables, StashOp.ITEMS) == [["user:1", {"error": "not one"}], [5, None]]
    assert do(tables, StashOp.DELETE, key=5) is True
    assert do(tables, StashOp.DELETE_TABLE) is True
    assert do(tables, StashOp.DELETE_TABLE) is False


def test_what_is_missing_has_its_own_error(tables: Tables) -> None:
    with pytest.raises(StashKeyNotFoundError, match="Key not found: k"):
        do(tables, StashOp.GET, key="k")
    with pytest.raises(StashTableNotFoundError, match="Table not found: t"):
        do(tables, StashOp.INFO)
    with pytest.raises(DirtyError, match="Unknown stash operation: 99"):
        do(tables, 99)
    with pytest.raises(DirtyError, match="a key must be"):
        do(tables, StashOp.PUT, key=[1], value=1)
    with pytest.raises(DirtyError, match="name of a table"):
        tables.apply({"op": 1, "table": 5}, 0)


def test_counters(tables: Tables) -> None:
    assert [do(tables, StashOp.INCR, key="n"), do(tables, StashOp.INCR, key="n", amount=-3)] == [1, -2]
    assert do(tables, StashOp.INCR, key="f", amount=0.5) == 0.5
    do(tables, StashOp.PUT, key="text", value="1")
    with pytest.raises(StashError, match="not a number"):
        do(tables, StashOp.INCR, key="text")
    do(tables, StashOp.PUT, key="top", value=2**63 - 1)
    with pytest.raises(StashError, match="64 bits"):
        do(tables, StashOp.INCR, key="top")
    assert do(tables, StashOp.GET, key="top") == 2**63 - 1


def test_compare_and_set(tables: Tables) -> None:
    assert do(tables, StashOp.COMPARE_AND_SET, key="k", expected=1, value=2) is False
    assert do(tables, StashOp.COMPARE_AND_SET, key="k", value=1) is True
    assert do(tables, StashOp.COMPARE_AND_SET, key="k", value=9) is False
    assert do(tables, StashOp.COMPARE_AND_SET, key="k", expected=True, value=9) is False
    assert do(tables, StashOp.COMPARE_AND_SET, key="k", expected=1, value=2) is True
    assert do(tables, StashOp.GET, key="k") == 2


def test_keys_expire(tables: Tables) -> None:
    do(tables, StashOp.PUT, key="k", value=1, ttl=10, now=100)
    assert do(tables, StashOp.TTL, key="k", now=104) == 6
    assert do(tables, StashOp.GET, key="k", now=109.9) == 1
    with pytest.raises(StashKeyNotFoundError):
        do(tables, StashOp.GET, key="k", now=110)
    do(tables, StashOp.PUT, key="k", value=1, ttl=10, now=200)
    do(tables, StashOp.PUT, key="k", value=2, now=205)
    assert do(tables, StashOp.GET, key="k", now=300) == 2
    assert do(tables, StashOp.TTL, key="k", now=300) is None
    assert do(tables, StashOp.EXPIRE, key="k", ttl=5, now=300) is True
    assert do(tables, StashOp.INFO, now=305) == {"size": 0, "table": "t"}
    assert do(tables, StashOp.EXPIRE, key="k", ttl=5, now=305) is False
    with pytest.raises(StashError, match="ttl"):
        do(tables, StashOp.PUT, key="k", value=1, ttl=0)


class LikeADictionary(RuleBasedStateMachine):
    """Any sequence of operations leaves what the same sequence leaves in a dictionary with expiry."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = Tables()
        self.model: dict[Any, tuple[int, float]] = {}
        self.now = 0.0

    @rule(seconds=st.floats(0, 5))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.model = {key: item for key, item in self.model.items() if item[1] > self.now}

    @rule(key=KEYS, value=st.integers(-9, 9), ttl=st.none() | st.floats(0.5, 5))
    def put(self, key: Any, value: int, ttl: float | None) -> None:
        more = {} if ttl is None else {"ttl": ttl}
        do(self.tables, StashOp.PUT, key=key, value=value, now=self.now, **more)
        self.model[key] = value, self.now + ttl if ttl else float("inf")

    @rule(key=KEYS)
    def delete(self, key: Any) -> None:
        assert do(self.tables, StashOp.DELETE, key=key, now=self.now) is (key in self.model)
        self.model.pop(key, None)

    @rule(key=KEYS)
    def incr(self, key: Any) -> None:
        value, expires = self.model.get(key, (0, float("inf")))
        assert do(self.tables, StashOp.INCR, key=key, now=self.now) == value + 1
        self.model[key] = value + 1, expires

    @rule()
    def compare(self) -> None:
        items = do(self.tables, StashOp.ITEMS, now=self.now)
        assert sorted(map(repr, items)) == sorted(repr([k, v]) for k, (v, _) in self.model.items())


TestLikeADictionary = LikeADictionary.TestCase
TestLikeADictionary.settings = settings(max_examples=40, stateful_step_count=30)
