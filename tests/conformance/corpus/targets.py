"""Request targets: the four forms of RFC 9112 section 3.2 over RFC 3986's grammar."""

from __future__ import annotations

from corpus.case import Chapter, request

T = Chapter("targets")
ORIGIN = "RFC 9112 3.2.1"
ABSOLUTE = "RFC 9112 3.2.2"
AUTHORITY = "RFC 9112 3.2.3"
ASTERISK = "RFC 9112 3.2.4"
ROOM = "RFC 9112 3"

for name, target, path, query in (
    ("root", b"/", b"/", b""),
    ("segments", b"/a/b/c", b"/a/b/c", b""),
    ("trailing slash", b"/a/", b"/a/", b""),
    ("two slashes first", b"//a.example/b", b"//a.example/b", b""),
    ("three slashes first", b"///", b"///", b""),
    ("slashes within", b"/a//b", b"/a//b", b""),
    ("dot segments", b"/a/../../b/./c", b"/a/../../b/./c", b""),
    ("every pchar", b"/azAZ09-._~!$&'()*+,;=:@", b"/azAZ09-._~!$&'()*+,;=:@", b""),
    ("colon first", b"/:", b"/:", b""),
    ("path looks like a url", b"/http://b.example/", b"/http://b.example/", b""),
    ("parameters", b"/a;b=c;d", b"/a;b=c;d", b""),
    ("percent-encoded", b"/%41%7a%20", b"/%41%7a%20", b""),
    ("percent-encoded slash", b"/a%2Fb%2f", b"/a%2Fb%2f", b""),
    ("percent-encoded NUL", b"/%00", b"/%00", b""),
    ("percent-encoded line end", b"/%0d%0aX:%20y", b"/%0d%0aX:%20y", b""),
    ("percent-encoded utf-8", b"/%E2%82%AC", b"/%E2%82%AC", b""),
    ("percent-encoded latin-1", b"/%e9", b"/%e9", b""),
    ("percent-encoded percent", b"/%25", b"/%25", b""),
    ("percent-encoded question mark", b"/%3Fa", b"/%3Fa", b""),
    ("percent-encoded hash", b"/%23a?b%23", b"/%23a", b"b%23"),
    ("query", b"/?a=b&c=d", b"/", b"a=b&c=d"),
    ("empty query", b"/?", b"/", b""),
    ("question marks in the query", b"/??a?b", b"/", b"?a?b"),
    ("slashes in the query", b"/?/a//b", b"/", b"/a//b"),
    ("every query character", b"/?azAZ09-._~!$&'()*+,;=:@/?", b"/", b"azAZ09-._~!$&'()*+,;=:@/?"),
    ("plus in the query", b"/?a+b", b"/", b"a+b"),
    ("percent in the query", b"/?%41%00%0A", b"/", b"%41%00%0A"),
    ("url in the query", b"/?u=http://b.example/?x=y", b"/", b"u=http://b.example/?x=y"),
    ("equals only", b"/?=", b"/", b"="),
    ("ampersands only", b"/?&&&", b"/", b"&&&"),
    ("long path", b"/" + b"a" * 3000, b"/" + b"a" * 3000, b""),
    ("long query", b"/?" + b"a" * 3000, b"/", b"a" * 3000),
):
    T.accept(
        f"origin, {name}",
        request(target=target),
        ORIGIN,
        seen={"target": target, "path": path, "query": query},
    )

for name, target in {
    "relative": b"a",
    "relative with slash": b"a/b",
    "dot": b".",
    "dot dot": b"../a",
    "query only": b"?a=b",
    "semicolon": b";a",
    "host only": b"a.example",
    "backslash": b"\\",
    "backslash path": b"\\a\\b",
    "percent-encoded slash": b"%2F",
    "hash only": b"#",
    "tilde": b"~a",
    "at": b"@a",
    "colon": b":",
    "number": b"80",
}.items():
    T.refuse(f"no form at all, {name}", request(target=target), "RFC 9112 3.2")

for name, target in {
    "fragment": b"/#a",
    "fragment behind the query": b"/?a#b",
    "empty fragment": b"/#",
    "two hashes": b"/a##b",
}.items():
    T.refuse(
        f"fragment, {name}",
        request(target=target),
        ORIGIN,
        note="a request target has no fragment (RFC 9110 7.1)",
    )

for name, byte in {
    "NUL": b"\x00",
    "SOH": b"\x01",
    "backspace": b"\x08",
    "tab": b"\t",
    "LF": b"\n",
    "vertical tab": b"\x0b",
    "form feed": b"\x0c",
    "CR": b"\r",
    "escape": b"\x1b",
    "unit separator": b"\x1f",
    "DEL": b"\x7f",
    "0x80": b"\x80",
    "next line": b"\x85",
    "no-break space": b"\xa0",
    "latin-1": b"\xe9",
    "utf-8": b"\xc3\xa9",
    "utf-8 overlong slash": b"\xc0\xaf",
    "emoji": b"\xf0\x9f\x92\xa9",
    "0xff": b"\xff",
}.items():
    T.refuse(f"byte in the path, {name}", request(target=b"/a" + byte + b"b"), "RFC 3986 3.3")
    T.refuse(f"byte in the query, {name}", request(target=b"/?a" + byte + b"b"), "RFC 3986 3.4")

for char in b'"<>\\^`{|}[]':
    text = bytes((char,))
    T.either(
        f"not a URI character in the path {text!r}",
        request(target=b"/a" + text),
        ROOM,
        note="SHOULD be 400; browsers send some",
    )
    T.either(
        f"not a URI character in the query {text!r}",
        request(target=b"/?a" + text),
        ROOM,
        note="SHOULD be 400; browsers send most",
    )
for target in (b"/%", b"/%4", b"/%zz", b"/%g0", b"/a%", b"/%%41", b"/%u0041", b"/?%", b"/?%zz", b"/?a=%4"):
    T.either(
        f"percent rubbish {target.decode()}", request(target=target), "RFC 3986 2.1", note="SHOULD be 400"
    )

HOST = b"b.example"
for name, target, path, query in (
    ("plain", b"http://b.example/a", b"/a", b""),
    ("no path", b"http://b.example", b"/", b""),
    ("no path but a query", b"http://b.example?q", b"/", b"q"),
    ("port", b"http://b.example:8080/a", b"/a", b""),
    ("empty port", b"http://b.example:/a", b"/a", b""),
    ("upper-case scheme", b"HTTP://b.example/a", b"/a", b""),
    ("upper-case host", b"http://B.EXAMPLE/a", b"/a", b""),
    ("ipv4", b"http://127.0.0.1/a", b"/a", b""),
    ("ipv6", b"http://[::1]/a", b"/a", b""),
    ("ipv6 and port", b"http://[::1]:80/a", b"/a", b""),
    ("ipvfuture", b"http://[v1.a:b]/a", b"/a", b""),
    ("query", b"http://b.example/a?b=http://c/", b"/a", b"b=http://c/"),
    ("slashes", b"http://b.example//a//b", b"//a//b", b""),
    ("percent-encoded host", b"http://b%2Eexample/a", b"/a", b""),
):
    T.accept(
        f"absolute, {name}",
        request(target=target, host=HOST),
        ABSOLUTE,
        seen={"target": target, "path": path, "query": query},
    )
T.accept(
    "absolute, other host in the field",
    request(target=b"http://b.example/a", host=b"c.example"),
    ABSOLUTE,
    seen={"path": b"/a"},
    note="the server MUST ignore the Host field and use the target's",
)
T.accept("absolute, empty host field", request(target=b"http://b.example/a", host=b""), ABSOLUTE)
T.accept(
    "absolute in HTTP/1.0", request(target=b"http://b.example/a", version=b"HTTP/1.0", host=None), ABSOLUTE
)
T.accept(
    "absolute with POST",
    request(b"Content-Length: 2", method=b"POST", target=b"http://b.example/a", body=b"ab"),
    ABSOLUTE,
    b"ab",
)
T.accept("absolute with OPTIONS", request(method=b"OPTIONS", target=b"http://b.example:8001"), ASTERISK)
T.accept("absolute with a WebDAV method", request(method=b"PROPFIND", target=b"http://b.example/a"), ABSOLUTE)
T.refuse("absolute without host field", request(target=b"http://b.example/a", host=None), "RFC 9112 3.2")
T.refuse(
    "absolute with two host fields", request(b"Host: b.example", target=b"http://b.example/a"), "RFC 9112 3.2"
)
T.refuse(
    "absolute with a bad host field", request(target=b"http://b.example/a", host=b"b example"), "RFC 9112 3.2"
)
T.either(
    "absolute, https over cleartext from a trusted peer",
    request(target=b"https://b.example/a"),
    "RFC 9110 7.4",
    400,
    421,
)
T.refuse(
    "absolute, https over cleartext from an untrusted peer",
    request(target=b"https://b.example/a"),
    "RFC 9110 7.4",
    400,
    421,
    settings={"forwarded_allow_ips": "192.0.2.1"},
    note="MUST be rejected unless the connection is secured or comes from a trusted gateway",
)
for name, target in {
    "empty host": b"http:///a",
    "empty host with port": b"http://:80/a",
    "no slashes": b"http:a",
    "one slash": b"http:/a",
    "port of letters": b"http://b.example:a/",
    "signed port": b"http://b.example:+80/",
    "two ports": b"http://b.example:80:80/",
    "open bracket": b"http://[::1/",
    "empty brackets": b"http://[]/",
    "ipv6 without brackets": b"http://::1/",
    "bad ipv6": b"http://[::g]/",
    "ipv4 in brackets": b"http://[127.0.0.1]/",
    "text behind the bracket": b"http://[::1]a/",
    "no scheme": b"://b.example/a",
    "scheme with a digit first": b"1http://b.example/a",
    "scheme with underscore": b"ht_tp://b.example/a",
    "fragment": b"http://b.example/#a",
    "fragment without path": b"http://b.example#a",
    "backslash in the host": b"http://b.example\\c/",
    "caret in the host": b"http://b^c/",
    "bar in the host": b"http://b|c/",
    "quote in the host": b'http://b"c/',
    "NUL in the host": b"http://b\x00c/",
    "non-ascii host": b"http://b\xc3\xa9/",
    "percent rubbish in the host": b"http://b%zz/",
    "brace in the host": b"http://{b}/",
}.items():
    T.refuse(f"absolute, {name}", request(target=target), "RFC 9110 4.2")
T.either(
    "absolute, user information",
    request(target=b"http://u:p@b.example/"),
    "RFC 9110 4.2.4",
    note="SHOULD be an error",
)
T.either("absolute, big port", request(target=b"http://b.example:99999/"), "RFC 3986 3.2.3")
T.either("absolute, ftp", request(target=b"ftp://b.example/a"), ABSOLUTE, 400, 421)
T.either("absolute, ws", request(target=b"ws://b.example/a"), ABSOLUTE, 400, 421)
T.either("absolute, urn", request(target=b"urn:a:b"), ABSOLUTE, 400, 421)
T.either("absolute, mailto", request(target=b"mailto:a@b.example"), ABSOLUTE, 400, 421)

T.accept(
    "asterisk with OPTIONS",
    request(method=b"OPTIONS", target=b"*"),
    ASTERISK,
    seen={"method": "OPTIONS", "target": b"*"},
)
T.accept(
    "asterisk with OPTIONS in HTTP/1.0",
    request(method=b"OPTIONS", target=b"*", version=b"HTTP/1.0"),
    ASTERISK,
)
T.accept("OPTIONS with a path", request(method=b"OPTIONS", target=b"/a"), ORIGIN)
T.accept("asterisk in a path", request(target=b"/*"), ORIGIN, seen={"path": b"/*"})
for method in (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"PROPFIND", b"PRI"):
    T.refuse(f"asterisk with {method.decode()}", request(method=method, target=b"*"), ASTERISK)
for target in (b"**", b"*/", b"*?a", b"*a", b"*#", b"%2A"):
    T.refuse(f"asterisk with more, {target.decode()}", request(method=b"OPTIONS", target=target), ASTERISK)

for name, target in {
    "name": b"b.example:80",
    "ipv4": b"127.0.0.1:443",
    "ipv6": b"[::1]:443",
    "underscore": b"my_host:65535",
}.items():
    T.accept(
        f"authority, {name}", request(method=b"CONNECT", target=target, host=target), AUTHORITY, closes=True
    )
    T.refuse(f"authority with GET, {name}", request(target=target, host=target), AUTHORITY)
for name, target in {
    "no port": b"b.example",
    "empty port": b"b.example:",
    "port of letters": b"b.example:http",
    "port too big": b"b.example:65536",
    "huge port": b"b.example:99999999999999999999",
    "signed port": b"b.example:+80",
    "two ports": b"b.example:80:80",
    "user information": b"u@b.example:80",
    "path": b"b.example:80/",
    "origin form": b"/",
    "absolute form": b"http://b.example:80/",
    "query": b"b.example:80?a",
    "ipv6 without brackets": b"::1:443",
    "open bracket": b"[::1:443",
    "bad ipv6": b"[:::1]:443",
    "non-ascii": b"b\xc3\xa9:80",
    "double slash": b"//b.example:80",
}.items():
    T.refuse(f"authority, {name}", request(method=b"CONNECT", target=target, host=b"b.example"), AUTHORITY)
T.either("authority, empty host", request(method=b"CONNECT", target=b":80", host=b"b.example"), AUTHORITY)
T.either(
    "authority, port zero",
    request(method=b"CONNECT", target=b"b.example:0", host=b"b.example:0"),
    "RFC 9110 9.3.6",
)

CASES = T.cases
