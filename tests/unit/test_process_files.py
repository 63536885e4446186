"""Pidfile, systemd's environment, owners, the table of signals."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys

import pytest

from gunicorn.errors import ConfigError
from gunicorn.process import privileges, signals, systemd, titles
from gunicorn.process.pidfile import Pidfile


@pytest.fixture
def dead_pid():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.fixture
def path(tmp_path):
    return tmp_path / "server.pid"


def test_pidfile_is_readable_by_all_whatever_the_umask(path):
    previous = os.umask(0o077)
    try:
        Pidfile(str(path)).create()
    finally:
        os.umask(previous)
    assert path.read_text() == f"{os.getpid()}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["server.pid"]


@pytest.mark.parametrize("content", ["", "nonsense", "0", "-1", "99999999999", "4²"])
def test_pidfile_without_a_living_pid_is_replaced(path, content):
    path.write_text(content)
    Pidfile(str(path)).create()
    assert path.read_text() == f"{os.getpid()}\n"


def test_stale_pidfile_is_replaced(path, dead_pid):
    path.write_text(f"{dead_pid}\n")
    Pidfile(str(path)).create()
    assert path.read_text() == f"{os.getpid()}\n"


def test_pidfile_of_a_living_process_is_an_error_that_names_both(path):
    path.write_text(f"{os.getppid()}\n")
    with pytest.raises(ConfigError) as caught:
        Pidfile(str(path)).create()
    assert str(os.getppid()) in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_text() == f"{os.getppid()}\n"


def test_pidfile_where_nobody_can_write():
    with pytest.raises(ConfigError, match=r"pidfile: cannot write /nonexistent/x: No such file"):
        Pidfile("/nonexistent/x").create()


def test_pidfile_is_written_again_at_a_reload_and_renamed_at_a_promotion(path):
    pidfile = Pidfile(str(path) + ".2")
    pidfile.create()
    pidfile.create()
    pidfile.rename(str(path))
    assert [entry.name for entry in path.parent.iterdir()] == ["server.pid"]
    pidfile.unlink()
    assert list(path.parent.iterdir()) == []
    pidfile.unlink()


def test_pidfile_of_somebody_else_is_not_removed(path):
    pidfile = Pidfile(str(path))
    pidfile.create()
    path.write_text("1\n")
    pidfile.unlink()
    assert path.exists()


def test_a_link_at_the_temporary_name_is_not_followed(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.symlink(victim, f"{path}.{os.getpid()}.tmp")
    with pytest.raises(ConfigError):
        Pidfile(str(path)).create()
    assert victim.read_text() == "precious"


# systemd


@pytest.mark.parametrize(
    ("pid", "count", "fds"),
    [
        ("self", "2", [3, 4]),
        ("1", "2", []),
        ("self", "0", []),
        ("self", "x", []),
        ("", "2", []),
        ("self", "", []),
    ],
)
def test_socket_activation_is_for_one_process_and_forgotten(monkeypatch, pid, count, fds):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()) if pid == "self" else pid)
    monkeypatch.setenv("LISTEN_FDS", count)
    monkeypatch.setenv("LISTEN_FDNAMES", "a:b")
    assert systemd.listen_fds() == fds
    assert not any(name.startswith("LISTEN_") for name in os.environ)


@pytest.mark.parametrize("abstract", [False, True], ids=["file", "abstract"])
def test_notify_is_one_datagram(monkeypatch, tmp_path, abstract):
    name = f"gunicorn-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name if abstract else name)
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if abstract else name)
        assert systemd.notify("READY=1\nSTATUS=Serving")
        assert manager.recv(100) == b"READY=1\nSTATUS=Serving"


def test_notify_without_a_manager(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not systemd.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/notify")
    assert not systemd.notify("READY=1")


@pytest.mark.parametrize(
    ("period", "pid", "interval"),
    [
        ("30000000", "self", 30.0),
        ("500000", "", 0.5),
        ("30000000", "1", None),
        ("0", "self", None),
        ("x", "", None),
        ("", "", None),
    ],
)
def test_watchdog_interval(monkeypatch, period, pid, interval):
    monkeypatch.setenv("WATCHDOG_USEC", period)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "self" else pid)
    assert systemd.watchdog_interval() == interval


# owners


def in_child(body):
    """Run ``body`` in a fork, as its effects are for good; its text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, repr(body()).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as file:
        return file.read().decode()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_user_and_group_and_keeps_no_group_of_root():
    def body():
        privileges.set_owner_process(12345, 23456)
        return os.getresuid(), os.getresgid(), os.getgroups()

    assert in_child(body) == repr(((12345,) * 3, (23456,) * 3, [23456]))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_groups_of_a_user_with_and_without_a_name():
    def groups(uid):
        def body():
            privileges.set_owner_process(uid, 23456, initgroups=True)
            return os.getuid(), sorted(os.getgroups())

        return body

    assert in_child(groups(54321)) == repr((54321, [23456]))
    assert in_child(groups(1)) == repr((1, sorted(os.getgrouplist("daemon", 23456))))


def test_who_is_the_right_user_already_needs_no_privilege():
    privileges.set_owner_process(os.geteuid(), os.getegid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_chown(tmp_path):
    file = tmp_path / "file"
    file.touch()
    privileges.chown(str(file), 12345, 23456)
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 23456)


# signals and titles


def test_table_names_real_signals_once_per_receiver():
    rows = [(row.name, row.receiver) for row in signals.TABLE]
    assert len(set(rows)) == len(rows)
    assert all(hasattr(signal, f"SIG{name}") for name, _ in rows)


def test_spawner_ignores_and_child_resets():
    def body():
        signals.ignore_all()
        ignored = signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGTTIN) == signal.SIG_IGN
        with signals.blocked():
            signals.reset_to_default()
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD)
        return ignored, {signal.getsignal(number) for number in numbers} == {signal.SIG_DFL}

    assert in_child(body) == repr((True, True))


def test_title():
    def body():
        titles.set_title("worker", "shop")
        with open("/proc/self/cmdline", "rb") as file:
            return file.read().split(b"\0")[0]

    pytest.importorskip("setproctitle")
    assert in_child(body) == repr(b"gunicorn: worker [shop]")
