"""Values as bytes: what goes in comes out, and no bytes raise anything but the one error."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.dirty import tlv
from gunicorn.dirty.errors import DirtyProtocolError

INT64 = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.none() | st.booleans() | INT64 | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5)
)


@given(VALUES)
def test_what_goes_in_comes_out(value: object) -> None:
    data = tlv.encode(value)
    assert tlv.decode(data) == value
    assert tlv.decode(memoryview(data)) == value


@given(VALUES)
def test_types_are_kept(value: object) -> None:
    assert type(tlv.decode(tlv.encode(value))) is type(value)


# Bytes that another implementation makes of the same values.
KNOWN = [
    (None, "00"),
    (True, "0101"),
    (False, "0100"),
    (1, "050000000000000001"),
    (-1, "05ffffffffffffffff"),
    (1.5, "063ff8000000000000"),
    (b"ab", "10000000026162"),
    ("é", "1100000002c3a9"),
    ([], "2000000000"),
    ([None, True], "2000000002000101"),
    ({"a": 1}, "21000000011100000001610500000000" + "00000001"),
]


@pytest.mark.parametrize(("value", "encoded"), KNOWN)
def test_the_format_is_the_agreed_one(value: object, encoded: str) -> None:
    assert tlv.encode(value).hex() == encoded
    assert tlv.decode(bytes.fromhex(encoded)) == value


def test_values_that_change_their_type() -> None:
    assert tlv.decode(tlv.encode((1, 2))) == [1, 2]
    assert tlv.decode(tlv.encode({1: "a", None: "b"})) == {"1": "a", "None": "b"}
    assert math.isnan(tlv.decode(tlv.encode(math.nan)))
    assert tlv.decode(b"\x01\x07") is True


@pytest.mark.parametrize(
    "value", [set(), bytearray(b"x"), memoryview(b"x"), object(), 2**63, -(2**63) - 1, "\ud800"]
)
def test_what_cannot_be_sent_is_refused_with_the_one_error(value: object) -> None:
    for wrapped in (value, [value], {"key": value}):
        with pytest.raises(DirtyProtocolError):
            tlv.encode(wrapped)


def test_a_value_within_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(DirtyProtocolError, match="nested deeper"):
        tlv.encode(loop)


@given(st.binary(max_size=200))
def test_random_bytes_give_a_value_or_the_one_error(data: bytes) -> None:
    for read in (tlv.decode, lambda raw: tlv.peek(raw, "app_path", "timeout")):
        with contextlib.suppress(DirtyProtocolError):
            read(data)


@given(VALUES, st.data())
def test_truncated_and_changed_documents(value: object, data: st.DataObject) -> None:
    whole = tlv.encode(value)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DirtyProtocolError):
        tlv.decode(whole[:cut])
    with pytest.raises(DirtyProtocolError):
        tlv.decode(whole + b"\x00")
    place, byte = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 255))
    with contextlib.suppress(DirtyProtocolError):
        tlv.decode(whole[:place] + bytes([byte]) + whole[place + 1 :])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends here"),
        (b"\x02", "unknown type"),
        (b"\x10\xff\xff\xff\xff", "limit"),
        (b"\x11\x00\x00\x00\x02\xc3", "announced"),
        (b"\x11\x00\x00\x00\x01\xff", "UTF-8"),
        (b"\x20\x00\x10\x00\x01", "limit"),
        (b"\x20\x00\x0f\xff\xff", "announced"),
        (b"\x21\x00\x00\x00\x01\x05" + bytes(16), "key"),
        (b"\x20\x00\x00\x00\x01" * 200 + b"\x00", "nested deeper"),
    ],
)
def test_hostile_documents_are_refused_for_the_right_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DirtyProtocolError, match=reason):
        tlv.decode(data)


def test_the_number_of_values_in_one_document_is_bounded() -> None:
    inner = b"\x20" + (2**20).to_bytes(4, "big") + bytes(2**20)
    with pytest.raises(DirtyProtocolError, match="more than"):
        tlv.decode(b"\x20\x00\x00\x00\x05" + inner * 5)


def test_duplicate_keys_last_wins() -> None:
    key = b"\x11\x00\x00\x00\x01a"
    assert tlv.decode(b"\x21\x00\x00\x00\x02" + key + b"\x01\x00" + key + b"\x01\x01") == {"a": True}


def test_peek_reads_what_comes_first_and_nothing_else() -> None:
    early = tlv.encode({"app_path": "a:B", "timeout": 2.0, "args": [1] * 50})
    broken_behind = early[:60] + b"\xff" * 100
    assert tlv.peek(broken_behind, "app_path", "timeout") == {"app_path": "a:B", "timeout": 2.0}


@given(st.dictionaries(st.text(min_size=9), VALUES, max_size=4))
def test_peek_finds_the_first_name_wherever_it_is(others: dict[str, object]) -> None:
    data = tlv.encode({**others, "app_path": "a:B", "timeout": 5})
    assert tlv.peek(data, "app_path", "timeout")["app_path"] == "a:B"
