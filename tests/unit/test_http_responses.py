"""What goes on the wire for a response: framing, our own fields, and nothing that was injected."""

from __future__ import annotations

import pytest

from gunicorn.http import (
    ConnectionClosed,
    Data,
    EndOfMessage,
    InformationalResponse,
    LocalProtocolError,
    Peer,
    Policy,
    ProtocolError,
    Response,
    ServerConnection,
    error_response,
)
from gunicorn.http.date import DateCache, http_date
from gunicorn.http.status import REASONS

PEER = Peer("127.0.0.1", 40000)
OURS = b"Server: gunicorn\r\nDate: D\r\n"


def connected(head=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", **rules):
    connection = ServerConnection(Policy(**{"date": lambda: b"D", **rules}), PEER)
    connection.receive_data(head)
    connection.next_event()
    return connection


def answer(connection, response, *parts):
    return (
        connection.send(response)
        + b"".join(connection.send(Data(part)) for part in parts)
        + connection.send(EndOfMessage())
    )


def test_length_is_honoured():
    connection = connected()
    out = answer(connection, Response(200, b"OK", [(b"Content-Length", b"3")]), b"ab", b"c")
    assert out == b"HTTP/1.1 200 OK\r\n" + OURS + b"Connection: keep-alive\r\nContent-Length: 3\r\n\r\nabc"
    assert not connection.must_close


def test_never_more_than_the_length():
    connection = connected()
    assert answer(connection, Response(200, b"", [(b"content-length", b"3")]), b"ab", b"cd", b"e").endswith(
        b"\r\n\r\nabc"
    )
    assert not connection.must_close


def test_less_than_the_length_closes():
    connection = connected()
    answer(connection, Response(200, b"", [(b"Content-Length", b"3")]), b"ab")
    assert connection.must_close


def test_chunked_without_a_length_and_no_empty_chunk_before_the_end():
    """RFC 9112 7.1; an empty chunk would be the end, and the rest the next response."""
    out = answer(connected(), Response(200), b"ab", b"", b"c")
    head, body = out.split(b"\r\n\r\n", 1)
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"


def test_sendfile_of_nothing_ends_once():
    connection = connected()
    connection.send(Response(200))
    assert connection.frame(0) == (b"", b"")
    assert connection.frame(26) == (b"1a\r\n", b"\r\n")
    assert connection.send(EndOfMessage()) == b"0\r\n\r\n"
    with pytest.raises(LocalProtocolError):
        connection.send(EndOfMessage())


def test_frame_keeps_to_the_length():
    connection = connected()
    connection.send(Response(200, b"", [(b"Content-Length", b"5")]))
    assert connection.response_left == 5
    assert connection.frame(4) == (b"", b"")
    with pytest.raises(LocalProtocolError):
        connection.frame(2)
    assert connection.response_left == 1


def test_http_1_0_ends_with_the_connection():
    connection = connected(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    out = answer(connection, Response(200), b"ab")
    assert out.endswith(b"Connection: close\r\n\r\nab")
    assert connection.must_close


def test_http_1_0_is_kept_with_a_length():
    connection = connected(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"Connection: keep-alive\r\n" in answer(
        connection, Response(200, b"", [(b"Content-Length", b"0")])
    )
    assert not connection.must_close


@pytest.mark.parametrize(
    ("method", "status", "kept"),
    [(b"HEAD", 200, True), (b"GET", 304, True), (b"GET", 204, False), (b"HEAD", 204, False)],
)
def test_no_body(method, status, kept):
    """RFC 9110 6.4.1, and 8.6 for the length."""
    connection = connected(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    out = answer(connection, Response(status, b"", [(b"Content-Length", b"3")]), b"abc")
    assert out.endswith(b"\r\n\r\n")
    assert (b"Content-Length: 3" in out) is kept
    assert b"Transfer-Encoding" not in out
    assert not connection.must_close


def test_hop_by_hop_fields_are_ours():
    names = [
        b"Connection",
        b"Keep-Alive",
        b"Proxy-Authenticate",
        b"TE",
        b"Transfer-Encoding",
        b"Upgrade",
        b"Server",
        b"Date",
    ]
    out = answer(connected(), Response(200, b"", [(name, b"x") for name in names]))
    assert b": x\r\n" not in out
    assert out.count(b"Server: ") == out.count(b"Date: ") == out.count(b"Connection: ") == 1


def test_an_asgi_application_may_name_server_and_date():
    out = answer(
        connected(keep_app_server_and_date=True), Response(200, b"", [(b"server", b"x"), (b"date", b"y")])
    )
    assert b"server: x\r\ndate: y\r\n" in out
    assert b"gunicorn" not in out
    assert OURS in answer(connected(keep_app_server_and_date=True), Response(200))


def test_application_may_ask_to_close():
    connection = connected()
    assert b"Connection: close" in answer(connection, Response(200, b"", [(b"Connection", b"close")]))
    assert connection.must_close


@pytest.mark.parametrize(
    "response",
    [
        Response(200, b"OK\r\nX: y"),
        Response(200, b"OK\0"),
        Response(99),
        Response(1000),
        Response(200, b"", [(b"A", b"b\r\nC: d")]),
        Response(200, b"", [(b"A", b"b\nC: d")]),
        Response(200, b"", [(b"A", b"b\rC"), (b"D", b"e\nf")]),
        Response(200, b"", [(b"A", b"b\0")]),
        Response(200, b"", [(b"A\r\nB", b"c")]),
        Response(200, b"", [(b"A ", b"c")]),
        Response(200, b"", [(b"", b"c")]),
        Response(200, b"", [(b"Content-Length", b"+1")]),
        Response(200, b"", [(b"Content-Length", b"1"), (b"Content-Length", b"2")]),
    ],
)
def test_what_must_not_be_said_changes_nothing(response):
    connection = connected()
    with pytest.raises(LocalProtocolError):
        connection.send(response)
    assert not connection.response_started
    assert connection.send(Response(500)).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")


def test_informational():
    connection = connected()
    hint = InformationalResponse(103, [(b"Link", b"</a>; rel=preload")])
    assert connection.send(hint) == b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
    with pytest.raises(LocalProtocolError):
        connection.send(InformationalResponse(103, [(b"Link", b"a\r\nb: c")]))
    with pytest.raises(LocalProtocolError):
        connection.send(InformationalResponse(200))
    connection.send(Response(200))
    with pytest.raises(LocalProtocolError):
        connection.send(hint)
    assert connected(b"GET / HTTP/1.0\r\n\r\n").send(hint) == b""


def test_draining_is_announced():
    """RFC 9112 9.6."""
    connection = connected()
    connection.announce_close()
    assert b"Connection: close" in answer(connection, Response(200, b"", [(b"Content-Length", b"0")]))
    assert connection.must_close


def test_switching_protocols():
    """RFC 9110 7.8."""
    connection = connected(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nframes"
    )
    out = connection.send(Response(101, b"", [(b"Upgrade", b"websocket"), (b"Connection", b"upgrade")]))
    assert out == b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert connection.trailing_data == b"frames"
    assert connection.must_close
    assert connection.send(Data(b"raw")) == b"raw"
    with pytest.raises(LocalProtocolError):
        connected().send(Response(101))


def test_connect_opens_a_tunnel():
    """RFC 9110 9.3.6."""
    connection = connected(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nraw")
    out = connection.send(Response(200, b"", [(b"Content-Length", b"3")]))
    assert b"Transfer-Encoding" not in out
    assert b"Content-Length" not in out
    assert connection.must_close
    assert connection.trailing_data == b"raw"


def test_trailers():
    connection = connected()
    connection.send(Response(200))
    with pytest.raises(LocalProtocolError):
        connection.send(EndOfMessage(((b"a", b"b\r\nc: d"),)))
    assert connection.send(EndOfMessage(((b"a", b"b"),))) == b"0\r\na: b\r\n\r\n"


@pytest.mark.parametrize("status", [400, 403, 408, 413, 414, 417, 421, 431, 500, 501, 505])
def test_error_page_says_only_the_status(status):
    out = error_response(ProtocolError(status, "rule", "detail"), date=b"D")
    head, body = out.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 %d %b\r\n" % (status, REASONS[status]))
    assert b"\r\nConnection: close\r\n" in head
    assert b"\r\nDate: D\r\n" in head
    assert b"Content-Length: %d" % len(body) in head
    assert b"rule" not in out
    assert b"detail" not in out
    assert error_response(ProtocolError(status, ""), body=False).endswith(b"\r\n\r\n")


def test_date_is_made_once_a_second():
    """RFC 9110 5.6.7."""
    times = iter([784111777.0, 784111777.9, 784111778.0])
    date = DateCache(lambda: next(times))
    first, second, third = date(), date(), date()
    assert first == http_date(784111777) == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert second is first
    assert third == b"Sun, 06 Nov 1994 08:49:38 GMT"


# The life of a connection.


def test_pipelined_requests_wait_their_turn():
    connection = connected(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert connection.next_event() == EndOfMessage()
    assert not connection.wants_data
    answer(connection, Response(204))
    connection.start_next_cycle()
    assert connection.next_event().path == b"/2"


def test_a_client_that_half_closes_gets_its_answers():
    connection = connected(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    connection.receive_data(b"")
    answer(connection, Response(204))
    connection.start_next_cycle()
    assert connection.next_event().path == b"/2"
    connection.next_event()
    assert b"Connection: close" in answer(connection, Response(204))
    assert connection.must_close
    assert connection.next_event() == ConnectionClosed()


def test_unread_body_is_discarded_up_to_a_limit():
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    connection = connected(head % 6 + b"abc")
    assert connection.body_pending
    answer(connection, Response(204))
    assert not connection.must_close
    assert not connection.discard_body()
    connection.receive_data(b"def")
    assert connection.discard_body()
    connection.start_next_cycle()
    assert connection.idle

    connection = connected(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", drain_limit=4)
    answer(connection, Response(204))
    connection.receive_data(b"5\r\nabcde\r\n")
    assert not connection.discard_body()
    assert connection.must_close

    connection = connected(head % 10, drain_limit=4)
    assert b"Connection: close" in connection.send(Response(204))


def test_continue_is_due_until_something_happens():
    """RFC 9110 10.1.1."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    connection = connected(head)
    assert connection.needs_continue
    assert connection.send(InformationalResponse(100)) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert not connection.needs_continue
    assert not connected(head + b"a").needs_continue
    refused = connected(head)
    assert b"Connection: close" in refused.send(Response(200))
    assert not refused.needs_continue


def test_truncation():
    """RFC 9112 8."""
    connection = connected(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
    assert connection.next_event() == Data(b"a")
    connection.receive_data(b"")
    for _ in range(2):
        with pytest.raises(ProtocolError, match="incomplete request body"):
            connection.next_event()
    assert connection.must_close


def test_what_a_driver_asks_before_it_waits():
    connection = ServerConnection(Policy(), PEER)
    assert connection.idle
    connection.receive_data(b"GET")
    connection.next_event()
    assert connection.waiting_for_head
    assert not connection.idle
    connection.receive_data(b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    connection.next_event()
    assert not connection.waiting_for_head
    assert not connection.idle
    with pytest.raises(LocalProtocolError):
        connection.start_next_cycle()
