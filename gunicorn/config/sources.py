"""Where a value came from, and the one-line error that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gunicorn.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "DEFAULT",
    "FRAMEWORK",
    "PROGRAM",
    "FileSource",
    "SettingError",
    "Source",
    "command_line",
    "environment",
]


class SettingError(ConfigError, ValueError):
    """A value that its setting does not allow.

    Also a ``ValueError``: custom applications that call ``cfg.set`` have always caught that.
    """


class Source:
    """A place that gives values to settings, e.g. ``command line --workers``."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, Source | str) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))

    def located(self) -> str:
        """The source as the start of an error line."""
        return str(self)


class FileSource(Source):
    """A configuration file, with the line of the assignment.

    Args:
        path: The file as the user would name it.
        find_line: Gives the line of the assignment, or ``None``. Called only when somebody asks: finding
            lines needs ``ast``, which a start without faults should not have to import.
    """

    __slots__ = ("find_line",)

    def __init__(self, path: str, find_line: Callable[[], int | None]) -> None:
        super().__init__(path)
        self.find_line = find_line

    def __str__(self) -> str:
        line = self.find_line()
        return f"file {self.text}" if line is None else f"file {self.text}:{line}"

    def located(self) -> str:
        line = self.find_line()
        return self.text if line is None else f"{self.text} line {line}"


DEFAULT = Source("default")
FRAMEWORK = Source("framework")
PROGRAM = Source("application")


def environment(variable: str) -> Source:
    return Source(f"environment variable {variable}")


def command_line(flag: str, layer: str = "command line") -> Source:
    """A flag on the command line, or in ``GUNICORN_CMD_ARGS`` when that is the layer."""
    return Source(f"{layer} {flag}")
