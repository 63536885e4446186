"""What is done the short way for the usual request comes to the same as the long way."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gunicorn.asgi.errors import MessageError
from gunicorn.asgi.http import After, HttpExchange
from gunicorn.asgi.scope import ScopeBase
from gunicorn.http import Peer, Policy, ServerConnection
from gunicorn.http.errors import LocalProtocolError
from gunicorn.http.events import Data, EndOfMessage, Request, Response
from gunicorn.http.response import OctetHeads, ResponseHead

PEER = Peer("192.0.2.9", 4000)


def policy(**more):
    return Policy(keep_app_server_and_date=True, now=lambda: 0, **more)


def connection(**more):
    return ServerConnection(policy(), PEER, **more)


# Heads that were sent before

NAMES = st.sampled_from(
    [
        b"content-length",
        b"Content-Length",
        b"connection",
        b"date",
        b"server",
        b"x-a",
        b"set-cookie",
        b"te",
        b"a b",
    ]
)
VALUES = st.sampled_from([b"0", b"3", b"5", b"close", b"x", b"", b"a\r\nb", "text"])
STATUSES = st.sampled_from([99, 101, 200, 204, 304, 404, 999, 1000])


@given(STATUSES, st.lists(st.tuples(NAMES, VALUES), max_size=4), st.sampled_from([b"", b"abc"]))
@example(200, [(b"content-length", b"3")], b"abc")
@example(200, [(b"content-length", b"5")], b"abc")
@example(204, [(b"content-length", b"0")], b"")
def test_a_head_that_was_sent_before_is_sent_in_the_same_way_again(status, headers, body):
    def answer():
        http = connection()
        http.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        exchange = HttpExchange(http, http.next_event())
        try:
            exchange.send({"type": "http.response.start", "status": status, "headers": headers})
            data = exchange.send({"type": "http.response.body", "body": body})
        except MessageError as error:
            return str(error)
        return data, exchange.body_sent, exchange.dropped, exchange.short, exchange.after()

    assert answer() == answer() == answer()


@given(STATUSES, st.lists(st.tuples(NAMES, VALUES), max_size=4))
def test_a_kept_head_says_what_a_new_one_does(status, headers):
    heads = OctetHeads()

    def facts(make):
        try:
            head = make()
        except LocalProtocolError as error:
            return str(error)
        return head.first, head.lines, head.length, head.close, head.plain, head.has_date, head.has_server

    new = facts(lambda: ResponseHead(status, b"", headers, keep_server_and_date=True))
    for _ in range(2):
        assert facts(lambda: heads[status, tuple(headers)]) == new


def test_heads_that_differ_from_answer_to_answer_are_not_kept():
    heads = OctetHeads()
    for number in range(1000):
        assert heads[200, ((b"set-cookie", b"%d" % number),)].lines == [b"set-cookie: %d\r\n" % number]
    assert not heads
    for number in range(1000):
        assert heads[200, ((b"content-length", b"%d" % number),)].length == number
    assert len(heads) <= 128


def test_fields_that_are_lists_are_taken():
    http = connection()
    http.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    exchange = HttpExchange(http, http.next_event())
    exchange.send({"type": "http.response.start", "status": 200, "headers": [[b"x", b"1"], [b"y", b"2"]]})
    assert b"\r\nx: 1\r\ny: 2\r\n" in exchange.send({"type": "http.response.body", "body": b""})


# Pieces of a body


@given(st.sampled_from([None, b"0", b"7"]), st.lists(st.binary(max_size=4), max_size=4))
def test_pieces_go_out_as_data_events_do(length, pieces):
    def sent(send):
        http = connection()
        http.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        http.next_event()
        data = http.send(Response(200, b"", [] if length is None else [(b"content-length", length)]))
        data += b"".join(send(http, piece) for piece in pieces)
        return data + http.send(EndOfMessage()), http.must_close

    events = sent(lambda http, piece: http.send(Data(piece)))
    assert sent(lambda http, piece: http.send_data(piece)) == events


# After a response

REQUESTS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\nx\r\n\r\n",
    ]
)
ENDS = st.sampled_from(["whole", "short", "long", "chunked", "closing", "nothing", "page", "gone"])


def play(request, end, *, reads, more, eof, draining):
    """A request that has been answered, one way or another."""
    http = connection()
    http.receive_data(request)
    exchange = HttpExchange(http, http.next_event())
    if reads:
        exchange.next_message()
    http.receive_data(more) if more else None
    if eof:
        http.receive_data(b"")
    if draining:
        http.announce_close()
    if end == "gone":
        exchange.disconnect()
    elif end in ("nothing", "page"):
        exchange.abandon(500) if end == "page" else None
    else:
        length = {"whole": b"4", "short": b"9", "long": b"2", "closing": b"4"}.get(end)
        headers = [] if length is None else [(b"content-length", length)]
        headers += [(b"connection", b"close")] if end == "closing" else []
        exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
        exchange.send({"type": "http.response.body", "body": b"body", "more_body": end == "chunked"})
        if end == "chunked":
            exchange.send({"type": "http.response.body"})
    return http, exchange


@given(
    request=REQUESTS,
    end=ENDS,
    reads=st.booleans(),
    more=st.sampled_from([b"", b"GET /b"]),
    eof=st.booleans(),
    draining=st.booleans(),
)
@example(
    request=b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
    end="whole",
    reads=False,
    more=b"",
    eof=True,
    draining=False,
)
def test_a_connection_goes_on_where_the_next_request_can_be_served(request, end, **rest):
    http, exchange = play(request, end, **rest)
    quick = None if exchange.unfinished or exchange.disconnected else http.go_on()
    http, exchange = play(request, end, **rest)
    if quick is None:
        # Only a body that is here and was not read makes the long way find what the short one does not.
        if end != "nothing" and exchange.after() is After.NEXT:
            assert request.startswith(b"POST")
            http.start_next_cycle()
    else:
        assert exchange.after() is After.NEXT
        assert http.start_next_cycle() is quick


# Requests that are said twice


LINES = st.sampled_from([b"GET /", b"GET /a%20b?c=d", b"POST /", b"HEAD /", b"GET http://b/x"])
FIELDS = st.sampled_from([b"Host: a", b"Host: b\r\nAccept: */*", b"Host: a\r\nX_Y: 1\r\nX-Z: 2"])


@given(st.lists(st.tuples(LINES, FIELDS), max_size=8))
def test_scopes_of_requests_that_are_repeated_are_as_those_of_new_ones(heads):
    shared, scopes = connection(shares_requests=True), ScopeBase(PEER, ("h", 1), state={"a": 1})
    for line, fields in heads:
        data = line + b" HTTP/1.1\r\n" + fields + b"\r\n\r\n"
        alone = connection()
        alone.receive_data(data)
        expected = ScopeBase(PEER, ("h", 1), state={"a": 1}).http(alone.next_event())
        shared.receive_data(data)
        scope = scopes.http(shared.next_event())
        assert scope == expected
        # The application owns it, and the next one is as new.
        scope["headers"].clear()
        scope["state"]["mine"] = scope["extensions"]["mine"] = scope["asgi"]["mine"] = 1
        scope.clear()
        shared.send_whole(ResponseHead(200, b"", []), b"")
        assert shared.go_on() is False


@pytest.mark.parametrize("send_files", [True, False])
def test_extensions_belong_to_one_scope(send_files):
    def extensions():
        http = connection()
        http.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        return ScopeBase(PEER, ("h", 1), send_files=send_files).http(http.next_event())["extensions"]

    first = extensions()
    assert ("http.response.pathsend" in first) is send_files
    first.clear()
    assert extensions()


# Bodies of requests


class InPieces(ServerConnection):
    """A connection on which every body is asked for as events."""

    def whole_body(self):
        return None


BODIES = st.sampled_from(
    [
        b"Content-Length: 0\r\n\r\n",
        b"Content-Length: 5\r\n\r\nhello",
        b"Content-Length: 5\r\n\r\nhellGET /next HTTP/1.1\r\n",
        b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello!!\r\n",
        b"\r\n",
    ]
)


@given(BODIES, st.lists(st.integers(0, 90), max_size=3), st.booleans())
@example(b"Content-Length: 5\r\n\r\nhello", [], True)
def test_a_body_that_is_here_is_received_as_one_that_comes_in_pieces(fields, cuts, ends):
    data = b"POST / HTTP/1.1\r\nHost: a\r\n" + fields
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in pairwise(edges)] + [b""] * ends

    def told(kind):
        http, exchange, messages = kind(policy(), PEER), None, []
        for piece in pieces:
            http.receive_data(piece)
            if exchange is None and isinstance(event := http.next_event(), Request):
                exchange = HttpExchange(http, event)
            if exchange is not None:
                messages += [exchange.begin_body(), exchange.next_message(), exchange.body_wanted]
        return messages, http.buffered, http.body_pending, exchange and (exchange.trailers, exchange.after())

    assert told(ServerConnection) == told(InPieces)


# What had no room


@given(
    st.sampled_from([b"GET", b"HEAD"]),
    st.sampled_from([None, b"0", b"7", b"30"]),
    st.sampled_from([200, 204]),
    st.lists(st.binary(max_size=9), min_size=1, max_size=5),
)
def test_what_is_sent_of_pieces_is_counted_as_it_is_on_the_wire(method, length, status, pieces):
    http = connection()
    http.receive_data(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    exchange = HttpExchange(http, http.next_event())
    headers = [] if length is None else [(b"content-length", length)]
    exchange.send({"type": "http.response.start", "status": status, "headers": headers})
    data = b"".join(
        exchange.send({"type": "http.response.body", "body": piece, "more_body": True}) for piece in pieces
    )
    given_size = sum(map(len, pieces))
    room = 0 if method == b"HEAD" or status == 204 else given_size if length is None else int(length)
    assert (exchange.body_sent, exchange.dropped) == (min(given_size, room), max(0, given_size - room))
    if length is not None:
        assert len(data.partition(b"\r\n\r\n")[2]) == exchange.body_sent
