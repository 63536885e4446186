"""The harness itself: a leftover process, a taken port or a missing line must fail a test."""

from __future__ import annotations

import re
import sys

import pytest
from harness import Server, ServerFailed, is_running, wait_gone

STAND_IN = """
import os, signal, socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 0))
if "leak" in sys.argv:
    subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
print("x Listening at: http://127.0.0.1:%d (%d)" % (listener.getsockname()[1], os.getpid()), file=sys.stderr)
while True:
    connection, _ = listener.accept()
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    connection.close()
"""
COMMAND = (sys.executable, "-c", STAND_IN)


def test_answers_and_ends_clean(tmp_path):
    with Server(cwd=tmp_path, command=COMMAND, app=None, bind=None).start() as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
        assert server.get() == "ok"
        assert server.stop() == 7


def test_a_leftover_process_fails(tmp_path):
    server = Server("leak", cwd=tmp_path, command=COMMAND, app=None, bind=None).start()
    (child,) = set(server.processes()) - {server.pid}
    with pytest.raises(ServerFailed, match="outlived"):
        server.close()
    wait_gone(child)
    assert not is_running(child)


def test_a_line_that_never_comes_fails_when_the_server_ends(tmp_path):
    server = Server(cwd=tmp_path, command=(sys.executable, "-c", "print('bye')"), app=None, bind=None)
    with pytest.raises(ServerFailed, match="ended without"):
        server.start()
    server.close()
    assert server.stdout == ["bye"]


def test_a_named_pipe_carries_the_log_of_a_daemon(tmp_path):
    script = "import sys; open(sys.argv[-1], 'a').write('Listening at: nowhere (1)\\n')"
    command = (sys.executable, "-c", script)
    with Server(cwd=tmp_path, command=command, app=None, bind=None, fifo=tmp_path / "log").start() as server:
        assert server.wait_for("nowhere")
