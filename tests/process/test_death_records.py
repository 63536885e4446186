"""A worker that did not end as planned leaves one record that explains it."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import PROMPT, Server, wait_gone


def ask(server: Server, path: str) -> None:
    """A request that will not be answered."""
    with server.connect() as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        client.recv(1)


def record(server: Server, first_line: str, timeout: float = 10.0) -> str:
    """The record that begins with ``first_line``, which must be the only one."""
    server.wait_for(first_line, timeout)
    server.get()
    lines = server.log.splitlines()
    (start,) = [number for number, line in enumerate(lines) if re.search(first_line, line)]
    end = next(number for number in range(start + 1, len(lines) + 1) if not lines[number].startswith("  "))
    assert server.count(r"\[ERROR\] Worker \(pid") == 1
    return "\n".join(lines[start:end])


def test_a_worker_stuck_in_a_regular_expression(serve, workers):
    server = serve(*workers, "--timeout", "2", app="deadly:app")
    (pid,) = server.wait_workers(1)
    server.get()
    with server.connect() as client:
        started = time.monotonic()
        client.sendall(b"GET /regex?who=me HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_for(rf"\[CRITICAL\] WORKER TIMEOUT \(pid:{pid}\)")
        server.wait_for(rf"Worker \(pid:{pid}\) was ended")
        # The worker's latest beat may be as old as half of the timeout when the request comes: never later.
        assert time.monotonic() - started < PROMPT
    text = record(
        server, rf"\[ERROR\] Worker \(pid:{pid}\) was ended: it gave no sign of life for 2 s \(timeout\)"
    )
    assert re.search(r"in flight: GET /regex\S* for \d\.\d s \(app\)", text)
    assert re.search(r'deadly.py", line \d+ in catastrophic_regex', text)
    assert re.search(r"memory: \d+\.\d MB private; peak: \d+\.\d MB resident", text)
    assert re.search("SIGKILL|exited with code 1", text)


def test_a_crash_in_c_shows_where(serve, workers):
    server = serve(*workers, app="deadly:app")
    (pid,) = server.wait_workers(1)
    ask(server, "/segfault")
    text = record(server, rf"Worker \(pid:{pid}\) was sent SIGSEGV!")
    assert "in flight: GET /segfault" in text
    assert "in segfault" in text


def test_an_exit_that_nobody_asked_for(serve):
    server = serve(app="deadly:app")
    (pid,) = server.wait_workers(1)
    ask(server, "/exit")
    assert "in flight: GET /exit" in record(server, rf"Worker \(pid:{pid}\) exited with code 7")


def test_a_worker_that_cannot_boot_any_more(serve, tmp_path):
    (tmp_path / "fragile.py").write_text("from hello import app\n")
    server = serve(app="fragile:app", cwd=tmp_path)
    (pid,) = server.wait_workers(1)
    server.get()
    (tmp_path / "fragile.py").write_text("import nosuchmodule\n")
    server.signal(signal.SIGKILL, pid)
    server.wait_for(r"Worker \(pid:\d+\) failed to boot: it exited with code 3. ModuleNotFoundError")
    server.wait_for(r"crash-looping, next try in \d+\.\d s")
    (tmp_path / "fragile.py").write_text("from hello import app\n")
    assert server.get() == "Hello, World!\n"


def test_a_kill_from_outside_is_not_taken_for_an_oom_kill(serve):
    if not counts_oom_kills():
        pytest.skip("no control group here counts OOM kills")
    server = serve(app="deadly:app")
    (pid,) = server.wait_workers(1)
    server.signal(signal.SIGKILL, pid)
    wait_gone(pid)
    record(server, rf"Worker \(pid:{pid}\) was sent SIGKILL! Not by the kernel for want of memory")


def counts_oom_kills() -> bool:
    from gunicorn.process.memory import OomKills

    return OomKills.of_this_process().claim() is not None


@contextmanager
def memory_group(limit: int):
    """A control group with a memory limit, of version 2 or 1; skips where none can be made."""
    name = f"gunicorn-test-{os.getpid()}"
    for parent, knob in memory_groups():
        group = parent / name
        try:
            group.mkdir()
            (group / knob).write_text(str(limit))
        except OSError:
            if group.is_dir():
                group.rmdir()
            continue
        for swap in ("memory.swap.max", "memory.memsw.limit_in_bytes"):
            if (group / swap).exists():
                (group / swap).write_text("0" if swap.endswith("max") else str(limit))
        try:
            yield group
        finally:
            group.rmdir()
        return
    pytest.skip("no control group with a memory limit can be made here")


def memory_groups():
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, place = line.split(":", 2)
        if "memory" in controllers.split(","):
            for path in (f"/sys/fs/cgroup/memory{place}", "/sys/fs/cgroup/memory"):
                yield Path(path), "memory.limit_in_bytes"
        elif number == "0":
            for path in (f"/sys/fs/cgroup{place}", "/sys/fs/cgroup"):
                yield Path(path), "memory.max"


def test_an_oom_kill_in_a_control_group_is_recognised(serve):
    with memory_group(300 << 20) as group:
        command = ["/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$0" "$@"']
        server = serve(app="deadly:app", command=[*command, sys.executable, "-m", "gunicorn"])
        (pid,) = server.wait_workers(1)
        ask(server, "/eat")
        text = record(server, rf"Worker \(pid:{pid}\) was sent SIGKILL! Out of memory")
        assert "in flight: GET /eat" in text
        # Outside of the group's memory it would go on for ever; the next kill is somebody's.
        (successor,) = server.wait_workers(1)
        server.signal(signal.SIGKILL, successor)
        server.wait_for(rf"Worker \(pid:{successor}\) was sent SIGKILL! Not by the kernel")
        server.stop()
