"""Field lines (RFC 9112 section 5, RFC 9110 section 5)."""

from __future__ import annotations

from corpus.case import Chapter, post, request

F = Chapter("fields")
NAME = "RFC 9110 5.1"
VALUE = "RFC 9110 5.5"
LINE = "RFC 9112 5.1"
FOLD = "RFC 9112 5.2"
EOL = "RFC 9112 2.2"
FIRST = b"GET / HTTP/1.1\r\nHost: a.example\r\n"
SPACES = {"strip_header_spaces": True}
FOLDING = {"permit_obsolete_folding": True}

for name in (
    b"!#$%&'*+-.^`|~",
    b"X",
    b"x",
    b"1",
    b"-",
    b"--",
    b"-X-",
    b"X.Y",
    b"!",
    b"~",
    b"|",
    b"'quoted'",
    b"$Version",
    b"X-" + b"a" * 300,
    b"content-length-x",
    b"x-transfer-encoding",
    b"hostess",
):
    F.accept(f"name {name[:20].decode()}", request(name + b": v"), NAME, has=((name.lower(), b"v"),))
F.accept("name in upper case", request(b"X-UPPER: V"), NAME, has=((b"x-upper", b"V"),))
F.accept("host in odd case", b"GET / HTTP/1.1\r\nhOsT: a.example\r\n\r\n", NAME)

for title, name in {
    "empty": b"",
    "blank inside": b"X Y",
    "tab inside": b"X\tY",
    "parenthesis": b"X(Y)",
    "less than": b"<X>",
    "at sign": b"X@Y",
    "comma": b"X,Y",
    "semicolon": b"X;Y",
    "backslash": b"X\\Y",
    "quote": b'"X"',
    "slash": b"X/Y",
    "bracket": b"[X]",
    "question mark": b"X?",
    "equals": b"X=Y",
    "brace": b"{X}",
    "NUL": b"X\x00Y",
    "NUL first": b"\x00X",
    "NUL last": b"X\x00",
    "bell": b"X\x07",
    "vertical tab": b"X\x0b",
    "form feed": b"X\x0cY",
    "bare CR": b"X\rY",
    "bare CR last": b"X\r",
    "DEL": b"X\x7f",
    "next line": b"X\x85",
    "no-break space": b"X\xa0",
    "latin-1": b"X\xe9",
    "utf-8": b"X\xc3\xa9",
    "soft hyphen": b"X\xadY",
    "escape": b"\x1bX",
    "0xff": b"X\xff",
}.items():
    F.refuse(f"no token, {title}", request(name + b": v"), NAME)

for title, line in {
    "no colon": b"X",
    "no colon, two words": b"X v",
    "blank before the colon": b"X : v",
    "tab before the colon": b"X\t: v",
    "blanks before the colon": b"X   : v",
    "colon only": b":",
    "two colons first": b":: v",
    "pseudo field": b":method: GET",
    "equals for the colon": b"X=v",
    "no-break space before the colon": b"X\xa0: v",
}.items():
    F.refuse(title, request(line), LINE)
for title, line in {
    "host": b"Host : b.example",
    "content-length": b"Content-Length : 5",
    "transfer-encoding": b"Transfer-Encoding : chunked",
    "transfer-encoding with tab": b"Transfer-Encoding\t: chunked",
    "transfer-encoding with vertical tab": b"Transfer-Encoding\x0b: chunked",
    "transfer-encoding with no-break space": b"Transfer-Encoding\xa0: chunked",
    "transfer-encoding with CR": b"Transfer-Encoding\r: chunked",
    "transfer-encoding with NUL": b"Transfer-Encoding\x00: chunked",
}.items():
    F.refuse(f"something before the colon of {title}", post(line, body=b"0\r\n\r\n"), LINE)

F.accept(
    "blank before the colon stripped", request(b"X : v"), "behaviour E1", settings=SPACES, has=((b"x", b"v"),)
)
F.accept(
    "tab before the colon stripped", request(b"X\t : v"), "behaviour E1", settings=SPACES, has=((b"x", b"v"),)
)
F.accept(
    "content-length stripped counts",
    post(b"Content-Length : 5", body=b"hello") + request(),
    "behaviour E1",
    b"hello",
    b"",
    settings=SPACES,
)
F.accept(
    "transfer-encoding stripped counts",
    post(b"Transfer-Encoding : chunked", body=b"2\r\nab\r\n0\r\n\r\n") + request(),
    "behaviour E1",
    b"ab",
    b"",
    settings=SPACES,
)
F.refuse("stripped duplicate host", request(b"Host : b.example"), "RFC 9112 3.2", settings=SPACES)
F.refuse(
    "stripped transfer-encoding with content-length",
    post(b"Content-Length: 3", b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "RFC 9112 6.1",
    settings=SPACES,
)
F.refuse("strip is for blanks only", request(b"X\x0b: v"), "behaviour E1", settings=SPACES)
F.refuse("strip is not for the front", request(b" X: v"), EOL, settings=SPACES)
F.refuse("strip leaves no name", request(b" : v"), NAME, settings=SPACES)
F.refuse("strip keeps blanks inside", request(b"X Y : v"), NAME, settings=SPACES)

for title, raw, value in (
    ("empty", b"", b""),
    ("blank only", b" ", b""),
    ("blanks and tabs only", b" \t \t", b""),
    ("no blank", b"v", b"v"),
    ("many blanks", b"   v", b"v"),
    ("tab", b"\tv", b"v"),
    ("trailing blanks", b" v  ", b"v"),
    ("trailing tab", b" v\t", b"v"),
    ("blanks inside", b" a  b", b"a  b"),
    ("tab inside", b" a\tb", b"a\tb"),
    ("colon", b" a:b", b"a:b"),
    ("colons only", b":::", b":::"),
    ("quotes", b' "a, b"', b'"a, b"'),
    ("open quote", b' "a', b'"a'),
    ("escaped quote", b' "a\\"b"', b'"a\\"b"'),
    ("comment", b" a (b (c))", b"a (b (c))"),
    ("every visible character", b" " + bytes(range(0x21, 0x7F)), bytes(range(0x21, 0x7F))),
    ("every obs-text byte", b" " + bytes(range(0x80, 0x100)), bytes(range(0x80, 0x100))),
    ("utf-8", b" caf\xc3\xa9", b"caf\xc3\xa9"),
    ("no-break space kept", b" \xa0v\xa0", b"\xa0v\xa0"),
    ("next line kept", b" \x85v\x85", b"\x85v\x85"),
    ("line separator kept", b" a\xe2\x80\xa8b", b"a\xe2\x80\xa8b"),
    ("one obs-text byte", b" \xff", b"\xff"),
    ("list with empty elements", b" , a, ,b,,", b", a, ,b,,"),
    ("commas only", b" ,,,", b",,,"),
    ("looks like a request", b" GET / HTTP/1.1", b"GET / HTTP/1.1"),
    ("percent", b" %0d%0aX: y", b"%0d%0aX: y"),
    ("backslash escapes", b" a\\r\\nX: y", b"a\\r\\nX: y"),
    ("long", b" " + b"v" * 8000, b"v" * 8000),
    ("json", b' {"a": [1, 2]}', b'{"a": [1, 2]}'),
):
    F.accept(f"value, {title}", request(b"X-V:" + raw), VALUE, has=((b"x-v", value),))

for number in [*range(9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F]:
    F.refuse(f"control 0x{number:02x} in a value", request(b"X: a" + bytes((number,)) + b"b"), VALUE)
for title, value in {
    "NUL first": b"\x00a",
    "NUL last": b"a\x00",
    "bare CR": b"a\rb",
    "bare CR first": b"\ra",
    "bare CR last": b"a\r",
    "CR CR": b"a\r\rb",
    "bare CR hides a field": b"a\rTransfer-Encoding: chunked",
    "bare LF hides a field": b"a\nTransfer-Encoding: chunked",
    "LF CR hides a field": b"a\n\rTransfer-Encoding: chunked",
    "bare LF last": b"a\n",
    "vertical tab last": b"a\x0b",
    "form feed first": b"\x0ca",
    "DEL last": b"a\x7f",
}.items():
    F.refuse(f"value, {title}", request(b"X: " + value), VALUE)
F.refuse("NUL in the host", request(host=b"a\x00.example"), VALUE)
F.refuse("control in a known field", request(b"User-Agent: a\x08b"), VALUE)
F.refuse("bare CR in a cookie", request(b"Cookie: a=b\rc=d"), VALUE)

for title, data in {
    "bare LF behind a field": FIRST + b"X: y\n\r\n",
    "bare LF between fields": b"GET / HTTP/1.1\r\nHost: a.example\nX: y\r\n\r\n",
    "bare LF ends the head": FIRST + b"\n",
    "two bare LF end the head": FIRST + b"X: y\n\n",
    "CR CR LF behind a field": FIRST + b"X: y\r\r\n\r\n",
    "CR LF CR CR LF": FIRST + b"X: y\r\n\r\r\n",
    "LF CR LF": FIRST + b"X: y\n\r\n\r\n",
    "CR CR ends the head": FIRST + b"X: y\r\r" + b"X: y\r\n\r\n",
    "blank in the empty line": FIRST + b" \r\n",
    "tab in the empty line": FIRST + b"X: y\r\n\t\r\n\r\n",
    "NUL in the empty line": FIRST + b"\x00\r\n\r\n",
}.items():
    F.refuse(title, data, EOL)

F.refuse("folded", request(b"X: a\r\n b"), FOLD)
F.refuse("folded with a tab", request(b"X: a\r\n\tb"), FOLD)
F.refuse("folded to nothing", request(b"X: a\r\n "), FOLD)
F.refuse("folded before the value", request(b"X:\r\n a"), FOLD)
F.refuse("folded host", b"GET / HTTP/1.1\r\nHost:\r\n a.example\r\n\r\n", FOLD)
F.refuse("folded transfer-encoding", post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"), FOLD)
F.refuse("folded content-length", post(b"Content-Length:\r\n 5", body=b"hello"), FOLD)
F.refuse("fold that looks like a field", request(b"X: a\r\n Transfer-Encoding: chunked"), FOLD)
F.refuse("blank before the first field", b"GET / HTTP/1.1\r\n Host: a.example\r\n\r\n", EOL)
F.refuse("blank before the first of two", b"GET / HTTP/1.1\r\n X: y\r\nHost: a.example\r\n\r\n", EOL)
F.refuse("tab before the first field", b"GET / HTTP/1.1\r\n\tX: y\r\nHost: a.example\r\n\r\n", EOL)

F.accept("fold permitted", request(b"X: a\r\n b"), "behaviour E1", settings=FOLDING, has=((b"x", b"a b"),))
F.accept(
    "fold permitted, tab", request(b"X: a\r\n\tb"), "behaviour E1", settings=FOLDING, has=((b"x", b"a b"),)
)
F.accept(
    "fold permitted, many blanks",
    request(b"X: a\r\n \t b"),
    "behaviour E1",
    settings=FOLDING,
    has=((b"x", b"a b"),),
)
F.accept(
    "fold permitted, twice",
    request(b"X: a\r\n b\r\n c", b"Y: d"),
    "behaviour E1",
    settings=FOLDING,
    has=((b"x", b"a b c"), (b"y", b"d")),
)
F.accept(
    "fold permitted, looks like a field",
    request(b"X: a\r\n Transfer-Encoding: chunked"),
    "behaviour E1",
    settings=FOLDING,
    has=((b"x", b"a Transfer-Encoding: chunked"),),
    lacks=(b"transfer-encoding",),
)
F.accept(
    "fold permitted, content-length",
    post(b"Content-Length:\r\n 5", body=b"hello") + request(),
    "behaviour E1",
    b"hello",
    b"",
    settings=FOLDING,
)
F.either(
    "fold permitted, blank before the first field",
    b"GET / HTTP/1.1\r\n X: y\r\nHost: a.example\r\n\r\n",
    EOL,
    settings=FOLDING,
    lacks=(b"x",),
)
F.refuse("fold permitted, NUL in the fold", request(b"X: a\r\n \x00b"), VALUE, settings=FOLDING)
F.refuse("fold permitted, bare LF before the fold", request(b"X: a\n b"), EOL, settings=FOLDING)
F.refuse("fold permitted, bare CR before the fold", request(b"X: a\r b"), EOL, settings=FOLDING)
F.refuse("fold permitted, folded name", request(b"X\r\n : a"), NAME, settings=FOLDING)
F.refuse(
    "fold permitted, content-length list",
    post(b"Content-Length: 5\r\n 5", body=b"hello"),
    "RFC 9110 8.6",
    settings=FOLDING,
)

F.accept(
    "repeated list field",
    request(b"Accept: a/b", b"Accept: c/d"),
    "RFC 9110 5.3",
    has=((b"accept", b"a/b"), (b"accept", b"c/d")),
)
F.accept(
    "repeated unknown field", request(b"X: 1", b"x: 2"), "RFC 9110 5.3", has=((b"x", b"1"), (b"x", b"2"))
)
F.accept("repeated cookie", request(b"Cookie: a=b", b"Cookie: c=d"), "RFC 6265 5.4")
F.accept("one hundred fields", request(*(b"X-%d: y" % number for number in range(99))), "behaviour E1")
F.refuse(
    "two content types",
    post(b"Content-Type: a/b", b"Content-Type: c/d", b"Content-Length: 0"),
    "behaviour E1",
)
F.refuse(
    "the same content type twice",
    post(b"Content-Type: a/b", b"Content-Type: a/b", b"Content-Length: 0"),
    "behaviour E1",
)
F.accept(
    "odd content type",
    post(b"Content-Type: ;;;", b"Content-Length: 0"),
    VALUE,
    has=((b"content-type", b";;;"),),
)
F.accept(
    "unknown content coding",
    post(b"Content-Encoding: foo", b"Content-Length: 1", body=b"x"),
    "RFC 9110 8.4",
    b"x",
)
F.accept(
    "browser",
    request(
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        b"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
        b"Accept-Language: en-US,en;q=0.5",
        b"Accept-Encoding: gzip, deflate, br, zstd",
        b'Sec-CH-UA: "Chromium";v="128", "Not;A=Brand";v="24"',
        b"Sec-Fetch-Site: none",
        b"DNT: 1",
        b'Cookie: a=b; c="d"; e=f=g',
        b"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
        b'If-None-Match: W/"a", "b"',
        b"Range: bytes=0-1,-5",
        b"Connection: keep-alive",
    ),
    VALUE,
)

CASES = F.cases
