"""Metrics for a statsd daemon, derived from what the server logs (statsd's protocol, with DogStatsD's tags).

One datagram per metric on a non-blocking socket. Metrics are worth less than requests: what cannot be sent at
once is dropped.
"""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

__all__ = ["Statsd"]

METRIC_VAR = "metric"
VALUE_VAR = "value"
MTYPE_VAR = "mtype"
GAUGE_TYPE = "gauge"
COUNTER_TYPE = "counter"
HISTOGRAM_TYPE = "histogram"
TIMER_TYPE = "timer"

_METHODS = {
    GAUGE_TYPE: "gauge",
    COUNTER_TYPE: "increment",
    HISTOGRAM_TYPE: "histogram",
    TIMER_TYPE: "timer",
}

_Address = tuple[socket.AddressFamily, Any]


class Statsd(Logger):
    """A logger that counts what passes through it.

    Any call with ``extra={"metric": name, "value": number, "mtype": "gauge"}`` (or counter, histogram, timer)
    sends that metric; with an empty message it does nothing else.
    """

    def __init__(self, cfg: Any) -> None:
        prefix = (cfg.statsd_prefix or "").rstrip(".")
        self.prefix = f"{prefix}." if prefix else ""
        self.dogstatsd_tags = cfg.dogstatsd_tags
        self.sock: socket.socket | None = None
        self._address: Any = None
        super().__init__(cfg)
        self._connect(cfg.statsd_host)

    def _connect(self, host: str | tuple[str, int] | None) -> None:
        """Resolve once: a name server that hangs must not be asked while requests wait."""
        if not host:
            return
        try:
            family, self._address = _resolve(host)
            self.sock = socket.socket(family, socket.SOCK_DGRAM)
        except OSError as error:
            self.error_log.warning("statsd_host: no metrics, %s: %s", host, error)
        else:
            self.sock.setblocking(False)

    def critical(self, msg: object, *args: Any, **kwargs: Any) -> None:
        self.increment("gunicorn.log.critical", 1)
        self._log(logging.CRITICAL, msg, args, kwargs)

    def error(self, msg: object, *args: Any, **kwargs: Any) -> None:
        self.increment("gunicorn.log.error", 1)
        self._log(logging.ERROR, msg, args, kwargs)

    def warning(self, msg: object, *args: Any, **kwargs: Any) -> None:
        self.increment("gunicorn.log.warning", 1)
        self._log(logging.WARNING, msg, args, kwargs)

    def exception(self, msg: object, *args: Any, **kwargs: Any) -> None:
        self.increment("gunicorn.log.exception", 1)
        self._log(logging.ERROR, msg, args, {"exc_info": True, **kwargs})

    def info(self, msg: object, *args: Any, **kwargs: Any) -> None:
        self._log(logging.INFO, msg, args, kwargs)

    def debug(self, msg: object, *args: Any, **kwargs: Any) -> None:
        self._log(logging.DEBUG, msg, args, kwargs)

    def log(self, lvl: int | str, msg: object, *args: Any, **kwargs: Any) -> None:
        self._log(lvl, msg, args, kwargs)

    def _log(self, lvl: int | str, msg: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._send_extra(kwargs.get("extra") or {})
        if msg:
            super().log(lvl, msg, *args, **kwargs)

    def _send_extra(self, extra: Mapping[str, Any]) -> None:
        name, value = extra.get(METRIC_VAR), extra.get(VALUE_VAR)
        method = _METHODS.get(extra.get(MTYPE_VAR, ""))
        if name and value is not None and method is not None:
            getattr(self, method)(name, value)

    def access(self, resp: Any, req: Any, environ: Mapping[str, Any] | None, request_time: timedelta) -> None:
        """Count one exchange, whether or not there is an access log, and pass it on."""
        super().access(resp, req, environ, request_time)
        status = resp.status.partition(" ")[0] if isinstance(resp.status, str) else resp.status
        self.timer("gunicorn.request.duration", request_time.total_seconds() * 1000)
        self.increment("gunicorn.requests", 1)
        self.increment(f"gunicorn.request.status.{status}", 1)

    def gauge(self, name: str, value: float) -> None:
        """Set ``name`` to ``value``."""
        self._send(f"{self.prefix}{name}:{value}|g")

    def increment(self, name: str, value: float, sampling_rate: float = 1.0) -> None:
        """Add ``value`` to the counter ``name``; ``sampling_rate`` is the share of events that are sent."""
        self._send(f"{self.prefix}{name}:{value}|c|@{sampling_rate}")

    def decrement(self, name: str, value: float, sampling_rate: float = 1.0) -> None:
        """Take ``value`` from the counter ``name``."""
        self._send(f"{self.prefix}{name}:-{value}|c|@{sampling_rate}")

    def timer(self, name: str, value: float) -> None:
        """Record a duration of ``value`` milliseconds."""
        self._send(f"{self.prefix}{name}:{value}|ms")

    def histogram(self, name: str, value: float) -> None:
        """Record ``value`` in the distribution of ``name``."""
        self._send(f"{self.prefix}{name}:{value}|h")

    def _send(self, message: str) -> None:
        if self.sock is None:
            return
        if self.dogstatsd_tags:
            message = f"{message}|#{self.dogstatsd_tags}"
        try:
            # Not connect and send: so a daemon that starts later, or again, is found by the next datagram.
            self.sock.sendto(message.encode("utf-8", "replace"), self._address)
        except OSError:
            # Nobody listens, or the buffer is full: a log line per metric would be worse than the loss.
            return


def _resolve(host: str | tuple[str, int]) -> _Address:
    """Family and address of ``unix://PATH``, ``PATH`` or ``(host, port)``.

    Raises:
        OSError: no such host.
    """
    if isinstance(host, str):
        return socket.AF_UNIX, host.removeprefix("unix://")
    family, _, _, _, address = socket.getaddrinfo(*host, type=socket.SOCK_DGRAM)[0]
    return family, address
