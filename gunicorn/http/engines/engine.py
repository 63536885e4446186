"""What an engine is, for those that are one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NAME_PREFIX", "Engine", "EngineError"]

NAME_PREFIX = b"x"


class EngineError(Exception):
    """The engine does not take these lines for fields."""


class Engine(Protocol):
    """One per connection; it may keep a parser between heads."""

    def parse(self, lines: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
        """Split field lines into names and values.

        Args:
            lines: Field lines without their line ends; no CTL but HTAB in them.

        Returns:
            In their order: names with ``NAME_PREFIX`` in front and in any case, and values that may have
            blanks around them. Only good until the next call.

        Raises:
            EngineError: a line has no colon, or no name.
        """
        ...
