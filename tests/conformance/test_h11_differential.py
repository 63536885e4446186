"""h11 at the other end, and h11 in our place.

What an h11 client sends must be understood as it was meant. What an h11 server refuses must be refused by us
too, but for this list, in which the RFCs are on our side:

- an empty line before a request: a server SHOULD ignore one (RFC 9112 section 2.2); h11 refuses it;
- more than 20 digits of Content-Length, zeros first: 1*DIGIT has no bound (RFC 9110 section 8.6);
- blanks around the ";" and "=" of chunk extensions (BWS, RFC 9112 section 7.1.1), and more than 20 digits of
  a chunk size.

In what both accept, the contents are the same, as far as h11 reads: it closes behind HTTP/1.0 with
keep-alive, we need not.
"""

from __future__ import annotations

import re
from random import Random

import pytest
from corpus.case import Case
from corpus.catalogue import ALL
from h11_peer import Message, client_bytes, server_outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import TOKENS, Edit, Kind, damaged, splits
from replay import ENGINES, Outcome, policy, replay, whole

DEFAULTS = [case for case in ALL if not case.settings]
BRIEF = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Fields with a meaning for framing, trust or policy; they have tests of their own.
MEANINGFUL = re.compile(
    rb"(?i)host|content-length|content-type|transfer-encoding|connection|expect|upgrade|te|"
    rb"x-forwarded-(proto(col)?|ssl)"
)
TOKEN_BYTES = b"!#$%&'*+-.^`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TARGET_BYTES = b"-._~!$&'()*+,;=:@/?0123456789ABCXYZabcxyz"
VISIBLE = bytes([*range(0x21, 0x7F), *range(0x80, 0x100)])


def text(alphabet: bytes, **bounds: int) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(alphabet), **bounds).map(bytes)


NAMES = text(TOKEN_BYTES, min_size=1, max_size=20).filter(lambda name: not MEANINGFUL.fullmatch(name))
VALUES = st.lists(text(VISIBLE, min_size=1, max_size=8), max_size=4).map(lambda words: b" \t ".join(words))
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=6).map(tuple)
TRAILERS = st.lists(st.tuples(NAMES.map(lambda name: b"X-" + name), VALUES), max_size=2).map(tuple)
METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"PROPFIND", b"M-SEARCH", b"A!$%&'*+.^_`|~9"])
MESSAGES = st.builds(
    Message,
    method=METHODS,
    target=text(TARGET_BYTES, max_size=30).map(lambda rest: b"/" + rest),
    fields=FIELDS,
    pieces=st.lists(st.binary(min_size=1, max_size=300), max_size=4).map(tuple),
    chunked=st.booleans(),
    trailers=TRAILERS,
)


def _agree(message: Message, outcome: Outcome, number: int) -> None:
    heard = outcome.heard[number]
    assert heard.request.method.encode() == message.method
    assert heard.request.target == message.target
    assert heard.body == message.body
    assert [(name.lower(), value) for name, value in message.all_fields] == list(heard.request.headers)
    trailers = message.trailers if message.chunked else ()
    assert [(name.lower(), value) for name, value in trailers] == list(heard.trailers)


@pytest.mark.parametrize("engine", ENGINES)
@settings(BRIEF, max_examples=100)
@given(messages=st.lists(MESSAGES, min_size=1, max_size=3), seed=st.integers(0, 9999))
def test_what_h11_sends_is_understood(engine, messages, seed):
    data = b"".join(map(client_bytes, messages))
    outcome = replay(splits(data, Random(seed)), policy(engine, {}))
    assert outcome.error is None, outcome.rule
    assert len(outcome.heard) == len(messages)
    for number, message in enumerate(messages):
        _agree(message, outcome, number)


_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*"'
_EXTENSION = rb"[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
_CHUNK_LINE = re.compile(rb"[0-9A-Fa-f]+(?:" + _EXTENSION + rb")*\r\n")


def _excused(refusal: str, data: bytes) -> bool:
    """Whether h11's refusal is on the list."""
    if refusal == "no request line received":
        return data.startswith(b"\r\n") or b"\r\n\r\n" in data
    if refusal == "bad Content-Length":
        return re.search(rb"(?i)\ncontent-length:[ \t]*0[0-9]{20,}[ \t]*\r\n", data) is not None
    prefix, _, line = refusal.partition("illegal chunk header: ")
    return not prefix and any(
        match[0] in line.encode("latin-1", "replace") or repr(match[0])[1:] in line
        for match in _CHUNK_LINE.finditer(data)
    )


def _compare(data: bytes) -> None:
    ours, theirs = replay(whole(data), policy("fast", {})), server_outcome(data)
    if theirs.refusal is None and ours.error is None:
        assert ours.bodies[: len(theirs.bodies)] == theirs.bodies or _is_tunnel(ours)
    elif theirs.refusal is not None and ours.error is None and not _ended_before(ours, theirs.bodies):
        assert _excused(theirs.refusal, data), f"h11 refuses this: {theirs.refusal}"


def _is_tunnel(ours: Outcome) -> bool:
    """We close behind CONNECT when it is declined, h11 goes on."""
    return ours.closing is True and ours.heard[-1].request.method == "CONNECT"


def _ended_before(ours: Outcome, theirs: tuple[bytes, ...]) -> bool:
    """What h11 refuses stands behind the request that ends the connection."""
    return ours.closing is True and ours.bodies == theirs[: len(ours.bodies)]


@pytest.mark.parametrize("case", DEFAULTS, ids=[case.name for case in DEFAULTS])
def test_what_h11_refuses_is_refused(case: Case) -> None:
    _compare(case.data)


EDITS = st.builds(
    Edit,
    kind=st.sampled_from(Kind),
    place=st.floats(0, 1, exclude_max=True),
    extent=st.integers(1, 8),
    token=st.sampled_from(TOKENS),
)


@settings(BRIEF, max_examples=1000)
@given(
    case=st.sampled_from([case for case in DEFAULTS if len(case.data) < 1500]),
    edits=st.lists(EDITS, min_size=1, max_size=3),
)
def test_what_h11_refuses_of_damaged_cases_is_refused(case, edits):
    _compare(damaged(case.data, edits))
