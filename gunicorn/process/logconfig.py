"""The standard library's logging configurations, applied so that a bad one changes nothing."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn.errors import ConfigError
from gunicorn.process.outputs import all_loggers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "CONFIG_DEFAULTS",
    "apply_configured",
    "apply_dict",
    "apply_ini",
    "apply_json",
    "logging_transaction",
    "retire",
]

CONFIG_DEFAULTS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {
        "gunicorn.error": {
            "level": "INFO", "handlers": ["error_console"], "propagate": True, "qualname": "gunicorn.error",
        },
        "gunicorn.access": {
            "level": "INFO", "handlers": ["console"], "propagate": True, "qualname": "gunicorn.access",
        },
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stdout"},
        "error_console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stderr"},
    },
    "formatters": {
        "generic": {
            "format": "%(asctime)s [%(process)d] [%(levelname)s] %(message)s",
            "datefmt": "[%Y-%m-%d %H:%M:%S %z]",
            "class": "logging.Formatter",
        },
    },
}  # fmt: skip


# Typeshed leaves out the two registers of the logging module, which dictConfig empties by these names, too.
_registers: Any = logging


class _LoggerState(NamedTuple):
    """What a logging configuration can change in one logger."""

    logger: logging.Logger
    level: int
    handlers: list[logging.Handler]
    filters: list[Any]
    propagate: bool
    disabled: bool

    @classmethod
    def of(cls, logger: logging.Logger) -> _LoggerState:
        return cls(
            logger, logger.level, logger.handlers[:], logger.filters[:], logger.propagate, logger.disabled
        )

    def restore(self) -> None:
        self.logger.setLevel(self.level)
        self.logger.handlers, self.logger.filters = self.handlers, self.filters
        self.logger.propagate, self.logger.disabled = self.propagate, self.disabled


def _registered() -> list[logging.Handler]:
    return [handler for reference in _registers._handlerList if (handler := reference()) is not None]


def _close_replaced(before: Iterable[_LoggerState]) -> None:
    kept = {id(handler) for logger in all_loggers() for handler in logger.handlers}
    for handler in (handler for state in before for handler in state.handlers):
        if id(handler) not in kept:
            handler.close()


def _undo(before: list[_LoggerState]) -> None:
    for handler in _registered():
        handler.close()
    known = {state.logger for state in before}
    for logger in all_loggers():
        if logger not in known:
            logger.handlers = []
    for state in before:
        state.restore()
    _forget_registered()


def _forget_registered() -> None:
    _registers._handlers.clear()
    _registers._handlerList.clear()


_in_transaction = False


@contextmanager
def logging_transaction() -> Iterator[None]:
    """Undo, when the block raises, whatever it did to the loggers; nested blocks join the outer one.

    ``dictConfig`` and ``fileConfig`` close every handler that exists before they look at their input. So the
    registers of the logging module are emptied first (nothing is found to close), and the handlers that were
    in use and are no longer are closed at the end. The alternative, to build everything once for a trial,
    opens every file and socket twice.
    """
    global _in_transaction
    if _in_transaction:
        yield
        return
    before = [_LoggerState.of(logger) for logger in all_loggers()]
    names, references = dict(_registers._handlers), _registers._handlerList[:]
    _forget_registered()
    _in_transaction = True
    try:
        yield
    except BaseException:
        _undo(before)
        raise
    else:
        _close_replaced(before)
    finally:
        _in_transaction = False
        _registers._handlerList[:0] = references
        for name, handler in names.items():
            _registers._handlers.setdefault(name, handler)


def retire(logger: logging.Logger, handler: logging.Handler) -> None:
    """Take ``handler`` off ``logger`` and close it; in a transaction that may bring it back, at its end."""
    logger.removeHandler(handler)
    if not _in_transaction or any(handler is made for made in _registered()):
        handler.close()


def apply_configured(cfg: Any) -> None:
    """Apply the first that is given of ``logconfig_dict``, ``logconfig_json`` and ``logconfig``.

    Raises:
        ConfigError: as the function that applies it.
    """
    if cfg.logconfig_dict:
        apply_dict("logconfig_dict", cfg.logconfig_dict)
    elif cfg.logconfig_json:
        apply_json(cfg.logconfig_json)
    elif cfg.logconfig:
        apply_ini(cfg.logconfig)


def apply_dict(setting: str, overlay: Mapping[str, Any]) -> None:
    """``logging.config.dictConfig`` of ``overlay`` laid over `CONFIG_DEFAULTS`, key by key of the top level.

    Raises:
        ConfigError: what is wrong, with ``setting``.
    """
    from logging.config import dictConfig  # imports sockets, pickle and queues, which few servers need

    with logging_transaction():
        try:
            dictConfig({**CONFIG_DEFAULTS, **overlay})
        except Exception as error:
            # Anything can come out of here: the configuration names classes and calls them.
            raise ConfigError(f"{setting}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """The logging module's message and, because that one is vague, its cause."""
    cause = f": {error.__cause__}" if error.__cause__ else ""
    return f"{error or type(error).__name__}{cause}"


def apply_json(path: str) -> None:
    """`apply_dict` of the JSON object in the file ``path``.

    Raises:
        ConfigError: no such file, not a JSON object, or a wrong configuration.
    """
    import json

    try:
        with open(path, "rb") as file:
            overlay = json.load(file)
    except OSError as error:
        raise ConfigError(f"logconfig_json: cannot read {path!r}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"logconfig_json: {path!r} is not JSON: {error}") from error
    if not isinstance(overlay, dict):
        raise ConfigError(f"logconfig_json: {path!r} must hold a JSON object, not {type(overlay).__name__}")
    apply_dict("logconfig_json", overlay)


def apply_ini(path: str) -> None:
    """``logging.config.fileConfig`` of ``path``, where ``%(here)s`` and ``%(__file__)s`` are known.

    Raises:
        ConfigError: no such file, or a wrong configuration.
    """
    if not os.path.isfile(path):
        raise ConfigError(f"logconfig: no such file: {path!r}")
    from logging.config import fileConfig

    full = os.path.abspath(path).replace("%", "%%")  # configparser interpolates the values, too
    places = {"__file__": full, "here": os.path.dirname(full)}
    with logging_transaction():
        try:
            fileConfig(path, defaults=places, disable_existing_loggers=False)
        except Exception as error:
            # Anything can come out of here: the configuration names classes and calls them.
            raise ConfigError(f"logconfig: {path!r}: {_reason(error)}") from error
