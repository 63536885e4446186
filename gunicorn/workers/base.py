"""What every worker class builds on: the life of a worker process from the fork to ``run()``.

Third-party classes subclass :class:`Worker` and implement ``run()``; the attributes and the methods that
they may override are the ones that existing classes rely on.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.process.messages import WorkerLeaving, WorkerReady
from gunicorn.process.slots import SlotState
from gunicorn.workers.heartbeat import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from gunicorn.process.channel import Channel
    from gunicorn.process.messages import Message
    from gunicorn.process.slots import Slot

__all__ = ["Heartbeat", "Worker"]


class Worker:
    """One worker process.

    Args:
        age: Running number of the worker, server-wide.
        ppid: Process id of the arbiter.
        sockets: The listeners (``gunicorn.process.listeners.Listener``).
        app: The application object of ``gunicorn.app``; ``app.wsgi()`` loads the callable.
        timeout: Seconds between two beats at most; half of the ``timeout`` setting.
        cfg: The configuration.
        log: The logger.

    The spawner sets ``slot`` and ``report`` before ``init_process()``; a class that runs elsewhere may
    leave them None.
    """

    SIGNALS: list[int] = [
        signal.SIGABRT, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT, signal.SIGTERM,
        signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCHLD,
    ]  # fmt: skip
    PIPE: tuple[int, int] | list[int] = ()  # type: ignore[assignment]  # made in init_process

    def __init__(
        self, age: int, ppid: int, sockets: list[Any], app: Any, timeout: float, cfg: Any, log: Any
    ) -> None:
        self.age = age
        self.pid: int | str = "[booting]"
        self.ppid = ppid
        self.sockets = sockets
        self.app = app
        self.timeout = timeout
        self.cfg = cfg
        self.log = log
        self.booted = False
        self.aborted = False
        self.alive = True
        self.nr = 0
        self.max_requests = self._request_limit()
        self.wsgi: Any = None
        self.wait_fds: list[Any] = []
        self.slot: Slot | None = None
        self.report: Channel | None = None
        self.reloader: Any = None
        self.syntax_error: SyntaxError | None = None
        self.tmp = Heartbeat(self)

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"

    def _request_limit(self) -> int:
        limit: int = self.cfg.max_requests
        if limit <= 0:
            return sys.maxsize
        import random

        # The jitter keeps the workers of one start from leaving at the same moment.
        return limit + random.randint(0, self.cfg.max_requests_jitter)

    def notify(self) -> None:
        """Beat. Call it at least every ``self.timeout`` seconds from the loop whose life it proves."""
        self.tmp.notify()

    def run(self) -> None:
        """Serve until ``self.alive`` is false. To be implemented by each class."""
        raise NotImplementedError

    def init_process(self) -> None:
        """Everything between the fork and the first request; ends by calling ``run()``.

        An override does its own part and then calls this one, last.
        """
        self.boot()
        try:
            self.serve()
        finally:
            self.stop_reloader()

    def boot(self) -> None:
        """What the process and the application need before they can serve."""
        self.pid = os.getpid()
        os.environ.update(self.cfg.env)
        self.drop_privileges()
        _reseed()
        self.init_descriptors()
        self.init_signals()
        self.watch_arbiter()
        self.load_wsgi()
        self.start_reloader()
        self.cfg.post_worker_init(self)

    def serve(self) -> None:
        """Say that this worker is ready, and run. A class that is ready later overrides this."""
        self.become_ready()
        self.run()

    def become_ready(self) -> None:
        """From here on the arbiter counts on this worker, and expects beats."""
        self.booted = True
        self.notify()
        if self.slot is not None:
            self.slot.state = SlotState.READY
        self.tell(WorkerReady())

    def drop_privileges(self) -> None:
        """Become the configured user and group."""
        from gunicorn.process.privileges import set_owner_process

        set_owner_process(self.cfg.uid, self.cfg.gid, initgroups=self.cfg.initgroups)

    def init_descriptors(self) -> None:
        """The wakeup pipe, and close-on-exec for all that an application's child must not inherit."""
        self.PIPE = os.pipe()
        for fd in self.PIPE:
            os.set_blocking(fd, False)
        for sock in self.sockets:
            os.set_inheritable(sock.fileno(), False)
        self.log.close_on_exec()
        self.wait_fds = [*self.sockets, self.PIPE[0]]

    def load_wsgi(self) -> None:
        """Load the application into ``self.wsgi``.

        With ``reload`` a syntax error becomes an application that shows it: the worker must live to see
        the corrected file. Every other failure goes up to the spawner, which ends the process.
        """
        try:
            self.wsgi = self.app.wsgi()
        except SyntaxError as error:
            if not self.cfg.reload:
                raise
            self.log.exception("Error in the application; waiting for it to change")
            self.syntax_error = error
            self.wsgi = _error_application(error)

    def start_reloader(self) -> None:
        """Watch the source files when ``reload`` is set."""
        if self.cfg.reload:
            from gunicorn.process.reloader import start

            self.reloader = start(self.cfg, self.source_changed, self.syntax_error)

    def stop_reloader(self) -> None:
        if self.reloader is not None:
            self.reloader.stop()

    def source_changed(self, filename: str) -> None:
        """A watched file changed: leave, so that a new worker loads it. Called in the reloader's thread."""
        self.alive = False
        self.log.info("Worker reloading: %s modified", filename)
        self.cfg.worker_int(self)
        # Signals are the one way out that every class has, whatever loop its main thread is in.
        os.kill(os.getpid(), signal.SIGTERM)

    def tell(self, message: Message) -> None:
        """Report to the arbiter, if there is one."""
        if self.report is not None:
            from gunicorn.process.channel import ChannelClosed

            try:
                self.report.send(message)
            except ChannelClosed:
                # The arbiter has gone; end of file on the same channel ends this worker in a moment.
                self.log.debug("Nobody takes %s", message)

    def leave(self, reason: str) -> None:
        """Ask to be replaced, and serve on until TERM; without an arbiter, stop."""
        if self.report is None:
            self.alive = False
        else:
            self.tell(WorkerLeaving(reason))

    def is_parent_alive(self) -> bool:
        """Whether the arbiter still is this process's parent. Cheap enough for every turn of a loop."""
        if self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            return False
        return True

    def watch_arbiter(self) -> None:
        """Have the end of the report channel raise SIGIO, which becomes a TERM to this process.

        For classes with a loop of their own: it needs no thread, no poll and no help from the loop. A
        class that watches ``report`` itself overrides this with nothing.
        """
        if self.report is None:
            return
        fd = self.report.fileno()
        signal.signal(signal.SIGIO, self.handle_io)
        fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
        if _ended(fd):
            self.handle_io(signal.SIGIO, None)

    # Signals

    def init_signals(self) -> None:
        """Install the handlers. Classes whose loop has its own way with signals override this."""
        for signum in self.SIGNALS:
            signal.signal(signum, signal.SIG_DFL)
        handlers: dict[int, Callable[[int, FrameType | None], None]] = {
            signal.SIGTERM: self.handle_exit,
            signal.SIGQUIT: self.handle_quit,
            signal.SIGINT: self.handle_quit,
            signal.SIGWINCH: self.handle_winch,
            signal.SIGUSR1: self.handle_usr1,
            signal.SIGABRT: self.handle_abort,
        }
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
        # A system call in the application must not fail with EINTR because of a stop or of a log rotation.
        signal.siginterrupt(signal.SIGTERM, False)
        signal.siginterrupt(signal.SIGUSR1, False)
        signal.set_wakeup_fd(self.PIPE[1], warn_on_full_buffer=False)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """TERM: finish what runs, then leave."""
        self.alive = False

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """INT and QUIT: leave at once."""
        self.alive = False
        self.cfg.worker_int(self)
        sys.exit(0)

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """ABRT: the arbiter's last word to a worker that is silent for too long."""
        self.alive = False
        self.aborted = True
        self.cfg.worker_abort(self)
        sys.exit(1)

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """USR1: the log files were moved away."""
        self.log.reopen_files()

    def handle_winch(self, sig: int, frame: FrameType | None) -> None:
        """WINCH concerns the arbiter alone; a terminal sends it to the whole group."""
        self.log.debug("worker: SIGWINCH ignored.")

    def handle_io(self, sig: int, frame: FrameType | None) -> None:
        """SIGIO: something happened on the report channel; only its end is of interest."""
        if self.report is not None and _ended(self.report.fileno()):
            self.log.info("Parent changed, shutting down: %s", self)
            os.kill(os.getpid(), signal.SIGTERM)


def _reseed() -> None:
    """Workers must not draw the same numbers. What was not imported before the fork seeds itself."""
    random = sys.modules.get("random")
    if random is not None:
        random.seed()


def _ended(fd: int) -> bool:
    """Whether the other end of the socket ``fd`` is closed."""
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def _error_application(
    error: BaseException,
) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """A WSGI application that answers 500 with ``error``'s traceback: only for ``reload``."""
    import traceback

    body = "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace")
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("500 Internal Server Error", headers)
        return [body]

    return application
