"""Writes the page about all settings: ``python -m gunicorn.config.document > docs/settings.md``."""

from __future__ import annotations

import sys
from inspect import cleandoc
from typing import TYPE_CHECKING, Any

from gunicorn.config.setting import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gunicorn.config.setting import Setting

__all__ = ["page"]

HEAD = """
# Settings

<!-- Generated from the table in gunicorn/config/sections: python -m gunicorn.config.document >
docs/settings.md -->

A setting can be given in several places. A later place in this list wins over an earlier one:

1. the defaults below, some of which come from environment variables;
2. the application or framework that runs Gunicorn;
3. the [configuration file](#config), where every name at the top level that is a setting's name sets it;
4. flags in the environment variable `GUNICORN_CMD_ARGS`;
5. flags on the command line.

A list in a later place replaces the whole list of an earlier one. `gunicorn --print-config` shows the
outcome, and a wrong value ends the start with one line that names the place, the setting and what is allowed.
"""

LATER = """
## Accepted, not yet effective

These settings are accepted and checked, so that a configuration need not change, but what they control is
still to come. Using one of them gives a warning when the server starts.
"""


def page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([HEAD.strip(), "", *_sections(), LATER.strip(), "", *_later(), ""])


def _sections() -> Iterator[str]:
    for title in dict.fromkeys(setting.section for setting in SETTINGS.values()):
        yield f"## {title}\n"
        for setting in SETTINGS.values():
            if setting.section == title:
                yield from _entry(setting)


def _entry(setting: Setting) -> Iterator[str]:
    yield f"### {setting.name}\n"
    facts = [f"Default: {_default(setting)}"]
    if setting.cli:
        facts.insert(0, "Flags: " + ", ".join(f"`{flag}{_argument(setting)}`" for flag in setting.cli))
    if callable(setting.default):
        facts.insert(0, f"Arguments: `{_parameters(setting.default)}`")
    if setting.choices:
        facts.append("Values: " + ", ".join(f"`{choice}`" for choice in setting.choices))
    if setting.since != "22.0":
        facts.append(f"Since {setting.since}")
    if not setting.effective:
        facts.append("[not yet effective](#accepted-not-yet-effective)")
    yield " · ".join(facts) + "\n"
    yield cleandoc(setting.desc or "") + "\n"


def _argument(setting: Setting) -> str:
    if setting.action in ("store_true", "store_const"):
        return ""
    meta = setting.meta or setting.name.upper()
    return f" [{meta}]" if setting.nargs == "?" else f" {meta}"


def _default(setting: Setting) -> str:
    if setting.default_text is not None:
        return setting.default_text
    return f"`{setting.default!r}`"


def _parameters(hook: Any) -> str:
    code = hook.__code__
    return ", ".join(code.co_varnames[: code.co_argcount])


def _later() -> Iterator[str]:
    for setting in SETTINGS.values():
        if not setting.effective:
            yield f"- [`{setting.name}`](#{setting.name})"
        elif setting.later:
            values = ", ".join(f"`{value}`" for value in setting.later)
            yield f"- [`{setting.name}`](#{setting.name}): the values {values}"


if __name__ == "__main__":
    sys.stdout.write(page())
