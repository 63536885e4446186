"""Addresses of syslog daemons, owners of files, and handlers that are replaced."""

from __future__ import annotations

import logging
import os
import socket
import sys
from types import SimpleNamespace

import pytest

from gunicorn.errors import ConfigError
from gunicorn.process.logconfig import apply_configured, retire
from gunicorn.process.outputs import Owner, capture, parse_syslog_address, syslog_handler


@pytest.mark.parametrize(
    ("text", "address", "kind"),
    [
        ("unix:///dev/log", "/dev/log", "either"),
        ("unix:///dev/log#dgram", "/dev/log", "dgram"),
        ("unix://relative#stream", "relative", "stream"),
        ("udp://localhost", ("localhost", 514), "udp"),
        ("udp://localhost:1514", ("localhost", 1514), "udp"),
        ("udp://:99", ("localhost", 99), "udp"),
        ("tcp://[::1]:601", ("::1", 601), "tcp"),
        ("tcp://[fe80::1]", ("fe80::1", 514), "tcp"),
    ],
)
def test_syslog_addresses(text, address, kind):
    target = parse_syslog_address(text)
    assert (target.address, target.kind) == (address, kind)


@pytest.mark.parametrize(
    "text",
    [
        "", "localhost", "unix://", "unix:/dev/log", "unix:///dev/log#tcp", "udp://h:x", "udp://h:70000",
        "udp://h:0", "tcp://[::1", "tcp://::1", "tcp://[::1]601", "http://h",
    ],
)  # fmt: skip
def test_what_is_no_syslog_address(text):
    with pytest.raises(ConfigError, match=r"^syslog_addr: '.*' is none of unix://PATH"):
        parse_syslog_address(text)


def test_a_syslog_daemon_that_does_not_answer():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(ConfigError, match=rf"^syslog_addr: cannot reach 'tcp://127.0.0.1:{port}': "):
        syslog_handler(f"tcp://127.0.0.1:{port}", "user")


def test_only_regular_files_are_given_away(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(os, "fchown", lambda fd, uid, gid: given.append((uid, gid)))
    with open(tmp_path / "file", "w") as file, open(os.devnull, "w") as device:
        for stream in (file, device, None):
            Owner(5, 6).adopt(stream)
        Owner().adopt(file)
    assert given == [(5, 6)]


def test_who_is_not_root_keeps_the_file(tmp_path, monkeypatch):
    def refuse(fd, uid, gid):
        raise PermissionError

    monkeypatch.setattr(os, "fchown", refuse)
    with open(tmp_path / "file", "w") as file:
        Owner(0, 0).adopt(file)


def test_captured_output_needs_a_file_that_opens(tmp_path):
    with pytest.raises(ConfigError, match=r"^capture_output: cannot append to "):
        capture(str(tmp_path / "no" / "file"), Owner())


def test_captured_output_keeps_what_was_written_before(tmp_path, monkeypatch):
    """The descriptors are not touched here; a process of its own does that elsewhere."""
    copied = []
    monkeypatch.setattr(os, "dup2", lambda source, target: copied.append(target))
    monkeypatch.setattr(sys, "stdout", None)
    (tmp_path / "e").write_text("before\n")
    with capture(str(tmp_path / "e"), Owner()) as file:
        file.write("after\n")
    assert copied == [1, 2]
    assert (tmp_path / "e").read_text() == "before\nafter\n"


def test_a_wrong_ini_file_is_one_line(tmp_path):
    (tmp_path / "x.ini").write_text("[loggers]\nkeys=root\n")
    cfg = SimpleNamespace(logconfig_dict={}, logconfig_json=None, logconfig=str(tmp_path / "x.ini"))
    with pytest.raises(ConfigError, match=r"^logconfig: '.*x\.ini': .+") as caught:
        apply_configured(cfg)
    assert "\n" not in str(caught.value)


def test_outside_a_transaction_a_handler_is_closed_at_once(tmp_path):
    logger = logging.getLogger("people.retired")
    handler = logging.FileHandler(tmp_path / "x")
    stream = handler.stream
    logger.addHandler(handler)
    retire(logger, handler)
    assert stream.closed
    assert logger.handlers == []
