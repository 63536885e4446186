"""The frameworks that people use, each with its example application, on every loop that it can run on."""

from __future__ import annotations

import json
import re
import signal

import pytest
from harness import ROOT, wait_until
from websockets.sync.client import connect

EXAMPLES = {"PYTHONPATH": str(ROOT / "examples")}
DJANGO = {"PYTHONPATH": str(ROOT / "examples" / "django_project")}
BIG = "x" * 300_000


# Django and Quart are written for asyncio.
only_asyncio = pytest.mark.parametrize("start", ["asyncio", "uvloop"], indirect=True)


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def start(serve, request: pytest.FixtureRequest):
    def launch(app: str, *, needs: str, env: dict[str, str] = EXAMPLES):
        pytest.importorskip(needs)
        return serve("-k", "asgi", "--asgi-loop", request.param, app=app, env=env)

    return launch


def end(server) -> None:
    """The worker leaves at once and without a complaint."""
    assert server.stop(signal.SIGTERM) == 0
    assert "ERROR" not in server.log
    assert "Traceback" not in server.log


def check_echo(server, path: str = "/echo") -> None:
    with connect(f"ws://127.0.0.1:{server.port}{path}", proxy=None) as websocket:
        for text in ("a", "ü" * 10_000):
            websocket.send(text)
            assert websocket.recv(timeout=30) == text


def test_starlette(start):
    server = start("asgi_starlette:app", needs="starlette")
    assert server.request("/hello/you").text == "Hello, you!"
    assert json.loads(server.request("/upload", method="POST", body=BIG).body) == {"size": len(BIG)}
    assert server.request("/numbers").text.split() == [str(number) for number in range(100)]
    source = (ROOT / "examples" / "asgi_starlette.py").read_text()
    assert server.request("/source").text == source
    assert server.request("/later").text == "[]"
    wait_until(lambda: server.request("/later").text != "[]")
    assert server.request("/nowhere").status == 404
    check_echo(server)
    end(server)


def test_fastapi(start):
    server = start("asgi_fastapi:app", needs="fastapi")
    assert server.request("/hello/you").text == '"Hello, you!"'
    json_type = {"Content-Type": "application/json"}
    answer = server.request("/orders", method="POST", body='{"item": "tea"}', headers=json_type)
    assert json.loads(answer.body) == {"item": "tea", "count": 1, "currency": "EUR"}
    assert server.request("/orders", method="POST", body="{}", headers=json_type).status == 422
    assert "Hello" in server.request("/openapi.json").text
    check_echo(server)
    end(server)


@only_asyncio
def test_django(start):
    server = start("mysite.asgi", needs="django", env=DJANGO)
    page = server.request("/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token is not None
    form = {
        "Cookie": page.headers["Set-Cookie"].partition(";")[0],
        "Content-Type": "application/x-www-form-urlencoded",
    }
    body = f"celsius=100&csrfmiddlewaretoken={token[1]}"
    assert "212" in server.request("/", method="POST", body=body, headers=form).text
    assert server.request("/", method="POST", body="celsius=100", headers=form).status == 403
    assert server.request("/size", method="POST", body=BIG).text == str(len(BIG))
    assert server.stop(signal.SIGTERM) == 0
    assert "ERROR" not in server.log


@only_asyncio
def test_quart(start):
    server = start("asgi_quart:app", needs="quart")
    assert server.request("/hello/you").text == "Hello, you!"
    assert json.loads(server.request("/upload", method="POST", body=BIG).body) == {"size": len(BIG)}
    check_echo(server)
    end(server)


def test_litestar(start):
    server = start("asgi_litestar:app", needs="litestar")
    assert server.request("/hello/you").text == "Hello, you!"
    assert json.loads(server.request("/upload", method="POST", body=BIG).body) == {"size": len(BIG)}
    assert server.request("/numbers").text.split() == [str(number) for number in range(100)]
    check_echo(server)
    end(server)


@only_asyncio
def test_the_small_examples(start):
    server = start("asgi_hello:app", needs="gunicorn")
    assert server.request("/").text == "Hello, World!\n"
    end(server)
    server = start("asgi_events:app", needs="gunicorn")
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        data = b""
        while b"data: " not in data:
            data += client.recv(4096)
        server.signal(signal.SIGTERM)
        with client.makefile("rb") as rest:
            assert b"retry: 100" in rest.read()
    assert server.wait() == 0


def test_an_application_written_with_anyio(start):
    server = start("asgi_anyio_app:app", needs="anyio")
    assert server.request("/").text in ("Hello from asyncio\n", "Hello from trio\n")
    assert server.request("/both").text == "fast then slow\n"
    assert server.request("/upload", method="POST", body=BIG).text == f"{len(BIG)} bytes\n"
    check_echo(server, "/")
    end(server)


@pytest.mark.parametrize("start", ["trio"], indirect=True)
def test_an_application_written_for_trio(start):
    server = start("asgi_trio_app:app", needs="trio")
    assert server.request("/").text == "Hello from trio\n"
    assert server.request("/race").text == "fast won\n"
    check_echo(server, "/")
    with server.connect() as client:
        client.sendall(b"GET /clock HTTP/1.1\r\nHost: a\r\n\r\n")
        data = b""
        while b"data: 1" not in data:
            data += client.recv(4096)
        server.signal(signal.SIGTERM)
        with client.makefile("rb") as rest:
            assert b"event: bye" in rest.read()
    assert server.wait() == 0
    assert "ERROR" not in server.log
