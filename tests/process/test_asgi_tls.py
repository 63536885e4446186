"""ASGI over TLS: what differs from a plain connection."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time

import pytest
from asgi_worker import LOOPS, AsgiWorker, answer, http_only, read_body, start
from engine_worker import read_all, read_answer, read_until
from harness import PROMPT, wait_until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def secure(certificates) -> dict[str, str]:
    return {"certfile": str(certificates / "server.pem"), "keyfile": str(certificates / "server.key")}


@http_only
async def echo(scope, receive, send):
    data = await read_body(receive)
    await answer(send, scope["scheme"].encode() + data)


def test_requests_keep_alive_and_large_bodies(loop, secure):
    with AsgiWorker(echo, asgi_loop=loop, **secure) as worker, worker.connect_tls() as client:
        for size in (0, 10, 500_000):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
            assert read_answer(client)[1] == b"https" + bytes(size)


def test_the_extension_tells_about_both_certificates(loop, secure, certificates):
    @http_only
    async def app(scope, receive, send):
        await answer(send, repr(scope["extensions"]["tls"]).encode())

    options = {"ca_certs": str(certificates / "ca.pem"), "cert_reqs": int(ssl.CERT_REQUIRED)}
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    with AsgiWorker(app, asgi_loop=loop, **secure, **options) as worker:
        with context.wrap_socket(worker.connect(), server_hostname="localhost") as client:
            client.sendall(GET)
            seen = eval(read_answer(client)[1])
            assert seen["tls_version"] == {"TLSv1.3": 0x0304, "TLSv1.2": 0x0303}[client.version()]
        assert seen["client_cert_name"] == "CN=client"
        assert seen["server_cert"].startswith("-----BEGIN CERTIFICATE-----\n")
        assert ssl.PEM_cert_to_DER_cert(seen["client_cert_chain"][0])
        assert seen["client_cert_error"] is None


def test_a_bad_certificate_fails_the_boot_and_serves_nothing(loop, tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    with AsgiWorker(echo, asgi_loop=loop, certfile=str(bad), keyfile=str(bad), ready=False) as worker:
        assert worker.wait() != 0
        assert f"certfile '{bad}'" in worker.log()


def test_plain_http_is_not_served(loop, secure):
    with AsgiWorker(echo, asgi_loop=loop, **secure) as worker:
        with worker.connect() as client:
            client.sendall(GET)
            with contextlib.suppress(ConnectionResetError):  # a refusal, too
                assert b"HTTP" not in read_all(client)
        worker.slot_idle()


def test_half_a_handshake_is_closed_in_time(loop, secure):
    with (
        AsgiWorker(echo, asgi_loop=loop, handshake_timeout=0.3, **secure) as worker,
        worker.connect() as client,
    ):
        client.sendall(b"\x16\x03\x01")
        wait_until(lambda: worker.slot.connections == 1)
        started = time.monotonic()
        worker.slot_idle()
        assert time.monotonic() - started < PROMPT
        with worker.connect_tls() as other:
            other.sendall(GET)
            assert read_answer(other)[1] == b"https"


def test_a_file_is_sent(loop, secure, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1_000_000))

    @http_only
    async def app(scope, receive, send):
        await start(send)
        await send({"type": "http.response.pathsend", "path": str(path)})

    with AsgiWorker(app, asgi_loop=loop, **secure) as worker, worker.connect_tls() as client:
        client.sendall(GET)
        assert read_answer(client)[1] == path.read_bytes()


def test_a_client_that_closes_is_a_disconnect(loop, secure):
    @http_only
    async def app(scope, receive, send):
        await receive()
        await start(send)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"

    with AsgiWorker(app, asgi_loop=loop, **secure) as worker:
        with worker.connect_tls() as client:
            client.sendall(GET)
            read_until(client, b"x\r\n")
            client.shutdown(socket.SHUT_RDWR)
        worker.slot_idle()


def test_idle_connections_do_not_hold_up_the_stop(loop, secure):
    with AsgiWorker(echo, asgi_loop=loop, keepalive=30, **secure) as worker, worker.connect_tls() as client:
        client.sendall(GET)
        read_answer(client)
        assert worker.stop() < PROMPT
