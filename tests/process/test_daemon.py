"""A real daemon: what is left of the terminal and of the process that started it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

DAEMON = """
import json, os, sys
from gunicorn.process.daemon import daemonize
daemonize(inherit_stdio={inherit})
text = json.dumps({{
    "sid": os.getsid(0), "pid": os.getpid(), "umask": os.umask(0),
    "stdio": [os.path.realpath("/proc/self/fd/%d" % fd) for fd in range(3)],
}})
with open({fifo!r}, "w") as fifo:
    fifo.write(text)
"""


def daemon(tmp_path, inherit, **environ):
    """What a daemon says of itself, and the command that started it."""
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    said = []

    def read():
        with open(fifo) as file:
            said.append(json.load(file))

    reader = threading.Thread(target=read)
    reader.start()
    env = {key: value for key, value in os.environ.items() if key not in ("GUNICORN_FD", "NOTIFY_SOCKET")}
    command = [sys.executable, "-c", DAEMON.format(inherit=inherit, fifo=fifo)]
    log = tmp_path / "log"
    with log.open("w") as out:
        done = subprocess.run(
            command,
            env={**env, **environ},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            timeout=10,
        )
    reader.join(10)
    return said[0], done, str(log)


def test_daemon_is_detached(tmp_path):
    said, done, _ = daemon(tmp_path, False)
    assert done.returncode == 0
    assert said["sid"] not in (said["pid"], os.getsid(0)), "neither a session leader nor in our session"
    assert said["umask"] == 0o022
    assert said["stdio"] == ["/dev/null"] * 3
    assert done.stderr == b""


def test_daemon_keeps_files_as_stdio_when_told(tmp_path):
    said, _, log = daemon(tmp_path, True)
    assert said["stdio"][1] == log
    assert "pipe:" in said["stdio"][2]


def test_server_of_an_upgrade_is_detached_already(tmp_path):
    said, _, log = daemon(tmp_path, False, GUNICORN_FD="3")
    assert said["sid"] == os.getsid(0)
    assert said["stdio"][1] == log


def test_daemon_in_a_systemd_service_is_warned_about(tmp_path):
    _, done, _ = daemon(tmp_path, False, NOTIFY_SOCKET="/nonexistent")
    assert b"NOTIFY_SOCKET" in done.stderr
