"""The clients that people use: httpx, curl, and the asynchronous one of ``websockets``, on each loop."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess

import anyio
import pytest
from asgi_exam import LOOPS, Exam
from asgi_worker import answer, body, read_body, start
from websockets.asyncio.client import connect

httpx = pytest.importorskip("httpx")
CURL = shutil.which("curl")
exam = Exam()


@pytest.fixture(scope="module", params=LOOPS)
def worker(request):
    with exam.worker(request.param) as worker:
        yield worker


def url(worker, path: str, scheme: str = "http") -> str:
    return "{}://{}:{}/{}".format(scheme, *worker.address, path)


@exam
async def echo(scope, receive, send):
    if scope["type"] == "http":
        await answer(send, await read_body(receive), headers=[(b"x-method", scope["method"].encode())])
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


@exam
async def stream(scope, receive, send):
    await start(send, headers=[(b"content-type", b"text/event-stream")])
    for number in range(5):
        await body(send, b"data: %d\n\n" % number, more=True)
        await anyio.sleep(0.01)
    await body(send)


@exam
async def headers(scope, receive, send):
    found = {name.decode(): value.decode() for name, value in scope["headers"]}
    await answer(send, json.dumps(found).encode(), headers=[(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")])


@exam
async def moved(scope, receive, send):
    await answer(send, b"over there", 307, [(b"location", b"/echo")])


@exam
async def refuse(scope, receive, send):
    await answer(send, b"too large", 413)


@exam
async def hang(scope, receive, send):
    await start(send)
    await body(send, b"x", more=True)
    while (await receive())["type"] != "http.disconnect":
        pass


STREAM = "".join(f"data: {number}\n\n" for number in range(5))


# httpx


@pytest.fixture
def client():
    with httpx.Client(timeout=30, trust_env=False) as client:
        yield client


def test_httpx_sends_and_receives_bodies_of_each_kind(worker, client):
    data = random.Random(1).randbytes(300_000)
    assert client.post(url(worker, "echo"), content=data).content == data
    parts = [data[at : at + 7_000] for at in range(0, len(data), 7_000)]
    assert client.put(url(worker, "echo"), content=iter(parts)).content == data
    assert json.loads(client.post(url(worker, "echo"), json={"a": ["é"]}).content) == {"a": ["é"]}
    head = client.head(url(worker, "echo"))
    assert (head.status_code, head.content, head.headers["x-method"]) == (200, b"", "HEAD")
    assert client.post(url(worker, "moved"), content=data, follow_redirects=True).content == data
    client.cookies.set("c", "d")
    seen = client.get(url(worker, "headers"), headers={"X-Thing": "1"})
    assert (seen.json()["x-thing"], seen.json()["cookie"]) == ("1", "c=d")
    assert dict(seen.cookies) == {"a": "1", "b": "2"}


def test_httpx_keeps_its_connection(worker, client):
    def port() -> int:
        with client.stream("POST", url(worker, "echo"), content=b"x") as response:
            response.read()
            return response.extensions["network_stream"].get_extra_info("client_addr")[1]

    assert len({port() for _ in range(5)}) == 1


def test_httpx_reads_a_stream_line_by_line(worker, client):
    with client.stream("GET", url(worker, "stream")) as response:
        assert response.headers["content-type"] == "text/event-stream"
        assert [line for line in response.iter_lines() if line] == STREAM.split("\n\n")[:-1]


def test_httpx_many_at_once_and_some_that_give_up(worker):
    async def main() -> None:
        limits = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(timeout=30, limits=limits, trust_env=False) as client:

            async def one(number: int) -> None:
                if number % 4:
                    data = os.urandom(number * 1_000)
                    assert (await client.post(url(worker, "echo"), content=data)).content == data
                else:
                    with pytest.raises(httpx.ReadTimeout):
                        await client.get(url(worker, "hang"), timeout=httpx.Timeout(30, read=0.05))

            async with anyio.create_task_group() as tasks:
                for number in range(60):
                    tasks.start_soon(one, number)

    anyio.run(main)
    worker.slot_idle()


# curl


def curl(*arguments: str, data: bytes = b"") -> bytes:
    if CURL is None:
        pytest.skip("curl is not installed")
    command = [CURL, "--silent", "--show-error", "--noproxy", "*", "--max-time", "30", *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=True, timeout=60).stdout


@pytest.mark.parametrize(
    "how",
    [
        ["--http1.0", "--data-binary", "@-"],
        ["--data-binary", "@-"],
        ["--upload-file", "-"],  # in chunks
        ["--header", "Expect: 100-continue", "--upload-file", "-"],
    ],
)
def test_curl_sends_bodies(worker, how):
    data = random.Random(2).randbytes(2_000_000)
    assert curl(*how, url(worker, "echo"), data=data) == data


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
def test_curl_reads_a_stream(worker, version):
    assert curl(version, "--no-buffer", url(worker, "stream")).decode() == STREAM


def test_curl_keeps_its_connection_and_asks_in_parallel(worker):
    several = ["--write-out", "%{num_connects}\n", "--output", os.devnull]
    assert curl(*several * 3, *[url(worker, "echo")] * 3).split() == [b"1", b"0", b"0"]
    parallel = ["--parallel", "--parallel-immediate", "--write-out", "%{http_code} "]
    assert curl(*parallel, *["--output", os.devnull, url(worker, "stream")] * 10).split() == [b"200"] * 10


def test_curl_hears_that_its_upload_is_not_wanted(worker):
    wire = curl("--include", "--upload-file", "-", url(worker, "refuse"), data=bytes(10_000_000))
    assert b"HTTP/1.1 413 " in wire
    assert wire.endswith(b"too large")


def test_curl_asks_for_a_head(worker):
    head = curl("--head", url(worker, "echo"))
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-method: HEAD" in head


# websockets


def test_websockets_many_at_once(worker):
    async def one(number: int) -> None:
        async with connect(url(worker, "echo", "ws"), proxy=None, max_size=None) as ws:
            for size in (0, 1, 125, 126, 65_535, 65_536, 400_000):
                for message in (os.urandom(size), "é" * size):
                    await ws.send(message)
                    assert await ws.recv() == message
            await (await ws.ping())
        assert ws.close_code == 1000

    async def main() -> None:
        await asyncio.wait_for(asyncio.gather(*(one(number) for number in range(8))), 30)

    asyncio.run(main())
    worker.slot_idle()


def test_websockets_full_duplex(worker):
    """Many messages under way at once, both ways, and none is lost or changes its place."""

    async def main() -> None:
        async with connect(url(worker, "echo", "ws"), proxy=None) as ws:

            async def write() -> None:
                for number in range(3_000):
                    await ws.send(f"{number} {'x' * (number % 50)}")

            writing = asyncio.create_task(write())
            for number in range(3_000):
                assert (await ws.recv()).split(" ")[0] == str(number)
            await writing

    asyncio.run(asyncio.wait_for(main(), 30))
