"""The ASGI worker below its arbiter: boot failures, reload, drain, recycling."""

from __future__ import annotations

import signal
import time

import pytest
from engine_worker import read_all, read_until
from harness import PROMPT, wait_gone, wait_until

GET = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def asgi(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return ("-k", "asgi", "--asgi-loop", request.param)


@pytest.mark.parametrize(
    ("how", "mode", "line"),
    [
        ("failed", "auto", "Application startup failed: no database"),
        ("failed", "on", "Application startup failed: no database"),
        ("raises", "on", "asgi_lifespan is 'on', but the application RuntimeError: no lifespan"),
    ],
)
def test_an_application_that_does_not_start_ends_the_server(gunicorn, asgi, how, mode, line):
    env = {"LIFESPAN": how}
    done = gunicorn(*asgi, "--asgi-lifespan", mode, "-b", "127.0.0.1:0", "asgi_probe:app", env=env)
    assert done.returncode == 3
    assert line in done.stderr


def test_reload_replaces_the_workers_and_shuts_the_old_ones_down(serve, asgi):
    server = serve(*asgi, "-w", "2", app="asgi_probe:app")
    old = server.wait_workers(2)
    assert int(server.request("/").text) in old
    server.signal(signal.SIGHUP)
    wait_gone(*old)
    new = server.wait_workers(2)
    assert not set(old) & set(new)
    assert int(server.request("/").text) in new
    assert server.stop(signal.SIGTERM) == 0
    wait_until(lambda: server.stdout.count("lifespan shut down") == 4, what=str(server.stdout))


def test_a_stream_ends_at_once_when_told(serve, asgi):
    server = serve(*asgi, app="asgi_probe:app")
    with server.connect() as client:
        client.sendall(GET.format("/events").encode())
        read_until(client, b"begin\n\n\r\n")
        started = time.monotonic()
        server.signal(signal.SIGTERM)
        assert b"data: end" in read_all(client)
        assert time.monotonic() - started < PROMPT
    assert server.wait() == 0
    assert "lifespan shut down" in server.stdout


def test_a_stream_that_ignores_it_is_cancelled_and_the_lifespan_still_ends(serve, asgi):
    server = serve(*asgi, "--graceful-timeout", "2", app="asgi_probe:app")
    with server.connect() as client:
        client.sendall(GET.format("/stubborn").encode())
        read_until(client, b"begin\n\n\r\n")
        started = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert 1.5 < time.monotonic() - started < PROMPT
    assert "lifespan shut down" in server.stdout


def test_max_requests_replaces_the_worker(serve, asgi):
    server = serve(*asgi, "--max-requests", "5", app="asgi_probe:app")
    first = server.request("/").text
    wait_until(lambda: server.request("/").text != first, what="a worker that is another one")
    assert server.stop(signal.SIGTERM) == 0


def test_its_settings_are_effective(serve, asgi):
    server = serve(*asgi, "--root-path", "/api", app="asgi_probe:app")
    server.request("/")
    assert "not yet effective" not in server.log
    assert server.stop(signal.SIGTERM) == 0
