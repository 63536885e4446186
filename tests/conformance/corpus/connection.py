"""Persistence, Connection options and Upgrade (RFC 9112 section 9, RFC 9110 section 7.6.1 and 7.8)."""

from __future__ import annotations

from corpus.case import Chapter, post, request

C = Chapter("connection")
PERSISTENCE = "RFC 9112 9.3"
OPTIONS = "RFC 9110 7.6.1"
UPGRADE = "RFC 9110 7.8"
NEXT = request(target=b"/next")


def asking(*values: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    """A request with these Connection fields."""
    return request(*(b"Connection: " + value for value in values), version=version)


for title, values in {
    "nothing": (),
    "keep-alive": (b"keep-alive",),
    "odd case": (b"Keep-Alive",),
    "other option": (b"foo",),
    "upgrade": (b"Upgrade",),
    "keep-alive and upgrade": (b"keep-alive, Upgrade",),
    "closed": (b"closed",),
    "not-close": (b"not-close",),
    "empty": (b"",),
    "comma": (b",",),
    "two fields": (b"keep-alive", b"foo"),
    "names a field": (b"X-Foo",),
    "names host": (b"host",),
    "names content-length": (b"Content-Length",),
    "http2-settings": (b"Upgrade, HTTP2-Settings",),
    "TE": (b"TE",),
}.items():
    C.accept(f"stays open, {title}", asking(*values) + NEXT, PERSISTENCE, b"", b"", closes=False)
for title, values in {
    "close": (b"close",),
    "capital": (b"Close",),
    "upper case": (b"CLOSE",),
    "blanks": (b"  close\t",),
    "last of a list": (b"foo, close",),
    "first of a list": (b"close, foo",),
    "list without blanks": (b"foo,close,bar",),
    "empty elements": (b", close ,",),
    "with keep-alive first": (b"keep-alive, close",),
    "with keep-alive last": (b"close, keep-alive",),
    "second field": (b"foo", b"close"),
    "second field behind keep-alive": (b"keep-alive", b"close"),
    "first field before keep-alive": (b"close", b"keep-alive"),
    "with upgrade": (b"Upgrade, close",),
    "with tabs": (b"foo\t,\tclose",),
}.items():
    C.accept(f"closes, {title}", asking(*values), PERSISTENCE, closes=True, seen={"keep_alive": False})
    C.accept(f"closes before the next, {title}", asking(*values) + NEXT, "RFC 9112 9.6", closes=True)
C.accept("1.0 closes", asking(version=b"HTTP/1.0") + NEXT, PERSISTENCE, closes=True)
C.accept(
    "1.0 closes with another option", asking(b"foo", version=b"HTTP/1.0") + NEXT, PERSISTENCE, closes=True
)
C.accept("1.0 closes with close", asking(b"close", version=b"HTTP/1.0") + NEXT, PERSISTENCE, closes=True)
C.accept(
    "1.0 closes with both", asking(b"keep-alive, close", version=b"HTTP/1.0") + NEXT, PERSISTENCE, closes=True
)
C.either(
    "1.0 with keep-alive",
    asking(b"keep-alive", version=b"HTTP/1.0") + NEXT,
    PERSISTENCE,
    bodies=(b"", b""),
    note="may stay open",
)
C.accept("1.0 with keep-alive alone", asking(b"keep-alive", version=b"HTTP/1.0"), PERSISTENCE)
C.accept(
    "1.0 with keep-alive field only",
    request(b"Keep-Alive: timeout=5", version=b"HTTP/1.0") + NEXT,
    PERSISTENCE,
    closes=True,
)
C.accept("1.2 stays open", request(version=b"HTTP/1.2") + NEXT, PERSISTENCE, b"", b"", closes=False)
C.accept(
    "Keep-Alive field means nothing", request(b"Keep-Alive: timeout=5, max=0") + NEXT, PERSISTENCE, b"", b""
)
C.accept(
    "Proxy-Connection means nothing",
    request(b"Proxy-Connection: close") + NEXT,
    PERSISTENCE,
    b"",
    b"",
    closes=False,
)
C.accept(
    "Proxy-Connection means nothing in 1.0",
    request(b"Proxy-Connection: keep-alive", version=b"HTTP/1.0") + NEXT,
    PERSISTENCE,
    closes=True,
)
C.accept(
    "close behind content",
    post(b"Content-Length: 2", b"Connection: close", body=b"ab") + NEXT,
    PERSISTENCE,
    b"ab",
    closes=True,
)
C.accept(
    "close behind chunks",
    post(b"Transfer-Encoding: chunked", b"Connection: close", body=b"0\r\n\r\n") + NEXT,
    PERSISTENCE,
    closes=True,
)
C.accept("rubbish behind close", asking(b"close") + b"\x00\x01rubbish", "RFC 9112 9.6", closes=True)
C.accept(
    "HEAD and close",
    request(b"Connection: close", method=b"HEAD"),
    PERSISTENCE,
    closes=True,
    heads=frozenset({0}),
)
C.accept("second one closes", request() + asking(b"close") + NEXT, PERSISTENCE, b"", b"", closes=True)
for value in (b"cl ose", b'"close"', b"close;q=1", b"/", b"a b"):
    C.either(f"no option, {value.decode()}", asking(value), OPTIONS)

for title, fields in {
    "h2c": (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
    "unknown": (b"Connection: Upgrade", b"Upgrade: foo/1"),
    "list": (b"Connection: Upgrade", b"Upgrade: foo/1, bar"),
    "http/2.0": (b"Connection: Upgrade", b"Upgrade: HTTP/2.0"),
    "tls": (b"Connection: Upgrade", b"Upgrade: TLS/1.0"),
    "not in connection": (b"Upgrade: foo",),
    "empty": (b"Connection: Upgrade", b"Upgrade:"),
}.items():
    C.accept(f"upgrade ignored, {title}", request(*fields) + NEXT, UPGRADE, b"", b"")
C.accept(
    "upgrade with content",
    post(b"Connection: Upgrade", b"Upgrade: foo", b"Content-Length: 2", body=b"ab") + NEXT,
    UPGRADE,
    b"ab",
    b"",
)
C.accept(
    "upgrade in 1.0",
    request(b"Connection: Upgrade", b"Upgrade: foo", version=b"HTTP/1.0"),
    UPGRADE,
    seen={"upgrade": None},
)

CASES = C.cases
