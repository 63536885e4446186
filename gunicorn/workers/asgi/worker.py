"""``asgi``: one event loop per worker, of the kind that ``asgi_loop`` says."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from typing import TYPE_CHECKING, Any

from gunicorn.errors import AppImportError, ConfigError
from gunicorn.http.policy import Policy
from gunicorn.process.slots import SlotState
from gunicorn.workers.asgi.ledger import Ledger
from gunicorn.workers.base import Worker

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import FrameType

__all__ = ["ASGIWorker"]

# From the end of the arbiter to the end of this worker. Whoever waits for the port waits for this long.
_ORPHANED = 0.8
# INT and QUIT: what cleanup gets before the process goes.
_QUICK = 0.8
_BEAT = 1.0
# Free memory at the end of the heap that is kept is twice as much.
_FREED_AT_ONCE = 2 * 1024 * 1024
_DRIVERS = {"trio": "gunicorn.workers.asgi.trio_driver"}


class ASGIWorker(Worker):
    """An ASGI application on asyncio, uvloop or trio.

    Attributes:
        asgi: The application.
        loop_name: "asyncio", "uvloop" or "trio".
        policy: What HTTP/1.1 accepts.
        ledger: Where requests are recorded.
        tls: The context, when the listeners speak TLS.
        quick: INT or QUIT came: leave without finishing requests.
        orphaned: The arbiter is gone.
        retired: It leaves while the server lives on, so nobody waits for its end: idle connections stay until
            their ``keepalive`` is over, and each gets one more answer.
        exit: What ends the process after the drain, if an application asked for it (``sys.exit``).
    """

    tls: ssl.SSLContext | None = None
    quick = False
    orphaned = False
    retired = False
    exit: BaseException | None = None
    policy: Policy
    ledger: Ledger
    loop_name: str
    asgi: Any = None
    _wake: Callable[[], object] | None = None
    _stop_signals = 0

    def init_process(self) -> None:
        if self.cfg.is_ssl:
            from gunicorn.workers.engine.tls import new_context

            # Before the privileges go, and before this worker is ready: see EngineWorker.
            self.tls = new_context(self.cfg)
        self.loop_name = self._choose_loop()
        self.policy = Policy.from_config(self.cfg, keep_app_server_and_date=True)
        super().init_process()

    def _choose_loop(self) -> str:
        name: str = self.cfg.asgi_loop
        has_uvloop = importlib.util.find_spec("uvloop") is not None
        if name == "auto":
            return "uvloop" if has_uvloop else "asyncio"
        if name == "uvloop" and not has_uvloop:
            self.log.warning("asgi_loop is 'uvloop', which is not installed; this worker runs on asyncio")
            return "asyncio"
        return name

    def load_wsgi(self) -> None:
        """Load the application. With ``reload`` a syntax error becomes one that shows it."""
        try:
            self.asgi = self.wsgi = self.app.wsgi()
        except SyntaxError as error:
            if not self.cfg.reload:
                raise
            self.log.exception("Error in the application; waiting for it to change")
            self.asgi = self.wsgi = _error_application(error)
        if not callable(self.asgi):
            raise AppImportError(f"the application is {type(self.asgi).__name__!r}, which cannot be called")

    def watch_arbiter(self) -> None:
        """Nothing to install: the end of the report channel is one of the loop's events."""

    def serve(self) -> None:
        """Run; the driver calls ``become_ready`` when the application has started."""
        self.ledger = Ledger(self, self.policy)
        _keep_heap()
        self.run()
        if self.exit is not None:
            raise self.exit

    def run(self) -> None:
        name = _DRIVERS.get(self.loop_name, "gunicorn.workers.asgi.asyncio_driver")
        try:
            driver = importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ConfigError(f"asgi_loop {self.loop_name!r}: {error}") from error
        driver.run(self)

    # What the drivers ask and tell

    def on_wake(self, wake: Callable[[], object] | None) -> None:
        """Have ``wake`` called, maybe by a signal handler, when ``alive`` becomes false, and when a stop
        that goes on is to be quicker; None ends that.
        """
        self._wake = wake

    @property
    def beat_interval(self) -> float:
        """Seconds between two calls of ``notify``."""
        timeout: float = self.cfg.timeout
        return min(_BEAT, timeout / 20) if timeout else _BEAT

    def arbiter_gone(self) -> None:
        """The report channel ended: nobody is left to replace this worker or to stop it later."""
        self.orphaned = True
        self.log.info("Parent changed, shutting down: %s", self)
        self.stop()

    def stop(self) -> None:
        """Leave: drain, then return from ``run``."""
        self.alive = False
        if self._wake is not None:
            self._wake()

    def leave(self, reason: str) -> None:
        super().leave(reason)
        if not self.alive:
            self.stop()

    def drain_times(self) -> tuple[float, float]:
        """Monotonic seconds: when what still runs is cancelled, and when the worker must be gone.

        The arbiter kills at ``graceful_timeout``, and lifespan shutdown comes after the last request: it
            gets the last tenth of that time, at most two seconds, but 0.4 s (a quarter of less than 1.6 s)
            also where a tenth is less: a busy machine takes no smaller steps.
        """
        if self.slot is not None:
            # The arbiter has marked the slot of a worker that it replaces. A second TERM is the server's end.
            marked = self.slot.state is SlotState.DRAINING
            self.retired = marked and self._stop_signals < 2 and not self.quick
            self.slot.state = SlotState.DRAINING
        now = time.monotonic()
        if self.quick or self.orphaned:
            patience = min(self.cfg.graceful_timeout, _QUICK if self.quick else _ORPHANED)
            return now + (0.0 if self.quick else patience / 2), now + patience
        patience = self.cfg.graceful_timeout
        reserve = min(2.0, max(patience / 10, 0.4), patience / 4)
        # Not to the end of it: the arbiter's clock started first, and the process has to exit.
        return now + patience - reserve, now + patience - reserve / 4

    # Signals

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stop_signals += 1
        if self._stop_signals > 1:
            self.retired = False
        self.stop()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """INT and QUIT: cancel what runs and leave. A second one does not even wait for that."""
        if self.quick:
            sys.exit(0)
        self.quick = True
        self.cfg.worker_int(self)
        if self._wake is None:
            sys.exit(0)
        self.stop()


def _keep_heap() -> None:
    """Have glibc keep 4 MB of the heap's free end, where it would keep 128 kB.

    It gives the rest back to the system and asks for it again, page by page: 15 page faults for each answer
    of 1 MB that is made while it is sent, a fifth of its time. Its limits follow the largest block that
    was freed (mallopt(3), M_MMAP_THRESHOLD), and one that nobody writes to takes no memory.
    """
    bytes(_FREED_AT_ONCE)


def _error_application(error: BaseException) -> Any:
    """An application that answers 500 with ``error``'s traceback: only for ``reload``."""
    import traceback

    body = "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace")
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise error
        await send({"type": "http.response.start", "status": 500, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application
