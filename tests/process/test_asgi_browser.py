"""A browser: Chromium's EventSource, WebSocket and fetch through the worker, on each loop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager

import anyio
import pytest
from asgi_exam import LOOPS, Exam
from asgi_worker import answer, body, read_body, start

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no browser: neither chromium, chromium-browser nor google-chrome is on PATH"
    ),
]
# It needs no screen, no user and no other host than the worker's.
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
exam = Exam()

PAGE = """<!doctype html><title>test</title><link rel="icon" href="data:,"><script>
const results = {};

function events() {
  return new Promise((resolve, reject) => {
    const source = new EventSource("/events"), seen = [];
    source.onmessage = (event) => {
      seen.push([event.data, event.lastEventId]);
      if (event.data == "last") { source.close(); resolve(seen); }
    };
    source.onerror = () => { if (source.readyState == EventSource.CLOSED) reject("closed"); };
  });
}

function socket() {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(`ws://${location.host}/socket`, ["one", "two"]), seen = [];
    ws.binaryType = "arraybuffer";
    ws.onopen = () => {
      seen.push(ws.protocol, ws.extensions.split(";")[0]);
      ws.send(""); ws.send("h\\u00e9llo \\u{1f600}"); ws.send("x".repeat(300000));
      ws.send(new Uint8Array([0, 255, 128])); ws.send(new Blob(["blob"])); ws.send("close");
    };
    ws.onmessage = (event) => {
      const text = typeof event.data == "string";
      seen.push(text ? event.data.slice(0, 20) + event.data.length : [...new Uint8Array(event.data)]);
    };
    ws.onclose = (event) => { seen.push(event.code, event.reason, event.wasClean); resolve(seen); };
  });
}

function refused() {
  return new Promise((resolve) => {
    const ws = new WebSocket(`ws://${location.host}/refused`);
    ws.onclose = (event) => resolve([event.code, event.wasClean]);
  });
}

async function streamed() {
  const reader = (await fetch("/streamed")).body.getReader(), seen = [];
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return seen.join("");
    seen.push(new TextDecoder().decode(value));
  }
}

async function upload() {
  const form = new FormData();
  form.append("file", new Blob([new Uint8Array(500000)]), "name");
  return (await fetch("/upload", {method: "POST", body: form})).text();
}

async function aborted() {
  const controller = new AbortController();
  const response = await fetch("/aborted", {signal: controller.signal});
  await response.body.getReader().read();
  controller.abort();
  return response.status;
}

(async () => {
  for (const each of [events, socket, refused, streamed, upload, aborted]) {
    try { results[each.name] = await each(); } catch (error) { results[each.name] = String(error); }
  }
  await fetch("/results", {method: "POST", body: JSON.stringify(results)});
})();
</script>"""


@exam
async def page(scope, receive, send):
    await answer(send, PAGE.encode(), headers=[(b"content-type", b"text/html; charset=utf-8")])


@exam
async def events(scope, receive, send):
    """Three events, an end that the browser takes for a lost connection, and one more for who comes again."""
    last = dict(scope["headers"]).get(b"last-event-id")
    await start(send, headers=[(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")])
    if last is None:
        await body(send, b"retry: 10\n\n", more=True)
        for number in range(3):
            await body(send, b"id: %d\ndata: event %d\n\n" % (number, number), more=True)
            await anyio.sleep(0.01)
    else:
        await body(send, b"data: again after %b\n\ndata: last\n\n" % last, more=True)
        while (await receive())["type"] != "http.disconnect":
            pass
        exam.note(scope, "the browser has closed its EventSource")
        return
    await body(send)


@exam
async def socket(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][1]})
    while (message := await receive()).get("text") != "close":
        await send({**message, "type": "websocket.send"})
    await send({"type": "websocket.close", "code": 4321, "reason": "as you wish"})
    exam.note(scope, (await receive())["type"])


@exam
async def refused(scope, receive, send):
    await receive()
    await send({"type": "websocket.close"})


@exam
async def streamed(scope, receive, send):
    await start(send, headers=[(b"content-type", b"text/plain")])
    for number in range(10):
        await body(send, b"%d " % number, more=True)
        await anyio.sleep(0.005)
    await body(send)


@exam
async def upload(scope, receive, send):
    data = await read_body(receive)
    await answer(send, b"%d" % data.count(b"\0"))


@exam
async def aborted(scope, receive, send):
    await receive()
    await start(send)
    await body(send, b"x", more=True)
    exam.note(scope, (await receive())["type"])


@exam
async def results(scope, receive, send):
    exam.note(scope, await read_body(receive))
    await answer(send, b"")


@contextmanager
def browser(url: str, profile: str):
    """Chromium with ``url`` open, in a session of its own: its processes end with the block."""
    command = [str(CHROMIUM), *OPTIONS, f"--user-data-dir={profile}", url]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("loop", LOOPS)
def test_what_a_page_can_do(loop, tmp_path):
    with exam.worker(loop) as worker:
        url = "http://{}:{}/page".format(*worker.address)
        with browser(url, str(tmp_path / "profile")) as process:
            (found,) = worker.found("results", timeout=60)
            assert process.poll() is None
            assert worker.found("aborted") == ["http.disconnect"]
            assert worker.found("events") == ["the browser has closed its EventSource"]
            assert worker.found("socket") == ["websocket.disconnect"]
        results = json.loads(found)
        assert results["events"] == [
            *([f"event {number}", str(number)] for number in range(3)),
            ["again after 2", "2"],
            ["last", "2"],
        ]
        assert results["socket"] == [
            "two",
            "permessage-deflate",
            "0",
            "héllo \U0001f6008",
            "x" * 20 + "300000",
            [0, 255, 128],
            list(b"blob"),
            4321,
            "as you wish",
            True,
        ]
        assert results["refused"] == [1006, False]
        assert results["streamed"] == "0 1 2 3 4 5 6 7 8 9 "
        assert results["upload"] == "500000"
        assert results["aborted"] == 200
        worker.slot_idle()
        assert "Traceback" not in worker.log()
