"""From text to objects: application strings and class strings."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gunicorn.errors import AppImportError, ConfigError

if TYPE_CHECKING:
    import ast
    from importlib.metadata import EntryPoint
    from types import ModuleType

__all__ = ["LOGGER_ALIASES", "REMOVED_WORKERS", "WORKER_ALIASES", "import_app", "load_class"]

WORKER_ALIASES = {
    "asgi": "gunicorn.workers.gasgi.ASGIWorker",
    "gevent": "gunicorn.workers.ggevent.GeventWorker",
    "gevent_pywsgi": "gunicorn.workers.ggevent.GeventPyWSGIWorker",
    "gevent_wsgi": "gunicorn.workers.ggevent.GeventPyWSGIWorker",
    "gthread": "gunicorn.workers.gthread.ThreadWorker",
    "sync": "gunicorn.workers.sync.SyncWorker",
    "tornado": "gunicorn.workers.gtornado.TornadoWorker",
}
LOGGER_ALIASES = {"simple": "gunicorn.glogging.Logger"}
ALIASES = {"gunicorn.workers": WORKER_ALIASES, "gunicorn.loggers": LOGGER_ALIASES}
REMOVED_WORKERS = {"eventlet": "the eventlet worker was removed; use gevent or gthread"}


def import_app(uri: str) -> Any:
    """The application behind ``module[:name]`` or ``module:factory(literal, key=literal)``.

    The name defaults to ``application``.

    Raises:
        AppImportError: The text leads to nothing, or to something that cannot be called.
        Exception: Whatever the module or the factory itself raises, ``ImportError`` of the module included.
    """
    module_name, _, expression = uri.partition(":")
    expression = expression.strip() or "application"
    call = None if expression.isidentifier() else _parse_call(expression, uri)
    if not module_name.strip():
        raise AppImportError(f"cannot load {uri!r}: expected MODULE or MODULE:NAME")
    module = _import_app_module(module_name.strip(), uri)
    name = expression if call is None else call.func.id  # type: ignore[attr-defined]
    found = _attribute(module, name, uri)
    if call is not None:
        found = _call_factory(found, call, uri)
    if not callable(found):
        what = "the factory returned" if call is not None else f"{name!r} is"
        raise AppImportError(f"cannot load {uri!r}: {what} {_describe(found)}, expected a callable")
    return found


def _import_app_module(name: str, uri: str) -> ModuleType:
    """Imports, and tells a path that was given for a module name. Other import errors are the app's."""
    try:
        return import_module(name)
    except ImportError:
        if name.endswith(".py"):
            guess = name.removesuffix(".py").replace("/", ".").strip(".")
            raise AppImportError(
                f"cannot load {uri!r}: expected a module name, not a file; try {guess!r}"
            ) from None
        raise


def _parse_call(expression: str, uri: str) -> ast.Call:
    import ast

    expected = "expected NAME or a call of a plain name with literal arguments, NAME(1, key='x')"
    try:
        node = ast.parse(expression, mode="eval").body
    except SyntaxError:
        raise AppImportError(
            f"cannot load {uri!r}: {expression!r} is not an expression; {expected}"
        ) from None
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise AppImportError(f"cannot load {uri!r}: {expression!r} is not allowed; {expected}")
    return node


def _call_factory(factory: Any, call: ast.Call, uri: str) -> Any:
    arguments, keywords = _literals(call, uri)
    name = call.func.id  # type: ignore[attr-defined]
    if not callable(factory):
        raise AppImportError(f"cannot load {uri!r}: {name!r} is {_describe(factory)}, expected a callable")
    try:
        return factory(*arguments, **keywords)
    except TypeError as error:
        # A traceback of one frame means that the call itself was refused: wrong arguments in the text, not a
        # fault inside.
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise AppImportError(f"cannot load {uri!r}: {error}") from None
        raise


def _literals(call: ast.Call, uri: str) -> tuple[list[Any], dict[str, Any]]:
    import ast

    try:
        arguments = [ast.literal_eval(argument) for argument in call.args]
        keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except ValueError:
        raise AppImportError(f"cannot load {uri!r}: the arguments of the call must be literals") from None
    if any(keyword.arg is None for keyword in call.keywords):
        raise AppImportError(f"cannot load {uri!r}: the arguments of the call must be literals, not **")
    return arguments, keywords


def _attribute(module: ModuleType, name: str, uri: str) -> Any:
    try:
        found = getattr(module, name)
    except AttributeError:
        hint = _suggest(module, name)
        raise AppImportError(
            f"cannot load {uri!r}: module {module.__name__!r} has no attribute {name!r}{hint}"
        ) from None
    if found is None:
        raise AppImportError(
            f"cannot load {uri!r}: {name!r} in module {module.__name__!r} is None, expected a callable"
        )
    return found


def _suggest(module: ModuleType, name: str) -> str:
    """``; did you mean …`` with the module's own callables: near misses, or all when they are few."""
    from difflib import get_close_matches

    own = [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and _is_own_callable(value, module)
    ]
    near = get_close_matches(name, own, n=3, cutoff=0.5) or [
        key for key in ("app", "create_app", "make_app") if key in own
    ]
    candidates = near or (own if len(own) <= 3 else [])
    return f"; did you mean {' or '.join(repr(key) for key in candidates)}?" if candidates else ""


def _is_own_callable(value: Any, module: ModuleType) -> bool:
    """Functions and classes of this module, and callable instances such as a framework's application."""
    if isinstance(value, type) or hasattr(value, "__code__"):
        return getattr(value, "__module__", None) == module.__name__
    return callable(value)


def _describe(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def load_class(
    uri: Any, default: str = "gunicorn.workers.sync.SyncWorker", section: str = "gunicorn.workers"
) -> Any:
    """The class behind an alias, ``package.module.Class``, ``egg:distribution#name`` or an entry point.

    Args:
        uri: What the setting holds; ``None`` means ``default``.
        section: Group of entry points, which also chooses the table of aliases.

    Raises:
        ConfigError: No class is there. An exception of the module's own code is the cause.
    """
    if isinstance(uri, type):
        return uri
    text = str(uri or default)
    if section == "gunicorn.workers" and text in REMOVED_WORKERS:
        raise ConfigError(REMOVED_WORKERS[text])
    alias = ALIASES.get(section, {}).get(text)
    if alias is not None:
        return _load_dotted(alias, text)
    if text.startswith("egg:"):
        return _load_egg(text, section)
    return _load_dotted(text, text) if "." in text else _load_entry_point(text, section)


def _load_dotted(path: str, shown: str) -> Any:
    module_name, _, name = path.rpartition(".")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name or path == shown:
            raise ConfigError(f"cannot load {shown!r}: {error}") from error
        raise ConfigError(f"{shown!r} is not available in this release yet") from None
    except Exception as error:  # the module's own code may raise anything; it is shown as the cause
        raise ConfigError(f"cannot load {shown!r}: {error}") from error
    if not hasattr(module, name):
        raise ConfigError(f"cannot load {shown!r}: module {module_name!r} has no attribute {name!r}")
    return getattr(module, name)


def _load_egg(uri: str, section: str) -> Any:
    from importlib.metadata import PackageNotFoundError, distribution

    name, _, entry = uri.removeprefix("egg:").partition("#")
    entry = entry or "sync"
    try:
        points = distribution(name).entry_points
    except PackageNotFoundError:
        raise ConfigError(f"cannot load {uri!r}: no distribution {name!r} is installed") from None
    for point in points:
        if point.group == section and point.name == entry:
            return _load_point(point)
    raise ConfigError(f"cannot load {uri!r}: {name!r} has no entry point {entry!r} in group {section!r}")


def _load_entry_point(name: str, section: str) -> Any:
    from importlib.metadata import entry_points

    for point in entry_points(group=section, name=name):
        return _load_point(point)
    known = ", ".join(ALIASES.get(section, ()))
    raise ConfigError(
        f"{name!r} is unknown: expected one of {known}, an import path or an entry point of {section!r}"
    )


def _load_point(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:  # the module's own code may raise anything; it is shown as the cause
        raise ConfigError(f"cannot load entry point {point.name!r} ({point.value}): {error}") from error
