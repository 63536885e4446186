"""What a process uses, and what the kernel says about killing for want of memory."""

from __future__ import annotations

import mmap
import os
import sys

import pytest

from gunicorn.process.memory import OomKills, measure

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
_SIZE = 32 << 20


def test_private_memory_is_what_this_process_has_touched():
    before = measure(os.getpid())
    block = mmap.mmap(-1, _SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for offset in range(0, _SIZE, mmap.PAGESIZE):
        block[offset] = 1
    after = measure(os.getpid())
    block.close()
    assert after.private - before.private == pytest.approx(_SIZE, rel=0.2)
    assert after.resident >= after.private


def test_what_is_shared_with_the_parent_is_not_private():
    """The reason for not limiting the resident set: a child of a big parent looks as big as it."""
    block = bytearray(_SIZE)
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(out, 1)
        os._exit(len(block) & 0)
    try:
        memory = measure(pid)
    finally:
        os.write(into, b"x")
        os.waitpid(pid, 0)
        os.close(out)
        os.close(into)
    assert memory.private < _SIZE / 2 < memory.resident


def test_a_process_that_is_gone_has_no_memory():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert measure(pid) is None
    os.waitpid(pid, 0)
    assert measure(pid) is None


@pytest.mark.parametrize(
    "text",
    [
        "low 0\nhigh 0\nmax 7\noom 7\noom_kill {}\noom_group_kill 0\n",
        "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n",
    ],
    ids=["version 2", "version 1"],
)
def test_each_kill_is_claimed_once(tmp_path, text):
    file = tmp_path / "events"
    file.write_text(text.format(3))
    kills = OomKills(str(file))
    assert kills.claim() is False
    file.write_text(text.format(5))
    assert [kills.claim() for _ in range(3)] == [True, True, False]


def test_where_nobody_counts_nothing_is_claimed(tmp_path):
    assert OomKills(None).claim() is None
    assert OomKills(str(tmp_path / "missing")).claim() is None
