"""The ASGI worker with a client: what a request becomes, and what an answer becomes."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import socket
import sys
from pathlib import Path

import pytest
from asgi_worker import LOOPS, AsgiWorker, answer, body, http_only, read_body, start
from engine_worker import read_all, read_answer, read_until, split
from harness import wait_until


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return request.param


@http_only
async def hello(scope, receive, send):
    await answer(send, b"Hello, " + scope["path"].encode())


@http_only
async def echo(scope, receive, send):
    await answer(send, await read_body(receive))


def get(path: str = "/", fields: str = "", version: str = "1.1", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nHost: a\r\n{fields}\r\n".encode()


def test_hello_and_keep_alive(loop):
    with AsgiWorker(hello, asgi_loop=loop) as worker, worker.connect() as client:
        for path in ("/one", "/two"):
            client.sendall(get(path))
            head, data = read_answer(client)
            assert head.startswith(b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: ")
            assert b"\r\nConnection: keep-alive\r\n" in head
            assert data == b"Hello, " + path.encode()
        wait_until(lambda: worker.slot.requests == 2)


def test_pipelined_requests_are_answered_in_order(loop):
    @http_only
    async def app(scope, receive, send):
        await asyncio.sleep(0.02 if scope["path"] == "/0" else 0)
        await answer(send, scope["path"].encode())

    with AsgiWorker(app, asgi_loop=loop) as worker, worker.connect() as client:
        client.sendall(b"".join(get(f"/{n}") for n in range(20)))
        assert [read_answer(client)[1] for _ in range(20)] == [b"/%d" % n for n in range(20)]


def test_the_next_request_is_served_while_the_application_cleans_up(loop):
    @http_only
    async def app(scope, receive, send):
        await answer(send, scope["path"].encode())
        await asyncio.sleep(30)

    with AsgiWorker(app, asgi_loop=loop, graceful_timeout=1) as worker, worker.connect() as client:
        for n in range(10):
            client.sendall(get(f"/{n}"))
            assert read_answer(client)[1] == b"/%d" % n


def test_a_connection_has_at_most_sixteen_applications_that_clean_up(loop):
    @http_only
    async def app(scope, receive, send):
        await answer(send, scope["path"].encode())
        await asyncio.sleep(0.3)

    with AsgiWorker(app, asgi_loop=loop, graceful_timeout=1) as worker, worker.connect() as client:
        client.sendall(b"".join(get(f"/{n}") for n in range(20)))
        first = [read_answer(client)[1] for _ in range(16)]
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(30)
        rest = [read_answer(client)[1] for _ in range(4)]
    assert first + rest == [b"/%d" % n for n in range(20)]


def test_context_variables_do_not_reach_the_next_request(loop):
    user = contextvars.ContextVar("user", default="nobody")

    @http_only
    async def app(scope, receive, send):
        seen = user.get()
        user.set(scope["path"])
        await read_body(receive)
        await answer(send, seen.encode())

    big = b"x" * 300_000  # enough to stop and resume reading from the application's task
    with AsgiWorker(app, asgi_loop=loop) as worker, worker.connect() as client:
        seen = []
        for n in range(4):
            client.sendall(get(f"/{n}", f"Content-Length: {len(big)}\r\n", method="POST") + big)
            seen.append(read_answer(client)[1])
        client.sendall(get("/a") + get("/b"))
        seen += [read_answer(client)[1] for _ in range(2)]
    assert set(seen) == {b"nobody"}


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_is_echoed(loop, framing):
    data = os.urandom(300_000)
    if framing == "length":
        request = get("/", f"Content-Length: {len(data)}\r\n", method="POST") + data
    else:
        chunks = [data[start : start + 10_000] for start in range(0, len(data), 10_000)]
        request = get("/", "Transfer-Encoding: chunked\r\n", method="POST")
        request += b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    with AsgiWorker(echo, asgi_loop=loop) as worker, worker.connect() as client:
        for _ in range(2):
            client.sendall(request)
            assert read_answer(client)[1] == data


def test_continue_is_sent_when_the_body_is_asked_for(loop):
    @http_only
    async def app(scope, receive, send):
        data = b"refused" if scope["path"] == "/refuse" else await read_body(receive)
        await answer(send, data, 413 if scope["path"] == "/refuse" else 200)

    fields = "Content-Length: 5\r\nExpect: 100-continue\r\n"
    with AsgiWorker(app, asgi_loop=loop) as worker:
        with worker.connect() as client:
            client.sendall(get("/", fields, method="POST"))
            assert read_until(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(b"hello")
            assert read_answer(client)[1] == b"hello"
        with worker.connect() as client:
            client.sendall(get("/refuse", fields, method="POST"))
            head, _ = split(read_all(client))
            assert head.startswith(b"HTTP/1.1 413 ")
            assert b"Connection: close" in head


def test_an_unread_body_does_not_disturb_the_next_request(loop):
    with AsgiWorker(hello, asgi_loop=loop) as worker, worker.connect() as client:
        client.sendall(get("/", "Content-Length: 20\r\n", method="POST") + b"x" * 10)
        assert read_answer(client)[1] == b"Hello, /"
        client.sendall(b"x" * 10 + get("/next"))
        assert read_answer(client)[1] == b"Hello, /next"


@http_only
async def stream(scope, receive, send):
    await start(send)
    for n in range(3):
        await body(send, b"part %d\n" % n, more=True)
        await asyncio.sleep(0)
    await body(send)


def test_a_stream_is_chunked_and_the_connection_goes_on(loop):
    with AsgiWorker(stream, asgi_loop=loop) as worker, worker.connect() as client:
        for _ in range(2):
            client.sendall(get())
            head, data = read_answer(client)
            assert b"Transfer-Encoding: chunked" in head
            assert data == b"part 0\npart 1\npart 2\n"


def test_a_stream_to_http_1_0_ends_with_the_connection(loop):
    with AsgiWorker(stream, asgi_loop=loop) as worker, worker.connect() as client:
        client.sendall(get(version="1.0"))
        head, data = split(read_all(client))
        assert b"chunked" not in head
        assert data == b"part 0\npart 1\npart 2\n"


def test_the_first_part_leaves_at_once(loop):
    @http_only
    async def app(scope, receive, send):
        await start(send, headers=[(b"content-type", b"text/event-stream")])
        await body(send, b"data: 1\n\n", more=True)
        await asyncio.sleep(30)

    with AsgiWorker(app, asgi_loop=loop, graceful_timeout=1) as worker, worker.connect() as client:
        client.sendall(get())
        assert b"data: 1" in read_until(client, b"data: 1\n\n")


def test_head_and_bodiless_statuses(loop):
    @http_only
    async def app(scope, receive, send):
        await answer(send, b"a body all the same", 200 if scope["method"] == "HEAD" else 204)

    with AsgiWorker(app, asgi_loop=loop) as worker, worker.connect() as client:
        client.sendall(get(method="HEAD") + get("/none"))
        head = read_until(client, b"\r\n\r\n")
        assert b"content-length: 19" in head
        head = read_until(client, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 204 No Content\r\n")
        assert b"content-length" not in head.lower()
        client.sendall(get(method="HEAD"))
        assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
        assert "19 bytes of the body were not sent: the status is 204, which has no body" in worker.log()


def test_early_hints_and_informational_responses(loop):
    @http_only
    async def app(scope, receive, send):
        if "http.response.early_hint" in scope["extensions"]:
            await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
        await send({"type": "http.response.informational", "status": 103, "headers": [(b"link", b"</a>")]})
        await answer(send, b"done")

    with AsgiWorker(app, asgi_loop=loop) as worker:
        with worker.connect() as client:
            client.sendall(get())
            hint = read_until(client, b"\r\n\r\n")
            assert hint == b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
            assert read_until(client, b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
            assert read_answer(client)[1] == b"done"
        with worker.connect() as client:
            client.sendall(get(version="1.0"))
            assert read_all(client).startswith(b"HTTP/1.1 200 OK")


def test_trailers(loop):
    @http_only
    async def app(scope, receive, send):
        assert "http.response.trailers" in scope["extensions"]
        await start(send, headers=[(b"trailer", b"x-sum")], trailers=True)
        await body(send, b"data")
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"42")], "more_trailers": False})

    with AsgiWorker(app, asgi_loop=loop) as worker, worker.connect() as client:
        client.sendall(get(fields="TE: trailers\r\nConnection: close, TE\r\n"))
        assert split(read_all(client))[1] == b"4\r\ndata\r\n0\r\nx-sum: 42\r\n\r\n"


@pytest.fixture(scope="module")
def big_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "big"
    path.write_bytes(os.urandom(3_000_000))
    return path


def file_app(path: Path, *, with_length: bool):
    @http_only
    async def app(scope, receive, send):
        fields = [(b"content-length", b"%d" % os.stat(path).st_size)] if with_length else []
        await start(send, headers=fields)
        await send({"type": "http.response.pathsend", "path": str(path)})

    return app


@pytest.mark.parametrize("with_length", [True, False])
@pytest.mark.parametrize("sendfile", [True, False])
def test_a_file_is_sent(loop, big_file, with_length, sendfile):
    app = file_app(big_file, with_length=with_length)
    with AsgiWorker(app, asgi_loop=loop, sendfile=sendfile) as worker, worker.connect() as client:
        for _ in range(2):
            client.sendall(get())
            if with_length:
                head = read_until(client, b"\r\n\r\n")
                assert b"content-length: 3000000" in head
                with client.makefile("rb") as file:
                    data = file.read(3_000_000)
            else:
                data = read_answer(client)[1]
            assert data == big_file.read_bytes()
        client.sendall(get(method="HEAD"))
        assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK")


def test_a_file_that_is_missing_is_the_applications_problem(loop):
    app = file_app(Path("/nowhere/at/all"), with_length=False)
    with AsgiWorker(app, asgi_loop=loop) as worker:
        assert worker.get()[0].startswith(b"HTTP/1.1 500 ")
        assert "FileNotFoundError" in worker.log()


# The scope


@http_only
async def show_scope(scope, receive, send):
    await answer(send, repr({name: value for name, value in scope.items() if name != "state"}).encode())


def scope_of(data: bytes) -> dict:
    return eval(data.decode())


def test_the_scope_of_a_request(loop):
    with AsgiWorker(show_scope, asgi_loop=loop, root_path="/api") as worker, worker.connect() as client:
        client.sendall(get("/caf%C3%A9%2F?q=%20", "X-Thing: A\r\n"))
        scope = scope_of(read_answer(client)[1])
        assert scope == {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/café/",
            "raw_path": b"/caf%C3%A9%2F",
            "query_string": b"q=%20",
            "root_path": "/api",
            "headers": [(b"host", b"a"), (b"x-thing", b"A")],
            "client": client.getsockname(),
            "server": client.getpeername(),
            "extensions": {
                "http.response.pathsend": {},
                "http.response.early_hint": {},
                "http.response.trailers": {},
            },
        }


def test_the_scope_on_a_unix_socket(loop, tmp_path):
    path = tmp_path / "s"
    with AsgiWorker(show_scope, asgi_loop=loop, bind=f"unix:{path}") as worker:
        scope = scope_of(worker.get()[1])
        assert (scope["server"], scope["client"]) == ((str(path), None), None)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_the_addresses_of_ipv6_have_two_parts(loop):
    try:
        worker = AsgiWorker(show_scope, asgi_loop=loop, bind="[::1]:0").__enter__()
    except (OSError, SystemExit):
        pytest.skip("no IPv6 here")
    try:
        with socket.create_connection(worker.address[:2]) as client:
            client.sendall(get())
            scope = scope_of(read_answer(client)[1])
            assert (scope["server"], scope["client"]) == (client.getpeername()[:2], client.getsockname()[:2])
    finally:
        worker.__exit__(None, None, None)


def test_a_trusted_proxy_says_the_scheme(loop):
    with AsgiWorker(show_scope, asgi_loop=loop) as worker:
        _, data = worker.get(headers="X-Forwarded-Proto: https\r\n")
        assert scope_of(data)["scheme"] == "https"
    with AsgiWorker(show_scope, asgi_loop=loop, forwarded_allow_ips="10.0.0.1") as worker:
        _, data = worker.get(headers="X-Forwarded-Proto: https\r\n")
        assert scope_of(data)["scheme"] == "http"


def test_the_proxy_protocol_says_the_client(loop):
    with AsgiWorker(show_scope, asgi_loop=loop, proxy_protocol="v1") as worker, worker.connect() as client:
        client.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n" + get())
        assert scope_of(read_answer(client)[1])["client"] == ("192.0.2.1", 1234)


def test_state_is_copied_for_each_request(loop):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            scope["state"]["shared"] = []
            scope["state"]["plain"] = 1
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        state = scope["state"]
        state["shared"].append(1)
        state["plain"] += 1
        await answer(send, json.dumps([len(state["shared"]), state["plain"]]).encode())

    with AsgiWorker(app, asgi_loop=loop) as worker:
        assert [json.loads(worker.get()[1]) for _ in range(3)] == [[1, 2], [2, 2], [3, 2]]


def test_the_loop_is_the_one_that_was_asked_for(loop):
    @http_only
    async def app(scope, receive, send):
        await answer(send, type(asyncio.get_running_loop()).__module__.encode())

    with AsgiWorker(app, asgi_loop=loop) as worker:
        assert worker.get()[1].startswith(loop.encode())


def test_auto_takes_uvloop_where_it_is_installed():
    @http_only
    async def app(scope, receive, send):
        await answer(send, str("uvloop" in sys.modules).encode())

    with AsgiWorker(app, asgi_loop="auto") as worker:
        assert worker.get()[1] == b"True"


# The records


def test_the_access_log_has_a_line_for_every_answer(loop, tmp_path):
    path = tmp_path / "access"
    with AsgiWorker(
        hello, asgi_loop=loop, accesslog=str(path), access_log_format='%(h)s "%(r)s" %(s)s %(B)s'
    ) as worker:
        worker.get("/a?b")
        with worker.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
            assert read_all(client).startswith(b"HTTP/1.1 400 ")
        worker.stop()
        assert path.read_text().splitlines() == ['127.0.0.1 "GET /a?b HTTP/1.1" 200 9', '127.0.0.1 "-" 400 0']


def test_hooks_see_the_request_and_the_answer(loop):
    def pre_request(worker, req):
        worker.log.info("pre %s %s", req.method, req.uri)

    def post_request(worker, req, environ, resp):
        worker.log.info(
            "post %s %s %s", environ["PATH_INFO"], resp.status, dict(resp.headers)["content-length"]
        )

    with AsgiWorker(hello, asgi_loop=loop, pre_request=pre_request, post_request=post_request) as worker:
        worker.get("/hooked")
        worker.stop()
        assert "pre GET /hooked" in worker.log()
        assert "post /hooked 200 OK 14" in worker.log()


def test_requests_in_flight_are_in_the_slot(loop):
    @http_only
    async def app(scope, receive, send):
        await start(send)
        await body(send, b"x", more=True)
        await receive()
        await receive()

    with AsgiWorker(app, asgi_loop=loop) as worker:
        with worker.connect() as client:
            client.sendall(get("/slow"))
            read_until(client, b"x")
            assert [(one.method, one.path) for one in worker.slot.table.snapshot()] == [("GET", "/slow")]
            assert worker.slot.connections == 1
        worker.slot_idle()
        worker.stop()
        assert worker.slot.table.snapshot() == []
