"""Tables that fit the terminal: columns are left out, and one is cut, before a line gets too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Row = Mapping[str, Any]

__all__ = ["Column", "clean", "clip", "table"]

_GAP = 2
_NARROWEST = 12


class Column(NamedTuple):
    """One column.

    Attributes:
        cell: The text for a row; None when this server does not tell.
        right: Align to the right, as numbers are.
        flexible: Cut it rather than leave out others.
        rank: Columns of a high rank are left out first; those of rank 0 never.
    """

    title: str
    cell: Callable[[Row], str | None]
    right: bool = False
    flexible: bool = False
    rank: int = 0


def table(columns: Sequence[Column], rows: Sequence[Row], width: int | None = None) -> list[str]:
    """Lines: the header, then one per row; ``width`` None does not cut anything."""
    told = [column for column in columns if any(column.cell(row) is not None for row in rows)]
    fitting = told if width is None else _fit(told, rows, width)
    return [_line([column.title for column in fitting], fitting, rows, width)] + [
        _line([column.cell(row) or "-" for column in fitting], fitting, rows, width) for row in rows
    ]


def clean(text: object) -> str:
    """Text that came from a client of the server: nothing in it may command the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def clip(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def _fit(columns: Sequence[Column], rows: Sequence[Row], width: int) -> list[Column]:
    kept = list(columns)
    while _total(kept, rows) > width and (droppable := [column for column in kept if column.rank]):
        kept.remove(max(droppable, key=lambda column: column.rank))
    return kept


def _total(columns: Sequence[Column], rows: Sequence[Row]) -> int:
    """Columns needed, with the flexible one as narrow as it may be."""
    widths = (
        min(_NARROWEST, _natural(column, rows)) if column.flexible else _natural(column, rows)
        for column in columns
    )
    return sum(widths) + _GAP * (len(columns) - 1)


def _natural(column: Column, rows: Sequence[Row]) -> int:
    return max([len(column.title), *(len(column.cell(row) or "-") for row in rows)])


def _line(cells: Sequence[str], columns: Sequence[Column], rows: Sequence[Row], width: int | None) -> str:
    spare = None if width is None else width - _total(columns, rows)
    padded = []
    for cell, column in zip(cells, columns, strict=True):
        natural = _natural(column, rows)
        if column.flexible and spare is not None:
            natural = min(natural, min(_NARROWEST, natural) + max(spare, 0))
        padded.append(
            clip(cell, natural).rjust(natural) if column.right else clip(cell, natural).ljust(natural)
        )
    return (" " * _GAP).join(padded).rstrip()
