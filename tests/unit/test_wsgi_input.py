"""``wsgi.input`` reads like a file, whatever pieces the network brings."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.wsgi.input import Input, InputError

bodies = st.lists(
    st.binary(min_size=1, max_size=12) | st.sampled_from([b"\n", b"a\n", b"\n\n", b"ab\ncd"]), max_size=8
)
sizes = st.one_of(st.none(), st.integers(-1, 20))
calls = st.lists(st.tuples(st.sampled_from(["read", "readline", "readlines"]), sizes), max_size=12)


def source_of(pieces):
    remaining = iter(pieces)
    return lambda: next(remaining, b"")


@given(bodies, calls)
def test_every_sequence_of_reads_gives_what_a_file_gives(pieces, sequence):
    ours, file = Input(source_of(pieces)), io.BytesIO(b"".join(pieces))
    for method, size in sequence:
        assert getattr(ours, method)(size) == getattr(file, method)(size), (method, size)
    assert ours.read() == file.read()
    assert ours.read(10) == b""


@given(bodies)
def test_iterating_gives_lines(pieces):
    assert list(Input(source_of(pieces))) == list(io.BytesIO(b"".join(pieces)))


def test_nothing_is_asked_of_the_client_before_the_first_read():
    def source():
        pytest.fail("read from the connection")

    stream = Input(source)
    assert stream.read(0) == b""
    assert stream.readline(0) == b""


def test_no_more_is_read_than_is_needed():
    asked = []

    def source():
        asked.append(1)
        return b"line one\nline two\n"

    stream = Input(source)
    assert stream.readline() == b"line one\n"
    assert stream.readline() == b"line two\n"
    assert len(asked) == 1


def test_after_the_end_the_source_is_left_alone():
    pieces = [b"x", b""]
    stream = Input(lambda: pieces.pop(0))
    assert stream.read() == b"x"
    assert stream.read() == b""
    assert stream.readline() == b""


def test_a_failing_body_fails_every_read_as_an_oserror():
    def source():
        raise InputError("body cut off")

    stream = Input(source)
    for _ in range(2):
        with pytest.raises(OSError, match="cut off"):
            stream.read()
