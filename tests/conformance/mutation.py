"""Grammar-aware damage to requests, and what must hold of any bytes whatsoever."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from random import Random
from typing import Any

from attrs import frozen
from corpus.case import Case
from corpus.catalogue import ALL
from replay import ENGINES, Outcome, anonymous, policy, replay, whole

from gunicorn.http import Policy
from gunicorn.http.known import KnownHeads

__all__ = ["SEEDS", "TOKENS", "Edit", "Kind", "Violation", "check", "damaged", "random_edits", "splits"]

SEEDS: tuple[Case, ...] = tuple(case for case in ALL if len(case.data) <= 1500)

TOKENS: tuple[bytes, ...] = (
    *(bytes((number,)) for number in (0, 1, 9, 10, 11, 12, 13, 27, 31, 32, 127, 128, 133, 160, 255)),
    *b'\r\n|\r\n\r\n|\n\n|\r\r\n|\n\r|: |:|,|;|=|"|\\|/|*|#|?|%|%00|[|]|@|_|-|+|0|1|5|A|f|x|z'.split(b"|"),
    *b"GET|POST|HEAD|OPTIONS|CONNECT|get|PRI|PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".split(b"|"),
    *b" HTTP/1.1| HTTP/1.0|HTTP/2.0|HTTP/1.9|http://|http://a/|//| / ".split(b"|"),
    *b"Host: b\r\n|Content-Length: 5\r\n|Content-Length: 0\r\n|Transfer-Encoding: chunked\r\n".split(b"|"),
    *b"Connection: close\r\n|Expect: 100-continue\r\n|Upgrade: x\r\nConnection: upgrade\r\n".split(b"|"),
    *b"Transfer-Encoding|Content-Length|chunked|identity|gzip".split(b"|"),
    *b"X: y\r\n|X_Y: z\r\n|X : y\r\n| X: y\r\n|X-Forwarded-Proto: https\r\n|SCRIPT_NAME: /a\r\n".split(b"|"),
    *b'0\r\n\r\n|5\r\nhello\r\n|;a=b|;a="b"|ffffffffffffffff|18446744073709551616|9999999999'.split(b"|"),
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12),
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\xc3\xa9",
    b"\xef\xbb\xbf",
    b"a" * 70,
)


class Kind(Enum):
    """Ways to damage a message."""

    INSERT = "insert"
    REPLACE = "replace"
    OVERWRITE = "overwrite"
    DELETE = "delete"
    CUT = "cut"
    REPEAT = "repeat"
    SWAP = "swap"
    FLIP = "flip"
    CASE = "case"
    APPEND = "append"


@frozen
class Edit:
    """One damage: its kind, its place (0..1), its extent in bytes, and a token."""

    kind: Kind
    place: float
    extent: int
    token: bytes

    def apply(self, data: bytes) -> bytes:
        start = int(self.place * len(data))
        end = min(len(data), start + self.extent)
        return _EDITS[self.kind](data, start, end, self.token)


def _flip(data: bytes, start: int, end: int, token: bytes) -> bytes:
    return (
        data[:start] + bytes((data[start] ^ (1 << end % 8),)) + data[start + 1 :]
        if start < len(data)
        else data
    )


def _swap_lines(data: bytes, start: int, end: int, token: bytes) -> bytes:
    lines = data.split(b"\r\n")
    one, other = start % len(lines), end % len(lines)
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


_EDITS = {
    Kind.INSERT: lambda data, start, end, token: data[:start] + token + data[start:],
    Kind.REPLACE: lambda data, start, end, token: data[:start] + token + data[end:],
    Kind.OVERWRITE: lambda data, start, end, token: data[:start] + token + data[start + len(token) :],
    Kind.DELETE: lambda data, start, end, token: data[:start] + data[end:],
    Kind.CUT: lambda data, start, end, token: data[:start],
    Kind.REPEAT: lambda data, start, end, token: data[:end] + data[start:],
    Kind.SWAP: _swap_lines,
    Kind.FLIP: _flip,
    Kind.CASE: lambda data, start, end, token: data[:start] + data[start:end].swapcase() + data[end:],
    Kind.APPEND: lambda data, start, end, token: data + token,
}
_KINDS = tuple(Kind)


def damaged(data: bytes, edits: Sequence[Edit]) -> bytes:
    """``data`` after all edits."""
    for edit in edits:
        data = edit.apply(data)
    return data


def random_edits(rng: Random) -> list[Edit]:
    """A few edits, mostly one or two: what is wrong in one place only gets deeper into the parser."""
    count = rng.choice((1, 1, 1, 2, 2, 3, 5))
    return [
        Edit(rng.choice(_KINDS), rng.random(), rng.choice((1, 1, 2, 4, 16)), rng.choice(TOKENS))
        for _ in range(count)
    ]


def splits(data: bytes, rng: Random) -> list[bytes]:
    """``data`` in random pieces."""
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((1, 2, 5, 20)))) if data else []
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if end > start]


_SHARED: dict[Policy, KnownHeads] = {}


class Violation(AssertionError):
    """Something that must hold of all bytes does not."""


def check(data: bytes, settings: Mapping[str, Any], rng: Random, engines: Sequence[str] = ENGINES) -> Outcome:
    """Play the bytes whole and split on each engine.

    Raises:
        Violation: the outcomes differ, or what was accepted is against the grammar.
        Exception: anything that the parser let out besides its protocol error.
    """
    first: Outcome | None = None
    for engine in engines:
        rules = policy(engine, settings)
        for pieces in (list(whole(data)), splits(data, rng)):
            outcome = replay(pieces, rules)
            if first is None:
                first = outcome
            elif outcome != first:
                raise Violation(f"engine {engine} in {len(pieces)} pieces: {outcome} instead of {first}")
    assert first is not None
    _check_shared(data, policy(engines[0], settings), first, rng)
    if not settings:
        _check_grammar(data, first)
    return first


def _check_shared(data: bytes, rules: Policy, expected: Outcome, rng: Random) -> None:
    """Play the bytes to connections that share heads with those of all inputs before."""
    heads = _SHARED.setdefault(rules, KnownHeads(rules.limit_request_line))
    expected = anonymous(expected)
    # What is said for the second time is kept, and known from the third time on.
    for pieces in (list(whole(data)), list(whole(data)), splits(data, rng), list(whole(data))):
        outcome = anonymous(replay(pieces, rules, heads=heads))
        if outcome != expected:
            raise Violation(f"with shared heads, in {len(pieces)} pieces: {outcome} instead of {expected}")


# An oracle that shares nothing with the parser: under the default settings an accepted first head matches
# these expressions (RFC 9112 sections 3 and 5), and the bodies and heads together are no longer than the
# data.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(_TOKEN + rb" [\x21-\x7e]+ HTTP/1\.[0-9]")
_FIELD_LINE = re.compile(rb"(" + _TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)")
_LENGTH = re.compile(rb"[0-9]+")


def _check_grammar(data: bytes, outcome: Outcome) -> None:
    heads = [heard.request for heard in outcome.heard] + ([outcome.begun] if outcome.begun else [])
    if not heads:
        return
    start = 2 if data.startswith(b"\r\n") else 0
    head = data[start : data.index(b"\r\n\r\n", start)]
    for problem in _problems(head):
        raise Violation(f"accepted, although {problem}: {head!r}")
    if sum(len(heard.body) for heard in outcome.heard) > len(data) or len(heads) * 18 > len(data):
        raise Violation("more was heard than was sent")


def _problems(head: bytes) -> Iterator[str]:
    line, *fields = head.split(b"\r\n")
    if not _REQUEST_LINE.fullmatch(line):
        yield "the request line is malformed"
    found: dict[bytes, list[bytes]] = {}
    for field in fields:
        match = _FIELD_LINE.fullmatch(field)
        if not match:
            yield f"the field line {field!r} is malformed"
            return
        found.setdefault(match[1].lower(), []).append(match[2].strip(b" \t"))
    yield from _framing_problems(line, found)


def _framing_problems(line: bytes, found: Mapping[bytes, list[bytes]]) -> Iterator[str]:
    lengths, codings, hosts = (
        found.get(name, []) for name in (b"content-length", b"transfer-encoding", b"host")
    )
    if len(hosts) > 1 or (not hosts and not line.endswith(b"HTTP/1.0")):
        yield "there is not one Host"
    if len(lengths) > 1 or not all(_LENGTH.fullmatch(value) for value in lengths):
        yield "Content-Length is not one number"
    if codings and (lengths or line.endswith(b"HTTP/1.0")):
        yield "Transfer-Encoding is not allowed here"
    if codings and not re.fullmatch(rb"(?i)(.*,[ \t]*)?chunked([ \t]*,)*", b",".join(codings)):
        yield "the last coding is not chunked"
