"""What a worker tells about itself without a system call: one slot of shared memory per worker.

It takes the place of heartbeat files and of a status protocol. The arbiter reads the slot of a worker that
hangs, or that was killed by SIGKILL, and still knows since when, with which requests. Slots are mapped before
the first fork and are pre-sized, because a mapping cannot grow into processes that exist already; only
touched pages cost memory.

The words of a slot are naturally aligned and eight bytes wide, so each of them is read and written whole.
Several words are not read atomically together: a snapshot of a worker at work may be one request old, and
nothing is decided from it.
"""

from __future__ import annotations

import _thread
import enum
import mmap
import os
import struct
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BYTES_SENT",
    "CONNECTIONS",
    "ERRORS",
    "IN_FLIGHT",
    "LAYOUT",
    "REQUESTS",
    "InFlight",
    "Phase",
    "RequestTable",
    "Slot",
    "SlotState",
    "Slots",
]

_COUNT = 1024
_TABLE_ENTRIES = 64
_WORD = 8
# The phase comes last: struct writes in order, so an entry that is half written still looks free.
_ENTRY = struct.Struct("=d16s160sq")
_ENTRY_SIZE = _ENTRY.size
_PHASE_WORDS = range(_ENTRY_SIZE // _WORD - 1, _TABLE_ENTRIES * _ENTRY_SIZE // _WORD, _ENTRY_SIZE // _WORD)
"""Where the phase of each entry is, as an index of words."""
_NAMES = {name: name.encode() for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")}
_HEADER_SIZE = (
    4096  # a page of its own: the words that the arbiter reads often do not share one with the table
)
_SLOT_SIZE = _HEADER_SIZE + 3 * 4096
assert _TABLE_ENTRIES * _ENTRY.size <= _SLOT_SIZE - _HEADER_SIZE
assert _ENTRY.size % _WORD == 0

# Numbers of the words in a slot's header. The names without underscore are the counters that Slot.add()
# takes.
_STATE, _PID, _GENERATION, _STARTED, _DEADLINE, _QUEUE_TIME = range(6)
REQUESTS, ERRORS, BYTES_SENT, IN_FLIGHT, CONNECTIONS = range(6, 11)
_HEADER_WORDS = 11


#: Versions with different ones must not read each other's slots. Raise the last number when a word changes
#: its meaning.
LAYOUT = f"{_SLOT_SIZE}.{_HEADER_WORDS}.{_ENTRY.format}.1"


class SlotState(enum.IntEnum):
    """Where the worker of a slot is in its life."""

    FREE = 0
    BOOTING = 1
    READY = 2
    DRAINING = 3


class Phase(enum.IntEnum):
    """What is being done for a request in flight."""

    FREE = 0
    APP = 1
    RESPONSE = 2


class InFlight(NamedTuple):
    """One request that a worker has begun and not ended. ``started`` is ``time.monotonic()`` in seconds."""

    method: str
    path: str
    started: float
    phase: Phase


class _Integer:
    """An integer word of the header as an attribute of ``Slot``."""

    __slots__ = ("_word",)

    def __init__(self, word: int) -> None:
        self._word = word

    def __get__(self, slot: Slot, owner: type[Slot]) -> int:
        return slot._integers[self._word]

    def __set__(self, slot: Slot, value: int) -> None:
        slot._integers[self._word] = value


class _Seconds:
    """A floating point word of the header as an attribute of ``Slot``."""

    __slots__ = ("_word",)

    def __init__(self, word: int) -> None:
        self._word = word

    def __get__(self, slot: Slot, owner: type[Slot]) -> float:
        return slot._floats[self._word]

    def __set__(self, slot: Slot, value: float) -> None:
        slot._floats[self._word] = value


class Slot:
    """One worker's slot: the worker writes it, everybody may read it, the arbiter resets it before reuse.

    Reading or setting an attribute is one access to the mapping. ``slot.requests += 1`` is two, and several
    threads of a worker would lose counts: they call ``add``.
    """

    __slots__ = ("_floats", "_free", "_integers", "_lock", "_phases", "number", "table")

    pid = _Integer(_PID)
    generation = _Integer(_GENERATION)
    started = _Seconds(_STARTED)
    """``time.monotonic()`` of the fork, seconds."""
    deadline = _Seconds(_DEADLINE)
    """``time.monotonic()`` by which the worker promises to write a later one, seconds; ``inf`` is never."""
    queue_time = _Seconds(_QUEUE_TIME)
    """Sum over all requests of the time between arrival and start, seconds."""
    requests = _Integer(REQUESTS)
    errors = _Integer(ERRORS)
    bytes_sent = _Integer(BYTES_SENT)
    in_flight = _Integer(IN_FLIGHT)
    connections = _Integer(CONNECTIONS)

    def __init__(self, number: int, memory: memoryview) -> None:
        self.number = number
        header = memory[: _HEADER_WORDS * _WORD]
        self._integers = header.cast("q")
        self._floats = header.cast("d")
        self._lock = _thread.allocate_lock()
        self.table = table = RequestTable(memory[_HEADER_SIZE:])
        self._phases, self._free = table._phases, table._free

    @property
    def state(self) -> SlotState:
        return SlotState(self._integers[_STATE])

    @state.setter
    def state(self, state: SlotState) -> None:
        self._integers[_STATE] = state

    def add(self, counter: int, amount: int = 1) -> int:
        """Add to one of the counters (``REQUESTS``, ``ERRORS``...) from any thread; the new value.

        A lock and not one counter per thread: 0.1 us buys an exact total, which ``max_requests`` compares
        with its limit.
        """
        with self._lock:
            value: int = self._integers[counter] + amount
            self._integers[counter] = value
        return value

    def finish(self, index: int, sent: int) -> int:
        """``table.end(index)``, and count the request, answered with ``sent`` bytes of body, from any thread.

        One call for what every request does at its end; the new number of requests.
        """
        integers = self._integers
        if index >= 0:
            self._phases[_PHASE_WORDS[index]] = 0
            self._free.append(index)
        with self._lock:
            requests: int = integers[REQUESTS] + 1
            integers[REQUESTS] = requests
            integers[BYTES_SENT] += sent
        return requests

    def reset(self) -> None:
        """Make the slot as new, whatever state a killed worker left it in."""
        for word in range(_HEADER_WORDS):
            self._integers[word] = 0
        self.table.clear()

    def __repr__(self) -> str:
        return f"<Slot {self.number} {self.state.name} pid={self.pid} generation={self.generation}>"


class RequestTable:
    """The requests in flight of one worker, in its slot.

    ``begin`` and ``end`` may be called by several threads of the worker: taking an entry from the free list
    and giving it back are single list operations, which are atomic, and a taken entry has one owner. Last in,
    first out keeps the table's untouched pages untouched.
    """

    __slots__ = ("_free", "_memory", "_phases")

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory[: _TABLE_ENTRIES * _ENTRY.size]
        self._phases = self._memory.cast("q")
        self._free = list(range(_TABLE_ENTRIES - 1, -1, -1))

    def begin(self, method: str, path: bytes) -> int:
        """Note that a request has begun: its index for ``end``, or -1 when the table is full.

        Method and path are clipped to 16 and 160 bytes: enough to recognise the request in a log.
        """
        try:
            index = self._free.pop()
        except IndexError:
            return -1
        name = _NAMES.get(method) or method.encode("latin-1", "replace")
        _ENTRY.pack_into(self._memory, index * _ENTRY_SIZE, monotonic(), name, path, 1)
        return index

    def advance(self, index: int, phase: Phase) -> None:
        """Note the next phase of a request; an ``index`` of -1 is nobody."""
        if index >= 0:
            self._phases[_PHASE_WORDS[index]] = phase

    def end(self, index: int) -> None:
        """Note that a request has ended; an ``index`` of -1 is nobody. Each index is ended once."""
        if index >= 0:
            self._phases[_PHASE_WORDS[index]] = 0
            self._free.append(index)

    def snapshot(self) -> list[InFlight]:
        """The requests in flight, oldest first, as any process sees them."""
        return sorted(self._taken(), key=lambda request: request.started)

    def _taken(self) -> Iterator[InFlight]:
        for started, method, path, phase in _ENTRY.iter_unpack(self._memory):
            if phase in Phase._value2member_map_ and phase:
                yield InFlight(_text(method), _text(path), started, Phase(phase))

    def clear(self) -> None:
        """Forget what a former worker left. The free list is that of a process which has begun nothing."""
        for index in range(_TABLE_ENTRIES):
            self._phases[_PHASE_WORDS[index]] = 0
        self._free[:] = range(_TABLE_ENTRIES - 1, -1, -1)


class Slots:
    """All slots of a server: a mapping that arbiter, spawners and workers share."""

    def __init__(self, fd: int, count: int) -> None:
        self.fd = fd
        self.count = count
        self._memory = memoryview(mmap.mmap(fd, count * _SLOT_SIZE))
        self._slots: dict[int, Slot] = {}

    @classmethod
    def create(cls, count: int = _COUNT, directory: str | None = None) -> Slots:
        """Fresh slots, all FREE: anonymous memory, or an unlinked file in ``directory`` (``worker_tmp_dir``).

        Raises:
            OSError: ``directory`` cannot be written.
        """
        fd = (
            _unlinked_file(directory)
            if directory or not hasattr(os, "memfd_create")
            else os.memfd_create("gunicorn-slots")
        )
        os.ftruncate(fd, count * _SLOT_SIZE)
        return cls(fd, count)

    @classmethod
    def attach(cls, fd: int, count: int | None = None) -> Slots:
        """The slots behind a descriptor that came through exec or a message; it belongs to the result."""
        return cls(fd, os.fstat(fd).st_size // _SLOT_SIZE if count is None else count)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Slot:
        """The slot, always as the same object in one process (its free list lives there)."""
        slot = self._slots.get(number)
        if slot is None:
            if not 0 <= number < self.count:
                raise IndexError(number)
            start = number * _SLOT_SIZE
            slot = self._slots[number] = Slot(number, self._memory[start : start + _SLOT_SIZE])
        return slot


def _unlinked_file(directory: str | None) -> int:
    # Not the tempfile module: it imports random and shutil, for what is one open call here.
    path = os.path.join(
        directory or os.environ.get("TMPDIR", "/tmp"), f"wgunicorn-{os.getpid()}-{os.urandom(8).hex()}"
    )
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)
    return fd


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode("latin-1")
