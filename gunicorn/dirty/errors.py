"""What can go wrong with a call to the pool, and how each of it looks on the wire.

An error travels as ``{error_type, message, details}``; ``to_dict`` and ``from_dict`` are the two ends.
The names are part of the protocol: a client finds the class by them.
"""

from __future__ import annotations

from typing import Any

from gunicorn.errors import GunicornError

__all__ = [
    "DirtyAppError",
    "DirtyAppNotFoundError",
    "DirtyCancelledError",
    "DirtyConnectionError",
    "DirtyError",
    "DirtyNoWorkersAvailableError",
    "DirtyProtocolError",
    "DirtyQueueFullError",
    "DirtyTimeoutError",
    "DirtyWorkerError",
    "StashError",
    "StashKeyNotFoundError",
    "StashTableNotFoundError",
    "from_dict",
    "to_dict",
]

_RAW_SHOWN = 100  # bytes of a bad frame that an error quotes


class DirtyError(GunicornError):
    """Base of all errors of the pool.

    Attributes:
        message: One line.
        details: What else is known, as it travels.
        remote_type: For an error that came over the wire: the class name of the exception on the other side.
        traceback: The other side's traceback as text, or None.
    """

    #: Attributes that travel in ``details``; those that are None stay at home.
    fields: tuple[str, ...] = ()
    traceback: str | None = None
    remote_type: str | None = None

    def __init__(self, message: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})

    def _note(self, **fields: Any) -> None:
        """Set attributes and put those that are known into ``details``."""
        for name, value in fields.items():
            setattr(self, name, value)
            if value is not None:
                self.details.setdefault(name, value)

    def __str__(self) -> str:
        shown = {name: value for name, value in self.details.items() if name != "traceback"}
        return f"{self.message}: {shown}" if shown else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return from_dict, (to_dict(self),)


class DirtyTimeoutError(DirtyError, TimeoutError):
    """No answer within ``timeout`` seconds."""

    fields = ("timeout",)

    def __init__(self, message: str = "The call took too long", timeout: float | None = None) -> None:
        super().__init__(message)
        self._note(timeout=timeout or None)


class DirtyConnectionError(DirtyError, ConnectionError):
    """There is no way to the pool: nobody listens at ``socket_path``, or the connection broke."""

    fields = ("socket_path",)

    def __init__(self, message: str = "No connection", socket_path: str | None = None) -> None:
        super().__init__(message)
        self._note(socket_path=socket_path)


class DirtyWorkerError(DirtyError):
    """The process that ran the call (``worker_id`` is its pid) ended, or could not be talked to."""

    fields = ("worker_id", "traceback")

    def __init__(self, message: str = "", worker_id: int | None = None, traceback: str | None = None) -> None:
        super().__init__(message)
        self._note(worker_id=worker_id, traceback=traceback)


class DirtyAppError(DirtyError):
    """The action raised. ``remote_type`` and ``traceback`` say what and where."""

    fields = ("app_path", "action", "traceback")

    def __init__(
        self,
        message: str = "",
        app_path: str | None = None,
        action: str | None = None,
        traceback: str | None = None,
    ) -> None:
        super().__init__(message)
        self._note(app_path=app_path, action=action, traceback=traceback)


class DirtyAppNotFoundError(DirtyAppError):
    """No class of that path is configured."""

    def __init__(self, app_path: str = "", message: str | None = None) -> None:
        text = f"{app_path!r} is not in dirty_apps" if message is None else message
        super().__init__(text, app_path=app_path)


class DirtyNoWorkersAvailableError(DirtyError):
    """The class is configured, but no process that serves calls has loaded it."""

    fields = ("app_path",)

    def __init__(self, app_path: str | None = None, message: str | None = None) -> None:
        super().__init__(f"No worker available for {app_path}" if message is None else message)
        self._note(app_path=app_path)


class DirtyQueueFullError(DirtyError):
    """Every process that could take the call has a full queue. Try later, or answer 503."""

    fields = ("app_path",)

    def __init__(self, app_path: str | None = None, message: str | None = None) -> None:
        text = f"All queues for {app_path} are full (dirty_queue_size)" if message is None else message
        super().__init__(text)
        self._note(app_path=app_path)


class DirtyCancelledError(DirtyError):
    """The call was cancelled before it had a result."""


class DirtyProtocolError(DirtyError):
    """The bytes are not what the protocol says. ``raw_data`` is the start of them in hexadecimal."""

    fields = ("raw_data",)

    def __init__(self, message: str = "", raw_data: bytes | str | None = None) -> None:
        super().__init__(message)
        self._note(raw_data=raw_data[:_RAW_SHOWN].hex() if isinstance(raw_data, bytes) else raw_data)


class StashError(DirtyError):
    """A stash operation failed."""


class StashTableNotFoundError(StashError, LookupError):
    """There is no such table."""

    fields = ("table_name",)

    def __init__(self, table_name: str = "", message: str | None = None) -> None:
        super().__init__(f"Table not found: {table_name}" if message is None else message)
        self.table_name = table_name


class StashKeyNotFoundError(StashError, KeyError):
    """The table has no such key. A ``KeyError`` too, since tables look like dictionaries."""

    def __init__(self, table_name: str = "", key: Any = None, message: str | None = None) -> None:
        super().__init__(f"Key not found: {key}" if message is None else message)
        self.table_name = table_name
        self.key = key


_CLASSES: dict[str, type[DirtyError]] = {
    cls.__name__: cls
    for cls in (
        DirtyError, DirtyTimeoutError, DirtyConnectionError, DirtyWorkerError, DirtyAppError,
        DirtyAppNotFoundError, DirtyNoWorkersAvailableError, DirtyQueueFullError, DirtyCancelledError,
        DirtyProtocolError, StashError, StashTableNotFoundError, StashKeyNotFoundError,
    )
}  # fmt: skip

#: What arbiters of other makers say for a missing key or table: they lose the class on the way.
_BY_MESSAGE = (("Key not found", StashKeyNotFoundError), ("Table not found", StashTableNotFoundError))


def to_dict(error: BaseException) -> dict[str, Any]:
    """What travels of ``error``; of a foreign exception its class name and text."""
    if isinstance(error, DirtyError):
        details = (
            error.details if error.remote_type is None else {**error.details, "exception": error.remote_type}
        )
        return {"error_type": type(error).__name__, "message": error.message, "details": details}
    return {"error_type": type(error).__name__, "message": str(error), "details": {}}


def from_dict(value: Any) -> DirtyError:
    """The error that travelled as ``value``. Never fails: an unknown class becomes a plain ``DirtyError``."""
    record = value if isinstance(value, dict) else {"message": str(value)}
    details = record.get("details")
    details = dict(details) if isinstance(details, dict) else {}
    name, message = str(record.get("error_type", "")), str(record.get("message", ""))
    cls = _class_of(name, message)
    error = cls.__new__(cls)
    DirtyError.__init__(error, message, details)
    for field in dict.fromkeys((*cls.fields, "traceback")):
        setattr(error, field, details.get(field))
    error.remote_type = str(details.pop("exception", name if name not in _CLASSES else "")) or None
    error.details = details
    return error


def _class_of(name: str, message: str) -> type[DirtyError]:
    if name == "DirtyError":
        return next((cls for prefix, cls in _BY_MESSAGE if message.startswith(prefix)), DirtyError)
    return _CLASSES.get(name, DirtyError)
