"""The shapes that settings have, so that a row of the table says only what is particular to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.config import callables, validators
from gunicorn.config.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Section"]

# Anything callable is a type to argparse; hooks have no flag, but programs that read the table look at it.
HOOK_TYPE = callable


class Section:
    """Builds the rows of one section.

    Every method takes the name, the flags, the default and the documentation; keywords override what the
    kind implies.
    """

    def __init__(self, title: str) -> None:
        self.title = title

    def row(self, name: str, flags: str, default: Any, desc: str, **more: Any) -> Setting:
        """Any setting. ``flags`` are separated by blanks; none for a setting of the file only."""
        cli = flags.split()
        more = {"type": str, **more}
        return Setting(
            name=name, section=self.title, cli=cli, default=default, value=default, desc=desc, **more
        )

    def text(self, name: str, flags: str, default: str | None, desc: str, **more: Any) -> Setting:
        more = {"validator": validators.validate_string, "meta": "STRING", **more}
        return self.row(name, flags, default, desc, **more)

    def number(self, name: str, flags: str, default: int, desc: str, **more: Any) -> Setting:
        more = {"validator": validators.validate_pos_int, "meta": "INT", "type": int, **more}
        return self.row(name, flags, default, desc, **more)

    def mode(self, name: str, flags: str, default: int, desc: str, **more: Any) -> Setting:
        more = {"validator": validators.validate_mode, "type": validators.auto_int, **more}
        return self.number(
            name, flags, default, desc, default_text=f"{default:#o}" if default else "0", **more
        )

    def span(self, name: str, flags: str, default: float, desc: str, **more: Any) -> Setting:
        """A deadline in seconds, fractions allowed."""
        more = {
            "validator": validators.validate_seconds,
            "meta": "SECONDS",
            "type": validators.seconds,
            **more,
        }
        return self.row(name, flags, default, desc, **more)

    def switch(self, name: str, flags: str, default: bool | None, desc: str, **more: Any) -> Setting:
        more = {"validator": validators.validate_bool, "action": "store_true", "type": None, **more}
        return self.row(name, flags, default, desc, **more)

    def listing(self, name: str, flags: str, default: list[str], desc: str, **more: Any) -> Setting:
        """A flag that can be repeated."""
        more = {"validator": validators.validate_list_string, "action": "append", **more}
        return self.row(name, flags, default, desc, **more)

    def choice(
        self, name: str, flags: str, choices: str, default: str, desc: str, *, also: Any = None, **more: Any
    ) -> Setting:
        """One word out of ``choices``, which are separated by blanks."""
        words = tuple(choices.split())
        more = {"validator": validators.validate_choice(*words, also=also), "choices": words, **more}
        return self.text(name, flags, default, desc, **more)

    def mapping(self, name: str, default: dict[Any, Any], desc: str, **more: Any) -> Setting:
        return self.row(name, "", default, desc, validator=validators.validate_dict, **{"type": None, **more})

    def hook(self, default: Callable[..., Any], desc: str, **more: Any) -> Setting:
        """A server hook: named like the default function, and called with as many arguments."""
        arity = default.__code__.co_argcount
        more = {"validator": callables.validate_callable(arity), "type": HOOK_TYPE, **more}
        more = {"default_text": "does nothing", **more}
        return self.row(default.__name__, "", default, desc, **more)
