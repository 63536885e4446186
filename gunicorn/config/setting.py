"""One setting: its declaration, its value and where the value came from; and the table of all settings.

Gunicorn's own settings are rows of the table in :mod:`gunicorn.config.sections`. A project adds its own by
subclassing :class:`Setting` with class attributes, the interface that has existed since the first releases.
"""

from __future__ import annotations

import os
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar

from gunicorn.config.sources import DEFAULT, SettingError, Source, environment

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["KNOWN_SETTINGS", "SETTINGS", "Setting", "make_settings", "register"]

SETTINGS: dict[str, Setting] = {}
KNOWN_SETTINGS: list[Setting] = []

# A function in a class body would turn into a method of the setting, so these are wrapped.
FUNCTION_ATTRIBUTES = ("validator", "type", "default", "default_factory", "from_environ")


class Setting:
    """A setting of the configuration; ``value`` is the validated current value.

    Attributes:
        cli: Flags, e.g. ``["-w", "--workers"]``; ``None`` for settings without a flag.
        meta, action, nargs, const, type: As in ``argparse``.
        validator: Takes a Python value or text, returns the value to store; raises ``ValueError`` or
            ``TypeError`` saying what is allowed. ``None`` stores values as they are.
        default_factory: Computes a default that depends on the machine (working directory, user).
        environ: Environment variable that gives the default, turned into a value by ``from_environ``.
        default_text: How the documentation shows a default that depends on the surroundings.
        since: First release with this setting.
        effective: False while the setting is accepted and validated, but the feature is still to come.
        later: Values of which the same is true.
    """

    name: str = ""
    section: str = ""
    cli: list[str] | None = None
    meta: str | None = None
    validator: Callable[[Any], Any] | None = None
    type: Callable[[str], Any] | None = None
    action: str | None = None
    nargs: str | int | None = None
    const: Any = None
    choices: tuple[str, ...] = ()
    default: Any = None
    default_factory: Callable[[], Any] | None = None
    default_text: str | None = None
    environ: str | None = None
    from_environ: Callable[[str], Any] | None = None
    desc: str | None = None
    short: str | None = None
    since: str = "22.0"
    effective: bool = True
    later: tuple[str, ...] = ()
    order: int = 0
    value: Any = None
    source: Source = DEFAULT

    _count: ClassVar[int] = 0

    def __init__(self, **declaration: Any) -> None:
        self.__dict__.update(declaration)
        if (
            not declaration
        ):  # a subclass: its default is the author's, and may be text that needs the validator
            self.set(self.default)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for attribute in FUNCTION_ATTRIBUTES:
            value = cls.__dict__.get(attribute)
            if isinstance(value, FunctionType):
                setattr(cls, attribute, staticmethod(value))
        if cls.__dict__.get("name"):
            register([cls()])

    def __repr__(self) -> str:
        return f"<Setting {self.name} = {self.value!r}>"

    def get(self) -> Any:
        return self.value

    def set(self, value: Any, source: Source = DEFAULT) -> None:
        """Validates and stores.

        Raises:
            ValueError, TypeError: What the validator says about a wrong value.
        """
        self.value = value if self.validator is None else self.validator(value)
        self.source = source

    def fresh(self, environ: Mapping[str, str]) -> Setting:
        """A copy at its default value. Defaults in the table are canonical and not validated again."""
        setting = type(self).__new__(type(self))
        setting.__dict__.update(self.__dict__)
        setting.default = _copied(self.default) if self.default_factory is None else self.default_factory()
        setting.source = DEFAULT
        # A row's default is its value; a project's subclass has validated its default when it was registered.
        setting.value = setting.default if type(self) is Setting else _copied(self.value)
        if self.environ is not None and self.environ in environ:
            setting._take_environ(environ[self.environ])
        return setting

    def _take_environ(self, text: str) -> None:
        assert self.environ is not None
        source = environment(self.environ)
        try:
            self.set(text if self.from_environ is None else self.from_environ(text), source)
        except (TypeError, ValueError) as error:
            raise SettingError(f"{source}: {self.name} = {text!r}: {error}") from None
        self.default = self.value

    @property
    def summary(self) -> str:
        """The first sentence of the documentation."""
        if self.short:
            return self.short
        text = " ".join((self.desc or "").split())
        head, stop, _ = text.partition(". ")
        return head + "." if stop else text

    @property
    def flag(self) -> str:
        """The flag to name in messages: the first long one, or the first."""
        flags = self.cli or [self.name]
        return next((flag for flag in flags if flag.startswith("--")), flags[0])

    def add_option(self, parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
        """Adds the flags to an argument parser. The default is always None, to tell "not given"."""
        if not self.cli:
            return
        action = self.action or "store"
        options: dict[str, Any] = {"dest": self.name, "action": action, "default": None, "help": self._help()}
        if action in ("store", "append"):
            options.update(metavar=self.meta, nargs=self.nargs)
            options.update(type=self.type, const=self.const if self.nargs == "?" else None)
        elif action == "store_const":
            options["const"] = self.const
        parser.add_argument(*self.cli, **options)

    def _help(self) -> str:
        shown = self.default_text or str(self.default)
        return f"{self.summary} [{shown}]".replace("%", "%%")


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, list | dict) else value


def register(settings: Iterable[Setting]) -> None:
    """Adds settings to the table; a setting with the name of an older one replaces it."""
    for setting in settings:
        Setting._count += 1
        setting.order = setting.order or Setting._count
        old = SETTINGS.get(setting.name)
        if old is not None:
            KNOWN_SETTINGS.remove(old)
        SETTINGS[setting.name] = setting
        KNOWN_SETTINGS.append(setting)


def make_settings(ignore: Iterable[str] = (), environ: Mapping[str, str] | None = None) -> dict[str, Setting]:
    """A copy of every setting, each at its default.

    Raises:
        gunicorn.errors.ConfigError: An environment variable that gives a default holds a wrong value.
    """
    variables = os.environ if environ is None else environ
    skipped = frozenset(ignore or ())
    return {name: setting.fresh(variables) for name, setting in SETTINGS.items() if name not in skipped}
