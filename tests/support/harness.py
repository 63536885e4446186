"""A real server under test: started as a command, watched through its log, checked for leftovers at its end.

Nothing here sleeps for a fixed time. A test waits for a log line (``wait_for``), for the end of a process
(``wait``, ``wait_gone``) or, where the kernel offers no event, a condition (``wait_until``), with a deadline.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import select
import selectors
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple
from urllib.parse import urlsplit

APPS = Path(__file__).resolve().parent.parent / "process" / "apps"
ROOT = APPS.parent.parent.parent

#: Seconds after which a test gives up on an event: only a failure waits that long, however busy the machine
#: is. Less than the 30 s of graceful_timeout and the like, so that who waits for these fails.
DEADLINE = 20.0
#: Lines of a server's log that a failed test shows.
SHOWN = 50
#: Upper bound for what must not wait for another limit, which such a test sets to 30 s or more.
PROMPT = 10.0

# What a developer's shell may hold and what would change the server under test.
FOREIGN_VARIABLES = frozenset(
    {"GUNICORN_CMD_ARGS", "PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "SENDFILE", "NOTIFY_SOCKET"}
    | {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID", "SCRIPT_NAME"}
)

# systemd hands sockets over from descriptor 3 on, and names the process that may take them. A function run
# between fork and exec is not safe beside the reader threads, so a second exec does that here.
ACTIVATE = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
spare = [os.dup(fd) for fd in fds]
for number, fd in enumerate(spare, 3):
    os.dup2(fd, number)
    os.set_inheritable(number, True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(fds))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Answer(NamedTuple):
    """One HTTP answer as a client sees it."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def _shortened(lines: list[str]) -> list[str]:
    """Start and end of a log: a failure is read beside others, and what led to it is at the end."""
    if len(lines) <= SHOWN:
        return lines
    return [*lines[:10], f"… {len(lines) - SHOWN} lines …", *lines[10 - SHOWN :]]


class ServerFailed(AssertionError):
    """The server did not do what was waited for; the message carries its log."""


def wait_until(
    condition: Callable[[], object], timeout: float = DEADLINE, what: str = "the condition"
) -> None:
    """Wait for kernel state that has no event of its own (a file, a port, the list of processes)."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true within {timeout} s")
        pause.wait(0.01)


def processes_of_session(sid: int) -> dict[int, str]:
    """Living processes of a session (pid -> command line); a zombie has ended and does not count."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()
            command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue
        if int(stat[3]) == sid and stat[0] not in (b"Z", b"X"):
            found[int(entry)] = command.decode(errors="replace").strip()
    return found


def is_running(pid: int) -> bool:
    """Whether ``pid`` is a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def wait_gone(*pids: int, timeout: float = DEADLINE) -> None:
    """Wait until none of ``pids`` runs."""
    deadline = time.monotonic() + timeout
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ended, _, _ = select.select([pidfd], [], [], max(0.0, deadline - time.monotonic()))
        finally:
            os.close(pidfd)
        if not ended:
            raise TimeoutError(f"process {pid} still runs after {timeout} s")


def open_gate(gate: Path, timeout: float = DEADLINE) -> None:
    """Let whoever reads the named pipe ``gate`` go on, once somebody does."""

    def opened() -> bool:
        try:
            os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return False
        return True

    wait_until(opened, timeout, f"a reader of {gate}")


#: Variables for a process whose imports are looked at: the coverage of subprocesses brings its own.
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": None, "COVERAGE_PROCESS_START": None}


def server_environment(extra: Mapping[str, str | None] = {}, home: Path | None = None) -> dict[str, str]:
    """The variables that a server under test sees; None removes one, PYTHONPATH goes before ours."""
    env = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [extra.get("PYTHONPATH"), str(APPS)]))
    env["PYTHONUNBUFFERED"] = "1"
    # Versions of a module that are written within a second, and of one size, share a bytecode file.
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    if home is not None:
        env["HOME"] = str(home)
    for name, value in extra.items():
        if value is None:
            env.pop(name, None)
        elif name != "PYTHONPATH":
            env[name] = value
    return env


class Server:
    """``python -m gunicorn`` as a process in a session of its own.

    Args:
        args: Command-line options, as typed.
        app: The application argument; None leaves it out.
        bind: Value of ``-b``, or a list of them; None leaves it out (``config`` or ``args`` bind then).
        env: Additional variables; None as a value removes one.
        config: Text of a configuration file, which is passed with ``-c``.
        cwd: Working directory; new files (configuration, home) go there too.
        fifo: A named pipe that the server logs to (``--error-logfile``): for daemons, whose stderr is closed.
        pass_fds: Descriptors that the server inherits under the same numbers.
        activation: Listening sockets handed over as systemd does.
        command: What to run instead of ``python -m gunicorn``.
    """

    def __init__(
        self,
        *args: str,
        app: str | None = "hello:app",
        bind: str | Sequence[str] | None = "127.0.0.1:0",
        env: Mapping[str, str | None] = {},
        config: str | None = None,
        cwd: Path,
        fifo: Path | None = None,
        pass_fds: Sequence[int] = (),
        activation: Sequence[socket.socket] = (),
        command: Sequence[str] | None = None,
    ) -> None:
        self.cwd = cwd
        self.env = server_environment(env, home=cwd)
        self.fifo = fifo
        self.pass_fds = (*pass_fds, *(listener.fileno() for listener in activation))
        self.lines: list[str] = []
        self.stdout: list[str] = []
        self.sessions: set[int] = set()
        self.config_path = cwd / "server.conf.py"
        self._command = [*(command or (sys.executable, "-m", "gunicorn"))]
        binds = [bind] if isinstance(bind, str) else list(bind or ())
        for address in binds:
            self._command += ["-b", address]
        if config is not None:
            self.configure(config)
            self._command += ["-c", str(self.config_path)]
        if fifo is not None:
            os.mkfifo(fifo)
            self._command += ["--error-logfile", str(fifo)]
        self._command += args
        if app is not None:
            self._command.append(app)
        if activation:
            numbers = ",".join(str(listener.fileno()) for listener in activation)
            self._command = [sys.executable, "-c", ACTIVATE, numbers, *self._command]
        self._changed = threading.Condition()
        self._ended = False
        self._stop_reading, self._wake_reader = socket.socketpair()

    def configure(self, text: str) -> None:
        """Write the configuration file, for a reload for example."""
        self.config_path.write_text(text)

    # -- life ---------------------------------------------------------------

    def start(self, ready: str | None = r"Listening at: (\S+)") -> Server:
        """Start the process and wait for the log line ``ready`` (None: do not wait)."""
        self.process = subprocess.Popen(
            self._command,
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=self.pass_fds,
            start_new_session=True,
        )
        self.sessions.add(self.process.pid)
        self._reader = threading.Thread(target=self._read, name="server-log")
        self._reader.start()
        if ready is not None:
            self.wait_for(ready)
        return self

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(check=kind is None)

    def close(self, *, check: bool = True) -> None:
        """End whatever is left. With ``check``, a process that lives on or a taken port is an error."""
        listening = self._tcp_addresses()
        try:
            if self.process.poll() is None:
                self.stop(timeout=40)
            if check:
                self._check_nothing_left(listening)
        finally:
            self._kill_all()
            self._wake_reader.send(b"x")
            self._reader.join(DEADLINE)
            for stream in (self.process.stdout, self.process.stderr, self._stop_reading, self._wake_reader):
                if stream is not None:
                    stream.close()
            print(f"--- log of {' '.join(self._command)}")
            print("\n".join(_shortened(self.lines)))

    def stop(self, sig: int = signal.SIGTERM, timeout: float = DEADLINE) -> int:
        """Send ``sig`` to the arbiter and wait for its end; returns its exit status."""
        self.signal(sig)
        return self.wait(timeout)

    def wait(self, timeout: float = DEADLINE) -> int:
        """The exit status of the process that was started."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ServerFailed(f"still running after {timeout} s\n{self.log}") from None

    def signal(self, sig: int, pid: int | None = None) -> None:
        """Send ``sig`` to the arbiter, or to ``pid``."""
        os.kill(self.pid if pid is None else pid, sig)

    def adopt(self, pid: int) -> None:
        """Count the session of ``pid`` (a daemon that left the first session) to this server."""
        self.sessions.add(os.getsid(pid))

    @property
    def pid(self) -> int:
        """The process that was started: the arbiter, unless it made itself a daemon."""
        return self.process.pid

    def processes(self) -> dict[int, str]:
        """All living processes of this server: pid -> command line."""
        found: dict[int, str] = {}
        for sid in self.sessions:
            found |= processes_of_session(sid)
        return found

    def workers(self) -> list[int]:
        """Living workers, oldest first, as the log announced them."""
        announced = re.findall(r"Booting worker with pid: (\d+)", self.log)
        return [pid for pid in dict.fromkeys(map(int, announced)) if is_running(pid)]

    def wait_workers(self, count: int, timeout: float = DEADLINE) -> list[int]:
        """Wait until exactly ``count`` workers live."""
        wait_until(
            lambda: len(self.workers()) == count,
            timeout,
            f"{count} workers (now {self.workers()})\n{self.log}",
        )
        return self.workers()

    # -- log ----------------------------------------------------------------

    @property
    def log(self) -> str:
        """Everything that was logged, both streams."""
        with self._changed:
            return "\n".join(self.lines)

    def mark(self) -> int:
        """The place in the log now, for ``wait_for(since=…)``."""
        with self._changed:
            return len(self.lines)

    def wait_for(self, pattern: str, timeout: float = DEADLINE, since: int = 0) -> re.Match[str]:
        """Wait for a log line that ``pattern`` is found in; ``since`` is a ``mark``."""
        deadline = time.monotonic() + timeout
        regex = re.compile(pattern)
        seen = since
        with self._changed:
            while True:
                for line in self.lines[seen:]:
                    if match := regex.search(line):
                        return match
                seen = max(seen, len(self.lines))
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    why = "the server ended" if self._ended else f"{timeout} s passed"
                    raise ServerFailed(f"{why} without {pattern!r} in the log:\n" + "\n".join(self.lines))
                self._changed.wait(left)

    def count(self, pattern: str) -> int:
        """Number of log lines so far with ``pattern``."""
        with self._changed:
            return sum(1 for line in self.lines if re.search(pattern, line))

    def _read(self) -> None:
        rest: dict[int, bytes] = {}
        with ExitStack() as stack, selectors.DefaultSelector() as selector:
            selector.register(self._stop_reading, selectors.EVENT_READ)
            for stream in self._streams(stack):
                selector.register(stream, selectors.EVENT_READ)
            stack.callback(self._end)
            while len(selector.get_map()) > 1:
                for key, _ in selector.select():
                    if key.fileobj is self._stop_reading:
                        return
                    data = os.read(key.fd, 65536)
                    if not data:
                        selector.unregister(key.fileobj)
                    self._take(rest, key.fd, data, self.process.stdout)

    def _streams(self, stack: ExitStack) -> list[IO[bytes]]:
        streams = [s for s in (self.process.stdout, self.process.stderr) if s is not None]
        if self.fifo is not None:
            # Opened for writing too: without a writer a named pipe is at its end before the first line.
            fifo = os.open(self.fifo, os.O_RDWR | os.O_NONBLOCK)
            streams.append(stack.enter_context(os.fdopen(fifo, "rb", buffering=0)))
        return streams

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self, rest: dict[int, bytes], fd: int, data: bytes, stdout: IO[bytes] | None) -> None:
        *whole, tail = (rest.get(fd, b"") + data).split(b"\n")
        if not data and tail:
            whole, tail = [tail], b""
        rest[fd] = tail
        decoded = [line.decode(errors="backslashreplace") for line in whole]
        with self._changed:
            self.lines += decoded
            if stdout is not None and fd == stdout.fileno():
                self.stdout += decoded
            self._changed.notify_all()

    # -- network ------------------------------------------------------------

    @property
    def addresses(self) -> list[str]:
        """What the server said that it listens at, in order."""
        found = re.findall(r"Listening at: (.+) \(\d+\)", self.log)
        return [address for line in found for address in line.split(",")]

    @property
    def url(self) -> str:
        """The first address, e.g. ``http://127.0.0.1:40123``."""
        return self.addresses[0]

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None, f"{self.url} has no port"
        return port

    def connect(
        self, timeout: float = DEADLINE, *, tls: ssl.SSLContext | None = None, address: str | None = None
    ) -> socket.socket:
        """A connected raw socket (``address``: another one of ``addresses``)."""
        address = address or self.url
        if "unix:" in address:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(timeout)
            connection.connect(address.partition("unix:")[2])
            return connection
        parts = urlsplit(address)
        connection = socket.create_connection((parts.hostname, parts.port), timeout)
        if tls is None:
            return connection
        return tls.wrap_socket(connection, server_hostname="localhost")

    def request(
        self,
        path: str = "/",
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] = {},
        timeout: float = DEADLINE,
        *,
        tls: ssl.SSLContext | None = None,
        address: str | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        client = http.client.HTTPConnection("localhost", timeout=timeout)
        client.sock = self.connect(timeout, tls=tls, address=address)
        try:
            client.request(method, path, body, {"Connection": "close", **headers})
            response = client.getresponse()
            return Answer(response.status, response.reason, response.headers, response.read())
        finally:
            client.close()

    def get(self, path: str = "/", timeout: float = DEADLINE) -> str:
        """Body of a GET that must be answered with 200."""
        answer = self.request(path, timeout=timeout)
        assert answer.status == 200, (
            f"{path}: {answer.status} {answer.reason}: {answer.body[:300]!r}\n{self.log}"
        )
        return answer.text

    # -- leftovers ----------------------------------------------------------

    def _tcp_addresses(self) -> list[tuple[str, int]]:
        parts = [
            urlsplit(address) for address in self.addresses if "unix:" not in address and "://" in address
        ]
        return [(part.hostname, part.port) for part in parts if part.hostname and part.port]

    def _check_nothing_left(self, listening: list[tuple[str, int]]) -> None:
        try:
            wait_until(lambda: not self.processes(), what="the end of every process")
        except TimeoutError:
            raise ServerFailed(f"processes outlived the server: {self.processes()}\n{self.log}") from None
        if self._keeps_sockets:
            return
        for address in listening:
            with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)

    @property
    def _keeps_sockets(self) -> bool:
        return bool(self.pass_fds)

    def _kill_all(self) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(DEADLINE)
