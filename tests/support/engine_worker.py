"""A worker class at work in a forked process, without an arbiter: the test holds the arbiter's ends."""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import ssl
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from harness import DEADLINE, wait_until

from gunicorn.config import Config
from gunicorn.process.channel import Channel, ChannelClosed
from gunicorn.process.listeners import create_listeners
from gunicorn.process.messages import Message
from gunicorn.process.slots import Slots, SlotState


class App:
    """As much of an application object as a worker needs."""

    def __init__(self, load: Any) -> None:
        self._load = load

    def wsgi(self) -> Any:
        return self._load()


class EngineWorker:
    """``with EngineWorker(app, worker_class="gthread", threads=2) as worker: worker.connect()``.

    Args:
        app: A WSGI application, or with ``load`` a function that returns one.
        settings: As ``cfg.set`` takes them.
    """

    def __init__(self, app: Any, *, load: Any = None, report: bool = True, **settings: Any) -> None:
        self.cfg = Config()
        self._folder = tempfile.TemporaryDirectory(prefix="engine-")
        self.log_path = f"{self._folder.name}/log"
        for name, value in {
            "bind": "127.0.0.1:0",
            "errorlog": self.log_path,
            "graceful_timeout": 30,
            **settings,
        }.items():
            self.cfg.set(name, value)
        self.app = App(load or (lambda: app))
        self.with_report = report
        self.status: int | None = None

    def __enter__(self) -> EngineWorker:
        self.logger = self.cfg.logger_class(self.cfg)
        self.listeners = create_listeners(self.cfg, self.logger)
        self._slots = Slots.create(1)
        self.slot = self._slots[0]
        self.channel, theirs = Channel.pair()
        self.pid = os.fork()
        if not self.pid:
            gc.freeze()  # as a mold does: the collector would wait for a quarter of what the tests have made
            self._live(theirs)
        theirs.close()
        self.pidfd = os.pidfd_open(self.pid)
        return self

    def _live(self, report: Channel) -> None:
        status = 70
        try:
            self.channel.close()
            worker = self.cfg.worker_class(
                1, os.getppid(), self.listeners, self.app, self.cfg.timeout / 2, self.cfg, self.logger
            )
            worker.slot = self.slot
            worker.report = report if self.with_report else None
            worker.init_process()
            status = 0
        except SystemExit as error:
            status = int(error.code or 0)
        except BaseException as error:  # noqa: BLE001 - the last boundary of the process
            self.logger.error("%s: %s", type(error).__name__, error)
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def message(self, timeout: float = DEADLINE) -> Message:
        """The next message of the worker."""
        ready, _, _ = select.select([self.channel.fileno()], [], [], timeout)
        assert ready, f"the worker said nothing:\n{self.log()}"
        return self.channel.receive()[0]

    def says_more(self) -> bool:
        """Whether a message waits. For a worker that has ended, so that nothing is on its way."""
        ready, _, _ = select.select([self.channel.fileno()], [], [], 0)
        try:
            return bool(ready) and self.channel.receive() is not None
        except ChannelClosed:
            return False

    @property
    def address(self) -> Any:
        return self.listeners[0].address

    def connect(self, timeout: float = DEADLINE) -> socket.socket:
        if isinstance(self.address, str):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout)
            sock.connect(self.address)
            return sock
        return socket.create_connection(self.address, timeout)

    def connect_tls(self, **options: Any) -> ssl.SSLSocket:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if "alpn" in options:
            context.set_alpn_protocols(options.pop("alpn"))
        return context.wrap_socket(self.connect())

    def get(self, path: str = "/", headers: str = "") -> tuple[bytes, bytes]:
        """Head and body of one answer on a connection of its own."""
        with self.connect() as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode())
            return split(read_all(sock))

    def listens(self) -> bool:
        """Whether the listener is in its epoll set, as proc(5) shows it in fdinfo."""
        infos = [info.read_text() for info in Path(f"/proc/{self.pid}/fdinfo").iterdir()]
        watched = {int(line.split()[1]) for info in infos for line in info.splitlines() if "tfd:" in line}
        return self.listeners[0].fileno() in watched

    def slot_idle(self) -> None:
        """Wait until the worker has no connection."""
        wait_until(lambda: not self.slot.connections, what="the end of all connections")

    def wait_state(self, state: SlotState) -> None:
        wait_until(lambda: self.slot.state is state, what=str(state))

    def kill(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def wait(self, timeout: float = DEADLINE) -> int:
        """The exit code."""
        if self.status is None:
            ended, _, _ = select.select([self.pidfd], [], [], timeout)
            assert ended, f"the worker still runs after {timeout} s:\n{self.log()}"
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def stop(self, signum: int = signal.SIGTERM, timeout: float = DEADLINE) -> float:
        """Signal it and wait for its end; the seconds that took."""
        started = time.monotonic()
        self.kill(signum)
        self.wait(timeout)
        return time.monotonic() - started

    def log(self) -> str:
        try:
            with open(self.log_path) as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.status is None:
                os.kill(self.pid, signal.SIGKILL)
                self.wait()
        finally:
            os.close(self.pidfd)
            os.close(self._slots.fd)  # the memory stays as long as somebody looks at it
            self.channel.close()
            for listener in self.listeners:
                listener.close()
            for handler in self.logger.error_log.handlers[:] + self.logger.access_log.handlers[:]:
                self.logger.error_log.removeHandler(handler)
                self.logger.access_log.removeHandler(handler)
                handler.close()
            self._folder.cleanup()


def read_all(sock: socket.socket) -> bytes:
    """Everything until the server closes."""
    data = b""
    while chunk := sock.recv(65536):
        data += chunk
    return data


def read_answer(sock: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of one answer, the connection left open."""
    head = read_until(sock, b"\r\n\r\n")[:-4]
    fields = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
    }
    if fields.get(b"transfer-encoding") == b"chunked":
        return head, read_chunked(sock)
    return head, read_exactly(sock, int(fields.get(b"content-length", 0)))


def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        data += read_exactly(sock, 1)
    return data


def read_exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        assert chunk, f"closed after {bytes(data)[-200:]!r}"
        data += chunk
    return bytes(data)


def read_chunked(sock: socket.socket) -> bytes:
    body = b""
    while True:
        size = int(read_until(sock, b"\r\n"), 16)
        body += read_exactly(sock, size)
        assert read_exactly(sock, 2) == b"\r\n"
        if not size:
            return body


def split(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body
