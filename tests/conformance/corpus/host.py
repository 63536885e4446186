"""The Host field (RFC 9112 section 3.2, RFC 9110 section 7.2): uri-host [ ":" port ]."""

from __future__ import annotations

from corpus.case import Chapter, request

H = Chapter("host")
PRESENCE = "RFC 9112 3.2"
GRAMMAR = "RFC 3986 3.2.2"

H.refuse("missing", request(host=None), PRESENCE)
H.refuse("missing, other fields", request(b"X: y", host=None), PRESENCE)
H.refuse("missing in POST", request(b"Content-Length: 1", method=b"POST", host=None, body=b"x"), PRESENCE)
H.refuse("missing in 1.2", request(host=None, version=b"HTTP/1.2"), PRESENCE)
H.refuse("missing with OPTIONS asterisk", request(method=b"OPTIONS", target=b"*", host=None), PRESENCE)
H.refuse("missing with CONNECT", request(method=b"CONNECT", target=b"a.example:80", host=None), PRESENCE)
H.refuse("only x-forwarded-host", request(b"X-Forwarded-Host: a.example", host=None), PRESENCE)
H.refuse("two", request(b"Host: b.example"), PRESENCE)
H.refuse("two that agree", request(b"Host: a.example"), PRESENCE)
H.refuse("two in different case", request(b"HOST: b.example"), PRESENCE)
H.refuse("two far apart", request(b"X: y", b"Y: z", b"host: b.example"), PRESENCE)
H.refuse("two, one empty", request(b"Host:"), PRESENCE)
H.refuse("two in HTTP/1.0", request(b"Host: b.example", version=b"HTTP/1.0"), PRESENCE)
H.refuse("three", request(b"Host: a.example", b"Host: a.example"), PRESENCE)

for title, value in {
    "name": b"a.example",
    "name and port": b"a.example:80",
    "name and empty port": b"a.example:",
    "zeros in the port": b"a.example:00080",
    "one label": b"localhost",
    "upper case": b"A.EXAMPLE",
    "dot last": b"a.example.",
    "underscore": b"my_host",
    "tilde": b"~a",
    "dash first": b"-a.example",
    "sub-delims": b"!$&'()*+;=",
    "percent-encoded": b"%41%c3%a9.example",
    "punycode": b"xn--bcher-kva.example",
    "digits": b"12345",
    "ipv4": b"127.0.0.1",
    "ipv4 and port": b"127.0.0.1:8000",
    "too big for ipv4": b"256.256.256.256",
    "ipv6": b"[::1]",
    "ipv6 and port": b"[::1]:8000",
    "ipv6 and empty port": b"[::1]:",
    "ipv6 any": b"[::]",
    "ipv6 full": b"[2001:db8:0:1:1:1:1:1]",
    "ipv6 upper case": b"[2001:DB8::A]",
    "ipv6 with ipv4": b"[::ffff:127.0.0.1]",
    "ipv6, ipv4 and port": b"[64:ff9b::192.0.2.1]:80",
    "ipvfuture": b"[v1.fe80::a+en1]",
    "ipvfuture and port": b"[vF.x]:80",
    "long": b"a" * 60 + b"." + b"b" * 60 + b".example",
}.items():
    H.accept(title, request(host=value), GRAMMAR, has=((b"host", value),))
H.accept(
    "empty",
    request(host=b""),
    PRESENCE,
    note="sent for targets without an authority; 3.3 also lets a server refuse",
)
H.accept("blank around", request(host=b"  a.example \t"), "RFC 9110 5.5", has=((b"host", b"a.example"),))
H.accept(
    "no blank", b"GET / HTTP/1.1\r\nHost:a.example\r\n\r\n", "RFC 9110 5.5", has=((b"host", b"a.example"),)
)
H.accept("last", b"GET / HTTP/1.1\r\nX: y\r\nHost: a.example\r\n\r\n", PRESENCE)
H.accept("in HTTP/1.0", request(version=b"HTTP/1.0"), PRESENCE)
H.accept("empty in HTTP/1.0", request(version=b"HTTP/1.0", host=b""), PRESENCE)
H.either("comma", request(host=b"a.example,b.example"), GRAMMAR, note="a comma is a sub-delim of reg-name")
H.either("port only", request(host=b":80"), GRAMMAR, note="uri-host may be empty")
H.either(
    "port too big", request(host=b"a.example:99999"), "RFC 3986 3.2.3", note="port is any number of digits"
)
H.either("ipv6 zone", request(host=b"[fe80::1%25eth0]"), "RFC 6874", note="not in RFC 3986's grammar")

for title, value in {
    "blank inside": b"a.example b.example",
    "tab inside": b"a\tb",
    "comma and blank": b"a.example, b.example",
    "url": b"http://a.example/",
    "scheme": b"http://a.example",
    "path": b"a.example/b",
    "slash last": b"a.example/",
    "slash only": b"/",
    "query": b"a.example?b",
    "hash": b"a.example#b",
    "user": b"u@a.example",
    "user and password": b"u:p@a.example",
    "at first": b"@a.example",
    "backslash": b"a.example\\b",
    "quotes": b'"a.example"',
    "angle brackets": b"<a.example>",
    "braces": b"{a}",
    "caret": b"a^b",
    "bar": b"a|b",
    "backtick": b"a`b",
    "percent": b"a%",
    "percent and one digit": b"a%4",
    "percent rubbish": b"a%zz",
    "open bracket": b"[::1",
    "closed bracket": b"::1]",
    "brackets around nothing": b"[]",
    "brackets around a name": b"[a.example]",
    "brackets around ipv4": b"[127.0.0.1]",
    "text behind the bracket": b"[::1]a",
    "text before the bracket": b"a[::1]",
    "port letters behind the bracket": b"[::1]:80a",
    "no colon behind the bracket": b"[::1]80",
    "nested brackets": b"[[::1]]",
    "ipv6 without brackets": b"::1",
    "long ipv6 without brackets": b"2001:db8::1",
    "ipv6 with letters": b"[::g]",
    "ipv6 with nine groups": b"[1:2:3:4:5:6:7:8:9]",
    "ipv6 with seven groups": b"[1:2:3:4:5:6:7]",
    "ipv6 with two gaps": b"[1::2::3]",
    "ipv6 with a long group": b"[12345::]",
    "ipv6 with three colons": b"[:::1]",
    "ipv6 with one colon first": b"[:1]",
    "ipv6 with bad ipv4": b"[::ffff:256.0.0.1]",
    "ipv6 with short ipv4": b"[::ffff:1.2.3]",
    "ipvfuture without dot": b"[v1]",
    "ipvfuture without version": b"[v.a]",
    "ipvfuture without address": b"[v1.]",
    "ipvfuture version of letters": b"[vG.a]",
    "port letters": b"a.example:http",
    "port letter last": b"a.example:80a",
    "port minus": b"a.example:-1",
    "port plus": b"a.example:+80",
    "port hexadecimal": b"a.example:0x50",
    "port blank": b"a.example: 80",
    "blank before the port": b"a.example :80",
    "two ports": b"a.example:80:80",
    "arabic port": b"a.example:\xd9\xa1",
    "superscript port": b"a.example:\xb2",
    "port underscore": b"a.example:8_0",
    "utf-8": b"b\xc3\xbccher.example",
    "latin-1": b"b\xfccher.example",
    "no-break space": b"a.example\xa0",
    "bell": b"a\x07.example",
    "DEL": b"a\x7f.example",
    "line injection": b"a.example\rX: y",
}.items():
    H.refuse(f"invalid, {title}", request(host=value), PRESENCE)
for title, value in {
    "path": b"a/b",
    "blank": b"a b",
    "utf-8": b"\xc3\xbc.example",
    "port": b"a.example:x",
}.items():
    H.refuse(f"invalid in HTTP/1.0, {title}", request(host=value, version=b"HTTP/1.0"), PRESENCE)

CASES = H.cases
