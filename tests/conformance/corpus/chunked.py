"""The chunked coding (RFC 9112 section 7.1): sizes, extensions, and the line ends between them."""

from __future__ import annotations

from corpus.case import SILENCE, Chapter, post, request

C = Chapter("chunked")
GRAMMAR = "RFC 9112 7.1"
EXTENSION = "RFC 9112 7.1.1"
HIDDEN = request(target=b"/admin")


def chunks(body: bytes) -> bytes:
    """A POST whose content is these raw chunks."""
    return post(b"Transfer-Encoding: chunked", body=body)


def sized(size: bytes, data: bytes = b"hello") -> bytes:
    """One chunk under the given chunk-size line, then the last chunk."""
    return chunks(size + b"\r\n" + data + b"\r\n0\r\n\r\n")


for title, body, content in (
    ("empty", b"0\r\n\r\n", b""),
    ("one", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("two", b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
    ("lower-case digits", b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    ("upper-case digits", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    ("odd-case digits", b"aB\r\n" + b"x" * 171 + b"\r\n0\r\n\r\n", b"x" * 171),
    ("zeros first", b"0005\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("sixteen digits", b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("many zeros at the end", b"5\r\nhello\r\n0000\r\n\r\n", b"hello"),
    ("two zeros only", b"00\r\n\r\n", b""),
    ("content has line ends", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
    ("content looks like the end", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    ("content looks like a chunk", b"8\r\n5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello"),
    ("content is a request", b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n", HIDDEN),
    ("every byte", b"100\r\n" + bytes(range(256)) + b"\r\n0\r\n\r\n", bytes(range(256))),
    ("thousand chunks", b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n", b"x" * 1000),
    ("big chunk", b"186A0\r\n" + b"x" * 100000 + b"\r\n0\r\n\r\n", b"x" * 100000),
    ("NULs", b"3\r\n\x00\x00\x00\r\n0\r\n\r\n", b"\x00" * 3),
):
    C.accept(title, chunks(body), GRAMMAR, content)
    C.accept(f"{title}, and another request", chunks(body) + request(), GRAMMAR, content, b"")
C.accept(
    "seventeen digits of mostly zeros",
    sized(b"0" * 16 + b"5"),
    GRAMMAR,
    b"hello",
    note="1*HEXDIG: the value fits, however it is written",
)
C.either("hundred zeros", sized(b"0" * 100 + b"5"), GRAMMAR, 400, 413, bodies=(b"hello",))
C.accept("two chunked requests", chunks(b"1\r\na\r\n0\r\n\r\n") * 2, GRAMMAR, b"a", b"a")
C.accept(
    "empty line behind the end",
    chunks(b"1\r\na\r\n0\r\n\r\n") + b"\r\n" + request(),
    "RFC 9112 2.2",
    b"a",
    b"",
)

for title, extension in {
    "name": b";a",
    "name and value": b";a=b",
    "two": b";a=b;c=d",
    "two names": b";a;b",
    "quoted": b';a="b"',
    "quoted empty": b';a=""',
    "quoted blanks": b';a="b c\td"',
    "quoted semicolon": b';a="b;c=d"',
    "quoted comma": b';a="b,c"',
    "quoted escape": b';a="b\\"c"',
    "quoted backslash": b';a="b\\\\"',
    "quoted escaped letter": b';a="\\b"',
    "quoted escaped blank": b';a="\\ "',
    "quoted obs-text": b';a="\x80\xff"',
    "quoted escaped obs-text": b';a="\\\xff"',
    "quoted utf-8": b';a="\xc3\xa9"',
    "quoted zero size": b';a="0"',
    "blank before the semicolon": b" ;a",
    "blank behind the semicolon": b"; a",
    "blanks around everything": b' ; a = b ; c = "d"',
    "tabs around everything": b"\t;\ta\t=\tb",
    "many blanks": b"   ;   a",
    "every token character": b";!#$%&'*+-.^_`|~09azAZ=!#$%&'*+-.^_`|~09azAZ",
    "repeated name": b";a=b;a=c",
    "digits": b";1=2",
    "long": b";a=" + b"b" * 100,
}.items():
    C.accept(f"extension, {title}", sized(b"5" + extension) + request(), EXTENSION, b"hello", b"")
    C.accept(
        f"extension of the last chunk, {title}",
        chunks(b"5\r\nhello\r\n0" + extension + b"\r\n\r\n") + request(),
        EXTENSION,
        b"hello",
        b"",
    )

for title, extension in {
    "semicolon only": b";",
    "two semicolons": b";;a",
    "semicolon last": b";a;",
    "no value": b";a=",
    "no name": b";=b",
    "two equals": b";a=b=c",
    "open quote": b';a="b',
    "open quote with escape": b';a="b\\"',
    "quote behind a token": b';a=b"c"',
    "text behind the quotes": b';a="b"c',
    "quoted name": b';"a"=b',
    "comma": b";a,b",
    "colon": b";a:b",
    "slash": b";a/b",
    "two words": b";a b",
    "blank last": b";a ",
    "blank last behind a value": b";a=b ",
    "NUL": b";a\x00",
    "NUL quoted": b';a="\x00"',
    "control": b";a\x01",
    "control quoted": b';a="\x01"',
    "control escaped": b';a="\\\x01"',
    "DEL quoted": b';a="\x7f"',
    "vertical tab": b"\x0b;a",
    "bare CR": b";a\rb",
    "bare CR quoted": b';a="\r"',
    "bare CR escaped": b';a="\\\r"',
    "bare CR last": b";a\r",
    "bare LF": b";a\nb",
    "bare LF quoted": b';a="\n"',
    "LF first": b"\n;a",
    "CR first": b"\r;a",
    "obs-text token": b";\xff",
    "obs-text value": b";a=\xff",
    "line end quoted": b';a="\r\n"',
    "request hidden by a line feed": b";\n" + HIDDEN,
    "request hidden by a carriage return": b";\r" + HIDDEN,
    "equals only": b"=a",
    "no semicolon": b" a",
    "no semicolon, quoted": b'"a"',
    "comma for the semicolon": b",a=b",
}.items():
    C.refuse(f"bad extension, {title}", sized(b"5" + extension), EXTENSION, in_body=True)
C.refuse("bad extension of the last chunk", chunks(b"0;\r\n\r\n"), EXTENSION, in_body=True)
C.refuse("bare LF in the last extension", chunks(b"0;a\n\r\n"), EXTENSION, in_body=True)
C.refuse("endless extension", sized(b"5;a=" + b"b" * 70000), EXTENSION, 400, 413, 431, in_body=True)
C.refuse("endless blanks", sized(b"5" + b" " * 70000 + b";a"), EXTENSION, 400, 413, 431, in_body=True)

for title, size in {
    "empty": b"",
    "letters": b"g",
    "letter behind": b"5g",
    "h behind": b"5h",
    "0x": b"0x5",
    "0X": b"0X5",
    "hash": b"#5",
    "percent": b"%35",
    "plus": b"+5",
    "minus": b"-5",
    "minus zero": b"-0",
    "underscore": b"0_5",
    "dot": b"5.",
    "fraction": b"5.0",
    "comma": b"5,",
    "exponent with sign": b"5e+0",
    "blank before": b" 5",
    "tab before": b"\t5",
    "blank behind": b"5 ",
    "tab behind": b"5\t",
    "blanks behind": b"5    ",
    "two sizes": b"5 5",
    "quoted": b'"5"',
    "NUL before": b"\x005",
    "NUL behind": b"5\x00",
    "vertical tab behind": b"5\x0b",
    "form feed before": b"\x0c5",
    "bare CR behind": b"5\r",
    "bare CR before": b"\r5",
    "no-break space behind": b"5\xa0",
    "superscript": b"\xb2",
    "arabic digit": b"\xd9\xa5",
    "full-width digit": b"\xef\xbc\x95",
    "DEL behind": b"5\x7f",
    "L behind": b"5L",
    "colon": b"5:",
    "parenthesis": b"(5)",
}.items():
    C.refuse(f"bad size, {title}", sized(size), GRAMMAR, in_body=True)
C.refuse("last size is bad", chunks(b"5\r\nhello\r\n0x\r\n\r\n"), GRAMMAR, in_body=True)
C.refuse("minus zero ends", chunks(b"-0\r\n\r\n"), GRAMMAR, in_body=True)

for title, size in {
    "2**64": b"10000000000000000",
    "2**64 and five": b"10000000000000005",
    "2**32 and five in many digits": b"f" * 16,
    "2**63": b"8000000000000000",
    "2**32": b"100000000",
    "2**31": b"80000000",
    "forty digits": b"F" * 40,
    "zeros behind": b"5" + b"0" * 30,
    "wraps to zero": b"1" + b"0" * 32,
}.items():
    C.refuse(
        f"huge size, {title}",
        sized(size) + HIDDEN,
        GRAMMAR,
        SILENCE,
        400,
        408,
        413,
        in_body=True,
        note="no overflow",
    )

for title, body in {
    "bare LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "bare LF behind the data": b"5\r\nhello\n0\r\n\r\n",
    "bare LF behind the last chunk": b"5\r\nhello\r\n0\n\r\n",
    "bare LF at the end": b"5\r\nhello\r\n0\r\n\n",
    "bare LF everywhere": b"5\nhello\n0\n\n",
    "bare CR behind the size": b"5\rhello\r\n0\r\n\r\n",
    "bare CR behind the data": b"5\r\nhello\r0\r\n\r\n",
    "CR CR LF behind the size": b"5\r\r\nhello\r\n0\r\n\r\n",
    "CR CR LF behind the data": b"5\r\nhello\r\r\n0\r\n\r\n",
    "LF CR behind the data": b"5\r\nhello\n\r0\r\n\r\n",
    "CR CR at the end": b"5\r\nhello\r\n0\r\n\r\r",
    "nothing behind the data": b"5\r\nhello0\r\n\r\n",
    "two bytes for the line end": b"5\r\nhelloXX0\r\n\r\n",
    "two line ends behind the data": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    "line end before the first size": b"\r\n5\r\nhello\r\n0\r\n\r\n",
    "data longer than the size": b"4\r\nhello\r\n0\r\n\r\n",
    "data shorter than the size": b"6\r\nhello\r\n0\r\n\r\n",
    "data much shorter": b"7\r\nhello\r\n0\r\n\r\n",
    "one byte over": b"5\r\nhello!\r\n0\r\n\r\n",
    "no chunks at all": b"hello\r\n\r\n",
    "a request for a chunk": HIDDEN,
    "json for a chunk": b'{"a": 1}\r\n0\r\n\r\n',
    "space line end": b"5\r\nhello \r\n0\r\n\r\n",
    "NUL behind the data": b"5\r\nhello\x00\r\n0\r\n\r\n",
}.items():
    C.refuse(title, chunks(body), GRAMMAR, in_body=True)

for title, body in {
    "nothing": b"",
    "no size line end": b"5",
    "half a size line end": b"5\r",
    "no data": b"5\r\n",
    "half the data": b"5\r\nhel",
    "no line end": b"5\r\nhello",
    "half a line end": b"5\r\nhello\r",
    "no last chunk": b"5\r\nhello\r\n",
    "half a last chunk": b"5\r\nhello\r\n0",
    "last chunk without line end": b"5\r\nhello\r\n0\r",
    "no final empty line": b"5\r\nhello\r\n0\r\n",
    "half a final empty line": b"5\r\nhello\r\n0\r\n\r",
    "half an extension": b"5;a=",
    "open quote": b'5;a="b',
    "no data of many": b"fffff\r\nhello",
}.items():
    C.truncated(f"cut, {title}", chunks(body), "RFC 9112 8", in_body=True)

CASES = C.cases
