"""TLS connections over the engine."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
from contextlib import ExitStack

import pytest
from engine_worker import EngineWorker, read_all, read_answer

CLASSES = {"sync": {"worker_class": "sync"}, "gthread": {"worker_class": "gthread", "threads": 2}}
HALF = b"\x16\x03\x01\x02\x00\x01\x00"  # of a client hello
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=CLASSES)
def kind(request):
    return CLASSES[request.param]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(command, check=True, capture_output=True)
    return {"certfile": cert, "keyfile": key}


def echo(environ, start_response):
    body = environ["wsgi.url_scheme"].encode() + environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def ask(worker):
    with worker.connect_tls() as sock:
        sock.sendall(GET)
        return read_answer(sock)


def test_requests_keep_alive_and_large_bodies(kind, certificate):
    with EngineWorker(echo, **kind, **certificate) as worker, worker.connect_tls() as sock:
        for size in (0, 10, 500_000):
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
            assert read_answer(sock)[1] == b"https" + bytes(size)


def test_requests_that_arrive_in_one_record(kind, certificate):
    """What is left inside of the TLS layer makes no descriptor readable."""
    with EngineWorker(echo, **kind, **certificate) as worker, worker.connect_tls() as sock:
        sock.sendall(GET * 300)
        for _ in range(300):
            assert read_answer(sock)[1] == b"https"


def test_the_end_is_announced(kind, certificate):
    """A client can tell a closed connection from one that was cut (RFC 8446 6.1)."""
    with EngineWorker(echo, **kind, **certificate) as worker, worker.connect_tls() as sock:
        sock.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert read_all(sock).endswith(b"https")


def test_half_handshakes_hold_no_thread(kind, certificate):
    with EngineWorker(echo, handshake_timeout=60, **kind, **certificate) as worker, ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(worker.connect()).sendall(HALF)
        with worker.connect_tls() as sock:
            sock.sendall(GET)
            assert read_answer(sock)[1] == b"https"


def test_half_handshakes_end(kind, certificate):
    with EngineWorker(echo, handshake_timeout=1, **kind, **certificate) as worker, ExitStack() as stack:
        halves = [stack.enter_context(worker.connect()) for _ in range(50)]
        for sock in halves:
            sock.sendall(HALF)
        for sock in halves:
            assert sock.recv(100) == b""


def test_plain_http_to_a_tls_port_is_not_served(kind, certificate):
    with EngineWorker(echo, **kind, **certificate) as worker:
        with worker.connect() as sock:
            sock.sendall(GET)
            with contextlib.suppress(ConnectionResetError):
                assert b"HTTP" not in read_all(sock)
        with worker.connect_tls() as sock:
            sock.sendall(GET)
            assert read_answer(sock)[1] == b"https"
        assert "Traceback" not in worker.log()


def test_only_http_1_1_is_offered(certificate):
    with EngineWorker(echo, **certificate) as worker, worker.connect_tls(alpn=["h2", "http/1.1"]) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"


def test_a_client_that_sends_nothing_in_a_body_has_its_deadline(certificate):
    with EngineWorker(echo, body_timeout=1, **certificate) as worker, worker.connect_tls() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        assert read_all(sock).startswith(b"HTTP/1.1 408 ")


def test_a_certificate_that_cannot_be_used_fails_the_boot(tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("nonsense")
    with EngineWorker(echo, certfile=str(bad), keyfile=str(bad)) as worker:
        assert worker.wait() != 0
        assert "certfile" in worker.log()
        assert str(bad) in worker.log()


def test_the_ssl_context_hook_decides(certificate):
    def hook(config, default):
        context = default()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    with EngineWorker(echo, ssl_context=hook, **certificate) as worker:
        with worker.connect_tls() as sock:
            assert sock.version() == "TLSv1.3"
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError), worker.connect() as sock:
            old.wrap_socket(sock)


def test_a_client_certificate_can_be_required(certificate):
    options = {**certificate, "ca_certs": certificate["certfile"], "cert_reqs": int(ssl.CERT_REQUIRED)}
    with EngineWorker(echo, **options) as worker:
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            ask(worker)
        context = ssl.create_default_context(cafile=certificate["certfile"])
        context.check_hostname = False
        context.load_cert_chain(certificate["certfile"], certificate["keyfile"])
        with socket.create_connection(worker.address, 5) as plain, context.wrap_socket(plain) as sock:
            sock.sendall(GET)
            assert read_answer(sock)[1] == b"https"
