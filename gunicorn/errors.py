"""One tree of errors: whatever a user can cause has a class, one clear line, and an exit code or a status."""

from __future__ import annotations

__all__ = ["AppImportError", "ConfigError", "GunicornError", "HaltServer", "ProtocolError"]


class GunicornError(Exception):
    """Base of everything that Gunicorn raises on purpose."""


class ConfigError(GunicornError):
    """A wrong setting. The message is one line: source, setting and what is allowed."""

    exit_code = 1


class HaltServer(BaseException):
    """Ends the server with an exit status.

    A ``BaseException``, so that an ``except Exception`` of an application or a hook cannot keep a dead
    server alive.
    """

    def __init__(self, reason: str, exit_status: int = 1) -> None:
        super().__init__(reason, exit_status)
        self.reason = reason
        self.exit_status = exit_status

    def __str__(self) -> str:
        return f"<HaltServer {self.reason!r} {self.exit_status}>"


class AppImportError(GunicornError):
    """The application string does not lead to a callable (exit status 4)."""

    exit_code = 4


class ProtocolError(GunicornError):
    """The peer broke a rule of the protocol.

    Args:
        status: The HTTP status that answers it (RFC 9110 section 15).
        rule: A short stable name of the rule, with its source, e.g. ``"RFC 9112 5: blank before the colon"``.
        detail: What was seen, safe to log; it never reaches the client.
    """

    def __init__(self, status: int, rule: str, detail: str = "") -> None:
        super().__init__(f"{rule}: {detail}" if detail else rule)
        self.status = status
        self.rule = rule
        self.detail = detail
