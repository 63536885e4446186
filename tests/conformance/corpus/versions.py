"""HTTP-version (RFC 9112 section 2.3): case-sensitive, one digit, a dot, one digit."""

from __future__ import annotations

from corpus.case import Chapter, request

V = Chapter("versions")
GRAMMAR = "RFC 9112 2.3"
ODD = {"permit_unconventional_http_version": True}

V.accept("1.1", request(), GRAMMAR, closes=False, seen={"version": "1.1", "keep_alive": True})
V.accept(
    "1.0", request(version=b"HTTP/1.0"), GRAMMAR, closes=True, seen={"version": "1.0", "keep_alive": False}
)
V.accept("1.0 without host", request(version=b"HTTP/1.0", host=None), "RFC 9112 3.2", closes=True)
V.accept("1.0 without any field", b"GET / HTTP/1.0\r\n\r\n", "RFC 9112 3.2", closes=True)
for minor in (b"2", b"3", b"9"):
    V.accept(
        f"1.{minor.decode()}",
        request(version=b"HTTP/1." + minor),
        "RFC 9110 6.2",
        note="a higher minor version is processed as the highest that is known (SHOULD)",
    )
for version in (b"HTTP/2.0", b"HTTP/3.0", b"HTTP/0.9", b"HTTP/0.0", b"HTTP/2.1", b"HTTP/9.9"):
    V.refuse(version.decode(), request(version=version), "RFC 9110 15.6.6", 400, 505)
    V.either(
        f"{version.decode()} permitted", request(version=version), "behaviour E1", 400, 505, settings=ODD
    )
V.accept("HTTP/1.1 with odd versions permitted", request(), GRAMMAR, settings=ODD)

BAD = {
    "HTTP/1.10": b"HTTP/1.10",
    "HTTP/1.01": b"HTTP/1.01",
    "HTTP/01.1": b"HTTP/01.1",
    "HTTP/11.1": b"HTTP/11.1",
    "HTTP/1": b"HTTP/1",
    "HTTP/1.": b"HTTP/1.",
    "HTTP/.1": b"HTTP/.1",
    "HTTP/": b"HTTP/",
    "HTTP": b"HTTP",
    "HTTP/2": b"HTTP/2",
    "HTTP1.1": b"HTTP1.1",
    "lower case": b"http/1.1",
    "mixed case": b"Http/1.1",
    "HTTPS": b"HTTPS/1.1",
    "XHTTP": b"XHTTP/1.1",
    "three numbers": b"HTTP/1.1.1",
    "comma": b"HTTP/1,1",
    "letters": b"HTTP/A.B",
    "hexadecimal": b"HTTP/1.A",
    "plus": b"HTTP/+1.1",
    "plus in the minor": b"HTTP/1.+1",
    "minus": b"HTTP/-1.1",
    "minus in the minor": b"HTTP/1.-1",
    "blank in the version": b"HTTP/1 .1",
    "blank behind the slash": b"HTTP/ 1.1",
    "blank before the slash": b"HTTP /1.1",
    "two slashes": b"HTTP//1.1",
    "backslash": b"HTTP\\1.1",
    "trailing letter": b"HTTP/1.1x",
    "trailing NUL": b"HTTP/1.1\x00",
    "underscore": b"HTTP/1_1",
    "underscore digits": b"HTTP/1.1_",
    "superscript one": b"HTTP/1.\xb9",
    "full-width digit": b"HTTP/1.\xef\xbc\x91",
    "arabic digit": b"HTTP/\xd9\xa1.1",
    "no-break space": b"HTTP/1.1\xa0",
    "ICY": b"ICY/1.1",
    "SIP": b"SIP/2.0",
    "RTSP": b"RTSP/1.0",
    "form feed": b"HTTP/1.1\x0c",
}
for name, version in BAD.items():
    V.refuse(name, request(version=version), GRAMMAR, 400, 505)
for name in (
    "HTTP/1.10",
    "HTTP/01.1",
    "lower case",
    "three numbers",
    "letters",
    "plus",
    "trailing NUL",
    "superscript one",
    "two slashes",
):
    V.refuse(
        f"{name} with odd versions permitted", request(version=BAD[name]), GRAMMAR, 400, 505, settings=ODD
    )

CASES = V.cases
