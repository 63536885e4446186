"""Field lines to fields: names are checked, put in lower case and, with an underscore, held back.

Section numbers are of RFC 9110 unless another document is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gunicorn.errors import ProtocolError
from gunicorn.http.engines import NAME_PREFIX, EngineError
from gunicorn.http.grammar import FIELD_TEXT, OWS, TOKEN
from gunicorn.http.policy import HeaderMap

if TYPE_CHECKING:
    from gunicorn.http.engines import Engine
    from gunicorn.http.events import Headers
    from gunicorn.http.policy import Policy

__all__ = ["FORBIDDEN_TRAILERS", "fold_fault", "hold_back", "normalise_lines", "parse_trailer", "read_fields"]

# 6.5.1: fields for framing, routing, authentication, request modifiers and content do not belong in trailers.
FORBIDDEN_TRAILERS = frozenset(
    b"authorization cache-control connection content-encoding content-length content-range content-type "
    b"cookie expect forwarded host if-match if-modified-since if-none-match if-range if-unmodified-since "
    b"keep-alive max-forwards pragma proxy-authenticate proxy-authorization proxy-connection range "
    b"set-cookie te trailer transfer-encoding upgrade www-authenticate".split()
)

_MAX_NAMES = 1024
_MAX_NAME = 64


class _Names(dict[bytes, bytes]):
    """Names as an engine gives them, to names in lower case.

    Every name in it has passed the grammar, so that the usual request needs no regular expression for any
    field. It is shared by all connections of a worker and starts again when a hostile peer has filled it.

    Names with an underscore are counted and never kept: a request has none of them if the count stays.
    Another thread that counts meanwhile only makes ``hold_back`` look in vain.
    """

    __slots__ = ("underscores",)

    def __init__(self) -> None:
        super().__init__()
        self.underscores = 0

    def __missing__(self, prefixed: bytes) -> bytes:
        name = prefixed[len(NAME_PREFIX) :]
        if not TOKEN.fullmatch(name):
            raise _malformed_name(name)
        lower = name.lower()
        if b"_" in lower:
            self.underscores += 1
        elif len(name) <= _MAX_NAME:
            if len(self) >= _MAX_NAMES:
                self.clear()
            self[prefixed] = lower
        return lower


def _malformed_name(name: bytes) -> ProtocolError:
    if name.endswith((b" ", b"\t")):
        return ProtocolError(400, "RFC 9112 5.1: blank before the colon", repr(name[:80]))
    return ProtocolError(400, "RFC 9110 5.1: field name is not a token", repr(name[:80]))


_NAMES = _Names()


def read_fields(lines: list[bytes], engine: Engine) -> tuple[Headers, dict[bytes, bytes] | None, bool]:
    """Fields of a head, names in lower case, values without blanks around them.

    Args:
        lines: Field lines without line ends, unfolded, without a CTL other than HTAB.
        engine: What splits them.

    Returns:
        The fields, the same by name or None when a name is repeated, and whether there may be an underscore
        in a name (``hold_back``).

    Raises:
        ProtocolError: 400, for a line that is no field.
    """
    underscores = _NAMES.underscores
    try:
        fields = engine.parse(lines)
        # Blanks are SP and HTAB here, for no other control character has come this far.
        known = {_NAMES[name]: value.strip() for name, value in fields}
        if len(known) == len(lines):
            return list(known.items()), known, _NAMES.underscores != underscores
        headers = [(_NAMES[name], value.strip()) for name, value in fields]
    except EngineError:
        raise _diagnose(lines) from None
    return headers, None, _NAMES.underscores != underscores


def _diagnose(lines: list[bytes]) -> ProtocolError:
    """What is wrong with lines that an engine refused, in our words, so that both engines report alike."""
    for number, line in enumerate(lines):
        if line[:1] in (b" ", b"\t"):
            return fold_fault(first=number == 0)
    for line in lines:
        name, colon, _ = line.partition(b":")
        if not colon:
            return ProtocolError(400, "RFC 9112 5: field line without a colon", repr(line[:80]))
        if not TOKEN.fullmatch(name):
            return _malformed_name(name)
    return ProtocolError(400, "RFC 9112 5: malformed field line")


def fold_fault(*, first: bool) -> ProtocolError:
    """What a line that begins with a blank breaks where it cannot be unfolded."""
    if first:
        return ProtocolError(400, "RFC 9112 2.2: blank before the first field")
    return ProtocolError(400, "RFC 9112 5.2: obsolete line folding")


def normalise_lines(lines: list[bytes], policy: Policy) -> list[bytes]:
    """Apply the settings that accept what RFC 9112 tells a server to refuse or to replace."""
    unfolded: list[bytes] = []
    for line in lines:
        if policy.permit_obsolete_folding and line[:1] in (b" ", b"\t"):
            # RFC 9112 5.2: replace each obs-fold with one or more SP. One, whatever the blanks around it
            # were.
            unfolded[-1] = unfolded[-1].rstrip(OWS) + b" " + line.strip(OWS)
        else:
            unfolded.append(line)
    return [_strip_name(line) for line in unfolded] if policy.strip_header_spaces else unfolded


def _strip_name(line: bytes) -> bytes:
    name, colon, value = line.partition(b":")
    return name.rstrip(OWS) + colon + value


def hold_back(headers: Headers, policy: Policy, trusted: bool) -> Headers:
    """Apply ``header_map`` and ``forwarder_headers`` to names with an underscore.

    In CGI's variables ``X_User`` and ``X-User`` are one name, so a client could overwrite what a proxy in
    front sets. Only a trusted peer may send ``forwarder_headers``: what reads ``SCRIPT_NAME`` from the result
    can believe it, even with ``header_map = dangerous``.

    Raises:
        ProtocolError: 400, with ``header_map = refuse``.
    """
    return [(name, value) for name, value in headers if b"_" not in name or _may_pass(name, policy, trusted)]


# CGI variables that say how long the body is: nobody's fields may speak on that.
_NEVER = frozenset((b"content_length", b"transfer_encoding"))


def _may_pass(name: bytes, policy: Policy, trusted: bool) -> bool:
    forwarders = policy.forwarder_headers
    if trusted and (name in forwarders or b"*" in forwarders):
        return True
    if policy.header_map is HeaderMap.REFUSE:
        raise ProtocolError(400, "header_map: underscore in a field name", repr(name[:80]))
    if policy.header_map is HeaderMap.DROP or name in _NEVER:
        return False
    return trusted or not (name in forwarders or name == b"script_name")


def parse_trailer(line: bytes) -> tuple[bytes, bytes]:
    """One trailer field (RFC 9112 7.1.2).

    Raises:
        ProtocolError: 400.
    """
    name, colon, value = line.partition(b":")
    if line[:1] in (b" ", b"\t"):
        raise ProtocolError(400, "RFC 9112 5.2: obsolete line folding", "in a trailer")
    if not colon:
        raise ProtocolError(400, "RFC 9112 5: field line without a colon", repr(line[:80]))
    if not TOKEN.fullmatch(name):
        raise _malformed_name(name)
    if value.translate(None, FIELD_TEXT):
        raise ProtocolError(400, "RFC 9110 5.5: control character", "in a trailer")
    lower = name.lower()
    if lower in FORBIDDEN_TRAILERS:
        raise ProtocolError(400, "RFC 9110 6.5.1: field is not allowed in trailers", repr(lower))
    return lower, value.strip(OWS)
