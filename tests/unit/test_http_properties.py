"""What holds for all bytes: any cut gives the same events, both engines agree, only verdicts come out."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gunicorn.http import (
    NEED_DATA,
    PAUSED,
    ConnectionClosed,
    Data,
    EndOfMessage,
    Peer,
    Policy,
    ProtocolError,
    Request,
    Response,
    ServerConnection,
)
from gunicorn.http.engines import engine_factory

END = "end of the connection"
PEER = Peer("127.0.0.1", 40000)
FAST = engine_factory("fast")
REFERENCE = engine_factory("python")

STRICT = {"date": lambda: b"D"}
TIGHT = {
    **STRICT,
    "limit_request_line": 40,
    "limit_request_fields": 3,
    "limit_request_field_size": 40,
    "limit_request_body": 20,
    "proxy_protocol": "auto",
}
LENIENT = {
    **STRICT,
    "permit_obsolete_folding": True,
    "strip_header_spaces": True,
    "permit_unconventional_http_method": True,
    "permit_unconventional_http_version": True,
    "casefold_http_method": True,
    "header_map": "dangerous",
    "limit_request_line": 0,
    "limit_request_field_size": 0,
}
RULES = st.sampled_from([STRICT, TIGHT, LENIENT])


def events(pieces, rules, new_engine=FAST):
    """All that a connection says, with adjacent Data joined, and the refusal that ended it."""
    connection = ServerConnection(Policy(**rules, new_engine=new_engine), PEER)
    said = []
    try:
        for piece in (*pieces, b""):
            connection.receive_data(piece)
            while END not in said and step(connection, said):
                pass
    except ProtocolError as error:
        said.append((error.status, error.rule, error.detail))
    return said


def step(connection, said):
    event = connection.next_event()
    if event is NEED_DATA:
        return False
    if event is PAUSED or (isinstance(event, EndOfMessage) and connection.must_close):
        said.append(END)
        return False
    if isinstance(event, ConnectionClosed):
        if not (said and said[-1] == event):
            said.append(event)
        return False
    if isinstance(event, Data) and said and isinstance(said[-1], Data):
        said[-1] = Data(said[-1].data + event.data)
        return True
    said.append(event)
    if isinstance(event, EndOfMessage):
        connection.send(Response(204))
        connection.send(EndOfMessage())
        connection.start_next_cycle()
    return True


def bytewise(data):
    return [data[i : i + 1] for i in range(len(data))]


def cut(data, places):
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


SEEDS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\nPOST /p?q HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
    b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x="y"\r\nabc\r\n0\r\nT: v\r\n\r\nGET',
    b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a:1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    b"GET http://a/b HTTP/1.1\r\nHost: c\r\nX_Y: 1\r\nCookie: 1\r\nCookie: 2\r\n folded\r\n\r\n",
    b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: h2c\r\n\r\n",
    b"get / HTTP/1.2\r\nHost: [::1]:80\r\nName : v\t\r\n\r\n",
]
TOKENS = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b";", b",", b"\x00", b"\x7f", b"\xff", b"0", b"a", b"_",
    b"\r\n\r\n", b"0\r\n\r\n", b"Host: x\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.1", b"HTTP/2.0", b"\r\n x\r\n", b"Connection: close\r\n", b": v\r\n", b"n\r\n",
    b"X-Forwarded-Proto: https\r\n", b"x" * 45, b"#", b"http://", b"PROXY ",
]  # fmt: skip


@st.composite
def mutated(draw):
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.integers(0, 3))
        data = data[:at] + draw(st.sampled_from(TOKENS)) + data[at + gone :]
    return data


INPUT = st.one_of(
    mutated(), st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join), st.binary(max_size=60)
)


@settings(max_examples=1000, deadline=None)
@given(INPUT, RULES, st.lists(st.integers(0, 200), max_size=5))
@example(b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r", TIGHT, [5])
@example(b"GET / HTTP/1.1\n\n", STRICT, [15])
def test_any_cut_gives_the_same_events(data, rules, places):
    whole = events([data], rules)
    assert events(bytewise(data), rules) == whole
    assert events(cut(data, places), rules) == whole


@settings(max_examples=1000, deadline=None)
@given(INPUT, RULES)
def test_both_engines_say_the_same(data, rules):
    assert events([data], rules, FAST) == events([data], rules, REFERENCE)


FIELD_LINES = st.lists(st.binary(max_size=12).map(lambda line: line.translate(None, b"\r\n")), max_size=4)


@settings(max_examples=1500, deadline=None)
@given(FIELD_LINES)
def test_both_engines_split_fields_alike(lines):
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    assert events([data], STRICT, FAST) == events([data], STRICT, REFERENCE)


@settings(max_examples=500, deadline=None)
@given(INPUT, RULES)
def test_an_accepted_request_is_wholesome(data, rules):
    for event in events([data], rules):
        if isinstance(event, Request):
            assert not (event.chunked and event.content_length is not None)
            assert not (event.chunked and event.version == "1.0")
            assert sum(name == b"host" for name, _ in event.headers) <= 1
            for name, value in event.headers:
                assert name == name.lower()
                assert not set(name + value) & {0, 10, 13}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.lists(st.integers(0, 400), max_size=6))
def test_a_chunked_response_reads_as_a_chunked_request(parts, places):
    server = ServerConnection(Policy(), PEER)
    server.receive_data(SEEDS[0])
    server.next_event()
    server.send(Response(200))
    body = b"".join(server.send(Data(part)) for part in parts) + server.send(EndOfMessage())
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    request, *rest = events(cut(head + body, places), STRICT)
    assert request.chunked
    assert b"".join(event.data for event in rest if isinstance(event, Data)) == b"".join(parts)
    assert rest[-2:] == [EndOfMessage(), ConnectionClosed()]
