"""Requests on one connection share what they have in common, and nothing else."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest
from engine_worker import EngineWorker, read_all, read_answer, split

CLASSES = {"sync": {"worker_class": "sync"}, "gthread": {"worker_class": "gthread", "threads": 2}}


@pytest.fixture(params=CLASSES)
def kind(request):
    return CLASSES[request.param]


def tell(environ, start_response):
    """Tell what came, and spoil the environ for whoever might get it again."""
    seen = {name: value for name, value in environ.items() if isinstance(value, str)}
    environ.clear()
    environ["HTTP_X_USER"] = "root"
    body = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def ask(sock, line, *fields):
    sock.sendall("\r\n".join([f"{line} HTTP/1.1", "Host: a", *fields, "", ""]).encode())
    return json.loads(read_answer(sock)[1])


def test_only_the_request_line_differs(kind):
    with EngineWorker(tell, **kind) as worker, worker.connect() as sock:
        for line, path, query in (("GET /a", "/a", ""), ("GET /%62?c=d", "/b", "c=d"), ("PUT /?", "/", "")):
            seen = ask(sock, line, "Cookie: x")
            assert (seen["REQUEST_METHOD"], seen["PATH_INFO"], seen["QUERY_STRING"]) == (
                line[:3],
                path,
                query,
            )
            assert seen["RAW_URI"] == line[4:]
            assert seen["HTTP_COOKIE"] == "x"
            assert "HTTP_X_USER" not in seen


def test_a_field_of_one_request_is_not_there_in_the_next(kind):
    with EngineWorker(tell, **kind) as worker, worker.connect() as sock:
        assert ask(sock, "GET /", "Cookie: secret")["HTTP_COOKIE"] == "secret"
        assert ask(sock, "GET /", "Cookie: secret")["HTTP_COOKIE"] == "secret"
        assert "HTTP_COOKIE" not in ask(sock, "GET /")
        assert ask(sock, "GET /", "Cookie: other")["HTTP_COOKIE"] == "other"


def test_the_very_same_request_gets_the_same_environ_each_time(kind):
    with EngineWorker(tell, **kind) as worker, worker.connect() as sock:
        first, *others = [ask(sock, "GET /%41?b=c", "Cookie: x") for _ in range(4)]
        assert first["PATH_INFO"] == "/A"
        assert others == [first] * 3
        other = ask(sock, "GET /b", "Cookie: x")
        assert (other["PATH_INFO"], other["QUERY_STRING"], other["RAW_URI"]) == ("/b", "", "/b")
        assert ask(sock, "GET /%41?b=c", "Cookie: x") == first


def test_the_very_same_request_of_others_is_of_their_own_client(kind):
    with EngineWorker(tell, **kind) as worker, ExitStack() as stack:
        clients = [stack.enter_context(worker.connect()) for _ in range(3)]
        for _ in range(4):
            for client in clients:
                seen = ask(client, "GET /a", "Cookie: x")
                assert (seen["REMOTE_ADDR"], seen["REMOTE_PORT"]) == (
                    "127.0.0.1",
                    str(client.getsockname()[1]),
                )
                assert (seen["PATH_INFO"], seen["HTTP_COOKIE"]) == ("/a", "x")


def test_the_very_same_request_behind_a_proxy_is_of_the_client_that_it_announced(kind):
    settings = {"proxy_protocol": "v1", "proxy_allow_ips": "*", **kind}
    with EngineWorker(tell, **settings) as worker, ExitStack() as stack:
        clients = {port: stack.enter_context(worker.connect()) for port in (1111, 2222)}
        for port, client in clients.items():
            client.sendall(f"PROXY TCP4 192.0.2.7 192.0.2.1 {port} 80\r\n".encode())
        for _ in range(4):
            for port, client in clients.items():
                seen = ask(client, "GET /a")
                assert (seen["REMOTE_ADDR"], seen["REMOTE_PORT"]) == ("192.0.2.7", str(port))


def test_a_head_in_pieces_is_of_one_client_whatever_the_others_say(kind):
    with EngineWorker(tell, **kind) as worker, worker.connect() as slow, worker.connect() as quick:
        for number in range(4):
            slow.sendall(f"GET /slow{number} HTTP/1.1\r\nHost: a\r\nCook".encode())
            for _ in range(3):
                assert ask(quick, "GET /quick", "Cookie: q")["HTTP_COOKIE"] == "q"
            with worker.connect() as bad:
                bad.sendall(b"GET / HTTP/1.1\r\n: \r\n\r\n")
                assert read_all(bad).startswith(b"HTTP/1.1 400 ")
            slow.sendall(b"ie: s\r\n\r\n")
            seen = json.loads(read_answer(slow)[1])
            assert (seen["PATH_INFO"], seen["HTTP_COOKIE"]) == (f"/slow{number}", "s")


def test_the_same_head_with_other_bodies(kind):
    def application(environ, start_response):
        body = environ["wsgi.input"].read(2) + environ["wsgi.input"].read()
        environ["wsgi.early_hints"]([("X-Body", body.decode())])
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    with EngineWorker(application, **kind) as worker, worker.connect() as sock:
        for body in (b"abc", b"abc", b"abc", b"def", b"ghi"):
            sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n" + body)
            assert b"X-Body: " + body in read_answer(sock)[0]
            assert read_answer(sock)[1] == body


def test_answers_that_begin_alike(kind):
    def application(environ, start_response):
        headers = [("Content-Type", "text/plain")]
        if environ["PATH_INFO"] == "/cookie":
            headers.append(("Set-Cookie", environ["QUERY_STRING"]))
        start_response("200 OK", headers)
        headers.append(("X-Late", "a"))  # too late to count
        return [b"x" * int(environ["QUERY_STRING"] or 0)]

    with EngineWorker(application, **kind) as worker, worker.connect() as sock:
        for method, path, size in (
            ("GET", "/", 3), ("HEAD", "/", 0), ("GET", "/", 70_000), ("GET", "/cookie", 5), ("GET", "/", 3),
            ("GET", "/cookie", 6), ("GET", "/", 1),
        ):  # fmt: skip
            sock.sendall(f"{method} {path}?{size} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            head, body = read_answer(sock)
            assert body == b"x" * size
            assert head.count(b"\r\nContent-Length: ") == (method == "GET")
            assert (f"\r\nSet-Cookie: {size}".encode() in head) == (path == "/cookie")
            assert b"X-Late" not in head


def test_a_pipelined_head_in_pieces_behind_a_repeated_request_has_its_own_deadline(kind):
    with EngineWorker(tell, header_timeout=1, keepalive=60, **kind) as worker, worker.connect() as sock:
        ask(sock, "GET /")
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT")
        read_answer(sock)
        assert read_all(sock).startswith(b"HTTP/1.1 408 ")


def test_script_name_is_cut_from_each_path(kind):
    with EngineWorker(tell, forwarded_allow_ips="*", **kind) as worker, worker.connect() as sock:
        for path in ("/x", "/y"):
            seen = ask(sock, f"GET /app{path}", "SCRIPT_NAME: /app")
            assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/app", path)


@pytest.mark.parametrize("header_map", ["drop", "dangerous"])
def test_script_name_from_anybody_is_not_believed(kind, header_map):
    settings = {"forwarded_allow_ips": "192.0.2.1", "header_map": header_map, **kind}
    with EngineWorker(tell, **settings) as worker, worker.connect() as sock:
        for _ in range(2):
            seen = ask(sock, "GET /app/x", "SCRIPT_NAME: /app", "Script-Name: /app")
            assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("", "/app/x")


def test_a_malformed_body_that_is_here_never_reaches_an_application_that_would_not_read_it(kind):
    with EngineWorker(tell, **kind) as worker, worker.connect() as sock:
        ask(sock, "GET /")
        sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX")
        assert split(read_all(sock))[0].startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert worker.slot.requests == 1
