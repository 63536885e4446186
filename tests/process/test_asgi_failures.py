"""What an application does wrong has one defined outcome each, for the client and in the log."""

from __future__ import annotations

import sys

import pytest
from asgi_worker import LOOPS, AsgiWorker, answer, body, http_only, start
from engine_worker import read_all, read_answer, split

from gunicorn.process.slots import SlotState


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return request.param


def get(path: str = "/", fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()


def outcome(app, loop: str) -> tuple[bytes, bytes, str]:
    """Head and body of what a client gets, and the log, of a worker that still serves afterwards."""

    @http_only
    async def wrapped(scope, receive, send):
        if scope["path"] == "/alive":
            await answer(send, b"alive")
        else:
            await app(scope, receive, send)

    with AsgiWorker(wrapped, asgi_loop=loop) as worker:
        with worker.connect() as client:
            client.sendall(get())
            head, data = split(read_all(client))
        assert worker.get("/alive")[1] == b"alive"
        assert worker.slot.table.snapshot() == []
        return head, data, worker.log()


async def raises_before(scope, receive, send):
    raise ValueError("the application's own")


async def raises_after_start(scope, receive, send):
    await start(send)
    raise ValueError("the application's own")


async def raises_stop_iteration(scope, receive, send):
    raise StopIteration("the application's own")


async def raises_stop_async_iteration(scope, receive, send):
    raise StopAsyncIteration("the application's own")


async def raises_a_group(scope, receive, send):
    raise BaseExceptionGroup("the application's own", [ValueError(1), KeyError(2)])  # noqa: F821


async def raises_generator_exit_in_group(scope, receive, send):
    raise BaseExceptionGroup("the application's own", [GeneratorExit()])  # noqa: F821


async def has_a_bad_header(scope, receive, send):
    await start(send, headers=[(b"x-split", b"the application's own\r\nx: y")])
    await body(send, b"never")


async def has_text_headers(scope, receive, send):
    await start(send, headers=[("x-text", "the application's own")])


async def begins_twice(scope, receive, send):
    await start(send)
    await start(send)


async def sends_body_first(scope, receive, send):
    await body(send, b"never")


async def sends_nonsense(scope, receive, send):
    await send({"type": "http.response.nonsense"})


async def sends_text(scope, receive, send):
    await start(send)
    await send({"type": "http.response.body", "body": "text"})


async def has_no_status(scope, receive, send):
    await send({"type": "http.response.start", "headers": []})


async def returns_at_once(scope, receive, send):
    return


async def returns_after_start(scope, receive, send):
    await start(send)


BEFORE_THE_HEAD = [
    (raises_before, "ValueError: the application's own"),
    (raises_after_start, "ValueError: the application's own"),
    (raises_stop_iteration, "StopIteration: the application's own"),
    (raises_stop_async_iteration, "StopAsyncIteration: the application's own"),
    (has_a_bad_header, "http.response.start: control character in the response header x-split"),
    (has_text_headers, "http.response.start: a name or value that is not bytes"),
    (begins_twice, "the application sent 'http.response.start' where only 'http.response.body' is possible"),
    (sends_body_first, "the application sent 'http.response.body' before 'http.response.start'"),
    (sends_nonsense, "the application sent a message of unknown type 'http.response.nonsense'"),
    (sends_text, "http.response.body: body must be bytes, not str"),
    (has_no_status, "http.response.start: the key 'status' is missing"),
    (returns_at_once, "GET /: the application returned without a response"),
    (returns_after_start, "GET /: the application returned without completing its response"),
]
if sys.version_info >= (3, 11):
    BEFORE_THE_HEAD += [
        (raises_a_group, "the application's own"),
        (raises_generator_exit_in_group, "the application's own"),
    ]


@pytest.mark.parametrize(("app", "line"), BEFORE_THE_HEAD, ids=lambda value: getattr(value, "__name__", None))
def test_a_failure_before_the_head_is_answered_with_500(loop, app, line):
    head, data, log = outcome(app, loop)
    assert head.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"Connection: close" in head
    assert b"application's own" not in data
    assert line in log


async def raises_in_the_body(scope, receive, send):
    await start(send)
    await body(send, b"some", more=True)
    raise ValueError("the application's own")


async def returns_in_the_body(scope, receive, send):
    await start(send)
    await body(send, b"some", more=True)


@pytest.mark.parametrize("app", [raises_in_the_body, returns_in_the_body])
def test_a_failure_behind_the_head_cuts_the_response_off(loop, app):
    head, data, log = outcome(app, loop)
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert data == b"4\r\nsome\r\n"  # no last chunk: the client can tell
    assert "application's own" in log or "returned without completing its response" in log


def test_a_failure_behind_the_response_is_logged_and_harms_nobody(loop):
    @http_only
    async def app(scope, receive, send):
        await answer(send, b"good")
        raise ValueError("in the cleanup")

    with AsgiWorker(app, asgi_loop=loop) as worker, worker.connect() as client:
        for _ in range(2):
            client.sendall(get())
            assert read_answer(client)[1] == b"good"
        worker.stop()
        assert worker.log().count("ValueError: in the cleanup") == 2


def test_a_body_that_is_too_short_closes_the_connection(loop):
    async def app(scope, receive, send):
        await start(send, headers=[(b"content-length", b"10")])
        await body(send, b"short")

    head, data, log = outcome(app, loop)
    assert (b"content-length: 10" in head, data) == (True, b"short")
    assert "GET /: the body has 5 bytes, fewer than its Content-Length" in log


def test_a_body_that_is_too_long_is_cut(loop):
    @http_only
    async def app(scope, receive, send):
        await start(send, headers=[(b"content-length", b"5")])
        await body(send, b"hello", more=True)
        await body(send, b" world")

    with AsgiWorker(app, asgi_loop=loop) as worker, worker.connect() as client:
        for _ in range(2):
            client.sendall(get())
            assert read_answer(client)[1] == b"hello"
        assert "6 bytes of the body were not sent" in worker.log()


def test_sending_behind_the_end_names_the_message(loop):
    @http_only
    async def app(scope, receive, send):
        await answer(send, b"good")
        await body(send, b"more")

    with AsgiWorker(app, asgi_loop=loop) as worker:
        assert worker.get()[1] == b"good"
        worker.stop()
        assert "the application sent 'http.response.body' after the response was complete" in worker.log()


def test_an_application_that_is_none(loop):
    def wsgi(environ, start_response):
        raise AssertionError("never called")

    with AsgiWorker(wsgi, asgi_loop=loop) as worker:
        assert worker.get()[0].startswith(b"HTTP/1.1 500 ")
        worker.stop()
        assert "positional argument" in worker.log()


def test_sys_exit_ends_the_worker_behind_the_answers(loop):
    @http_only
    async def app(scope, receive, send):
        sys.exit(7)

    with AsgiWorker(app, asgi_loop=loop) as worker:
        assert worker.get()[0].startswith(b"HTTP/1.1 500 ")
        assert worker.wait() == 7
        assert worker.slot.state is SlotState.DRAINING


def test_a_bad_body_is_the_clients_fault(loop):
    @http_only
    async def app(scope, receive, send):
        message = {"more_body": True}
        while message.get("more_body"):
            message = await receive()
        assert message["type"] == "http.disconnect"
        raise ValueError("no body, no answer")

    with AsgiWorker(app, asgi_loop=loop) as worker, worker.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 400 ")
        worker.stop()
        assert "Invalid request from 127.0.0.1" in worker.log()
        assert "Traceback" not in worker.log()


def test_a_hook_that_raises_is_answered_with_500(loop):
    def pre_request(worker, req):
        raise ValueError("the hook's own")

    with AsgiWorker(http_only(raises_before), asgi_loop=loop, pre_request=pre_request) as worker:
        assert worker.get()[0].startswith(b"HTTP/1.1 500 ")
        assert "the hook's own" in worker.log()
