"""Transfer-Encoding (RFC 9112 sections 6.1 and 7): which codings, in which order, under which disguise."""

from __future__ import annotations

from corpus.case import Chapter, post, request

T = Chapter("transfer_encoding")
CODING = "RFC 9112 6.1"
FINAL = "RFC 9112 6.3"
NAMES = "RFC 9112 7"
BODY = b"5\r\nhello\r\n0\r\n\r\n"
HIDDEN = request(target=b"/admin")


def coded(value: bytes, body: bytes = BODY) -> bytes:
    """A POST with chunked content under the given Transfer-Encoding text."""
    return post(b"Transfer-Encoding: " + value, body=body)


for title, value in {
    "chunked": b"chunked",
    "capital": b"Chunked",
    "upper case": b"CHUNKED",
    "odd case": b"cHuNkEd",
    "blanks around": b"  chunked  ",
    "tabs around": b"\tchunked\t",
}.items():
    T.accept(
        title,
        coded(value) + request(),
        NAMES,
        b"hello",
        b"",
        seen={"chunked": True, "content_length": None},
        closes=False,
    )
T.accept("no blank", post(b"Transfer-Encoding:chunked", body=BODY), NAMES, b"hello")
T.accept("odd name", post(b"tRANSFER-eNCODING: chunked", body=BODY), "RFC 9110 5.1", b"hello")
T.accept("with GET", request(b"Transfer-Encoding: chunked", body=BODY) + request(), FINAL, b"hello", b"")
T.accept(
    "with OPTIONS",
    request(b"Transfer-Encoding: chunked", method=b"OPTIONS", body=BODY) + request(),
    FINAL,
    b"hello",
    b"",
)
T.accept(
    "with PUT",
    request(b"Transfer-Encoding: chunked", method=b"PUT", body=BODY) + request(),
    FINAL,
    b"hello",
    b"",
)
T.accept(
    "with HTTP/1.2", request(b"Transfer-Encoding: chunked", version=b"HTTP/1.2", body=BODY), FINAL, b"hello"
)
T.accept(
    "near names are others",
    request(b"Transfer-Encodings: chunked", b"X-Transfer-Encoding: chunked") + request(),
    CODING,
    b"",
    b"",
)
T.accept("TE trailers", request(b"TE: trailers", b"Connection: TE"), "RFC 9110 10.1.4")
T.accept("TE with weights", request(b"TE: trailers, deflate;q=0.5", b"Connection: TE"), "RFC 9110 10.1.4")
T.accept("TE empty", request(b"TE:", b"Connection: TE"), "RFC 9110 10.1.4")
T.accept("TE is no framing", request(b"TE: chunked") + request(), "RFC 9110 10.1.4", b"", b"")
T.either(
    "empty element last",
    coded(b"chunked,"),
    "RFC 9110 5.6.1.2",
    400,
    501,
    bodies=(b"hello",),
    note="MUST ignore empty elements, yet a known disguise",
)
T.either(
    "empty element first",
    coded(b", chunked"),
    "RFC 9110 5.6.1.2",
    400,
    501,
    bodies=(b"hello",),
    note="MUST ignore empty elements, yet a known disguise",
)
for title, value in {
    "gzip": b"gzip, chunked",
    "deflate": b"deflate, chunked",
    "compress": b"compress, chunked",
    "x-gzip": b"x-gzip, chunked",
    "two codings": b"deflate, gzip, chunked",
    "identity": b"identity, chunked",
}.items():
    T.either(
        f"other coding before chunked, {title}",
        coded(value),
        "RFC 9112 6.1",
        400,
        501,
        bodies=(b"hello",),
        closes=True,
        note="an unknown coding SHOULD be 501; Gunicorn hands the coded content over and closes",
    )
T.either(
    "other coding on its own line",
    post(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked", body=BODY),
    "RFC 9110 5.3",
    400,
    501,
    bodies=(b"hello",),
    closes=True,
)

for title, value in {
    "gzip": b"gzip",
    "identity": b"identity",
    "deflate": b"deflate",
    "empty": b"",
    "comma": b",",
    "gzip and identity": b"gzip, identity",
    "chunked first": b"chunked, gzip",
    "chunked before identity": b"chunked, identity",
    "chunked twice": b"chunked, chunked",
    "chunked twice, no blank": b"chunked,chunked",
    "chunked around gzip": b"chunked, gzip, chunked",
    "chunked three times": b"chunked, chunked, chunked",
    "chunked then unknown": b"chunked, x",
}.items():
    T.refuse(f"chunked not once and last, {title}", coded(value) + HIDDEN, FINAL, 400, 501)
for title, first, second in (
    ("identity behind", b"chunked", b"identity"),
    ("twice", b"chunked", b"chunked"),
    ("gzip behind", b"chunked", b"gzip"),
    ("unknown behind", b"chunked", b"x"),
    ("case differs", b"chunked", b"Chunked"),
    ("rubbish first", b"x", b"chunked"),
    ("cow first", b"cow", b"chunked"),
):
    T.refuse(
        f"two lines, {title}",
        post(b"Transfer-Encoding: " + first, b"Transfer-Encoding: " + second, body=BODY) + HIDDEN,
        FINAL,
        400,
        501,
    )
T.either(
    "two lines, one empty",
    post(b"Transfer-Encoding:", b"Transfer-Encoding: chunked", body=BODY),
    "RFC 9110 5.6.1.2",
    400,
    501,
    bodies=(b"hello",),
)

for title, value in {
    "unknown": b"foo",
    "unknown before chunked": b"foo, chunked",
    "brotli": b"br, chunked",
    "x first": b"xchunked",
    "x last": b"chunkedx",
    "short": b"chunk",
    "plural": b"chunkeds",
    "two words": b"chunked chunked",
    "word behind": b"chunked foo",
    "word before": b"foo chunked",
    "parameter": b"chunked;a=b",
    "weight": b"chunked;q=1",
    "semicolon": b"chunked;",
    "semicolon first": b";chunked",
    "quoted": b'"chunked"',
    "apostrophes": b"'chunked'",
    "open quote": b'"chunked',
    "parentheses": b"(chunked)",
    "comment": b"chunked (a)",
    "brackets": b"[chunked]",
    "colon first": b": chunked",
    "equals": b"=chunked",
    "percent-encoded": b"%63hunked",
    "plus": b"+chunked",
    "backslash": b"chunked\\",
    "slash": b"chunked/1.0",
    "dot": b"chunked.",
    "dash": b"chunked-",
    "semicolon list": b"gzip; chunked",
    "no-break space first": b"\xa0chunked",
    "no-break space last": b"chunked\xa0",
    "next line last": b"chunked\x85",
    "0xff last": b"chunked\xff",
    "kelvin sign": b"chun\xe2\x84\xaaed",
    "dotless letters": b"\xc4\x87hunked",
    "byte order mark": b"\xef\xbb\xbfchunked",
    "zero-width space": b"\xe2\x80\x8bchunked",
    "control inside a list": b"chunked, \xa0",
    "none": b"none",
    "star": b"*",
    "null": b"null",
}.items():
    T.refuse(f"disguised, {title}", coded(value) + HIDDEN, NAMES, 400, 501)
for title, value in {
    "NUL last": b"chunked\x00",
    "NUL first": b"\x00chunked",
    "vertical tab first": b"\x0bchunked",
    "vertical tab last": b"chunked\x0b",
    "form feed first": b"\x0cchunked",
    "form feed last": b"chunked\x0c",
    "bare CR first": b"\rchunked",
    "bare CR last": b"chunked\r",
    "bare LF first": b"\nchunked",
    "bare LF last": b"chunked\n",
    "DEL last": b"chunked\x7f",
    "backspace": b"chunkedx\x08",
    "file separator": b"\x1cchunked",
}.items():
    T.refuse(f"disguised, {title}", coded(value) + HIDDEN, "RFC 9110 5.5", 400)

for title, head in {
    "blank before the colon": b"Transfer-Encoding : chunked",
    "tab before the colon": b"Transfer-Encoding\t: chunked",
    "blank first": b" Transfer-Encoding: chunked",
    "tab first": b"\tTransfer-Encoding: chunked",
    "folded value": b"Transfer-Encoding:\r\n chunked",
    "folded list": b"Transfer-Encoding: identity\r\n , chunked",
    "folded name": b"Transfer-\r\n Encoding: chunked",
    "behind a bare LF": b"X: y\nTransfer-Encoding: chunked",
    "behind a bare CR": b"X: y\rTransfer-Encoding: chunked",
    "behind CR CR LF": b"X: y\r\r\nTransfer-Encoding: chunked",
    "no colon": b"Transfer-Encoding chunked",
    "equals": b"Transfer-Encoding= chunked",
    "quoted name": b'"Transfer-Encoding": chunked',
    "two colons": b"Transfer-Encoding:: chunked",
    "long s": b"Tran\xc5\xbffer-Encoding: chunked",
    "soft hyphen": b"Transfer\xad-Encoding: chunked",
    "non-ascii dash": b"Transfer\xe2\x80\x90Encoding: chunked",
    "blank for the dash": b"Transfer Encoding: chunked",
    "NUL in the name": b"Transfer-\x00Encoding: chunked",
}.items():
    T.refuse(
        f"disguised field, {title}",
        post(b"Content-Length: 5", head, body=b"0\r\n\r\n" + HIDDEN),
        "RFC 9112 5",
        400,
        501,
    )
T.accept(
    "underscore is another field",
    post(b"Content-Length: 5", b"Transfer_Encoding: chunked", body=b"0\r\n\r\n"),
    "behaviour E3",
    b"0\r\n\r\n",
    lacks=(b"transfer_encoding",),
)

T.refuse(
    "HTTP/1.0", request(b"Transfer-Encoding: chunked", method=b"POST", version=b"HTTP/1.0", body=BODY), CODING
)
T.refuse(
    "HTTP/1.0, kept alive",
    request(
        b"Transfer-Encoding: chunked", b"Connection: keep-alive", version=b"HTTP/1.0", body=BODY + HIDDEN
    ),
    CODING,
)
T.refuse(
    "HTTP/1.0 and length",
    request(b"Transfer-Encoding: chunked", b"Content-Length: 15", version=b"HTTP/1.0", body=BODY),
    CODING,
)
T.refuse(
    "HTTP/1.0 and identity", request(b"Transfer-Encoding: identity", version=b"HTTP/1.0"), CODING, 400, 501
)

CASES = T.cases
