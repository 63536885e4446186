"""The lifespan protocol as a state machine (ASGI, "Lifespan Protocol", spec version 2.0)."""

from __future__ import annotations

from enum import Enum
from typing import Any

from gunicorn.asgi.errors import MessageError
from gunicorn.asgi.scope import SPEC_VERSION

__all__ = ["Lifespan", "Mode", "Phase"]

Message = dict[str, Any]


class Mode(Enum):
    """``asgi_lifespan``."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Phase(Enum):
    """Where the application is."""

    NEW = "not started"
    STARTING = "starting up"
    UNSUPPORTED = "without lifespan support"
    RUNNING = "running"
    FAILED = "failed to start"
    DIED = "ended too early"
    STOPPING = "shutting down"
    STOPPED = "shut down"


_ENDED = {
    Phase.NEW: Phase.UNSUPPORTED,
    Phase.STARTING: Phase.UNSUPPORTED,
    Phase.STOPPING: Phase.STOPPED,
}

_UNSETTLED = frozenset({Phase.NEW, Phase.STARTING})


class Lifespan:
    """One application's life. The driver runs the application, hands out messages and asks for the outcome.

    Args:
        mode: What a failure means.
        state: What the application fills; the drivers copy it into each scope.

    Attributes:
        failure: What the application said about a failed start or stop, or how it died; empty while all is
            well.
        error: What it raised.
    """

    __slots__ = ("_delivered", "error", "failure", "mode", "phase", "state")

    def __init__(self, mode: Mode, state: dict[str, Any]) -> None:
        self.mode = mode
        self.state = state
        self.phase = Phase.NEW
        self.failure = ""
        self.error: BaseException | None = None
        self._delivered: Phase | None = None

    def scope(self) -> dict[str, Any]:
        return {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": SPEC_VERSION},
            "state": self.state,
        }

    def next_message(self) -> Message | None:
        """What ``receive`` returns; None: nothing yet, wait for ``begin_shutdown``."""
        if self.phase is Phase.NEW:
            self.phase = Phase.STARTING
            return {"type": "lifespan.startup"}
        if self.phase is Phase.STOPPING and self._delivered is not Phase.STOPPING:
            self._delivered = Phase.STOPPING
            return {"type": "lifespan.shutdown"}
        return None

    def send(self, message: Any) -> None:
        """Take what the application sends.

        Raises:
            MessageError: it is not possible now.
        """
        kind = message.get("type") if isinstance(message, dict) else None
        if not isinstance(kind, str):
            what = f"{message!r:.100}, which is no dict with a type,"
            raise MessageError(f"the application sent {what} while it was {self.phase.value}")
        following = _ANSWERS.get((self.phase, kind))
        if following is None:
            raise MessageError(f"the application sent {kind!r} while it was {self.phase.value}")
        self.phase = following
        if kind in _FAILURES:
            self.failure = str(message.get("message") or "no reason given")

    def ended(self, error: BaseException | None) -> None:
        """The application returned, or raised ``error``.

        One that returns while it runs just has nothing to shut down; one that raises is broken.
        """
        if self.phase is Phase.RUNNING:
            following: Phase | None = Phase.STOPPED if error is None else Phase.DIED
        else:
            following = _ENDED.get(self.phase)
        if following is None:
            return
        if self.phase is Phase.STOPPING and error is None:
            self.failure = "returned without lifespan.shutdown.complete"
        elif error is not None:
            self.failure = f"{type(error).__name__}: {error}"
        elif self.phase is not Phase.RUNNING:
            self.failure = f"returned while it was {self.phase.value}"
        self.phase, self.error = following, error

    @property
    def settled(self) -> bool:
        """Whether the start has an outcome."""
        return self.phase not in _UNSETTLED

    @property
    def died(self) -> bool:
        """Whether it raised while it should have run."""
        return self.phase is Phase.DIED

    @property
    def boot_failure(self) -> str:
        """Why the worker must not serve; empty when it may."""
        if self.phase is Phase.FAILED:
            return f"Application startup failed: {self.failure}"
        if self.phase is Phase.UNSUPPORTED and self.mode is Mode.ON:
            return f"asgi_lifespan is 'on', but the application {self.failure}"
        return ""

    @property
    def shutdown_failure(self) -> str:
        """What went wrong at its end; empty when nothing did, or when there was none."""
        return self.failure if self.phase is Phase.STOPPED else ""

    def begin_shutdown(self) -> bool:
        """Ask for the end; whether there is anything to wait for."""
        if self.phase is Phase.RUNNING:
            self.phase = Phase.STOPPING
        return self.phase is Phase.STOPPING


_ANSWERS: dict[tuple[Phase, Any], Phase] = {
    (Phase.STARTING, "lifespan.startup.complete"): Phase.RUNNING,
    (Phase.STARTING, "lifespan.startup.failed"): Phase.FAILED,
    (Phase.STOPPING, "lifespan.shutdown.complete"): Phase.STOPPED,
    (Phase.STOPPING, "lifespan.shutdown.failed"): Phase.STOPPED,
}

_FAILURES = ("lifespan.startup.failed", "lifespan.shutdown.failed")
