"""The short ways through the connection say what the long ways say."""

from __future__ import annotations

import pytest
from corpus.catalogue import ALL
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.http import (
    NEED_DATA,
    PAUSED,
    ConnectionClosed,
    Data,
    EndOfMessage,
    LocalProtocolError,
    Peer,
    Policy,
    ProtocolError,
    Request,
    Response,
    ServerConnection,
)
from gunicorn.http.known import KnownHeads
from gunicorn.http.response import ResponseHead, TextHeads

PEER = Peer("127.0.0.1", 40000)


def connection(**rules):
    return ServerConnection(Policy(date=lambda: b"D", **rules), PEER)


# Requests with the fields of the one before.


def hear(http, data):
    """The events that ``data`` makes, up to the end of its first request, or its fault."""
    http.receive_data(data)
    return told(http)


def told(http):
    events = []
    try:
        while True:
            event = http.next_event()
            if event in (NEED_DATA, PAUSED) or isinstance(event, ConnectionClosed):
                return events
            events.append(event)
    except ProtocolError as error:
        return [*events, (error.status, error.rule)]


def answered(http):
    """End the cycle of a request that has been read to its end; whether another may follow."""
    http.send(Response(204))
    http.send(EndOfMessage())
    if http.must_close:
        return False
    http.start_next_cycle()
    return True


@pytest.mark.parametrize("case", [case for case in ALL if not case.settings], ids=lambda case: case.name)
def test_verdict_is_the_same_behind_a_request_with_the_same_fields(case):
    _, _, rest = case.data.partition(b"\r\n")
    fields, end, _ = rest.partition(b"\r\n\r\n")
    http = connection()
    heard = hear(http, b"GET / HTTP/1.1\r\n" + fields + end)
    if not (end and heard and heard[-1] == EndOfMessage() and answered(http)):
        return  # these fields cannot come before anything
    assert hear(http, case.data) == hear(connection(), case.data)


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("case", [case for case in ALL if not case.settings], ids=lambda case: case.name)
def test_verdict_is_the_same_when_the_whole_is_said_again(case, shares):
    verdict = hear(connection(), case.data)
    http = ServerConnection(Policy(date=lambda: b"D"), PEER, shares_requests=shares)
    for _ in range(3):
        assert hear(http, case.data) == verdict
        if http.trailing_data or not (verdict and verdict[-1] == EndOfMessage() and answered(http)):
            return


def heads_in_common():
    """A policy, and what makes connections that know the same heads."""
    policy = Policy(date=lambda: b"D")
    heads = KnownHeads(policy.limit_request_line)
    return lambda: ServerConnection(policy, PEER, shares_requests=True, heads=heads)


def anonymous(events):
    return [event._replace(peer=None) if isinstance(event, Request) else event for event in events]


@pytest.mark.parametrize("case", [case for case in ALL if not case.settings], ids=lambda case: case.name)
def test_verdict_is_the_same_when_others_have_said_the_same(case):
    verdict, new = anonymous(hear(connection(), case.data)), heads_in_common()
    lent = new()
    for _ in range(4):
        assert anonymous(hear(new(), case.data)) == verdict
        first = lent.receive_again(case.data, lent.known)
        assert anonymous(([first] if first else []) + told(lent)) == verdict
        if lent.failed:
            return
        lent.renew()


def test_what_is_known_is_said_by_all_with_the_same_fields_and_by_nobody():
    new, seen = heads_in_common(), []
    said = [(b"GET /a", b"x"), (b"GET /a", b"x"), (b"GET /a", b"x"), (b"GET /b?c", b"x"), (b"GET /a", b"y")]
    for line, host in said:
        http = new()
        request = hear(http, b"%b HTTP/1.1\r\nHost: %b\r\n\r\n" % (line, host))[0]
        assert (request.target, request.headers) == (line[4:], [(b"host", host)])
        assert http.known is None or http.known.request is request
        seen.append(http.known and request.peer)
    # The first that says something is forgotten; the second is remembered.
    assert seen == [None, None, Peer(), Peer(), None]


def test_a_request_that_is_said_once_more_is_answered_as_before():
    http = heads_in_common()()
    data = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    answers = []
    for _ in range(5):
        request = http.receive_again(data, http.known) or http.next_event()
        assert (request.path, http.body_pending, http.must_close) == (b"/", False, False)
        answers.append(http.send_whole(ResponseHead(200, b"", []), b"x"))
        assert http.go_on() is False
    assert len(set(answers)) == 1
    assert http.receive_again(data[:-2], http.known) is None
    assert http.next_event() is NEED_DATA
    http.receive_data(data[-2:])
    assert http.next_event()[:3] == ("GET", b"/", b"/")
    assert http.known is None


def test_fields_that_nobody_says_twice_are_not_kept():
    heads = KnownHeads(4094)
    http = ServerConnection(Policy(), PEER, shares_requests=True, heads=heads)
    for number in range(5000):
        hear(http, b"GET / HTTP/1.1\r\nHost: a\r\nTrace: %d\r\n\r\n" % number)
        answered(http)
    assert not heads._fields
    assert len(heads._noted) < 5000


def test_a_request_that_is_shared_is_one_object_only_while_nothing_differs():
    http = ServerConnection(Policy(date=lambda: b"D"), PEER, shares_requests=True)
    post = b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n%b"
    sent = [(b"x", b"ab"), (b"x", b"ab"), (b"x", b"cd"), (b"y", b"cd"), (b"x", b"ab")]
    heard = []
    for path, body in sent:
        request, data, _ = hear(http, post % (path, body))
        heard.append((request, request.path[1:], data.data))
        answered(http)
    assert [each[1:] for each in heard] == sent
    assert heard[0][0] is heard[1][0] is heard[2][0]
    assert heard[2][0] is not heard[3][0] is not heard[4][0]


@given(st.binary(max_size=6), st.integers(0, 80))
def test_a_body_at_once_is_what_its_events_are(body, cut):
    stream = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%bGET" % (len(body), body)

    def play(at_once):
        http, heard = connection(), b""
        for piece in filter(None, (stream[:cut], stream[cut:])):
            http.receive_data(piece)
            while (event := http.next_event()) not in (NEED_DATA, PAUSED):
                if type(event) is Request and at_once and (whole := http.whole_body()) is not None:
                    heard += whole
                elif type(event) is Data:
                    heard += event.data
        return heard, http.body_pending, http.trailing_data, answered(http)

    assert play(at_once=True) == play(at_once=False)


def test_nothing_but_a_complete_body_of_known_length_is_taken_at_once():
    http = connection()
    assert http.whole_body() is None
    http.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
    http.next_event()
    assert http.whole_body() is None
    http.receive_data(b"b")
    assert http.whole_body() == b"ab"
    assert http.whole_body() is None
    answered(http)
    http.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    http.next_event()
    assert http.whole_body() is None


def test_only_a_request_with_the_very_same_fields_repeats_them():
    http = connection()
    seen = []
    for field in (b"A: 1", b"A: 1", b"A: 2", b"a: 2", b"a: 2"):
        hear(http, b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n")
        seen.append(http.fields_repeated)
        answered(http)
    assert seen == [False, True, False, False, True]


def test_fields_of_another_version_or_form_of_target_are_not_repeated():
    http = connection()
    fields = b"Host: a\r\nConnection: keep-alive\r\n\r\n"
    lines = (
        b"GET / HTTP/1.0",
        b"GET / HTTP/1.1",
        b"GET http://b/ HTTP/1.1",
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1",
    )
    heard = []
    for line in lines:
        request = hear(http, line + b"\r\n" + fields)[0]
        heard.append((http.fields_repeated, request.version, dict(request.headers)[b"host"]))
        answered(http)
    assert heard == [
        (False, "1.0", b"a"),
        (False, "1.1", b"a"),
        (False, "1.1", b"b"),
        (False, "1.1", b"a"),
        (True, "1.1", b"a"),
    ]


def test_a_head_in_pieces_comes_between():
    http = connection()
    first = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    seen = []
    for pieces in ([first], [b"GET / HT", b"TP/1.1\r\nHost: b\r\n\r\n"], [first], [first]):
        for piece in pieces:
            hear(http, piece)
        seen.append(http.fields_repeated)
        answered(http)
    assert seen == [False, False, False, True]


def test_what_an_application_does_to_its_headers_is_not_seen_by_the_next_request():
    http = connection()
    data = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for _ in range(3):
        request = hear(http, data)[0]
        assert request.headers == [(b"host", b"a")]
        request.headers.append((b"x-user", b"root"))
        answered(http)


TARGETS = st.sampled_from([b"/", b"/a?b", b"/%20", b"/a b", b"*", b"/\x7f", b""])


@given(st.lists(TARGETS, max_size=5), st.data())
def test_pipelined_and_in_pieces_it_is_the_same(targets, data):
    stream = b"".join(b"GET %b HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n" % target for target in targets)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert play([stream]) == play(pieces)


def play(pieces):
    """All events of a connection whose requests are answered at once, up to its end."""
    http, heard = connection(), []
    for piece in filter(None, pieces):
        http.receive_data(piece)
        try:
            while (event := http.next_event()) is not NEED_DATA:
                heard.append(event)
                if isinstance(event, EndOfMessage) and not answered(http):
                    return heard
        except ProtocolError as error:
            return [*heard, (error.status, error.rule)]
    return heard


# Responses whose body is known.

STATUSES = st.sampled_from([200, 204, 205, 301, 304, 404, 426, 500])
FIELDS = st.lists(
    st.sampled_from(
        [
            ("Content-Type", "text/plain"),
            ("Set-Cookie", "a=b"),
            ("Connection", "close"),
            ("Connection", "x"),
            ("Server", "app"),
            ("Date", "now"),
            ("Upgrade", "websocket"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "2"),
            ("Content-Length", "0"),
            ("Bad", "a\r\nb: c"),
        ]
    ),
    max_size=4,
)
HEADS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
    ]
)


@given(
    HEADS,
    STATUSES,
    FIELDS,
    st.sampled_from([b"", b"ab", b"abc"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_a_whole_response_is_what_its_parts_are(head, status, fields, body, keep, draining, ended):
    def answer(send):
        http = connection(keep_app_server_and_date=keep)
        http.receive_data(head)
        http.next_event()
        if draining:
            http.announce_close()
        if ended:
            http.receive_data(b"")
        try:
            return send(http), http.must_close, http.response_started
        except LocalProtocolError:
            return None, http.must_close, http.response_started

    def at_once(http):
        return http.send_whole(ResponseHead(status, b"", fields, text=True, keep_server_and_date=keep), body)

    def in_parts(http):
        pairs = [(name.encode(), value.encode()) for name, value in fields]
        framed = status in (204, 304) or any(name == b"Content-Length" for name, _ in pairs)
        if not framed and (body or not head.startswith(b"HEAD")):
            pairs.append((b"Content-Length", b"%d" % len(body)))
        return http.send(Response(status, b"", pairs)) + http.send(Data(body)) + http.send(EndOfMessage())

    assert answer(at_once) == answer(in_parts)


@given(
    st.lists(st.tuples(HEADS, st.booleans(), st.sampled_from([b"", b"ab", b"abc"])), max_size=6),
    STATUSES,
    FIELDS,
)
def test_one_head_for_many_responses_is_as_a_new_one_for_each(answers, status, fields):
    """Also when the second changes, when one of them closes, or when a length is added for one of them."""
    seconds = [0.0]

    def answer(new_head):
        policy = Policy(now=lambda: seconds[0])
        seconds[0], said = 0.0, []
        try:
            shared = ResponseHead(status, b"", fields, text=True)
        except LocalProtocolError:
            return None
        for request, draining, body in answers:
            http = ServerConnection(policy, PEER)
            http.receive_data(request)
            http.next_event()
            if draining:
                http.announce_close()
            head = ResponseHead(status, b"", fields, text=True) if new_head else shared
            try:
                said.append((http.send_whole(head, body), http.must_close))
            except LocalProtocolError as error:
                said.append(str(error))
            seconds[0] += 0.6
        return said

    assert answer(new_head=True) == answer(new_head=False)


def test_heads_of_text_are_kept_unless_they_hold_what_changes():
    heads = TextHeads(lambda status: (int(status[:3]), b""))
    plain = (("Content-Type", "text/plain"), ("Content-Length", "2"))
    assert heads["200 OK", plain] is heads["200 OK", (*plain,)]
    assert heads["200 OK", plain] is not heads["404 Not Found", plain]
    for field in (("Set-Cookie", "a=b"), ("ETag", "x"), ("X-Long", "x" * 500)):
        assert heads["200 OK", (field,)] is not heads["200 OK", (field,)]
    with pytest.raises(LocalProtocolError):
        heads["200 OK", (("A", "b\r\nc: d"),)]
    for number in range(1000):
        heads["200 OK", (("Content-Length", str(number)),)]
    assert len(heads) < 1000


def test_headers_may_be_lists_but_not_of_anything_else_than_text():
    assert ResponseHead(200, b"", [["A", "b"]], text=True).lines == [b"A: b\r\n"]  # type: ignore[list-item]
    for bad in ([("A", 1)], [(b"A", b"b")], [("A",)], ["Ab"[:1]], [("A", "\u20ac")]):
        with pytest.raises(LocalProtocolError):
            ResponseHead(200, b"", bad, text=True)
    for bad in ([("A", "b")], [(b"A", "b")]):
        with pytest.raises(LocalProtocolError):
            ResponseHead(200, b"", bad)


def test_each_request_may_follow_an_empty_line_however_it_is_cut():
    """RFC 9112 2.2. Found by fuzzing: a request with repeated fields left the line before it remembered."""
    request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
    stream = (request + b"\r\n") * 3 + request
    for cut in range(1, len(stream)):
        http, heard = connection(), 0
        for piece in (stream[:cut], stream[cut:]):
            http.receive_data(piece)
            while (event := http.next_event()) is not NEED_DATA:
                if type(event) is EndOfMessage:
                    heard += 1
                    http.send(Response(204))
                    http.send(EndOfMessage())
                    http.start_next_cycle()
        assert heard == 4


def test_a_request_line_that_is_not_complete_has_no_fields_behind_it():
    """Found by fuzzing: its fields were sought at the front of the buffer, and it was heard for ever."""
    fields = b"Host: a.example\r\n\r\n"
    length = 1 + len(fields)
    http, heard = connection(), []
    for piece in (
        b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n" % length,
        b"\n" + fields + b"GET /second HTTP/1.1\r\n" + fields + b"GET /third HTTP/1.1\r",
    ):
        http.receive_data(piece)
        for _ in range(10):
            event = http.next_event()
            if event is NEED_DATA:
                break
            if type(event) is Request:
                heard.append(event.target)
            if type(event) is EndOfMessage:
                http.send(Response(204))
                http.send(EndOfMessage())
                http.start_next_cycle()
    assert heard == [b"/", b"/second"]
    assert http.waiting_for_head
