"""Hooks and classes given as values: import strings, and the number of arguments a hook takes."""

from __future__ import annotations

from functools import wraps
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["accepts", "import_dotted", "validate_callable", "validate_class", "validate_post_request"]

VARARGS = 0x04  # inspect.CO_VARARGS; importing inspect would cost more than the rest of this package


def accepts(function: Callable[..., Any], count: int) -> bool:
    """Whether a call with ``count`` positional arguments fits the signature."""
    bound = 0
    if isinstance(getattr(type(function), "__call__", None), FunctionType):  # noqa: B004  (a method, not a test)
        function = MethodType(type(function).__call__, function)
    if isinstance(function, MethodType):
        bound, function = 1, function.__func__
    if not isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
        return _accepts_by_signature(function, count + bound)
    code = function.__code__
    if any(name not in (function.__kwdefaults__ or ()) for name in _keyword_only(function)):
        return False
    least = code.co_argcount - len(function.__defaults__ or ())
    return least <= count + bound and (count + bound <= code.co_argcount or bool(code.co_flags & VARARGS))


def _keyword_only(function: FunctionType) -> tuple[str, ...]:
    code = function.__code__
    return code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]


def _accepts_by_signature(function: Callable[..., Any], count: int) -> bool:
    import inspect

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True  # written in C without a signature: only the call can tell
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def import_dotted(path: str) -> Any:
    """The object behind ``package.module.name``.

    Raises:
        ValueError: Nothing is there; the message says which part is missing. An exception of the module's
            own code is its cause.
    """
    module, _, name = path.rpartition(".")
    if not module:
        raise ValueError("expected an import path such as 'package.module.name'")
    try:
        found = __import__(module, fromlist=[name])
    except Exception as error:  # the module's own code may raise anything; it is shown as the cause
        raise ValueError(f"cannot import module {module!r}: {error}") from error
    try:
        return getattr(found, name)
    except AttributeError:
        raise ValueError(f"module {module!r} has no attribute {name!r}") from None


def validate_callable(arity: int) -> Callable[[Any], Any]:
    """A validator of callables that take ``arity`` positional arguments; -1 accepts any number."""

    def validate(value: Any) -> Any:
        function = _resolve(value)
        if arity != -1 and not accepts(function, arity):
            raise TypeError(f"expected a callable that takes {_arguments(arity)}")
        return function

    return validate


def _resolve(value: Any) -> Any:
    function = import_dotted(value.strip()) if isinstance(value, str) else value
    if not callable(function):
        raise TypeError("expected a callable or its import path")
    return function


def _arguments(count: int) -> str:
    return "1 argument" if count == 1 else f"{count} arguments"


def validate_post_request(value: Any) -> Any:
    """``post_request`` may take 2, 3 or 4 arguments; what is stored always takes all 4."""
    function = _resolve(value)
    count = next((count for count in (4, 3, 2) if accepts(function, count)), None)
    if count is None:
        raise TypeError("expected a callable that takes 2, 3 or 4 arguments: worker, req, environ, resp")
    return function if count == 4 else _first_arguments(function, count)


def _first_arguments(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any) -> Any:
        return function(*arguments[:count])

    # wraps() points back at the narrower signature, and a second validation would believe it.
    del call.__wrapped__
    return call


def validate_class(value: Any) -> Any:
    """A class, the text that leads to one, or a function that returns either; ``None`` stays."""
    if isinstance(value, FunctionType | MethodType):
        value = value()
    if value is None or isinstance(value, type):
        return value
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise TypeError("expected a class, an import path or a function that returns a class")
