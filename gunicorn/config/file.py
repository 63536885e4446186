"""Configuration files: Python whose top-level names set settings."""

from __future__ import annotations

import importlib
import os
import sys
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gunicorn.config.sources import FileSource
from gunicorn.errors import ConfigError

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator, Mapping

__all__ = ["ConfigFile", "Names", "read_config"]

MODULE_NAME = "__config__"

# Modules that were read as configuration: reading one again must run it again, or a reload would see the old
# values.
_read_modules: set[str] = set()


class Names:
    """Names a file assigns at its top level, with the line of each last assignment, and those it reads."""

    def __init__(self, text: str) -> None:
        self.assigned: dict[str, int] = {}
        self.read: set[str] = set()
        import ast  # only for messages

        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            return
        self._collect(tree.body)
        self.read = {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }

    def _collect(self, body: list[ast.stmt]) -> None:
        import ast

        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.assigned[node.name] = node.lineno
                continue
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.assigned.update({(name.asname or name.name): node.lineno for name in node.names})
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self._targets(child)
            for inner in _blocks(node):
                self._collect(inner)

    def _targets(self, expression: ast.expr) -> None:
        import ast

        for node in ast.walk(expression):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.assigned[node.id] = node.lineno


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks of if, for, while, with, try and match statements."""
    for field in ("body", "orelse", "finalbody"):
        yield getattr(node, field, [])
    for holder in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield holder.body


class ConfigFile:
    """A configuration that was read.

    Args:
        shown: What messages call it.
        path: The file on disk, or ``None`` when there is no source text.
        values: Its top-level names.
    """

    def __init__(self, shown: str, path: str | None, values: Mapping[str, Any]) -> None:
        self.shown = shown
        self.path = path
        self.values = values

    @cached_property
    def names(self) -> Names:
        return Names(_read_text(self.path) if self.path else "")

    def source(self, name: str) -> FileSource:
        return FileSource(self.shown, lambda: self.names.assigned.get(name))


def _read_text(path: str) -> str:
    import tokenize

    try:
        with tokenize.open(path) as file:  # honours the encoding line, as the import system does
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""


def read_config(location: str) -> ConfigFile:
    """Reads ``PATH``, ``file:PATH`` or ``python:MODULE``.

    Raises:
        FileNotFoundError: No such file or module; the message says which.
        ConfigError: A syntax error, or the file's own code raised: then that exception is the cause.
    """
    if location.startswith("python:"):
        return _read_module(location.removeprefix("python:"))
    return _read_file(location.removeprefix("file:"))


def _read_file(location: str) -> ConfigFile:
    path = os.path.abspath(location)
    shown = os.path.normpath(location)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file {shown!r}")
    module = ModuleType(MODULE_NAME)
    module.__file__ = path
    # dataclasses and pickle look a class's module up by its name.
    sys.modules[MODULE_NAME] = module
    try:
        exec(_compile(path), module.__dict__)
    except SyntaxError as error:
        if error.filename != path:
            raise _own_error(error, path, shown) from error
        raise ConfigError(f"{shown} line {error.lineno}: syntax error: {error.msg}") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        if error.__traceback__ is not None and not _frames(error, path):
            raise ConfigError(f"{shown}: cannot be read: {error}") from None
        raise _own_error(error, path, shown) from error
    except Exception as error:  # whatever the user's code raises is the user's to see
        raise _own_error(error, path, shown) from error
    return ConfigFile(shown, path, module.__dict__)


def _compile(path: str) -> Any:
    from importlib.machinery import SourceFileLoader, SourcelessFileLoader

    if path.endswith(".pyc"):
        return SourcelessFileLoader(MODULE_NAME, path).get_code(MODULE_NAME)
    # Never the cached byte code: two edits within one second of the file's time stamp must both be seen.
    loader = SourceFileLoader(MODULE_NAME, path)
    return loader.source_to_code(loader.get_data(path), path)


def _frames(error: BaseException, path: str | None) -> list[int]:
    """Lines of the file that the exception passed through, outermost first."""
    lines = []
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == path:
            lines.append(traceback.tb_lineno)
        traceback = traceback.tb_next
    return lines


def _own_error(error: BaseException, path: str | None, shown: str) -> ConfigError:
    """One line about an exception of the user's code; its traceback is cut down to that code."""
    lines = _frames(error, path)
    while error.__traceback__ is not None and _is_machinery(error.__traceback__.tb_frame.f_code.co_filename):
        error.__traceback__ = error.__traceback__.tb_next
    where = f"{shown} line {lines[-1]}" if lines else shown
    return ConfigError(f"{where}: {type(error).__name__}: {error}")


def _is_machinery(filename: str) -> bool:
    return filename in (__file__, importlib.__file__) or filename.startswith("<frozen importlib")


def _read_module(name: str) -> ConfigFile:
    known = sys.modules.get(name)
    try:
        module = importlib.reload(known) if known and name in _read_modules else importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise FileNotFoundError(f"there is no module {name!r}") from None
        raise _own_error(error, None, f"module {name}") from error
    except SyntaxError as error:
        raise ConfigError(f"{error.filename} line {error.lineno}: syntax error: {error.msg}") from None
    except Exception as error:  # whatever the user's code raises is the user's to see
        raise _own_error(error, None, f"module {name}") from error
    _read_modules.add(name)
    path = getattr(module, "__file__", None)
    return ConfigFile(path or f"module {name}", path, vars(module))
