"""The access line: ``access_log_format`` compiled once into a function that computes only the atoms it names.

Everything that a client can influence is escaped, so that a line of the log is always one line, of printable
ASCII, and a quoted field ends where it seems to. The escapes are Apache's (mod_log_config, "Format Notes"):
``\\"``, ``\\\\`` and ``\\xhh``. No clock here: whoever compiles a format says how the time is told.
"""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gunicorn.errors import ConfigError

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["Line", "SafeAtoms", "all_atoms", "compile_format", "escape"]

# Of resp, req, environ ({} where there is none) and the duration in microseconds.
Atom = Callable[[Any, Any, Mapping[str, Any], int], object]
Line = Callable[[Any, Any, "Mapping[str, Any] | None", "timedelta"], str]

_UNSAFE = re.compile(r"[^ !#-\[\]-~]")
_FIELD = re.compile(r"%%|%\((?P<name>[^()]*)\)(?P<spec>[#0\- +]*\d*(?:\.\d+)?[diouxXeEfFgGcrsa])|%")
_BRACED = re.compile(r"\{(?P<name>.+)\}(?P<source>[ioe])")


def escape(value: object) -> str:
    """``value`` as printable ASCII without a bare quote or backslash; ``-`` for None."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else str(value)
    # Four C-speed tests cost a third of the regex, and nearly every value passes.
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return _UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    char = match[0]
    if char in '"\\':
        return "\\" + char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _user(environ: Mapping[str, Any]) -> str | None:
    """The name in Basic credentials (RFC 7617 section 2); the password never leaves this function."""
    scheme, _, token = (environ.get("HTTP_AUTHORIZATION") or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return binascii.a2b_base64(token.strip()).partition(b":")[0].decode("latin-1") or None
    except ValueError:
        return None


def _request_line(environ: Mapping[str, Any]) -> str | None:
    if "REQUEST_METHOD" not in environ:
        return None
    return f"{environ['REQUEST_METHOD']} {environ.get('RAW_URI')} {environ.get('SERVER_PROTOCOL')}"


def _status(status: object) -> object:
    return status.partition(" ")[0] if isinstance(status, str) else status


# Values are as they came; escaping is the business of whoever prints them.
_ATOMS: dict[str, Atom] = {
    "h": lambda resp, req, environ, us: environ.get("REMOTE_ADDR") or None,
    "l": lambda resp, req, environ, us: None,
    "u": lambda resp, req, environ, us: _user(environ),
    "r": lambda resp, req, environ, us: _request_line(environ),
    "s": lambda resp, req, environ, us: _status(resp.status),
    "m": lambda resp, req, environ, us: environ.get("REQUEST_METHOD"),
    "U": lambda resp, req, environ, us: environ.get("PATH_INFO"),
    "q": lambda resp, req, environ, us: environ.get("QUERY_STRING"),
    "H": lambda resp, req, environ, us: environ.get("SERVER_PROTOCOL"),
    "b": lambda resp, req, environ, us: resp.sent,
    "f": lambda resp, req, environ, us: environ.get("HTTP_REFERER"),
    "a": lambda resp, req, environ, us: environ.get("HTTP_USER_AGENT"),
    "L": lambda resp, req, environ, us: f"{us // 1_000_000}.{us % 1_000_000:06d}",
}
# Numbers, so that formats like %(D)012d work.
_NUMBERS: dict[str, Atom] = {
    "B": lambda resp, req, environ, us: resp.sent or 0,
    "T": lambda resp, req, environ, us: us // 1_000_000,
    "M": lambda resp, req, environ, us: us // 1000,
    "D": lambda resp, req, environ, us: us,
}


def _pairs(headers: Any) -> Iterable[tuple[str, object]]:
    pairs: Iterable[tuple[str, object]] = headers.items() if hasattr(headers, "items") else headers
    return pairs


def _header(headers: Any, wanted: str) -> object:
    found: object = None
    for name, value in _pairs(headers):
        if name.lower() == wanted:
            found = value
    return found


def _variable(environ: Mapping[str, Any], written: str, upper: str, lower: str) -> object:
    for key in (upper, written):
        if key in environ:
            return environ[key]
    return next((value for key, value in environ.items() if key.lower() == lower), None)


def _braced(name: str, source: str) -> Atom:
    lower, upper = name.lower(), name.upper()
    if source == "i":
        return lambda resp, req, environ, us: _header(req.headers, lower)
    if source == "o":
        return lambda resp, req, environ, us: _header(resp.headers, lower)
    return lambda resp, req, environ, us: _variable(environ, name, upper, lower)


def _printed(atom: Atom) -> Atom:
    return lambda resp, req, environ, us: escape(atom(resp, req, environ, us))


def _atom(name: str, now: Callable[[], str], pid: Callable[[], int]) -> Atom:
    if name == "t":
        return lambda resp, req, environ, us: now()
    if name == "p":
        return lambda resp, req, environ, us: f"<{pid()}>"
    if name in _NUMBERS:
        return _NUMBERS[name]
    if name in _ATOMS:
        return _printed(_ATOMS[name])
    braced = _BRACED.fullmatch(name)
    return (
        _printed(_braced(braced["name"], braced["source"])) if braced else lambda resp, req, environ, us: "-"
    )


def _microseconds(duration: timedelta) -> int:
    return (duration.days * 86400 + duration.seconds) * 1_000_000 + duration.microseconds


def compile_format(text: str, now: Callable[[], str], pid: Callable[[], int] = os.getpid) -> Line:
    """A function ``(resp, req, environ, request_time) -> line`` for the %-format ``text``.

    Args:
        text: An ``access_log_format``. Atoms that do not exist show ``-``.
        now: Tells the time as ``%(t)s`` shows it.
        pid: Tells the process id; asked for each line, because processes fork.

    Raises:
        ConfigError: ``text`` is no %-format, or asks for a number where an atom is text.
    """
    atoms: list[Atom] = []
    samples: list[object] = []

    def positional(match: re.Match[str]) -> str:
        name, field = match["name"], match[0]
        if field == "%":
            raise ConfigError(
                f"access_log_format: a lone % at column {match.start() + 1} of {text!r}; write %(atom)s or %%"
            )
        if name is None:
            return field
        atoms.append(_atom(name, now, pid))
        samples.append(0 if name in _NUMBERS else "-")
        return "%" + match["spec"]

    template = _FIELD.sub(positional, text)
    try:
        template % tuple(samples)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"access_log_format: {error} in {text!r}; only T, M, D and B are numbers"
        ) from error

    def line(resp: Any, req: Any, environ: Mapping[str, Any] | None, request_time: timedelta) -> str:
        us = _microseconds(request_time)
        values = environ or {}
        return template % tuple([atom(resp, req, values, us) for atom in atoms])

    return line


def all_atoms(
    resp: Any, req: Any, environ: Mapping[str, Any] | None, request_time: timedelta, now: str, pid: int
) -> dict[str, Any]:
    """Every atom, unescaped: what custom loggers, formatters and filters read."""
    us = _microseconds(request_time)
    values = environ or {}
    atoms: dict[str, Any] = {name: _known(atom(resp, req, values, us)) for name, atom in _ATOMS.items()}
    atoms |= {name: atom(resp, req, values, us) for name, atom in _NUMBERS.items()}
    atoms |= {"t": now, "p": f"<{pid}>", "b": "-" if resp.sent is None else str(resp.sent)}
    atoms |= {f"{{{name.lower()}}}i": value for name, value in _pairs(req.headers)}
    atoms |= {f"{{{name.lower()}}}o": value for name, value in _pairs(resp.headers)}
    atoms |= {f"{{{name.lower()}}}e": value for name, value in values.items()}
    return atoms


def _known(value: object) -> object:
    return "-" if value is None else value


class SafeAtoms(dict[str, Any]):
    """Atoms as they may be printed: text escaped, names in braces in any case, ``-`` for what is missing."""

    def __init__(self, atoms: Mapping[str, Any]) -> None:
        super().__init__(
            (name, value if isinstance(value, (int, float)) else escape(value))
            for name, value in atoms.items()
        )

    def __getitem__(self, name: str) -> Any:
        return self.get(name.lower() if name.startswith("{") else name, "-")
