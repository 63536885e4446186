"""Content-Length (RFC 9110 section 8.6) and what it frames (RFC 9112 section 6)."""

from __future__ import annotations

from corpus.case import SILENCE, Chapter, post, request

C = Chapter("content_length")
GRAMMAR = "RFC 9110 8.6"
FRAMING = "RFC 9112 6.3"
HIDDEN = request(target=b"/admin")


def sized(value: bytes, body: bytes = b"hello") -> bytes:
    """A POST whose Content-Length is the given text."""
    return post(b"Content-Length: " + value, body=body)


C.accept("zero", sized(b"0", b""), GRAMMAR, seen={"content_length": 0})
C.accept("five", sized(b"5"), GRAMMAR, b"hello", seen={"content_length": 5, "chunked": False})
C.accept("zeros first", sized(b"005"), GRAMMAR, b"hello")
C.accept("twenty zeros first", sized(b"0" * 20 + b"5"), GRAMMAR, b"hello")
C.accept("zeros only", sized(b"000", b""), GRAMMAR)
C.accept("eight is not octal", sized(b"08", b"12345678"), GRAMMAR, b"12345678")
C.accept("ten with a zero first", sized(b"010", b"1234567890"), GRAMMAR, b"1234567890")
C.accept("blanks around", post(b"Content-Length: \t 5 \t ", body=b"hello"), "RFC 9110 5.5", b"hello")
C.accept("no blank", post(b"Content-Length:5", body=b"hello"), "RFC 9110 5.5", b"hello")
C.accept("odd case", post(b"cOnTeNt-LeNgTh: 5", body=b"hello"), "RFC 9110 5.1", b"hello")
C.accept(
    "with GET", request(b"Content-Length: 5", body=b"hello") + request(), "RFC 9110 9.3.1", b"hello", b""
)
C.accept(
    "with DELETE", request(b"Content-Length: 5", method=b"DELETE", body=b"hello"), "RFC 9110 9.3.5", b"hello"
)
C.accept(
    "with OPTIONS",
    request(b"Content-Length: 5", method=b"OPTIONS", body=b"hello"),
    "RFC 9110 9.3.7",
    b"hello",
)
C.accept(
    "with HEAD",
    request(b"Content-Length: 5", method=b"HEAD", body=b"hello") + request(),
    FRAMING,
    b"hello",
    b"",
    heads=frozenset({0}),
)
C.accept(
    "with an unknown method",
    request(b"Content-Length: 5", method=b"FOO", body=b"hello") + request(),
    FRAMING,
    b"hello",
    b"",
)
C.accept(
    "with HTTP/1.0",
    request(b"Content-Length: 5", method=b"POST", version=b"HTTP/1.0", body=b"hello"),
    FRAMING,
    b"hello",
)
C.accept("every byte", sized(b"256", bytes(range(256))), FRAMING, bytes(range(256)))
C.accept("content looks like a request", sized(b"%d" % len(HIDDEN), HIDDEN), FRAMING, HIDDEN)
C.accept("content looks like chunks", sized(b"10", b"5\r\nhello\r\n"), FRAMING, b"5\r\nhello\r\n")
C.accept("content ends with an empty line", sized(b"4", b"\r\n\r\n") + request(), FRAMING, b"\r\n\r\n", b"")
C.accept(
    "empty line behind the content", sized(b"5", b"hello\r\n") + request(), "RFC 9112 2.2", b"hello", b""
)
C.accept(
    "POST without length",
    post() + request(),
    FRAMING,
    b"",
    b"",
    note="no framing means no content; 411 is a MAY of RFC 9112 6.3",
)
C.accept("PUT without length", request(method=b"PUT") + request(), FRAMING, b"", b"")
C.accept("large", sized(b"100000", b"x" * 100000) + request(), FRAMING, b"x" * 100000, b"")
C.accept(
    "near names are others",
    request(b"Content-Lengths: 5", b"X-Content-Length: 5") + request(),
    GRAMMAR,
    b"",
    b"",
)
C.refuse(
    "less than sent",
    sized(b"4", b"hello") + request(),
    FRAMING,
    400,
    501,
    bodies=(b"hell",),
    note="'oGET' is a method of small letters",
)

for title, value in {
    "plus": b"+5",
    "minus": b"-5",
    "minus zero": b"-0",
    "plus zero": b"+0",
    "empty": b"",
    "blank": b" ",
    "letters": b"five",
    "hexadecimal": b"0x5",
    "hexadecimal digits": b"A",
    "octal": b"0o5",
    "binary": b"0b101",
    "fraction": b"5.0",
    "exponent": b"5e0",
    "underscore": b"1_0",
    "comma last": b"5,",
    "comma first": b",5",
    "comma only": b",",
    "list that agrees": b"5, 5",
    "list that agrees, no blank": b"5,5",
    "list that disagrees": b"5, 6",
    "list with zero": b"0, 5",
    "list with text": b"5, a",
    "semicolon": b"5;",
    "parameter": b"5;a=b",
    "two numbers": b"5 5",
    "two numbers with a tab": b"5\t5",
    "quoted": b'"5"',
    "apostrophes": b"'5'",
    "parentheses": b"(5)",
    "letter last": b"5x",
    "letter first": b"x5",
    "percent-encoded": b"%35",
    "infinity": b"inf",
    "nan": b"nan",
    "none": b"None",
    "true": b"true",
    "superscript": b"\xb2",
    "superscript last": b"5\xb2",
    "arabic digit": b"\xd9\xa5",
    "full-width digit": b"\xef\xbc\x95",
    "no-break space last": b"5\xa0",
    "next line first": b"\x855",
    "NUL last": b"5\x00",
    "NUL first": b"\x005",
    "vertical tab first": b"\x0b5",
    "form feed last": b"5\x0c",
    "bare CR last": b"5\r",
    "bare CR first": b"\r5",
    "bare LF last": b"5\n",
    "thousands": b"1,000",
    "unit": b"5 bytes",
    "minus behind": b"5-",
    "range": b"5-6",
    "plus inside": b"1+4",
}.items():
    C.refuse(title, sized(value), GRAMMAR)

C.refuse("twice, the same", post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"), "behaviour E1")
C.refuse("twice, different", post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello"), FRAMING)
C.refuse("twice, zero first", post(b"Content-Length: 0", b"Content-Length: 44", body=b"hello"), FRAMING)
C.refuse("twice in different case", post(b"Content-Length: 5", b"CONTENT-LENGTH: 5", body=b"hello"), FRAMING)
C.refuse("twice, one empty", post(b"Content-Length: 5", b"Content-Length:", body=b"hello"), FRAMING)
C.refuse(
    "twice, one written with a zero",
    post(b"Content-Length: 5", b"Content-Length: 05", body=b"hello"),
    FRAMING,
)
C.refuse("twice far apart", post(b"Content-Length: 5", b"X: y", b"Content-Length: 0", body=b"hello"), FRAMING)
C.refuse("GET with a bad length", request(b"Content-Length: -1"), FRAMING)
C.refuse("HTTP/1.0 with a bad length", request(b"Content-Length: a", version=b"HTTP/1.0"), FRAMING)
C.refuse("HEAD with a bad length", request(b"Content-Length: a", method=b"HEAD"), FRAMING)

for title, value in {
    "2**31": b"2147483648",
    "2**32": b"4294967296",
    "2**63": b"9223372036854775808",
    "2**64": b"18446744073709551616",
    "2**64 and five": b"18446744073709551621",
    "forty digits": b"9" * 40,
    "five thousand digits": b"9" * 5000,
}.items():
    C.refuse(
        f"huge, {title}",
        sized(value) + HIDDEN,
        GRAMMAR,
        SILENCE,
        400,
        408,
        413,
        in_body=True,
        note="no overflow",
    )
C.either("seven thousand zeros", sized(b"0" * 7000 + b"5"), GRAMMAR, bodies=(b"hello",))

C.truncated("one byte short", sized(b"5", b"hell"), "RFC 9112 8", in_body=True)
C.truncated("no content", sized(b"5", b""), "RFC 9112 8", in_body=True)
C.truncated("swallows the next request", sized(b"1000", b"hello" + HIDDEN), "RFC 9112 8", in_body=True)
C.truncated("large and short", sized(b"100000", b"x" * 99999), "RFC 9112 8", in_body=True)
C.truncated("GET and short", request(b"Content-Length: 5", body=b"h"), "RFC 9112 8", in_body=True)
C.truncated(
    "second one is short", sized(b"5") + sized(b"5", b"h"), "RFC 9112 8", bodies=(b"hello",), in_body=True
)

for title, fields in {
    "length first": (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "coding first": (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "zero": (b"Content-Length: 0", b"Transfer-Encoding: chunked"),
    "correct": (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "identity": (b"Content-Length: 5", b"Transfer-Encoding: identity"),
    "unknown coding": (b"Content-Length: 5", b"Transfer-Encoding: x"),
    "empty coding": (b"Content-Length: 5", b"Transfer-Encoding:"),
    "upper case": (b"CONTENT-LENGTH: 5", b"TRANSFER-ENCODING: CHUNKED"),
    "coding between lengths": (b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "gzip": (b"Transfer-Encoding: gzip, chunked", b"Content-Length: 5"),
    "bad length": (b"Transfer-Encoding: chunked", b"Content-Length: x"),
    "huge length": (b"Transfer-Encoding: chunked", b"Content-Length: " + b"9" * 30),
}.items():
    C.refuse(
        f"with transfer-encoding, {title}",
        post(*fields, body=b"0\r\n\r\n" + HIDDEN),
        "RFC 9112 6.1",
        400,
        413,
        501,
    )
C.refuse(
    "with transfer-encoding, GET",
    request(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN),
    "RFC 9112 6.1",
)

CASES = C.cases
