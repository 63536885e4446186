"""Rates out of counters: what two looks at a server, some time apart, say about the time between them."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Load = Mapping[str, Any]

__all__ = ["Rates", "Trend", "sparkline"]

_BARS = " ▁▂▃▄▅▆▇█"
#: Looks over which the latency is averaged.
_WINDOW = 10


class Rates(NamedTuple):
    """Between the last two looks.

    Attributes:
        requests, errors, sent: Per second; ``sent`` in bytes.
        queued: Mean seconds that a request waited before it was begun; None without requests.
        latency: Mean seconds from begin to end of a request; None when there is nothing to tell from.
        by_worker: Process id to requests per second.
    """

    requests: float = 0.0
    errors: float = 0.0
    sent: float = 0.0
    queued: float | None = None
    latency: float | None = None
    by_worker: Mapping[int, float] = {}


class Trend:
    """The looks so far. Counters of a worker begin at zero, so a new process id has no past."""

    def __init__(self, length: int = 300) -> None:
        self.requests: collections.deque[float] = collections.deque(maxlen=length)
        self._recent: collections.deque[tuple[float, float]] = collections.deque(maxlen=_WINDOW)
        self._at: float | None = None
        self._before: dict[int, Mapping[str, Any]] = {}

    def look(self, at: float, load: Load) -> Rates:
        """Take the state at monotonic time ``at``, seconds; the rates since the one before."""
        workers = {worker["pid"]: worker for worker in load["workers"]}
        before, self._before = self._before, workers
        last, self._at = self._at, at
        if last is None or at <= last:
            return Rates()
        return self._rates(at - last, before, workers)

    def _rates(self, seconds: float, before: Mapping[int, Any], after: Mapping[int, Any]) -> Rates:
        def growth(name: str, pid: int) -> float:
            grown: float = after[pid][name] - before.get(pid, {}).get(name, 0)
            return max(0.0, grown)

        by_worker = {pid: growth("requests", pid) / seconds for pid in after}
        requests = sum(by_worker.values())
        waited = sum(growth("queue_time", pid) for pid in after)
        self.requests.append(requests)
        self._recent.append((requests, sum(worker["in_flight"] for worker in after.values())))
        return Rates(
            requests,
            sum(growth("errors", pid) for pid in after) / seconds,
            sum(growth("bytes_sent", pid) for pid in after) / seconds,
            waited / (requests * seconds) if requests else None,
            self._latency(),
            by_worker,
        )

    def _latency(self) -> float | None:
        """Little's law: requests in flight, on average, are their rate times the time that each takes."""
        rate = sum(requests for requests, _ in self._recent)
        in_flight = sum(in_flight for _, in_flight in self._recent)
        return in_flight / rate if rate and in_flight else None


def sparkline(values: Sequence[float], width: int) -> str:
    """The last ``width`` values as bars, the highest of them full."""
    shown = list(values)[-width:]
    top = max(shown, default=0.0)
    bars = (_BARS[_height(value, top)] for value in shown)
    return "".join(bars).rjust(width)


def _height(value: float, top: float) -> int:
    # Anything at all is a bar: an empty place is nothing at all.
    return 0 if not value or not top else max(1, round(value / top * (len(_BARS) - 1)))
