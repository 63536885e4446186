"""What turns field lines into names and values: httptools where it is installed, h11 as the reference.

An engine only tokenises. It is given a request line of its own liking instead of the client's, and every
field name with a letter in front. So neither engine sees a method, a version, a Host, a Content-Length, a
Transfer-Encoding, a Connection or an Upgrade; llhttp and h11 have opinions on all of them that differ from
each other, and would turn a difference of engines into a difference of verdicts. It also means that one
parser object serves all requests of a connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gunicorn.errors import ConfigError
from gunicorn.http.engines.engine import NAME_PREFIX, Engine, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NAME_PREFIX", "Engine", "EngineError", "engine_factory"]


def engine_factory(http_parser: str) -> Callable[[], Engine]:
    """The engine that the setting ``http_parser`` names: ``auto``, ``fast`` or ``python``.

    Raises:
        ConfigError: ``fast``, and httptools is not installed.
    """
    if http_parser == "python":
        from gunicorn.http.engines.reference import ReferenceEngine

        return ReferenceEngine
    try:
        from gunicorn.http.engines.fast import FastEngine
    except ImportError as error:
        if http_parser == "fast":
            raise ConfigError(
                "http_parser = 'fast' needs the package httptools, which is not installed"
            ) from error
        return engine_factory("python")
    return FastEngine
