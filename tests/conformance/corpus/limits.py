"""Limits and their statuses (RFC 9112 section 3, RFC 6585 section 5, RFC 9110 section 15.5.14)."""

from __future__ import annotations

from typing import Any

from corpus.case import Chapter, post, request

L = Chapter("limits")
LINE = "RFC 9112 3"
FIELDS = "RFC 6585 5"
BODY = "RFC 9110 15.5.14"


def line_of(length: int) -> bytes:
    """A request whose line has this many bytes, without its line end."""
    return request(target=b"/" + b"a" * (length - len(b"GET / HTTP/1.1")))


def field_of(length: int) -> bytes:
    """A request with one field line of this many bytes, its line end included."""
    return request(b"X: " + b"y" * (length - len(b"X: \r\n")))


def fields_of(count: int) -> bytes:
    """A request with this many field lines, Host included."""
    return request(*(b"X-%d: y" % number for number in range(count - 1)))


def limit(**settings: Any) -> dict[str, Any]:
    """Just these settings."""
    return settings


L.accept("line, four thousand", line_of(4000), LINE)
L.refuse("line, five thousand", line_of(5000), LINE, 414)
L.refuse("line, hundred thousand", line_of(100_000), LINE, 414)
L.refuse("line without an end", b"GET /" + b"a" * 100_000, LINE, 414)
L.refuse("line without blanks", b"A" * 100_000, LINE, 400, 414, 501)
L.refuse("method without an end", b"A" * 70_000 + b" / HTTP/1.1\r\n\r\n", LINE, 400, 414, 501)
L.refuse("long version", request(version=b"HTTP/1." + b"1" * 5000), LINE, 400, 414, 505)
L.refuse("long line, long query", request(target=b"/?" + b"a" * 9000), LINE, 414)
L.accept(
    "line, eight thousand by setting", line_of(8000), "RFC 9112 3", settings=limit(limit_request_line=8190)
)
L.refuse("line, nine thousand by setting", line_of(9000), LINE, 414, settings=limit(limit_request_line=8190))
L.accept("line, small limit", line_of(90), LINE, settings=limit(limit_request_line=100))
L.refuse("line, above a small limit", line_of(110), LINE, 414, settings=limit(limit_request_line=100))
L.refuse(
    "line, above a small limit in the second",
    line_of(90) + line_of(200),
    LINE,
    414,
    settings=limit(limit_request_line=100),
    bodies=(b"",),
)
L.accept("line, no limit", line_of(20_000), "behaviour E1", settings=limit(limit_request_line=0))
L.refuse(
    "line, capped limit",
    line_of(20_000),
    "behaviour E1",
    414,
    settings=limit(limit_request_line=8190),
    note="8190 is the cap",
)

L.accept("fields, one hundred", fields_of(100), FIELDS)
L.refuse("fields, one hundred and one", fields_of(101), FIELDS, 431)
L.refuse("fields, five thousand", fields_of(5000), FIELDS, 431)
L.accept("fields, at a small limit", fields_of(5), FIELDS, settings=limit(limit_request_fields=5))
L.refuse("fields, above a small limit", fields_of(6), FIELDS, 431, settings=limit(limit_request_fields=5))
L.accept("fields, no limit", fields_of(1000), "behaviour E1", settings=limit(limit_request_fields=0))

L.accept("field, eight thousand", field_of(8000), FIELDS)
L.accept("field, at the limit", field_of(8190), FIELDS)
L.refuse(
    "field, above the limit",
    field_of(8192),
    FIELDS,
    431,
    note="a byte of room for those who do not count the line end alike",
)
L.refuse("field, hundred thousand", field_of(100_000), FIELDS, 431)
L.refuse("field without an end", b"GET / HTTP/1.1\r\nHost: a.example\r\nX: " + b"y" * 200_000, FIELDS, 431)
L.refuse(
    "field name without an end", b"GET / HTTP/1.1\r\nHost: a.example\r\n" + b"y" * 200_000, FIELDS, 400, 431
)
L.refuse("long field name", request(b"X" * 9000 + b": y"), FIELDS, 431)
L.refuse(
    "head without an end",
    b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 8000) for n in range(110)),
    FIELDS,
    431,
)
L.refuse("long host", request(host=b"a" * 9000), FIELDS, 400, 431)
L.accept("field, at a small limit", field_of(100), FIELDS, settings=limit(limit_request_field_size=100))
L.refuse(
    "field, above a small limit", field_of(103), FIELDS, 431, settings=limit(limit_request_field_size=100)
)
L.either("field, no limit", field_of(20_000), "behaviour E1", 431, settings=limit(limit_request_field_size=0))
FOLDED = request(b"X: " + b"y" * 60 + b"\r\n " + b"y" * 60)
L.refuse(
    "field, folds count",
    FOLDED,
    "behaviour E1",
    431,
    settings=limit(limit_request_field_size=100, permit_obsolete_folding=True),
)
L.refuse("bad and too long", request(b"X : " + b"y" * 9000), FIELDS, 400, 431)

TEN = limit(limit_request_body=10)
L.accept(
    "content, at the limit",
    post(b"Content-Length: 10", body=b"x" * 10) + request(),
    BODY,
    b"x" * 10,
    b"",
    settings=TEN,
)
L.refuse("content, above the limit", post(b"Content-Length: 11", body=b"x" * 11), BODY, 413, settings=TEN)
L.refuse("content, announced only", post(b"Content-Length: 1000000"), BODY, 413, settings=TEN)
L.refuse(
    "content, announced with an expectation",
    post(b"Content-Length: 1000000", b"Expect: 100-continue"),
    BODY,
    413,
    settings=TEN,
)
L.refuse("content, huge", post(b"Content-Length: " + b"9" * 40), BODY, 400, 413, settings=TEN)
L.accept(
    "content, zeros first", post(b"Content-Length: 00000000005", body=b"x" * 5), BODY, b"x" * 5, settings=TEN
)
L.accept(
    "chunks, at the limit",
    post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"),
    BODY,
    b"helloworld",
    settings=TEN,
)
L.refuse(
    "chunks, above the limit",
    post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
    BODY,
    413,
    settings=TEN,
    in_body=True,
)
L.refuse(
    "one big chunk announced",
    post(b"Transfer-Encoding: chunked", body=b"fffffff\r\nhello"),
    BODY,
    413,
    settings=TEN,
    in_body=True,
)
L.accept("no limit by default", post(b"Content-Length: 300000", body=b"x" * 300_000), BODY, b"x" * 300_000)

CASES = L.cases
