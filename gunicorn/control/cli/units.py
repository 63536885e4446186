"""Seconds and bytes as people read them."""

from __future__ import annotations

__all__ = ["duration", "number", "size"]

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def duration(seconds: float) -> str:
    """The two largest units: ``3d 4h``, ``2m 5s``; below ten seconds a fraction, below one milliseconds."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    rest, parts = int(seconds), list[str]()
    for length, name in _UNITS:
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count}{name}")
    return " ".join(parts[:2])


def size(count: float) -> str:
    """Bytes: ``940 B``, ``3.1 MB``, ``512 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1024:
            return f"{count:.1f} {unit}" if count < 10 and unit != "B" else f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"


def number(value: float) -> str:
    """``12,345``; small rates keep a digit."""
    return f"{value:,.1f}" if value % 1 and value < 100 else f"{value:,.0f}"
