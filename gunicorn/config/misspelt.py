"""Names in a configuration file that look like settings spelt wrongly."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gunicorn.config.file import ConfigFile
    from gunicorn.config.setting import Setting

__all__ = ["misspelt_lines"]

# Similar enough for one slip in a short name (worker, backlogs), too far for a name of its own (host,
# user_agent).
CUTOFF = 0.85


def misspelt_lines(file: ConfigFile, settings: Mapping[str, Setting]) -> list[str]:
    """A line for each name that is no setting, but close to one.

    A configuration file is full of helper variables, and a warning about those would be noise. What tells
    them apart is that a helper is read somewhere in the file, and a misspelt setting never is.
    """
    candidates = [
        name for name, value in file.values.items() if name not in settings and _is_plain(name, value)
    ]
    return list(_lines(file, settings, candidates)) if candidates else []


def _is_plain(name: str, value: Any) -> bool:
    return not name.startswith("_") and name.islower() and not isinstance(value, type | ModuleType)


def _lines(file: ConfigFile, settings: Mapping[str, Setting], candidates: list[str]) -> Iterator[str]:
    flags = _flag_names(settings)
    for name in candidates:
        meant = flags.get(name) or _closest(name, settings)
        if meant is None or meant in file.values:
            continue
        line = file.names.assigned.get(name)
        if line is not None and name not in file.names.read:
            yield f"{file.shown} line {line}: {name!r} is not a setting; did you mean {meant!r}?"


def _flag_names(settings: Mapping[str, Setting]) -> dict[str, str]:
    """Flags as a file would spell them: ``--log-level`` is ``log_level``, but the setting is ``loglevel``."""
    return {
        flag.lstrip("-").replace("-", "_"): name
        for name, setting in settings.items()
        for flag in setting.cli or ()
        if flag.startswith("--") and setting.action != "store_const"
    }


def _closest(name: str, settings: Mapping[str, Setting]) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, settings, n=1, cutoff=CUTOFF)), None)
