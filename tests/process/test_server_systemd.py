"""What a service manager sees: sockets handed over, READY when it is true, reload, watchdog, stop."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator

import pytest
from harness import open_gate

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux only")


class Manager:
    """The receiving end of $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(30)
        self.seen: list[str] = []

    def wait_for(self, line: str) -> str:
        """The first datagram from now on that has ``line``; a part before ``=`` is enough."""
        while True:
            datagram = self.socket.recv(4096).decode()
            self.seen.append(datagram)
            if any(found == line or found.startswith(f"{line}=") for found in datagram.splitlines()):
                return datagram

    def pending(self) -> list[str]:
        """What has arrived and was not read; does not wait."""
        self.socket.setblocking(False)
        found = []
        try:
            while True:
                found.append(self.socket.recv(4096).decode())
        except BlockingIOError:
            return found
        finally:
            self.socket.settimeout(30)


@pytest.fixture
def manager(tmp_path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


def test_ready_is_said_when_the_workers_are(serve, manager, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    env = {"NOTIFY_SOCKET": manager.socket.getsockname(), "GATE": str(gate)}
    server = serve(app="gated:app", env=env)
    server.wait_for("Booting worker with pid")
    assert [datagram for datagram in manager.pending() if "READY=1" in datagram] == []
    open_gate(gate)
    manager.wait_for("READY=1")
    assert server.get() == "Hello, World!\n"
    server.signal(signal.SIGTERM)
    manager.wait_for("STOPPING=1")
    assert server.wait() == 0


def test_reloading_then_ready(serve, manager):
    server = serve(env={"NOTIFY_SOCKET": manager.socket.getsockname()})
    manager.wait_for("READY=1")
    server.signal(signal.SIGHUP)
    # Type=notify-reload needs the time beside it (sd_notify(3)).
    assert "MONOTONIC_USEC=" in manager.wait_for("RELOADING=1")
    manager.wait_for("READY=1")


def test_a_reload_that_fails_is_ready_too(serve, manager):
    server = serve(env={"NOTIFY_SOCKET": manager.socket.getsockname()}, config="workers = 1\n")
    manager.wait_for("READY=1")
    server.configure("workers = 'many'\n")
    server.signal(signal.SIGHUP)
    manager.wait_for("READY=1")
    assert server.get() == "Hello, World!\n"


def test_watchdog(serve, manager):
    serve(env={"NOTIFY_SOCKET": manager.socket.getsockname(), "WATCHDOG_USEC": "400000"})
    for _ in range(3):
        manager.wait_for("WATCHDOG=1")


def test_a_watchdog_for_another_process_is_not_ours(serve, manager):
    env = {"NOTIFY_SOCKET": manager.socket.getsockname(), "WATCHDOG_USEC": "10000", "WATCHDOG_PID": "1"}
    server = serve(env=env)
    manager.wait_for("READY=1")
    assert server.get() == "Hello, World!\n"
    assert [datagram for datagram in manager.pending() if "WATCHDOG" in datagram] == []


def test_abstract_notify_socket(serve):
    address = f"\0gunicorn-test-{os.getpid()}"
    manager = Manager(address)
    try:
        serve(env={"NOTIFY_SOCKET": "@" + address[1:]})
        manager.wait_for("READY=1")
    finally:
        manager.socket.close()


def test_socket_activation_ignores_bind(serve):
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = {sock.getsockname()[1] for sock in (first, second)}
        server = serve(activation=[first, second], app="environment:app")
        assert {int(address.rpartition(":")[2]) for address in server.addresses} == ports
        for address in server.addresses:
            assert server.request("/LISTEN_FDS", address=address).text == ""
        assert server.stop() == 0
        # The manager keeps listening for the next start.
        socket.create_connection(first.getsockname(), 5).close()


def test_an_activated_unix_socket_is_left_in_place(serve, tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = serve(activation=[listener])
        assert server.get() == "Hello, World!\n"
        assert server.stop() == 0
    assert path.exists()
