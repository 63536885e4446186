"""Hostile clients of the control socket: the arbiter neither waits for them nor keeps anything of them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from control_harness import descriptors
from harness import Server, wait_until

from gunicorn.control.client import ControlClient
from gunicorn.control.protocol import Request, encode_request

HALF = struct.pack(">I", 40) + b'{"id": 1, "comm'
CHATTER = b"".join(encode_request(Request(number, "show load")) for number in range(2000))
RANDOM = random.Random(7).randbytes(100_000)


@contextlib.contextmanager
def attack(path: str, count: int, data: bytes) -> Iterator[list[socket.socket]]:
    """``count`` connections that send ``data`` as far as it is taken, and never read."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.settimeout(30)
            one.connect(path)
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                one.send(data)
            opened.append(one)
        yield opened


def reaction(server: Server) -> float:
    """Seconds from a signal to the line that says that it is being handled.

    The best of several: an arbiter that is held up is so for seconds, and each time.
    """
    times = []
    for _ in range(5):
        mark, started = server.mark(), time.monotonic()
        server.signal(signal.SIGUSR1)
        server.wait_for("Handling signal: usr1", since=mark)
        times.append(time.monotonic() - started)
    return min(times)


@pytest.mark.parametrize(
    ("count", "data"),
    [
        pytest.param(20, HALF, id="half a frame"),
        pytest.param(20, struct.pack(">I", 2**32 - 1) + b"x" * 1000, id="a huge length"),
        pytest.param(20, struct.pack(">I", 65_000) + b"[" * 65_000, id="deep nesting"),
        pytest.param(20, RANDOM, id="random bytes"),
        pytest.param(20, CHATTER, id="many commands, never reads"),
        pytest.param(200, b"", id="200 that idle"),
        pytest.param(200, HALF, id="200 half frames"),
    ],
)
def test_the_arbiter_goes_on(controlled, count, data):
    server, client = controlled("-w", "1")
    server.get()
    client.close()
    before = descriptors(server.pid)
    with attack(client.socket_path, count, data):
        assert reaction(server) < 1
        # There is room for one who means well.
        assert client.send_command("show stats")["pid"] == server.pid
        assert server.get() == "Hello, World!\n"
        assert descriptors(server.pid) < before + 40
    client.close()
    wait_until(lambda: descriptors(server.pid) <= before, what="the descriptors of before")
    assert server.count("Traceback") == 0


def test_out_of_descriptors(controlled):
    """The server lives on, and takes commands again when there are descriptors again."""
    import resource

    server, client = controlled()
    server.get()
    client.close()
    limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (descriptors(server.pid), limits[1]))
    cpu = _cpu_seconds(server.pid)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as waiting:
        waiting.connect(client.socket_path)
        assert reaction(server) < 1
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        with ControlClient(client.socket_path) as other:
            assert other.send_command("show stats")["pid"] == server.pid
    assert _cpu_seconds(server.pid) - cpu < 1  # it did not try without a pause


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
