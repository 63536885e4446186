"""App specifications: ``module:Class``, or ``module:Class:N`` for at most N processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gunicorn.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AppSpec", "parse", "parse_all"]


class AppSpec(NamedTuple):
    """One class to run. ``limit`` is the number of processes that load it; None: the class itself says."""

    path: str
    limit: int | None = None


def parse(text: str) -> AppSpec:
    """The specification in ``text``.

    Raises:
        ConfigError: it is none.
    """
    module, _, rest = text.strip().partition(":")
    name, colon, number = rest.partition(":")
    if not _is_dotted(module) or not _is_dotted(name):
        raise ConfigError(f"dirty_apps: {text!r} is not of the form 'module:Class' or 'module:Class:N'")
    if not colon:
        return AppSpec(f"{module}:{name}")
    if not (number.isascii() and number.isdigit() and int(number) > 0):
        raise ConfigError(f"dirty_apps: {text!r} must end in a number of processes, 1 or more")
    return AppSpec(f"{module}:{name}", int(number))


def parse_all(texts: Iterable[str]) -> list[AppSpec]:
    """All specifications, in order.

    Raises:
        ConfigError: one is wrong, or a class is named twice.
    """
    specs = [parse(text) for text in texts]
    paths = [spec.path for spec in specs]
    for path in paths:
        if paths.count(path) > 1:
            raise ConfigError(f"dirty_apps: {path!r} is there more than once")
    return specs


def _is_dotted(name: str) -> bool:
    return bool(name) and all(part.isidentifier() for part in name.split("."))
