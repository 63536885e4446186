"""The logger that a server writes to, and that people subclass (``logger_class``).

Two standard loggers, ``gunicorn.error`` and ``gunicorn.access``, which do not propagate. An access line goes
past the logging module's records (they cost more than all the rest) only while nobody could tell: one
handler, ours, and no filters. Otherwise handlers and filters see a record whose ``args`` are the atoms.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Any

from gunicorn.accesslog import SafeAtoms, all_atoms, compile_format
from gunicorn.errors import ConfigError
from gunicorn.process.logconfig import CONFIG_DEFAULTS, apply_configured, logging_transaction, retire
from gunicorn.process.outputs import (
    SYSLOG_FACILITIES,
    Owner,
    capture,
    file_handler,
    file_handlers,
    reopen,
    syslog_handler,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from gunicorn.accesslog import Line

__all__ = ["CONFIG_DEFAULTS", "SYSLOG_FACILITIES", "Logger", "SafeAtoms", "logging_transaction"]


class Logger:
    """Error and access log of one server.

    Args:
        cfg: The configuration, or anything with the same attributes.

    Raises:
        ConfigError: a logging setting is wrong. The loggers are then as they were before.

    Attributes:
        error_log: The standard logger ``gunicorn.error``.
        access_log: The standard logger ``gunicorn.access``.
        logfile: The file that captured output goes to (``capture_output``), or None.
        access_enabled: Whether `access` does anything; callers test it before they gather what it needs.
    """

    LOG_LEVELS = {
        "critical": logging.CRITICAL,
        "error": logging.ERROR,
        "warning": logging.WARNING,
        "info": logging.INFO,
        "debug": logging.DEBUG,
    }
    loglevel: int = logging.INFO
    error_fmt = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
    datefmt = "[%Y-%m-%d %H:%M:%S %z]"
    access_fmt = "%(message)s"
    syslog_fmt = "[%(process)d] %(message)s"
    atoms_wrapper_class: type[Any] = SafeAtoms

    access_enabled = False
    _plain_handlers: list[logging.Handler] = []
    _plain_formatter: logging.Formatter | None = None
    _line: Line | None = None
    _has_access_log = False

    def __init__(self, cfg: Any) -> None:
        self.error_log = logging.getLogger("gunicorn.error")
        self.access_log = logging.getLogger("gunicorn.access")
        self.error_handlers: list[logging.Handler] = []
        self.access_handlers: list[logging.Handler] = []
        self.logfile: IO[str] | None = None
        self.lock = threading.Lock()
        self.cfg = cfg
        self._owner = Owner()
        self._second: tuple[int, str] = (-1, "")
        self._decide_access()
        # The whole of a subclass's setup() is inside: what it raises leaves the old loggers untouched.
        with logging_transaction():
            self.setup(cfg)

    def setup(self, cfg: Any) -> None:
        """Configure the loggers from ``cfg``; also at a reload.

        Raises:
            ConfigError: a setting is wrong; the loggers stay as they were.
        """
        self._owner = Owner(getattr(cfg, "uid", None), getattr(cfg, "gid", None))
        with logging_transaction():
            # A class with atoms of its own may use formats that only it understands.
            line = None if self._is_custom("atoms") else compile_format(cfg.access_log_format, self.now)
            level = self.LOG_LEVELS.get((cfg.loglevel or "info").lower(), logging.INFO)
            self.error_log.propagate = self.access_log.propagate = False
            self.error_log.setLevel(level)
            self.access_log.setLevel(logging.INFO)
            self._set_handler(self.error_log, cfg.errorlog, logging.Formatter(self.error_fmt, self.datefmt))
            self._set_handler(self.access_log, cfg.accesslog, logging.Formatter(self.access_fmt), sys.stdout)
            self._set_syslog_handlers(cfg)
            self._apply_configured(cfg)
            self._capture(cfg)
        self.cfg, self.loglevel, self._line = cfg, level, line
        self._plain_handlers = self._plain(cfg)
        self._decide_access()

    def _is_custom(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(Logger, method)

    def _decide_access(self) -> None:
        self._has_access_log = _has_access_log(self.cfg)
        # A subclass may count in access() what it never writes.
        self.access_enabled = self._has_access_log or self._is_custom("access")

    def _get_gunicorn_handler(self, log: logging.Logger) -> logging.Handler | None:
        return next((handler for handler in log.handlers if getattr(handler, "_gunicorn", False)), None)

    def _set_handler(
        self, log: logging.Logger, output: str | None, fmt: logging.Formatter, stream: IO[str] | None = None
    ) -> None:
        """Replace our handlers of ``log`` by one for ``output``: a path, ``-`` for ``stream``, or None.

        Underscore or not, subclasses in people's configuration files call this with another ``fmt``.
        """
        self._drop_handlers(log)
        if not output:
            return
        handler: logging.Handler
        if output == "-":
            handler = logging.StreamHandler(stream)
        else:
            handler = file_handler("accesslog" if log is self.access_log else "errorlog", output, self._owner)
        self._add_handler(log, handler, fmt)

    def _drop_handlers(self, log: logging.Logger) -> None:
        for handler in log.handlers[:]:
            if getattr(handler, "_gunicorn", False):
                retire(log, handler)

    def _add_handler(self, log: logging.Logger, handler: logging.Handler, fmt: logging.Formatter) -> None:
        handler.setFormatter(fmt)
        handler._gunicorn = True  # type: ignore[attr-defined]  # tells ours from the user's at the next setup
        log.addHandler(handler)

    def _set_syslog_handlers(self, cfg: Any) -> None:
        if not cfg.syslog:
            return
        self._set_syslog_handler(self.error_log, cfg, self.syslog_fmt, "error")
        if not cfg.disable_redirect_access_to_syslog:
            self._set_syslog_handler(self.access_log, cfg, self.syslog_fmt, "access")

    def _set_syslog_handler(self, log: logging.Logger, cfg: Any, fmt: str, name: str) -> None:
        prefix = cfg.syslog_prefix or cfg.proc_name.replace(":", ".")
        tag = f"gunicorn.{prefix}.{name}".replace("%", "%%")
        handler = syslog_handler(cfg.syslog_addr, cfg.syslog_facility)
        self._add_handler(log, handler, logging.Formatter(f"{tag}: {fmt}"))

    def _apply_configured(self, cfg: Any) -> None:
        """Apply a ``logconfig``; what it adds to our loggers is ours to replace at the next setup."""
        loggers = (self.error_log, self.access_log)
        before = {id(handler) for log in loggers for handler in log.handlers}
        apply_configured(cfg)
        for handler in (handler for log in loggers for handler in log.handlers):
            if id(handler) not in before:
                handler._gunicorn = True  # type: ignore[attr-defined]

    def _plain(self, cfg: Any) -> list[logging.Handler]:
        """The one handler that access lines may be written to directly, as a list, or an empty one."""
        handlers = self.access_log.handlers
        simple = len(handlers) == 1 and type(handlers[0]) in (logging.FileHandler, logging.StreamHandler)
        formatter = handlers[0].formatter if simple else None
        own = self._line and simple and getattr(handlers[0], "_gunicorn", False) and cfg.accesslog
        classic = self._is_custom("atoms") or self.atoms_wrapper_class is not SafeAtoms
        if not own or classic or type(formatter) is not logging.Formatter or formatter._fmt != "%(message)s":
            return []
        self._plain_formatter = formatter
        return handlers[:]

    def _capture(self, cfg: Any) -> None:
        if cfg.capture_output and cfg.errorlog and cfg.errorlog != "-":
            before, self.logfile = self.logfile, capture(cfg.errorlog, self._owner)
            if before is not None:
                before.close()

    def critical(self, msg: object, *args: Any, **kwargs: Any) -> None:
        self.error_log.critical(msg, *args, **kwargs)

    def error(self, msg: object, *args: Any, **kwargs: Any) -> None:
        self.error_log.error(msg, *args, **kwargs)

    def warning(self, msg: object, *args: Any, **kwargs: Any) -> None:
        self.error_log.warning(msg, *args, **kwargs)

    def info(self, msg: object, *args: Any, **kwargs: Any) -> None:
        self.error_log.info(msg, *args, **kwargs)

    def debug(self, msg: object, *args: Any, **kwargs: Any) -> None:
        self.error_log.debug(msg, *args, **kwargs)

    def exception(self, msg: object, *args: Any, **kwargs: Any) -> None:
        self.error_log.exception(msg, *args, **kwargs)

    def log(self, lvl: int | str, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log at ``lvl``: a number, or a name of `LOG_LEVELS` (any other name means info)."""
        level = self.LOG_LEVELS.get(lvl.lower(), logging.INFO) if isinstance(lvl, str) else lvl
        self.error_log.log(level, msg, *args, **kwargs)

    def atoms(
        self, resp: Any, req: Any, environ: Mapping[str, Any] | None, request_time: timedelta
    ) -> dict[str, Any]:
        """Every atom of `access_log_format`, unescaped. Subclasses override this to add their own."""
        return all_atoms(resp, req, environ, request_time, self.now(), os.getpid())

    def access(self, resp: Any, req: Any, environ: Mapping[str, Any] | None, request_time: timedelta) -> None:
        """Write the access line of one exchange; never raises into the request.

        Args:
            resp: Has ``status`` (str or int), ``sent`` (bytes of body, or None) and ``headers`` (pairs).
            req: Has ``headers`` (pairs).
            environ: The WSGI environ, None where there is none.
            request_time: How long it took.
        """
        if not self._has_access_log:
            return
        try:
            handler = self._direct_handler()
            if handler is not None and self._line is not None:
                _write(handler, self._line(resp, req, environ, request_time))
            else:
                atoms = self.atoms_wrapper_class(self.atoms(resp, req, environ, request_time))
                self.access_log.info(self.cfg.access_log_format, atoms)
        except Exception:  # noqa: BLE001  # an environ that the application broke must not break its answer
            self.exception("Error in the access log")

    def _direct_handler(self) -> logging.StreamHandler[Any] | None:
        """The only handler of the access log, while going through the logging module would change nothing."""
        log, plain = self.access_log, self._plain_handlers
        if (
            not plain
            or log.handlers != plain
            or log.filters
            or log.propagate
            or not log.isEnabledFor(logging.INFO)
        ):
            return None
        handler: Any = plain[0]
        if handler.filters or handler.formatter is not self._plain_formatter or handler.level > logging.INFO:
            return None
        return None if handler.stream is None else handler

    def now(self) -> str:
        """The local time as the access log shows it, in brackets; made once per second."""
        second, text = self._second
        current = int(time.time())
        if current != second:
            text = time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(current))
            self._second = (current, text)  # one assignment, so that no thread sees a pair of halves
        return text

    def reopen_files(self) -> None:
        """Go on in new files of the same names: every file handler of every logger, and captured output."""
        self._reopen_captured()
        for handler in file_handlers():
            try:
                reopen(handler)
            except OSError as error:
                self.error(
                    "Cannot reopen %s, going on in the old file: %s", handler.baseFilename, error.strerror
                )
                continue
            if getattr(handler, "_gunicorn", False):
                self._owner.adopt(handler.stream)

    def _reopen_captured(self) -> None:
        try:
            self._capture(self.cfg)
        except ConfigError as error:
            self.error("%s; going on in the old file", error)

    def close_on_exec(self) -> None:
        """Keep the log files out of a program that replaces this one."""
        for handler in file_handlers():
            if handler.stream is not None:
                os.set_inheritable(handler.stream.fileno(), False)


def _has_access_log(cfg: Any) -> bool:
    return bool(
        cfg.accesslog
        or cfg.logconfig
        or cfg.logconfig_dict
        or cfg.logconfig_json
        or (cfg.syslog and not cfg.disable_redirect_access_to_syslog)
    )


def _write(handler: logging.StreamHandler[Any], line: str) -> None:
    try:
        handler.acquire()
        try:
            handler.stream.write(line + handler.terminator)
            handler.stream.flush()
        finally:
            handler.release()
    except Exception:  # noqa: BLE001  # as StreamHandler.emit does: a full disk is reported, not raised
        handler.handleError(logging.makeLogRecord({"msg": line}))
