"""The request line (RFC 9112 section 3), its method and its blanks."""

from __future__ import annotations

from corpus.case import Chapter, post, request

R = Chapter("request_line")
LINE = "RFC 9112 3"
METHOD = "RFC 9110 9.1"
EOL = "RFC 9112 2.2"
UNUSUAL = {"permit_unconventional_http_method": True}
REST = b"Host: a.example\r\n\r\n"

for method in (
    b"GET HEAD POST PUT DELETE OPTIONS TRACE PATCH PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK M-SEARCH "
    b"NOTIFY SUBSCRIBE REPORT VERSION-CONTROL BASELINE-CONTROL UPDATEREDIRECTREF "
    b"PURGE QUERY ACL BIND LINK PRI FOO A1B X.Y A_B A-B !$%&'*+-.^_`|~ "
    b"123 ABCDEFGHIJKLMNOPQRST"
).split():
    R.accept(
        f"method {method.decode()}",
        request(method=method),
        METHOD,
        seen={"method": method.decode()},
        heads=frozenset({0} if method == b"HEAD" else ()),
    )

for name, method in {
    "lower case": b"get",
    "mixed case": b"Get",
    "two characters": b"GO",
    "one character": b"G",
    "twenty-one characters": b"A" * 21,
    "hash": b"G#T",
    "webdav in lower case": b"propfind",
}.items():
    R.refuse(
        f"unconventional method, {name}",
        request(method=method),
        "behaviour E1",
        400,
        501,
        note="a token, so RFC 9110 9.1 lets it be unknown; the setting is off",
    )
    R.accept(
        f"unconventional method permitted, {name}",
        request(method=method),
        "behaviour E1",
        settings=UNUSUAL,
        seen={"method": method.decode()},
    )

for name, method in {
    "at sign": b"G@T",
    "comma": b"GET,POST",
    "colon": b"GET:",
    "slash": b"GE/T",
    "brace": b"{GET}",
    "parenthesis": b"GET()",
    "quote": b'"GET"',
    "equals": b"GET=",
    "question mark": b"GET?",
    "semicolon": b"GET;",
    "backslash": b"G\\ET",
    "bracket": b"[GET]",
    "less than": b"<GET>",
    "NUL": b"GE\x00T",
    "DEL": b"GE\x7fT",
    "bell": b"GE\x07T",
    "latin-1": b"G\xc9T",
    "utf-8": b"G\xc3\x89T",
    "no-break space": b"GET\xa0",
    "byte order mark": b"\xef\xbb\xbfGET",
    "escape": b"\x1bGET",
}.items():
    R.refuse(f"method is no token, {name}", request(method=method), METHOD)
    R.refuse(f"method is no token, permitted, {name}", request(method=method), METHOD, settings=UNUSUAL)

for name, line in {
    "no method": b"/ HTTP/1.1",
    "empty method": b" / HTTP/1.1",
    "no target": b"GET HTTP/1.1",
    "empty target": b"GET  HTTP/1.1",
    "method only": b"GET",
    "method and blank": b"GET ",
    "two blanks before the target": b"GET  / HTTP/1.1",
    "two blanks after the target": b"GET /  HTTP/1.1",
    "leading blank": b" GET / HTTP/1.1",
    "leading tab": b"\tGET / HTTP/1.1",
    "trailing blank": b"GET / HTTP/1.1 ",
    "trailing tab": b"GET / HTTP/1.1\t",
    "tab after the method": b"GET\t/ HTTP/1.1",
    "tab after the target": b"GET /\tHTTP/1.1",
    "tabs": b"GET\t/\tHTTP/1.1",
    "blank in the target": b"GET /a b HTTP/1.1",
    "tab in the target": b"GET /a\tb HTTP/1.1",
    "request in the target": b"GET / HTTP/1.1 HTTP/1.1",
    "fourth word": b"GET / HTTP/1.1 x",
    "vertical tab separates": b"GET\x0b/\x0bHTTP/1.1",
    "form feed separates": b"GET\x0c/\x0cHTTP/1.1",
    "carriage return separates": b"GET\r/\rHTTP/1.1",
    "file separator separates": b"GET\x1c/\x1cHTTP/1.1",
    "unit separator separates": b"GET /\x1fHTTP/1.1",
    "next line separates": b"GET\x85/\x85HTTP/1.1",
    "no-break space separates": b"GET\xa0/\xa0HTTP/1.1",
    "ideographic space separates": b"GET\xe3\x80\x80/ HTTP/1.1",
    "NUL separates": b"GET\x00/\x00HTTP/1.1",
    "NUL behind the version": b"GET / HTTP/1.1\x00",
    "NUL first": b"\x00GET / HTTP/1.1",
    "bare CR behind the version": b"GET / HTTP/1.1\r",
    "bare CR before the version": b"GET / \rHTTP/1.1",
    "bare CR first": b"\rGET / HTTP/1.1",
    "a header line instead": b"Host: a.example",
    "a response": b"HTTP/1.1 200 OK",
    "json": b'{"jsonrpc": "2.0"}',
    "redis": b"*1",
    "ssh": b"SSH-2.0-OpenSSH_9.2",
    "smtp": b"EHLO a.example",
    "blanks only": b"   ",
}.items():
    R.refuse(name, request(line=line), LINE)

R.refuse("tls hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)) + b"\r\n\r\n", LINE)
R.refuse("binary rubbish", bytes(range(256)) + b"\r\n\r\n", LINE)
R.refuse("http/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", LINE, 400, 505)

R.accept("one empty line first", b"\r\n" + request(), EOL)
R.either(
    "two empty lines first",
    b"\r\n\r\n" + request(),
    EOL,
    note="SHOULD ignore at least one; Gunicorn ignores exactly one",
)
R.either("three empty lines first", b"\r\n\r\n\r\n" + request(), EOL)
R.refuse(
    "bare LF first",
    b"\n" + request(),
    "behaviour E1",
    note="RFC 9112 2.2 MAY take a bare LF; Gunicorn does not",
)
R.refuse("blank line with a blank first", b" \r\n" + request(), LINE)
R.refuse("CR CR LF first", b"\r\r\n" + request(), LINE)
R.refuse("LF CR first", b"\n\r" + request(), LINE)
R.refuse("bare LF ends the line", b"GET / HTTP/1.1\n" + REST, "behaviour E1")
R.refuse("bare LF everywhere", b"GET / HTTP/1.1\nHost: a.example\n\n", "behaviour E1")
R.refuse("CR CR LF ends the line", b"GET / HTTP/1.1\r\r\n" + REST, EOL)
R.refuse("LF CR ends the line", b"GET / HTTP/1.1\n\r" + REST, EOL)
R.refuse("CR alone ends the line", b"GET / HTTP/1.1\r" + REST, EOL)
R.refuse("unicode line separator ends the line", b"GET / HTTP/1.1\xe2\x80\xa8" + REST, EOL)
R.refuse("second request line in the head", b"GET / HTTP/1.1\r\nGET /admin HTTP/1.1\r\n" + REST, "RFC 9112 5")
R.refuse("folded request line", b"GET / HTTP/1.1\r\n x\r\n" + REST, EOL, note="blank before the first field")
R.refuse("request line split", b"GET /\r\n HTTP/1.1\r\n" + REST, EOL)
R.refuse("HTTP/0.9", b"GET /\r\n\r\n", LINE, 400, 505)
R.refuse("HTTP/0.9 with host", b"GET /\r\n" + REST, LINE, 400, 505)

R.truncated("nothing but CRLF", b"\r\n", "RFC 9112 8")
for cut in (1, 3, 4, 5, 8, 13, 14, 15, 16, 18, 25, 30, 31, 32, 33, 34):
    R.truncated(f"cut after {cut} bytes", request()[:cut], "RFC 9112 8")
R.truncated("half a second request", request() + request()[:20], "RFC 9112 8", bodies=(b"",))
R.accept("post without content", post(), "RFC 9112 6.3", b"")

CASES = R.cases
