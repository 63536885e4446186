"""Validators: each takes a Python value or the text of a flag, and returns the value to store.

They raise ``ValueError`` or ``TypeError`` whose message says what is allowed;
:class:`gunicorn.config.Config` puts source, setting and value in front of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "auto_int",
    "seconds",
    "validate_bool",
    "validate_chdir",
    "validate_choice",
    "validate_dict",
    "validate_file_exists",
    "validate_group",
    "validate_int_range",
    "validate_list_of_existing_files",
    "validate_list_string",
    "validate_mode",
    "validate_pos_int",
    "validate_seconds",
    "validate_string",
    "validate_string_to_list",
    "validate_user",
]


def auto_int(text: str) -> int:
    """An integer in base 10, or with a prefix 0x, 0o, 0b; a leading zero means octal, as in ``chmod``."""
    digits = text.strip()
    if len(digits) > 1 and digits.isdigit() and digits.startswith("0"):
        return int(digits, 8)
    return int(digits, 0)


def seconds(text: str) -> float:
    """A time span in seconds, whole where it can be."""
    return int(text) if text.strip().isdigit() else float(text)


def validate_bool(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    words = {"true": True, "false": False}
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise ValueError("expected True or False")


def validate_string(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value.strip()


def validate_int_range(low: int, high: int | None = None) -> Callable[[Any], int]:
    """A validator of integers from ``low`` to ``high``, both included."""
    allowed = f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"

    def validate(value: Any) -> int:
        number = _integer(value, allowed)
        if number < low or (high is not None and number > high):
            raise ValueError(f"expected {allowed}")
        return number

    return validate


def _integer(value: Any, allowed: str) -> int:
    try:
        return int(value, 0) if isinstance(value, str) else int(value.__index__())
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"expected {allowed}") from None


validate_pos_int = validate_int_range(0)


def validate_mode(value: Any) -> int:
    """File mode bits; text is octal with a leading zero."""
    try:
        number = auto_int(value) if isinstance(value, str) else _integer(value, "")
    except ValueError:
        number = -1
    if number < 0:
        raise ValueError("expected mode bits such as 0o022")
    return number


def validate_seconds(value: Any) -> float:
    """A time span in seconds, 0 = off. Fractions are allowed."""
    try:
        number = seconds(value) if isinstance(value, str) else value
        if isinstance(number, int | float) and 0 <= number < float("inf"):
            return number
    except ValueError:
        pass
    raise ValueError("expected seconds >= 0")


def validate_dict(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise TypeError("expected a dict")
    return value


def validate_list_string(value: Any) -> list[str]:
    """A list of texts; a single text is a list of one."""
    if not value:
        return []
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise TypeError("expected text or a list of texts")
    return [item.strip() for item in items]


def validate_string_to_list(value: Any) -> list[str]:
    """A list of texts, or one text with commas between them."""
    if isinstance(value, str):
        value = value.split(",")
    return [item for item in validate_list_string(value) if item]


def validate_choice(*choices: str, also: dict[Any, str] | None = None) -> Callable[[Any], str]:
    """A validator of one word out of several, in any case; ``also`` maps other values to one of them."""
    allowed = "expected one of " + ", ".join(repr(choice) for choice in choices)
    others = also or {}

    def validate(value: Any) -> str:
        if isinstance(value, str):
            word = value.strip().lower()
            if word in choices:
                return word
        elif isinstance(value, bool | None) and value in others:
            return others[value]
        raise ValueError(allowed)

    return validate


def validate_file_exists(value: Any) -> str | None:
    path = validate_string(value)
    if path is not None and not os.path.exists(path):
        raise ValueError("expected a file that exists")
    return path


def validate_list_of_existing_files(value: Any) -> list[str]:
    """Paths that exist, or glob patterns: a pattern may match nothing yet."""
    paths = validate_list_string(value)
    for path in paths:
        if not any(sign in path for sign in "*?[") and not os.path.exists(path):
            raise ValueError(f"expected files that exist; there is no {path!r}")
    return paths


def validate_chdir(value: Any) -> str:
    text = validate_string(value)
    if text is None:
        raise TypeError("expected a directory")
    path = os.path.abspath(os.path.normpath(os.path.join(os.getcwd(), text)))
    if not os.path.isdir(path):
        raise ValueError("expected a directory that exists")
    return path


def validate_user(value: Any) -> int:
    if value is None:
        return os.geteuid()
    return _account_id(value, "user", _find_user)


def validate_group(value: Any) -> int:
    if value is None:
        return os.getegid()
    return _account_id(value, "group", _find_group)


def _account_id(value: Any, kind: str, find: Callable[[str], int]) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    text = value.strip() if isinstance(value, str) else ""
    if text.isdecimal():
        return int(text)
    try:
        return find(text)
    except KeyError:
        raise ValueError(f"expected the name or number of a {kind} that exists") from None


def _find_user(name: str) -> int:
    import pwd

    return pwd.getpwnam(name).pw_uid


def _find_group(name: str) -> int:
    import grp

    return grp.getgrnam(name).gr_gid
