"""The classes that one process of the pool runs: found by their path, made once, called by name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gunicorn.dirty.errors import DirtyAppNotFoundError
from gunicorn.errors import AppImportError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gunicorn.dirty.specs import AppSpec

__all__ = ["Apps", "find_class", "limits"]


def find_class(path: str) -> Any:
    """The class behind ``module:Class``.

    Raises:
        AppImportError: there is none. What the module itself raises goes through.
    """
    module_name, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise AppImportError(f"dirty_apps: there is no module {error.name!r} (for {path!r})") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise AppImportError(f"dirty_apps: {module_name!r} has no {name!r}")
        found = getattr(found, part)
    wrong = [method for method in ("init", "__call__", "close") if not callable(getattr(found, method, None))]
    if not callable(found) or wrong:
        raise AppImportError(f"dirty_apps: {path!r} is no class with {', '.join(wrong) or 'a constructor'}")
    return found


def limits(specs: Iterable[AppSpec]) -> dict[str, int | None]:
    """How many processes load each class: as configured, or as its ``workers`` says.

    Raises:
        AppImportError: a class cannot be found, or its ``workers`` is no number.
    """
    return {spec.path: spec.limit or _limit_of(spec.path) for spec in specs}


def _limit_of(path: str) -> int | None:
    limit = getattr(find_class(path), "workers", None)
    if limit is None:
        return None
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise AppImportError(f"dirty_apps: {path!r} has workers = {limit!r}; a number from 1 on, or None")
    return limit


class Apps:
    """The instances of one process."""

    def __init__(self) -> None:
        self._instances: dict[str, Any] = {}

    def load(self, path: str) -> None:
        """Make and initialise the instance of ``path``, unless it is there.

        Raises:
            AppImportError: it cannot be found. What its constructor and ``init`` raise goes through.
        """
        if path not in self._instances:
            instance = find_class(path)()
            instance.init()
            self._instances[path] = instance

    def __getitem__(self, path: str) -> Any:
        try:
            return self._instances[path]
        except KeyError:
            raise DirtyAppNotFoundError(path, f"{path!r} is not loaded in this process") from None

    def __iter__(self) -> Any:
        return iter(self._instances)

    def close(self, log: Any) -> None:
        """Close all, in reverse order. One that fails does not keep the others from being closed."""
        while self._instances:
            path, instance = self._instances.popitem()
            try:
                instance.close()
            except Exception:
                # The user's code, at the end of its life: a record is all that is left to do.
                log.exception("Exception in close() of %s", path)
