"""Every endpoint of a running server, whose address is in APP_URL."""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request

import pytest

URL = os.environ.get("APP_URL")
pytestmark = pytest.mark.skipif(URL is None, reason="APP_URL does not say where the server is")


def post(path, value=None):
    body = json.dumps(value).encode() if value is not None else b""
    request = urllib.request.Request(URL + path, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def result(path, value=None):
    status, text = post(path, value)
    assert status == 200, text
    return json.loads(text)


def events(path, value):
    status, text = post(path, value)
    assert status == 200, text
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def test_mail():
    assert result("/api/email/send", {"to": "a@x", "subject": "s", "body": "b"})["status"] == "sent"
    assert post("/api/email/send", {"to": "nobody", "subject": "s", "body": "b"})[0] == 422
    *progress, last = events(
        "/api/email/send-bulk", {"recipients": ["a@x", "b@x"], "subject": "s", "body": "b"}
    )
    assert [step["percent"] for step in progress] == [50, 100]
    assert last == {"type": "complete", "sent": 2, "failed": 0}


def test_images():
    image = base64.b64encode(bytes(range(16))).decode()
    resized = result("/api/image/resize", {"image_data": image, "width": 2, "height": 2})
    assert base64.b64decode(resized["data"]) == bytes([0, 4, 8, 12])
    assert events("/api/image/process-batch", {"images": [image]})[-1] == {"type": "complete", "processed": 1}
    assert events("/api/image/process-batch", {"images": [image], "operation": "x"})[-1]["type"] == "error"


def test_data():
    rows = [{"k": "a", "v": 1}, {"k": "a", "v": 3}]
    grouped = result("/api/data/aggregate", {"data": rows, "group_by": "k", "agg_field": "v"})
    assert grouped == {"a": {"count": 2, "sum": 4, "average": 2}}
    steps = [{"type": "scale", "field": "v", "by": 2}]
    assert events("/api/data/etl", {"source_data": rows, "transformations": steps})[-1]["rows"][1]["v"] == 6
    assert result("/api/data/query", {"query_key": "q"})["result"] == "result of q"


def test_scheduled(tmp_path):
    assert result("/api/scheduled/cleanup", {"directory": str(tmp_path)}) == {"removed": []}
    assert result("/api/scheduled/daily-report")["report_number"] >= 1


def test_health():
    with urllib.request.urlopen(URL + "/health", timeout=20) as answer:
        assert json.load(answer)["status"] == "healthy"
