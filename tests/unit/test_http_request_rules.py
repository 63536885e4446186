"""One case for each rule of a request, named by the section that states it; both engines."""

from __future__ import annotations

import pytest

from gunicorn.http import Data, EndOfMessage, Peer, Policy, ProtocolError, Request, ServerConnection
from gunicorn.http.engines import engine_factory

LOCAL = Peer("127.0.0.1", 40000)
REMOTE = Peer("192.0.2.7", 40000)


@pytest.fixture(params=["fast", "python"])
def parse(request):
    """Bytes to the list of events up to the end of the first message."""

    def run(data, *, peer=LOCAL, secure=False, **rules):
        policy = Policy(**rules, new_engine=engine_factory(request.param))
        connection = ServerConnection(policy, peer, secure=secure)
        connection.receive_data(data)
        events = [connection.next_event()]
        while isinstance(events[-1], (Request, Data)):
            events.append(connection.next_event())
        return events

    return run


def get(*fields, line=b"GET / HTTP/1.1", host=b"Host: example.com"):
    return b"\r\n".join([line, *([host] if host else []), *fields, b"", b""])


def post(*fields, body=b""):
    return get(*fields, line=b"POST / HTTP/1.1") + body


CHUNKED = b"Transfer-Encoding: chunked"

REFUSED = {
    "RFC 9112 2.2 bare LF": (get(b"A: b\nC: d"), 400),
    "RFC 9112 2.2 bare CR": (get(b"A: b\rC: d"), 400),
    "RFC 9112 2.2 CR LF apart": (get(b"A: \rb", b"C: d\nE: f"), 400),
    "RFC 9112 2.2 two leading empty lines": (b"\r\n\r\n" + get(), 400),
    "RFC 9112 2.2 leading LF": (b"\n" + get(), 400),
    "RFC 9112 2.2 blank before the first field": (get(host=b" Host: a"), 400),
    "RFC 9112 2.3 lower-case name": (get(line=b"GET / http/1.1"), 400),
    "RFC 9112 2.3 two digits": (get(line=b"GET / HTTP/1.10"), 400),
    "RFC 9110 15.6.6 version 2.0": (get(line=b"GET / HTTP/2.0"), 505),
    "RFC 9110 15.6.6 version 0.9": (get(line=b"GET / HTTP/0.9"), 505),
    "RFC 9112 3 HTTP/0.9 request": (b"GET /\r\n", 400),
    "RFC 9112 3 two blanks": (get(line=b"GET  / HTTP/1.1"), 400),
    "RFC 9112 3 trailing blank": (get(line=b"GET / HTTP/1.1 "), 400),
    "RFC 9112 3 tab": (get(line=b"GET\t/ HTTP/1.1"), 400),
    "RFC 9110 9.1 method is no token": (get(line=b"G(T / HTTP/1.1"), 400),
    "convention: lower case": (get(line=b"get / HTTP/1.1"), 400),
    "convention: short": (get(line=b"GO / HTTP/1.1"), 400),
    "convention: number sign": (get(line=b"G#T / HTTP/1.1"), 400),
    "convention: long": (get(line=b"A" * 21 + b" / HTTP/1.1"), 400),
    "RFC 9112 3.2 relative": (get(line=b"GET a HTTP/1.1"), 400),
    "RFC 9112 3.2 fragment": (get(line=b"GET /a#b HTTP/1.1"), 400),
    "RFC 9112 3.2 not ASCII": (get(line=b"GET /\xe4 HTTP/1.1"), 400),
    "RFC 9112 3.2.2 empty authority": (get(line=b"GET http:///a HTTP/1.1"), 400),
    "RFC 9110 4.2.4 userinfo": (get(line=b"GET http://u@a/ HTTP/1.1"), 400),
    "RFC 9112 3.2.2 bad port": (get(line=b"GET http://a:b/ HTTP/1.1"), 400),
    "RFC 9112 3.2.3 authority for GET": (get(line=b"GET a:80 HTTP/1.1"), 400),
    "RFC 9112 3.2.3 path for CONNECT": (get(line=b"CONNECT /a HTTP/1.1"), 400),
    "RFC 9110 9.3.6 no port": (get(line=b"CONNECT a HTTP/1.1"), 400),
    "RFC 9110 9.3.6 empty port": (get(line=b"CONNECT a: HTTP/1.1"), 400),
    "RFC 9110 9.3.6 port 70000": (get(line=b"CONNECT a:70000 HTTP/1.1"), 400),
    "RFC 9112 3.2.4 asterisk for GET": (get(line=b"GET * HTTP/1.1"), 400),
    "RFC 9112 3.2 no Host": (get(host=None), 400),
    "RFC 9112 3.2 two Hosts": (get(b"host: example.com"), 400),
    "RFC 9112 3.2 invalid Host": (get(host=b"Host: a/b"), 400),
    "RFC 9112 3.2 Host with userinfo": (get(host=b"Host: u@a"), 400),
    "RFC 3986 3.2.2 bad IPv6": (get(host=b"Host: [1:2]"), 400),
    "RFC 9110 5.1 empty name": (get(b": v"), 400),
    "RFC 9110 5.1 name is no token": (get(b"A(: v"), 400),
    "RFC 9112 5 no colon": (get(b"A"), 400),
    "RFC 9112 5.1 blank before the colon": (get(b"A : v"), 400),
    "RFC 9112 5.1 tab before the colon": (get(b"A\t: v"), 400),
    "RFC 9112 5.2 folding": (get(b"A: b", b" c"), 400),
    "RFC 9110 5.5 NUL": (get(b"A: \0"), 400),
    "RFC 9110 5.5 DEL": (get(b"A: \x7f"), 400),
    "RFC 9110 8.3 two Content-Types": (get(b"Content-Type: a/b", b"Content-Type: a/b"), 400),
    "RFC 9110 8.6 sign": (post(b"Content-Length: +1"), 400),
    "RFC 9110 8.6 minus": (post(b"Content-Length: -1"), 400),
    "RFC 9110 8.6 list": (post(b"Content-Length: 1, 1"), 400),
    "RFC 9110 8.6 twice": (post(b"Content-Length: 1", b"Content-Length: 1"), 400),
    "RFC 9110 8.6 empty": (post(b"Content-Length:"), 400),
    "RFC 9110 8.6 hexadecimal": (post(b"Content-Length: 0x1"), 400),
    "RFC 9110 8.6 underscore": (post(b"Content-Length: 1_0"), 400),
    "RFC 9110 8.6 more digits than int() takes": (post(b"Content-Length: " + b"9" * 5000), 413),
    "RFC 9112 6.1 chunked in 1.0": (get(CHUNKED, line=b"POST / HTTP/1.0"), 400),
    "RFC 9112 6.1 with a length": (post(CHUNKED, b"Content-Length: 1"), 400),
    "RFC 9112 6.1 chunked twice": (post(CHUNKED, CHUNKED), 400),
    "RFC 9112 6.1 chunked first": (post(b"Transfer-Encoding: chunked, gzip"), 400),
    "RFC 9112 6.3 not chunked at the end": (post(b"Transfer-Encoding: gzip"), 400),
    "RFC 9112 6.1 not implemented": (post(b"Transfer-Encoding: gzip, chunked"), 501),
    "RFC 9112 6.1 unknown": (post(b"Transfer-Encoding: xchunked"), 501),
    "RFC 9112 7 parameter": (post(b"Transfer-Encoding: chunked;a=b"), 400),
    "RFC 9112 6.1 quoted": (post(b'Transfer-Encoding: "chunked"'), 400),
    "RFC 9112 6.1 vertical tab": (post(b"Transfer-Encoding: \x0bchunked"), 400),
    "RFC 9112 6.1 empty": (post(b"Transfer-Encoding:"), 400),
    "RFC 9110 10.1.1 other expectation": (post(b"Expect: 200-ok", b"Content-Length: 1"), 417),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(parse, name):
    data, status = REFUSED[name]
    with pytest.raises(ProtocolError) as caught:
        parse(data)
    assert caught.value.status == status


CHUNKS_REFUSED = {
    "RFC 9112 7.1 no size": (b"\r\n", 400),
    "RFC 9112 7.1 sign": (b"+3\r\nabc\r\n0\r\n\r\n", 400),
    "RFC 9112 7.1 prefix": (b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    "RFC 9112 7.1 leading blank": (b" 3\r\nabc\r\n0\r\n\r\n", 400),
    "RFC 9112 7.1 trailing blank": (b"3 \r\nabc\r\n0\r\n\r\n", 400),
    "RFC 9112 7.1 underscore": (b"1_0\r\n", 400),
    "RFC 9112 7.1 absurd": (b"f" * 17 + b"\r\n", 413),
    "RFC 9112 7.1 bare LF": (b"3\nabc\r\n0\r\n\r\n", 400),
    "RFC 9112 7.1 bare CR in an extension": (b"3;a\rb\r\n", 400),
    "RFC 9112 7.1 longer than its size": (b"3\r\nabcd\r\n0\r\n\r\n", 400),
    "RFC 9112 7.1 LF behind the data": (b"3\r\nabc\n0\r\n\r\n", 400),
    "RFC 9112 7.1.1 extension without a name": (b"3;\r\nabc\r\n0\r\n\r\n", 400),
    "RFC 9112 7.1.1 extension without a value": (b"3;a=\r\nabc\r\n0\r\n\r\n", 400),
    "RFC 9112 7.1.1 quote without an end": (b'3;a="b\r\nabc\r\n0\r\n\r\n', 400),
    "RFC 9112 7.1.1 long line": (b"3;" + b"a" * 2000, 400),
    "RFC 9110 6.5.1 forbidden trailer": (b"0\r\nContent-Length: 3\r\n\r\n", 400),
    "RFC 9112 5 trailer without a colon": (b"0\r\nabc\r\n\r\n", 400),
    "RFC 9112 5.1 blank in a trailer": (b"0\r\na : b\r\n\r\n", 400),
    "RFC 9112 5.2 folded trailer": (b"0\r\na: b\r\n c\r\n\r\n", 400),
    "limit: trailers": (b"0\r\n" + b"a: b\r\n" * 101, 431),
    "limit: trailer": (b"0\r\na: " + b"b" * 9000, 431),
}


@pytest.mark.parametrize("name", CHUNKS_REFUSED)
def test_refused_in_chunks(parse, name):
    data, status = CHUNKS_REFUSED[name]
    with pytest.raises(ProtocolError) as caught:
        parse(post(CHUNKED, body=data))
    assert caught.value.status == status


ACCEPTED = {
    "RFC 9112 2.2 one leading empty line": (b"\r\n" + get(), {"target": b"/"}),
    "RFC 9110 2.5 higher minor version": (
        get(line=b"GET / HTTP/1.7"),
        {"version": "1.1", "keep_alive": True},
    ),
    "RFC 9112 3.2.1 query": (get(line=b"GET /a?b?c HTTP/1.1"), {"path": b"/a", "query": b"b?c"}),
    "RFC 9112 3.2.1 two slashes": (get(line=b"GET //a HTTP/1.1"), {"path": b"//a"}),
    "RFC 9112 3.2.2 absolute": (
        get(line=b"GET HTTP://a:1/b?c HTTP/1.1"),
        {"target": b"HTTP://a:1/b?c", "path": b"/b", "query": b"c", "headers": [(b"host", b"a:1")]},
    ),
    "RFC 9112 3.2.2 without a path": (get(line=b"GET http://a?c HTTP/1.1"), {"path": b"/", "query": b"c"}),
    "RFC 9112 3.2.4 OPTIONS without a path": (get(line=b"OPTIONS http://a HTTP/1.1"), {"path": b"*"}),
    "RFC 9112 3.2.3 CONNECT": (
        get(line=b"CONNECT a:443 HTTP/1.1"),
        {"keep_alive": False, "target": b"a:443"},
    ),
    "RFC 9112 3.2.4 asterisk": (get(line=b"OPTIONS * HTTP/1.1"), {"path": b"*"}),
    "RFC 9110 9.1 any token": (get(line=b"M-SEARCH / HTTP/1.1"), {"method": "M-SEARCH"}),
    "RFC 9112 3.2 1.0 without Host": (get(line=b"GET / HTTP/1.0", host=None), {"keep_alive": False}),
    "RFC 9112 3.2 empty Host": (get(host=b"Host:"), {"headers": [(b"host", b"")]}),
    "RFC 3986 3.2.2 IPv6": (get(host=b"Host: [::1]:80"), {}),
    "RFC 9110 5.5 outer blanks": (
        get(b"A:\t b c \t"),
        {"headers": [(b"host", b"example.com"), (b"a", b"b c")]},
    ),
    "RFC 9110 5.5 obs-text": (get(b"A: \xff"), {}),
    "RFC 9110 5.3 repeated": (
        get(b"A: 1", b"A: 2"),
        {"headers": [(b"host", b"example.com"), (b"a", b"1"), (b"a", b"2")]},
    ),
    "RFC 9112 9.3 close": (get(b"Connection: keep-alive, Close"), {"keep_alive": False}),
    "RFC 9112 9.3 close on a second line": (
        get(b"Connection: a", b"Connection: close"),
        {"keep_alive": False},
    ),
    "RFC 9112 9.3 1.0 kept": (get(b"Connection: Keep-Alive", line=b"GET / HTTP/1.0"), {"keep_alive": True}),
    "RFC 9110 7.8 upgrade": (get(b"Connection: Upgrade", b"Upgrade: websocket"), {"upgrade": b"websocket"}),
    "RFC 9110 7.8 no connection option": (get(b"Upgrade: websocket"), {"upgrade": None}),
    "RFC 9110 10.1.1 expectation": (post(b"Expect: 100-Continue"), {"expect_continue": True}),
    "RFC 9110 10.1.1 ignored in 1.0": (
        get(b"Expect: x", line=b"POST / HTTP/1.0"),
        {"expect_continue": False},
    ),
    "RFC 9110 8.6 zeros": (post(b"Content-Length: 0000"), {"content_length": 0}),
    "RFC 9112 7 coding in any case": (
        post(b"Transfer-Encoding: Chunked", body=b"0\r\n\r\n"),
        {"chunked": True},
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(parse, name):
    data, expected = ACCEPTED[name]
    request, *_, last = parse(data)
    assert {key: getattr(request, key) for key in expected} == expected
    assert last == EndOfMessage()


CHUNKS_ACCEPTED = {
    "RFC 9112 7.1 leading zeros": (b"00003\r\nabc\r\n00\r\n\r\n", b"abc"),
    "RFC 9112 7.1 both cases": (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    "RFC 9112 7.1.1 extensions": (b'1;a;b=c;d="e\\"f;"\r\nx\r\n0;a\r\n\r\n', b"x"),
    "RFC 9112 7.1.1 bad whitespace": (b"1 ; a = b\r\nx\r\n0\r\n\r\n", b"x"),
    "RFC 9112 7.1.2 trailer": (b"0\r\nX-Sum: 1\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", CHUNKS_ACCEPTED)
def test_accepted_chunks(parse, name):
    data, body = CHUNKS_ACCEPTED[name]
    events = parse(post(CHUNKED, body=data))
    assert b"".join(event.data for event in events if isinstance(event, Data)) == body
    assert isinstance(events[-1], EndOfMessage)


RELAXED = {
    "permit_unconventional_http_method": (get(line=b"g# / HTTP/1.1"), {"method": "g#"}),
    "permit_unconventional_http_version": (get(line=b"GET / HTTP/2.0"), {"version": "2.0"}),
    "permit_obsolete_folding": (
        get(b"A: b \t", b"\t  c"),
        {"headers": [(b"host", b"example.com"), (b"a", b"b c")]},
    ),
    "strip_header_spaces": (get(b"A \t: b"), {"headers": [(b"host", b"example.com"), (b"a", b"b")]}),
    "casefold_http_method": (get(line=b"pUt / HTTP/1.1"), {"method": "PUT"}),
}


@pytest.mark.parametrize("name", RELAXED)
def test_a_setting_relaxes_one_rule(parse, name):
    data, expected = RELAXED[name]
    with pytest.raises(ProtocolError):
        parse(data)
    request = parse(data, **{name: True})[0]
    assert {key: getattr(request, key) for key in expected} == expected


LIMITS = {
    "request line": (
        {"limit_request_line": 20},
        get(line=b"GET /%b HTTP/1.1" % (b"a" * 6)),
        b"GET /" + b"a" * 18,
        414,
    ),
    "fields": ({"limit_request_fields": 2}, get(b"A: b"), get(b"A: b", b"C: d"), 431),
    "field size": ({"limit_request_field_size": 19}, get(), get(b"A: " + b"b" * 15), 431),
    "field size, unfinished": ({"limit_request_field_size": 19}, get(), get()[:-2] + b"A: " + b"b" * 17, 431),
    "folds": (
        {"limit_request_field_size": 19, "permit_obsolete_folding": True},
        get(b"A: b", b" c"),
        get(b"A: bbbbbbbbbb", b" ccccccc"),
        431,
    ),
    "length": (
        {"limit_request_body": 3},
        post(b"Content-Length: 3", body=b"abc"),
        post(b"Content-Length: 4"),
        413,
    ),
    "chunks": (
        {"limit_request_body": 3},
        post(CHUNKED, body=b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        post(CHUNKED, body=b"2\r\nab\r\n2\r\n"),
        413,
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limit_is_met_and_not_passed(parse, name):
    rules, good, bad, status = LIMITS[name]
    assert parse(good, **rules)[-1] == EndOfMessage()
    with pytest.raises(ProtocolError) as caught:
        parse(bad, **rules)
    assert caught.value.status == status


def test_zero_is_no_limit(parse):
    data = get(b"A: " + b"b" * 100_000, line=b"GET /" + b"a" * 100_000 + b" HTTP/1.1")
    request = parse(data, limit_request_line=0, limit_request_field_size=0)[0]
    assert len(request.path) == 100_001


def test_trusted_peer_decides_on_the_scheme(parse):
    data = get(b"X-Forwarded-Proto: https")
    assert parse(data)[0].scheme == "https"
    assert parse(data, peer=REMOTE)[0].scheme == "http"
    assert parse(data, peer=REMOTE, forwarded_allow_ips=["*"])[0].scheme == "https"
    assert parse(data, peer=REMOTE, forwarded_allow_ips=["192.0.2.0/24"])[0].scheme == "https"
    assert parse(data, peer=Peer(is_unix=True))[0].scheme == "https"
    assert parse(get(b"X-Forwarded-Proto: http"), secure=True)[0].scheme == "http"
    assert parse(get(), secure=True)[0].scheme == "https"


def test_scheme_fields_that_disagree_are_refused_from_trusted_peers_only(parse):
    data = get(b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: off")
    with pytest.raises(ProtocolError):
        parse(data)
    assert parse(data, peer=REMOTE)[0].scheme == "http"


@pytest.mark.parametrize(
    ("peer", "header_map", "names"),
    [
        (LOCAL, "drop", [b"host", b"script_name"]),
        (REMOTE, "drop", [b"host"]),
        (LOCAL, "dangerous", [b"host", b"script_name", b"x_y"]),
        (REMOTE, "dangerous", [b"host", b"x_y"]),
    ],
)
def test_underscores(parse, peer, header_map, names):
    data = get(b"Script_Name: /a", b"X_Y: 1", b"Content_Length: 9")
    assert [name for name, _ in parse(data, peer=peer, header_map=header_map)[0].headers] == names


def test_underscores_refused(parse):
    with pytest.raises(ProtocolError, match="underscore"):
        parse(get(b"X_Y: 1"), header_map="refuse")
    assert parse(get(b"SCRIPT_NAME: /a"), header_map="refuse")[0].headers[1] == (b"script_name", b"/a")
    with pytest.raises(ProtocolError, match="underscore"):
        parse(get(b"SCRIPT_NAME: /a"), header_map="refuse", peer=REMOTE)


def test_https_target_needs_tls_or_a_trusted_gateway(parse):
    """RFC 9110 7.4."""
    data = get(line=b"GET https://a/ HTTP/1.1")
    with pytest.raises(ProtocolError) as caught:
        parse(data, peer=REMOTE)
    assert caught.value.status == 421
    assert parse(data, peer=REMOTE, secure=True)[0].headers == [(b"host", b"a")]
    assert parse(data, peer=LOCAL)[0].path == b"/"
