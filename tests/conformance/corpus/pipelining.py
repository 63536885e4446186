"""Several requests on one connection (RFC 9112 section 9.3.2), and second requests hidden in the first."""

from __future__ import annotations

from corpus.case import SILENCE, Chapter, post, request

P = Chapter("pipelining")
ORDER = "RFC 9112 9.3.2"
SMUGGLE = "RFC 9112 11.2"
ADMIN = request(target=b"/admin")
LAST = b"0\r\n\r\n"


def sized(body: bytes) -> bytes:
    """A POST with a right Content-Length."""
    return post(b"Content-Length: %d" % len(body), body=body)


def chunked(body: bytes) -> bytes:
    """A POST with its content as one chunk."""
    return post(b"Transfer-Encoding: chunked", body=b"%x\r\n%s\r\n" % (len(body), body) + LAST)


P.accept("two", request() * 2, ORDER, b"", b"", closes=False)
P.accept("twenty", request() * 20, ORDER, *[b""] * 20, closes=False)
P.accept("length then plain", sized(b"ab") + request(), ORDER, b"ab", b"")
P.accept("chunks then plain", chunked(b"ab") + request(), ORDER, b"ab", b"")
P.accept("plain then length", request() + sized(b"ab"), ORDER, b"", b"ab")
P.accept("plain then chunks", request() + chunked(b"ab"), ORDER, b"", b"ab")
P.accept(
    "all sorts",
    sized(b"a") + chunked(b"b") + request() + sized(b"") + chunked(b"c"),
    ORDER,
    b"a",
    b"b",
    b"",
    b"",
    b"c",
)
P.accept("head then plain", request(method=b"HEAD") + request(), ORDER, b"", b"", heads=frozenset({0}))
P.accept("odd methods", request(method=b"PROPFIND") + request(method=b"M-SEARCH"), ORDER, b"", b"")
P.accept("last closes", request() + request(b"Connection: close"), ORDER, b"", b"", closes=True)
P.accept("last is 1.0", request() + request(version=b"HTTP/1.0"), ORDER, b"", b"", closes=True)
P.accept("empty line between", request() + b"\r\n" + request(), "RFC 9112 2.2", b"", b"")
P.accept("empty line between each", (request() + b"\r\n") * 3 + request(), "RFC 9112 2.2", *[b""] * 4)
P.accept(
    "empty line behind the last",
    request() + b"\r\n",
    "RFC 9112 2.2",
    b"",
    note="the rest of an old client's POST",
)
P.accept("different hosts", request(host=b"a.example") + request(host=b"b.example"), ORDER, b"", b"")
P.accept(
    "different forms",
    request(target=b"http://a.example/b") + request(method=b"OPTIONS", target=b"*"),
    ORDER,
    b"",
    b"",
)
P.accept("fifty of twelve fields", request(*(b"X-%d: y" % n for n in range(12))) * 50, ORDER, *[b""] * 50)
P.accept("content looks like a request", sized(ADMIN) + request(), SMUGGLE, ADMIN, b"")
P.accept("chunk looks like a request", chunked(ADMIN) + request(), SMUGGLE, ADMIN, b"")
P.accept("content looks like the last chunk", sized(LAST + ADMIN) + request(), SMUGGLE, LAST + ADMIN, b"")
P.accept("chunk looks like the last chunk", chunked(LAST + ADMIN) + request(), SMUGGLE, LAST + ADMIN, b"")
P.accept(
    "GET hides a request",
    request(b"Content-Length: %d" % len(ADMIN), body=ADMIN) + request(),
    SMUGGLE,
    ADMIN,
    b"",
)
P.accept(
    "HEAD hides a request",
    request(b"Content-Length: %d" % len(ADMIN), method=b"HEAD", body=ADMIN) + request(),
    SMUGGLE,
    ADMIN,
    b"",
    heads=frozenset({0}),
)
P.accept(
    "GET with chunks hides a request",
    request(b"Transfer-Encoding: chunked", body=b"%x\r\n" % len(ADMIN) + ADMIN + b"\r\n" + LAST) + request(),
    SMUGGLE,
    ADMIN,
    b"",
)
P.accept("large content then plain", sized(b"x" * 70000) + request(), ORDER, b"x" * 70000, b"")
P.accept("large chunk then plain", chunked(b"x" * 70000) + request(), ORDER, b"x" * 70000, b"")
P.accept(
    "CONNECT closes",
    request(method=b"CONNECT", target=b"a.example:80") + ADMIN,
    "RFC 9110 9.3.6",
    closes=True,
)

for title, data in {
    "CL.TE": post(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=LAST + b"G"),
    "TE.CL": post(
        b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"5c\r\n" + ADMIN + b"\r\n" + LAST
    ),
    "CL.CL": post(b"Content-Length: 8", b"Content-Length: 7", body=b"12345\r\na"),
    "TE.TE": post(
        b"Transfer-Encoding: chunked", b"Transfer-encoding: cow", body=b"5c\r\n" + ADMIN + b"\r\n" + LAST
    ),
    "CL.0": post(b"Content-Length: 0", b"Content-Length: %d" % len(ADMIN), body=ADMIN),
    "TE.0": post(b"Content-Length: %d" % len(ADMIN), b"Transfer-Encoding: identity", body=ADMIN),
    "0.CL": post(b"Content-Length: +%d" % len(ADMIN), body=ADMIN),
    "0.CL with a comma": post(b"Content-Length: 0,%d" % len(ADMIN), body=ADMIN),
    "blank before the colon": post(b"Content-Length : %d" % len(ADMIN), body=ADMIN),
    "hidden by an obsolete fold": post(
        b"X: y\r\n Content-Length: 0", b"Content-Length: %d" % len(ADMIN), body=ADMIN
    ),
    "hidden by a bare LF": post(b"X: y\nContent-Length: %d" % len(ADMIN), body=ADMIN),
    "NUL in the name": post(b"Content-Length\x00: %d" % len(ADMIN), body=ADMIN),
    "CRLF in the target": b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\nGET /a\r\nb HTTP/1.1\r\n\r\n",
    "tab in the coding": post(b"Content-Length: 4", b"Transfer-Encoding:\tchunked", body=LAST + ADMIN),
    "vertical tab in the coding": post(
        b"Content-Length: 4", b"Transfer-Encoding: \x0bchunked", body=LAST + ADMIN
    ),
    "coding behind a CR": post(b"Content-Length: 4", b"X: y\rTransfer-Encoding: chunked", body=LAST + ADMIN),
    "1.0 with coding": request(
        b"Transfer-Encoding: chunked", b"Connection: keep-alive", version=b"HTTP/1.0", body=LAST + ADMIN
    ),
}.items():
    ahead = (b"",) if title == "CRLF in the target" else ()
    P.refuse(f"smuggled, {title}", data + request(), SMUGGLE, 400, 501, bodies=ahead)
for title, body in {
    "chunk extension with a bare LF": b"0;\n" + ADMIN + LAST,
    "chunk size with a bare LF": b"0\n" + ADMIN + LAST,
    "chunk data ends with two letters": b"1\r\naXX" + LAST + ADMIN,
    "chunk size with 0x": b"0x1\r\na\r\n" + LAST + ADMIN,
    "chunk size with a sign": b"+1\r\na\r\n" + LAST + ADMIN,
    "chunk size with a blank": b"1 \r\na\r\n" + LAST + ADMIN,
    "chunk size with an underscore": b"0_1\r\na\r\n" + LAST + ADMIN,
    "trailer with a length": b"0\r\nContent-Length: 5\r\n\r\n" + ADMIN,
    "trailer ends with a bare LF": b"0\r\nX: y\n\n" + ADMIN,
    "request in the trailers": b"0\r\n" + ADMIN,
    "quoted extension with a line end": b'1;a="\r\na\r\n0\r\n\r\n' + ADMIN + b'"\r\n',
}.items():
    P.refuse(f"smuggled, {title}", post(b"Transfer-Encoding: chunked", body=body), SMUGGLE, in_body=True)

for title, second in {
    "no host": request(host=None),
    "bad method": request(method=b"G(T"),
    "bad version": request(version=b"HTTP/1.10"),
    "bad length": post(b"Content-Length: x"),
    "length and coding": post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=LAST),
    "bad field": request(b"X : y"),
    "rubbish": b"\x00\x01\x02\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: a.example\n\n",
    "two blanks": request(line=b"GET  / HTTP/1.1"),
}.items():
    P.refuse(f"second is bad, {title}", request() + second + ADMIN, ORDER, 400, 505, bodies=(b"",))
    P.refuse(
        f"third is bad, {title}",
        sized(b"ab") + chunked(b"cd") + second + ADMIN,
        ORDER,
        400,
        505,
        bodies=(b"ab", b"cd"),
    )
P.refuse(
    "length too small", post(b"Content-Length: 1", body=b"ab") + request(), SMUGGLE, 400, 501, bodies=(b"a",)
)
P.refuse("data behind the last chunk", chunked(b"a") + b"x" + request(), SMUGGLE, 400, 501, bodies=(b"a",))
P.refuse(
    "second chunked is bad",
    request() + post(b"Transfer-Encoding: chunked", body=b"x\r\n"),
    ORDER,
    bodies=(b"",),
    in_body=True,
)
P.refuse("second too long", request() + request(b"X: " + b"y" * 9000), ORDER, 431, bodies=(b"",))
P.either("two empty lines between", request() + b"\r\n\r\n" + request(), "RFC 9112 2.2", bodies=(b"", b""))
P.refuse(
    "length swallows the second",
    post(b"Content-Length: 10000", body=ADMIN),
    SMUGGLE,
    SILENCE,
    400,
    408,
    in_body=True,
)

CASES = P.cases
