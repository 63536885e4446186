"""Requests and answers over real sockets, with either worker class."""

from __future__ import annotations

import io
import os
import socket
from wsgiref.validate import validator

import pytest
from engine_worker import EngineWorker, read_all, read_answer, split

CLASSES = {"sync": {"worker_class": "sync"}, "gthread": {"worker_class": "gthread", "threads": 2}}


@pytest.fixture(params=CLASSES)
def kind(request):
    return CLASSES[request.param]


def answer(start_response, body=b"", status="200 OK", headers=()):
    start_response(status, [("Content-Type", "text/plain"), *headers])
    return [body]


def hello(environ, start_response):
    return answer(start_response, b"hello " + environ["PATH_INFO"].encode("latin-1"))


def echo(environ, start_response):
    return answer(start_response, environ["wsgi.input"].read())


def test_a_validated_application(kind):
    """wsgiref.validate asserts PEP 3333 from both sides; what it finds would be a 500."""

    def application(environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        return answer(start_response, environ["REQUEST_METHOD"].encode() + body, headers=[("X-A", "b")])

    with EngineWorker(validator(application), **kind) as worker, worker.connect() as sock:
        sock.sendall(b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(sock)[1] == b"GET"
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nhi")
        assert read_answer(sock)[1] == b"POSThi"
        sock.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, body = split(read_all(sock))
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == b""
        assert "Error" not in worker.log()


def test_pipelined_requests_are_answered_in_order(kind):
    with EngineWorker(hello, **kind) as worker, worker.connect() as sock:
        sock.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(20)))
        assert [read_answer(sock)[1] for _ in range(20)] == [b"hello /%d" % number for number in range(20)]


def test_a_request_in_single_bytes(kind):
    with EngineWorker(echo, **kind) as worker, worker.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc":
            sock.sendall(bytes([byte]))
        assert read_answer(sock)[1] == b"abc"


def test_a_unix_socket(kind, tmp_path):
    def application(environ, start_response):
        return answer(start_response, repr((environ["REMOTE_ADDR"], environ["SERVER_NAME"])).encode())

    with EngineWorker(application, bind=f"unix:{tmp_path}/s", **kind) as worker:
        assert worker.get()[1] == b"('', 'x')"


def test_large_bodies_both_ways(kind):
    body = os.urandom(3_000_000)
    with EngineWorker(echo, **kind) as worker, worker.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert read_answer(sock)[1] == body
        pieces = b"".join(
            b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:70_000], body[70_000:200_000])
        )
        sock.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
        )
        assert read_answer(sock)[1] == body[:200_000]


def test_100_continue_is_sent_when_the_application_reads(kind):
    def application(environ, start_response):
        if environ["PATH_INFO"] == "/refuse":
            return answer(start_response, b"no", "413 Content Too Large")
        return echo(environ, start_response)

    request = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    with EngineWorker(application, **kind) as worker:
        with worker.connect() as sock:
            sock.sendall(request % b"/")
            assert read_answer(sock)[0] == b"HTTP/1.1 100 Continue"
            sock.sendall(b"hi")
            assert read_answer(sock)[1] == b"hi"
        with worker.connect() as sock:
            sock.sendall(request % b"/refuse")
            head, body = split(read_all(sock))
            assert head.startswith(b"HTTP/1.1 413 ")
            assert b"Connection: close" in head
            assert body == b"no"


def test_an_unread_body_does_not_become_the_next_request(kind):
    with EngineWorker(hello, **kind) as worker, worker.connect() as sock:
        body = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        sock.sendall(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (len(body) + 5) + body)
        assert read_answer(sock)[1] == b"hello /a"
        sock.sendall(b"12345" + b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(sock)[1] == b"hello /b"


def test_a_large_unread_body_ends_the_connection_after_the_answer(kind):
    with EngineWorker(hello, **kind) as worker, worker.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")
        assert read_answer(sock)[1] == b"hello /"
        with pytest.raises(ConnectionError):
            send_for_ever(sock)


def send_for_ever(sock):
    while True:
        sock.sendall(bytes(100_000))


BODIES = {
    "list": lambda start: answer(start, b"abc"),
    "tuple": lambda start: tuple(answer(start, b"abc")),
    "two": lambda start: [*answer(start, b"a"), b"bc"],
    "generator": lambda start: (piece for piece in [*answer(start, b"ab"), b"", b"c"]),
    "write": lambda start: start("200 OK", [])(b"ab") or [b"c"],
    "length": lambda start: answer(start, b"abc", headers=[("Content-Length", "3")]),
}


@pytest.mark.parametrize("way", BODIES)
def test_every_way_to_give_a_body(way):
    with EngineWorker(lambda environ, start: BODIES[way](start)) as worker:
        with worker.connect() as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert split(read_all(sock))[1] == b"abc"
        head, body = worker.get()
        if way in ("list", "tuple", "length"):
            assert body == b"abc"
            assert b"content-length: 3" in head.lower()
        else:
            assert body.endswith(b"0\r\n\r\n")
            assert b"".join(body.split(b"\r\n")[1:-3:2]) == b"abc"


def test_a_head_that_was_not_sent_can_be_replaced():
    def application(environ, start_response):
        start_response("200 OK", [("X-First", "1")])
        try:
            raise ValueError("changed my mind")
        except ValueError:
            import sys

            start_response("404 Not Found", [], sys.exc_info())
        return [b"x"]

    with EngineWorker(application) as worker:
        head, _ = worker.get()
        assert head.startswith(b"HTTP/1.1 404 Not Found")
        assert b"X-First" not in head


def test_close_is_called_however_the_response_ends(kind, tmp_path):
    class Body:
        def __init__(self, fails):
            self.fails = fails

        def __iter__(self):
            yield b"x"
            if self.fails:
                raise ValueError("in the middle")

        def close(self):
            with open(tmp_path / "closed", "a") as file:
                file.write("closed\n")

    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", "2" if "fail" in environ["PATH_INFO"] else "1")])
        return Body("fail" in environ["PATH_INFO"])

    with EngineWorker(application, **kind) as worker:
        assert worker.get("/")[1] == b"x"
        assert worker.get("/fail")[1] == b"x"  # and then the end, one byte early
        worker.stop()
        assert (tmp_path / "closed").read_text().count("closed") == 2


def test_an_error_before_the_head_is_a_500_with_one_traceback(kind):
    def application(environ, start_response):
        raise ValueError("secret detail")

    with EngineWorker(application, **kind) as worker:
        head, body = worker.get("/broken")
        assert head.startswith(b"HTTP/1.1 500 Internal Server Error")
        assert b"secret" not in body
        assert worker.log().count("Error handling request /broken") == 1
        assert worker.log().count("ValueError: secret detail") == 1


@pytest.mark.parametrize(
    "broken",
    [
        lambda start: start("200", "no list") and [],
        lambda start: start("OK", []) and [],
        lambda start: start("200 OK", [("X", "a\r\nY: b")]) and [],
        lambda start: start("200 OK", [(b"X", b"y")]) and [],
        lambda start: [b"no start_response"],
        lambda start: start("200 OK", []) and ["text"],
        lambda start: start("200 OK", []) and start("200 OK", []),
        lambda start: None,
    ],
)
def test_a_broken_application_is_a_500(broken):
    with EngineWorker(lambda environ, start: broken(start)) as worker:
        assert worker.get()[0].startswith(b"HTTP/1.1 500 ")
        assert "Traceback" in worker.log()


def test_an_error_after_the_head_cuts_the_connection(kind):
    def application(environ, start_response):
        start_response("200 OK", [])
        yield b"begun"
        raise ValueError("late")

    with EngineWorker(application, **kind) as worker:
        head, body = worker.get()
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert body == b"5\r\nbegun\r\n"  # no last chunk: the client can tell
        assert "late" in worker.log()
        assert worker.get()[0].startswith(b"HTTP/1.1 200 OK")


def test_early_hints():
    def application(environ, start_response):
        environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
        return answer(start_response, b"x")

    with EngineWorker(application) as worker:
        answered = worker.get()
        assert answered[0] == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload"
        assert answered[1].startswith(b"HTTP/1.1 200 OK")
        with worker.connect() as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert read_all(sock).startswith(b"HTTP/1.1 200 OK")


def test_bad_input_is_one_line_an_answer_and_an_access_line(kind, tmp_path):
    with EngineWorker(hello, accesslog=str(tmp_path / "access"), **kind) as worker, worker.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\nHost: x\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        worker.stop()
        lines = [line for line in worker.log().splitlines() if "Invalid request" in line]
        assert len(lines) == 1
        assert "127.0.0.1" in lines[0]
        assert "[WARNING]" in lines[0]
        assert "Traceback" not in worker.log()
        assert " 400 " in (tmp_path / "access").read_text()


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"5\r\nhel", b"400"), (b"zz\r\n", b"400")],
    ids=["cut off", "malformed"],
)
def test_a_bad_body_is_answered_when_the_application_does_not(kind, sent, status):
    with EngineWorker(echo, **kind) as worker, worker.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + sent)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).startswith(b"HTTP/1.1 " + status)
        assert "Invalid request from 127.0.0.1" in worker.log()
        assert "Traceback" not in worker.log()


def test_hooks_and_access_log(kind, tmp_path):
    calls = tmp_path / "calls"

    def note(text):
        with open(calls, "a") as file:
            file.write(text + "\n")

    def pre(worker, req):
        note(f"pre {req.method} {req.path} {req.version} {dict(req.headers)['HOST']} {req.peer_addr[0]}")
        if req.path == "/veto":
            raise ValueError("vetoed")

    def post(worker, req, environ, resp):
        note(f"post {req.uri} {resp.status} {resp.sent}")

    options = {"pre_request": pre, "post_request": post, "accesslog": str(tmp_path / "access"), **kind}
    with EngineWorker(hello, **options) as worker:
        worker.get("/a?b")
        assert worker.get("/veto")[0].startswith(b"HTTP/1.1 500 ")
        worker.stop()
        assert calls.read_text().splitlines() == [
            "pre GET /a (1, 1) x 127.0.0.1",
            "post /a?b 200 OK 8",
            "pre GET /veto (1, 1) x 127.0.0.1",
            "post /veto 500 Internal Server Error 129",
        ]
        access = (tmp_path / "access").read_text().splitlines()
        assert '"GET /a?b HTTP/1.1" 200 8' in access[0]
        assert '"GET /veto HTTP/1.1" 500' in access[1]


def test_the_slot_knows_the_request_in_flight():
    reader, writer = os.pipe()
    entered, leave = os.pipe()

    def application(environ, start_response):
        os.write(leave, b"x")
        os.read(reader, 1)
        return answer(start_response, b"x")

    with EngineWorker(application, worker_class="gthread", threads=2) as worker, worker.connect() as sock:
        sock.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        os.read(entered, 1)
        assert [(request.method, request.path) for request in worker.slot.table.snapshot()] == [
            ("GET", "/long")
        ]
        assert worker.slot.connections == 1
        os.write(writer, b"x")
        read_answer(sock)
        worker.stop()
        assert worker.slot.table.snapshot() == []
        assert worker.slot.requests == 1
    for fd in (reader, writer, entered, leave):
        os.close(fd)


# Files


def wrapped(open_file, headers=()):
    def application(environ, start_response):
        start_response("200 OK", list(headers))
        return environ["wsgi.file_wrapper"](open_file())

    return application


FILES = {
    "file": lambda path: path.open("rb"),
    "unbuffered": lambda path: path.open("rb", 0),
    "memory": lambda path: io.BytesIO(path.read_bytes()),
}


@pytest.mark.parametrize("sendfile", [True, False], ids=["sendfile", "read"])
@pytest.mark.parametrize("size", [0, 1, 3_000_000])
@pytest.mark.parametrize("way", FILES)
def test_files(way, size, sendfile, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    with (
        EngineWorker(wrapped(lambda: FILES[way](path)), sendfile=sendfile) as worker,
        worker.connect() as sock,
    ):
        for _ in range(2):  # a second answer on the connection shows that the first one ended where it should
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(sock)[1] == path.read_bytes()
        sock.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert split(read_all(sock))[1] == b""


def test_a_file_from_its_position(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 1000)

    def positioned():
        file = path.open("rb")
        assert file.read(5) == b"01234"
        return file

    with EngineWorker(wrapped(positioned, [("Content-Length", "7")])) as worker:
        assert worker.get()[1] == b"5678901"


def test_a_file_that_is_not_what_its_descriptor_says(tmp_path):
    import gzip

    path = tmp_path / "file.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"plain")
    with EngineWorker(wrapped(lambda: gzip.open(path))) as worker, worker.connect() as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert split(read_all(sock))[1] == b"plain"
