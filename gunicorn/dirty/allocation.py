"""Which process loads which class. Pure.

There is one *seat* for each process that is wanted. A class without a limit belongs to every seat; one with a
limit is dealt to that many, always to those with the fewest such classes, so that heavy classes do not pile
up in the first processes. A process takes a vacant seat when it boots, so the replacement of a dead one loads
what the dead one had. When a seat goes for good (fewer processes are wanted), its classes are dealt to those
that stay, which load them while they run: no class is ever without a process because another one left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Allocation", "Load"]


class Load(NamedTuple):
    """The running process ``age`` has to load the class ``path`` now."""

    age: int
    path: str


@attrs.define(eq=False)
class _Seat:
    limited: set[str] = attrs.Factory(set)
    age: int | None = None


class Allocation:
    """The seats of one generation.

    Args:
        limits: Class path to the number of processes that load it, None for all; in order of configuration.
        wanted: Processes wanted, at least one.
    """

    def __init__(self, limits: Mapping[str, int | None], wanted: int) -> None:
        self._limits = dict(limits)
        self._seats: list[_Seat] = []
        self._standing: list[int] = []
        self._wanted = 0
        self.resize(wanted)

    @property
    def paths(self) -> frozenset[str]:
        """All classes."""
        return frozenset(self._limits)

    @property
    def minimum(self) -> int:
        """With fewer processes than this, a class would have fewer than its limit says."""
        return max((limit for limit in self._limits.values() if limit), default=1)

    @property
    def useful(self) -> float:
        """The number of processes beyond which a further one would load nothing."""
        if not self._limits or None in self._limits.values():
            return float("inf")
        return sum(limit for limit in self._limits.values() if limit)

    def short(self) -> list[str]:
        """Classes whose limit is above the number of processes."""
        return [path for path, limit in self._limits.items() if limit and limit > self._wanted]

    def resize(self, wanted: int) -> list[Load]:
        """``wanted`` processes from now on. Seats above that go when their process leaves."""
        self._wanted = max(1, wanted)
        while len(self._seats) > self._wanted and (vacant := self._vacant()) is not None:
            self._seats.remove(vacant)
        while len(self._seats) < self._wanted:
            self._seats.append(_Seat())
        return self._settle()

    def take(self, age: int) -> list[str]:
        """The process ``age`` boots: what it loads. If it has no seat, it gets the rest with the next one."""
        seat = self._vacant()
        if seat is None:
            self._standing.append(age)
            return self._of(())
        seat.age = age
        return self._of(seat.limited)

    def leave(self, age: int) -> list[Load]:
        """The process ``age`` is gone, or takes no more calls."""
        if age in self._standing:
            self._standing.remove(age)
        for seat in self._seats:
            if seat.age == age:
                seat.age = None
                if len(self._seats) > self._wanted:
                    self._seats.remove(seat)
                return self._settle()
        return []

    def dispensable(self, ages: Iterable[int]) -> list[int]:
        """``ages`` in the order in which to do without them: those who hold the fewest limited classes first,
        the oldest first among equals.
        """
        held = {seat.age: len(seat.limited) for seat in self._seats if seat.age is not None}
        return sorted(ages, key=lambda age: (held.get(age, -1), age))

    def _vacant(self) -> _Seat | None:
        """The vacant seat that is missed most."""
        vacant = [seat for seat in self._seats if seat.age is None]
        return max(vacant, key=lambda seat: len(seat.limited), default=None)

    def _of(self, limited: Iterable[str]) -> list[str]:
        mine = set(limited)
        return [path for path, limit in self._limits.items() if limit is None or path in mine]

    def _settle(self) -> list[Load]:
        """Seat who stands, deal what has no seat; what running processes have to load for that."""
        loads: list[Load] = []
        while self._standing and (seat := self._vacant()) is not None:
            seat.age = self._standing.pop(0)
            loads += [Load(seat.age, path) for path in self._of(seat.limited) if path in seat.limited]
        for path, limit in self._limits.items():
            for _ in range(min(limit or 0, len(self._seats)) - sum(path in s.limited for s in self._seats)):
                seat = min((s for s in self._seats if path not in s.limited), key=lambda s: len(s.limited))
                seat.limited.add(path)
                if seat.age is not None:
                    loads.append(Load(seat.age, path))
        return loads
