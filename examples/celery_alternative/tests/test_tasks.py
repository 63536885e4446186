"""The task classes alone: they are plain objects, no server needed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
tasks = pytest.importorskip("tasks")


@pytest.fixture(autouse=True)
def _stash(monkeypatch):
    values = {}
    monkeypatch.setattr(tasks.stash, "incr", lambda t, k: values.update({k: values.get(k, 0) + 1}))
    monkeypatch.setattr(tasks.stash, "get", lambda t, k, default=None: values.get(k, default))


def made(cls):
    worker = cls()
    worker.init()
    return worker


def test_mail():
    worker = made(tasks.EmailWorker)
    assert worker("send_email", "a@x", "s", "body")["status"] == "sent"
    *progress, last = worker("send_bulk_emails", ["a@x", "bad", "c@x"], "s", "b")
    assert [step["percent"] for step in progress] == [33, 67, 100]
    assert last == {"type": "complete", "sent": 2, "failed": 1}
    assert worker("stats") == {"sent_here": 3, "sent": 3}


def test_images():
    worker = made(tasks.ImageWorker)
    assert worker("resize", bytes(range(16)), 2, 2)["data"] == bytes([0, 4, 8, 12])
    assert [step.get("data") for step in worker("process_batch", [b"\x00\x01"], "mirror")] == [
        b"\x01\x00",
        None,
    ]
    with pytest.raises(ValueError, match="unknown operation"):
        list(worker("process_batch", [b""], "nothing"))


def test_data():
    worker = made(tasks.DataWorker)
    rows = [{"k": "a", "v": 1}, {"k": "a", "v": 3}, {"k": "b", "v": 5}]
    assert worker("aggregate", rows, "k", "v")["a"] == {"count": 2, "sum": 4, "average": 2}
    *_, last = worker("etl_pipeline", rows, [{"type": "filter", "field": "k", "value": "a"},
                                             {"type": "scale", "field": "v", "by": 10},
                                             {"type": "rename", "field": "v", "to": "w"}])  # fmt: skip
    assert last["rows"] == [{"k": "a", "w": 10}, {"k": "a", "w": 30}]
    assert [worker("cached_query", "q")["cached"] for _ in range(2)] == [False, True]


def test_scheduled(tmp_path):
    (tmp_path / "old").touch()
    (tmp_path / "new").touch()
    os.utime(tmp_path / "old", (0, 0))
    worker = made(tasks.ScheduledWorker)
    assert worker("cleanup_old_files", str(tmp_path)) == {"removed": ["old"]}
    assert worker("generate_daily_report")["report_number"] == 2
