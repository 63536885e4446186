"""Expect (RFC 9110 section 10.1.1)."""

from __future__ import annotations

from corpus.case import Chapter, post, request

E = Chapter("expect")
RULE = "RFC 9110 10.1.1"


def expecting(value: bytes, **more: bytes) -> bytes:
    """A POST with two bytes of content and this expectation."""
    return post(b"Expect: " + value, b"Content-Length: 2", body=b"ab", **more)


E.accept(
    "100-continue", expecting(b"100-continue") + request(), RULE, b"ab", b"", seen={"expect_continue": True}
)
E.accept("capitals", expecting(b"100-Continue"), RULE, b"ab", seen={"expect_continue": True})
E.accept("upper case", expecting(b"100-CONTINUE"), RULE, b"ab", seen={"expect_continue": True})
E.accept("blanks", expecting(b" 100-continue\t"), RULE, b"ab", seen={"expect_continue": True})
E.accept(
    "no content", request(b"Expect: 100-continue") + request(), RULE, b"", b"", note="may leave out the 100"
)
E.accept("content of zero", post(b"Expect: 100-continue", b"Content-Length: 0") + request(), RULE, b"", b"")
E.accept(
    "chunked",
    post(b"Expect: 100-continue", b"Transfer-Encoding: chunked", body=b"2\r\nab\r\n0\r\n\r\n") + request(),
    RULE,
    b"ab",
    b"",
)
E.accept("with GET", request(b"Expect: 100-continue", b"Content-Length: 2", body=b"ab"), RULE, b"ab")
E.accept(
    "with PUT", request(b"Expect: 100-continue", b"Content-Length: 2", method=b"PUT", body=b"ab"), RULE, b"ab"
)
E.accept(
    "1.0",
    expecting(b"100-continue", version=b"HTTP/1.0"),
    RULE,
    b"ab",
    seen={"expect_continue": False},
    note="MUST be ignored",
)
E.accept(
    "with close",
    post(b"Expect: 100-continue", b"Connection: close", b"Content-Length: 2", body=b"ab"),
    RULE,
    b"ab",
    closes=True,
)
E.accept("two requests", expecting(b"100-continue") * 2, RULE, b"ab", b"ab")
for value in (
    b"foo",
    b"200-ok",
    b"100-continued",
    b"100",
    b"continue",
    b"100-continue, foo",
    b"foo=bar",
    b"100 continue",
    b'"100-continue"',
):
    E.refuse(
        f"unknown, {value.decode()}",
        expecting(value),
        RULE,
        417,
        400,
        note="417 is a MAY; Gunicorn does (behaviour E1)",
    )
E.refuse("unknown without content", request(b"Expect: foo"), RULE, 417)
E.refuse(
    "unknown behind a known one",
    post(b"Expect: 100-continue", b"Expect: foo", b"Content-Length: 2", body=b"ab"),
    RULE,
    417,
)
E.refuse("underscore", expecting(b"100_continue"), RULE, 417)
E.either("unknown in 1.0", expecting(b"foo", version=b"HTTP/1.0"), RULE, 417, bodies=(b"ab",))
E.either("empty", expecting(b""), RULE, 400, 417, bodies=(b"ab",))
E.either("twice", expecting(b"100-continue, 100-continue"), RULE, 400, 417, bodies=(b"ab",))
E.either(
    "two fields",
    post(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 2", body=b"ab"),
    RULE,
    400,
    417,
    bodies=(b"ab",),
)
E.either("parameter", expecting(b"100-continue;a=b"), RULE, 400, 417, bodies=(b"ab",))
E.refuse(
    "with a bad length",
    post(b"Expect: 100-continue", b"Content-Length: x"),
    "RFC 9110 8.6",
    400,
    note="no 100 before a refusal",
)
E.refuse(
    "with length and coding",
    post(b"Expect: 100-continue", b"Content-Length: 2", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "RFC 9112 6.1",
)

CASES = E.cases
