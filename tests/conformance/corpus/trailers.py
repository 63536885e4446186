"""Trailer sections (RFC 9112 section 7.1.2, RFC 9110 section 6.5)."""

from __future__ import annotations

from corpus.case import Chapter, post, request

T = Chapter("trailers")
SECTION = "RFC 9112 7.1.2"
FORBIDDEN = "RFC 9110 6.5.1"


def trailed(*lines: bytes, fields: tuple[bytes, ...] = ()) -> bytes:
    """A chunked POST with trailer lines."""
    return post(
        b"Transfer-Encoding: chunked",
        *fields,
        body=b"1\r\na\r\n0\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n",
    )


for title, line, pair in (
    ("one", b"X-T: v", (b"x-t", b"v")),
    ("no blank", b"X-T:v", (b"x-t", b"v")),
    ("empty value", b"X-T:", (b"x-t", b"")),
    ("blanks around", b"X-T: \t v \t", (b"x-t", b"v")),
    ("obs-text", b"X-T: \xe9\xff", (b"x-t", b"\xe9\xff")),
    ("odd name", b"!#$%&'*+-.^`|~: v", (b"!#$%&'*+-.^`|~", b"v")),
    ("checksum", b"Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==", (b"content-md5", b"Q2hlY2sgSW50ZWdyaXR5IQ==")),
    ("digest", b"Repr-Digest: sha-256=:AAAA:", (b"repr-digest", b"sha-256=:AAAA:")),
    ("tracing", b"Server-Timing: a;dur=1", (b"server-timing", b"a;dur=1")),
    ("looks like a request", b"X-T: GET / HTTP/1.1", (b"x-t", b"GET / HTTP/1.1")),
):
    T.accept(title, trailed(line), SECTION, b"a", trailers=(pair,))
    T.accept(f"{title}, and another request", trailed(line) + request(), SECTION, b"a", b"")
T.accept("two", trailed(b"X-T: v", b"X-U: w"), SECTION, b"a", trailers=((b"x-t", b"v"), (b"x-u", b"w")))
T.accept("repeated", trailed(b"X-T: v", b"X-T: w"), SECTION, b"a", trailers=((b"x-t", b"v"), (b"x-t", b"w")))
T.accept("announced", trailed(b"X-T: v", fields=(b"Trailer: X-T", b"TE: trailers")), "RFC 9110 6.6.2", b"a")
T.accept("announced, another one sent", trailed(b"X-T: v", fields=(b"Trailer: X-U",)), "RFC 9110 6.6.2", b"a")
T.accept("announced, none sent", trailed(fields=(b"Trailer: X-T",)), "RFC 9110 6.6.2", b"a")
T.accept("announced without chunks", request(b"Trailer: X-T"), "RFC 9110 6.6.2")
T.accept(
    "behind an empty body",
    post(b"Transfer-Encoding: chunked", body=b"0\r\nX-T: v\r\n\r\n") + request(),
    SECTION,
    b"",
    b"",
)
T.accept(
    "behind an extension",
    post(b"Transfer-Encoding: chunked", body=b"0;a\r\nX-T: v\r\n\r\n") + request(),
    SECTION,
    b"",
    b"",
)
T.accept("does not become a field of the head", trailed(b"X-T: v"), "RFC 9110 6.5.1", b"a", lacks=(b"x-t",))

for name in (
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"Host: b.example",
    b"Trailer: X",
    b"Authorization: Basic YTpi",
    b"TE: trailers",
):
    T.refuse(
        f"forbidden, {name.decode()}",
        trailed(name),
        FORBIDDEN,
        in_body=True,
        note="the names are those of behaviour E1",
    )
    T.refuse(
        f"forbidden behind a good one, {name.decode()}", trailed(b"X-T: v", name), FORBIDDEN, in_body=True
    )
T.refuse("forbidden in odd case", trailed(b"cONTENT-lENGTH: 0"), FORBIDDEN, in_body=True)
T.refuse("forbidden in upper case", trailed(b"TRANSFER-ENCODING: chunked"), FORBIDDEN, in_body=True)
for name in (
    b"Cookie: a=b",
    b"Content-Type: a/b",
    b"Content-Encoding: gzip",
    b"Cache-Control: no-cache",
    b"Range: bytes=0-1",
    b"Connection: close",
):
    T.either(f"not meant for trailers, {name.decode()}", trailed(name), FORBIDDEN, bodies=(b"a",))
for name in (
    b"Expect: 100-continue",
    b"Content-Range: bytes 0-1/2",
    b"Max-Forwards: 1",
    b"Proxy-Authorization: Basic YTpi",
    b"Upgrade: h2c",
):
    T.either(f"not meant for trailers, {name.decode()}", trailed(name), FORBIDDEN, bodies=(b"a",))
T.either("underscore name", trailed(b"X_T: v"), "behaviour E3", bodies=(b"a",))
T.either("underscore framing", trailed(b"Content_Length: 5"), "behaviour E3", bodies=(b"a",))

for title, line in {
    "no colon": b"X-T",
    "empty name": b": v",
    "blank before the colon": b"X-T : v",
    "tab before the colon": b"X-T\t: v",
    "blank first": b" X-T: v",
    "blank in the name": b"X T: v",
    "NUL in the name": b"X\x00T: v",
    "NUL in the value": b"X-T: \x00",
    "control in the value": b"X-T: \x01",
    "DEL in the value": b"X-T: \x7f",
    "bare CR in the value": b"X-T: a\rb",
    "bare CR last": b"X-T: a\r",
    "bare LF in the value": b"X-T: a\nX-U: b",
    "bare LF last": b"X-T: a\n",
    "slash in the name": b"X/T: v",
    "parenthesis in the name": b"X(T): v",
    "utf-8 in the name": b"X\xc3\xa9: v",
    "no-break space in the name": b"X\xa0: v",
    "folded": b"X-T: a\r\n b",
    "folded with a tab": b"X-T: a\r\n\tb",
    "a request": b"GET /admin HTTP/1.1",
    "a chunk": b"5",
    "a chunk and data": b"5\r\nhello",
    "blank line with a blank": b" ",
}.items():
    T.refuse(f"bad, {title}", trailed(line), SECTION, in_body=True)
T.refuse(
    "bad, request at once behind the last chunk",
    post(b"Transfer-Encoding: chunked", body=b"0\r\n" + request(target=b"/admin")),
    SECTION,
    in_body=True,
    note="without the final empty line the next request line is a trailer line",
)
T.refuse(
    "bad, bare LF ends the section",
    post(b"Transfer-Encoding: chunked", body=b"0\r\nX-T: v\r\n\n"),
    SECTION,
    in_body=True,
)
T.refuse(
    "bad, bare LF ends a line",
    post(b"Transfer-Encoding: chunked", body=b"0\r\nX-T: v\n\r\n"),
    SECTION,
    in_body=True,
)
T.refuse(
    "too many",
    trailed(*(b"X-%d: y" % number for number in range(200))),
    "behaviour E1",
    400,
    431,
    in_body=True,
)
T.refuse("too long", trailed(b"X-T: " + b"v" * 9000), "behaviour E1", 400, 431, in_body=True)
T.refuse(
    "endless",
    post(b"Transfer-Encoding: chunked", body=b"0\r\n" + b"x" * 70000),
    "behaviour E1",
    400,
    431,
    in_body=True,
)
for cut in (1, 3, 4, 6, 7, 8, 9):
    T.truncated(
        f"cut after {cut} bytes",
        post(b"Transfer-Encoding: chunked", body=b"0\r\n" + b"X-T: v\r\n\r\n"[:cut]),
        "RFC 9112 8",
        in_body=True,
    )

CASES = T.cases
