"""How much memory a process has, and whether the kernel killed for want of it. Linux; None elsewhere."""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["CHECK_EVERY", "Memory", "OomKills", "measure"]

#: Seconds between two looks at the memory of one worker. The kernel walks the page tables for each: some
#: milliseconds for a gigabyte.
CHECK_EVERY = 5.0

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Memory(NamedTuple):
    """Of one process, in bytes.

    ``private`` is what the machine gets back when the process ends. ``resident`` (RSS) counts what is shared
    with the process it was forked from as well, so a limit on it would punish ``preload_app``.
    """

    private: int
    resident: int


def measure(pid: int) -> Memory | None:
    """The memory of a living process; None when it has ended or cannot be looked at."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            sizes = _sizes(file.read())
    except (OSError, ValueError):
        return _estimate(pid)
    return Memory(sizes[b"Private_Clean:"] + sizes[b"Private_Dirty:"], sizes[b"Rss:"]) if sizes else None


def _sizes(text: bytes) -> dict[bytes, int]:
    fields = (line.split() for line in text.splitlines()[1:])
    return {name: int(size) * 1024 for name, size, _ in fields}


def _estimate(pid: int) -> Memory | None:
    """Where the kernel has no ``smaps_rollup`` (before 4.14, or not permitted): what is not file-backed."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, shared, *_ = map(int, file.read().split())
    except (OSError, ValueError):
        return None
    return Memory((resident - shared) * _PAGE, resident * _PAGE) if resident else None


class OomKills:
    """The kernel's count of processes that it killed because this control group, or the machine, was out of
    memory.

    Args:
        path: A file with a line ``oom_kill N``: ``memory.events`` (cgroup v2) or ``memory.oom_control`` (v1).
            None when there is none.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._seen = self._count() or 0

    @classmethod
    def of_this_process(cls) -> OomKills:
        """Those of the control group in which this process lives."""
        return cls(next((path for path in _candidates() if _read_count(path) is not None), None))

    def claim(self) -> bool | None:
        """Whether one more was killed than is accounted for: ask once for each victim of SIGKILL.

        None means that nobody counts here.
        """
        count = self._count()
        if count is None:
            return None
        if count <= self._seen:
            return False
        self._seen += 1
        return True

    def _count(self) -> int | None:
        return _read_count(self._path) if self._path is not None else None


def _candidates() -> list[str]:
    """Files that may count for this process, the nearest first; a container may see its group as the root."""
    found = []
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return []
    for number, controllers, path in lines:
        if "memory" in controllers.split(","):
            found += [f"/sys/fs/cgroup/memory{place}/memory.oom_control" for place in (path, "")]
        elif number == "0":
            found += [f"/sys/fs/cgroup{place}/memory.events" for place in (path.rstrip("/"), "")]
    return found


def _read_count(path: str) -> int | None:
    try:
        with open(path, "rb") as file:
            words = file.read().split()
        return int(words[words.index(b"oom_kill") + 1])
    except (OSError, ValueError, IndexError):
        return None
