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

__all__ = ["FORBIDDEN_TRAILERS", "hold_back", "normalise_lines", "parse_trailer", "read_fields"]

# 6.5.1: fields for framing, routing, authentication, request modifiers and content do not belong in trailers.
FORBIDDEN_TRAILERS = frozenset(
    b"authorization cache-control connection content-encoding content-length content-range content-type cookie expect "
    b"forwarded host if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive max-forwards pragma "
    b"proxy-authenticate proxy-authorization proxy-connection range set-cookie te trailer transfer-encoding upgrade "
    b"www-authenticate".split()
)

_MAX_NAMES = 1024
_MAX_NAME = 64


class _Names(dict[bytes, bytes]):
    """Names as an engine gives them, to names in lower case.

    Every name in it has passed the grammar, so that the usual request needs no regular expression for any field. It is
    shared by all connections of a worker and starts again when a hostile peer has filled it.
    """

    def __missing__(self, prefixed: bytes) -> bytes:
        name = prefixed[len(NAME_PREFIX) :]
        if not TOKEN.fullmatch(name):
            raise _malformed_name(name)
        lower = name.lower()
        if len(name) <= _MAX_NAME:
            if len(self) >= _MAX_NAMES:
                self.clear()
            self[prefixed] = lower
        return lower


def _malformed_name(name: bytes) -> ProtocolError:
    if name.endswith((b" ", b"\t")):
        return ProtocolError(400, "RFC 9112 5.1: blank before the colon", repr(name[:80]))
    return ProtocolError(400, "RFC 9110 5.1: field name is not a token", repr(name[:80]))


_NAMES = _Names()


def read_fields(lines: list[bytes], engine: Engine) -> Headers:
    """Fields of a head, names in lower case, values without blanks around them.

    Args:
        lines: Field lines without line ends, unfolded, without a CTL other than HTAB.
        engine: What splits them.

    Raises:
        ProtocolError: 400, for a line that is no field.
    """
    try:
        return [(_NAMES[name], value.strip(OWS)) for name, value in engine.parse(lines)]
    except EngineError:
        raise _diagnose(lines) from None


def _diagnose(lines: list[bytes]) -> ProtocolError:
    """What is wrong with lines that an engine refused, in our words, so that both engines report alike."""
    for line in lines:
        name, colon, _ = line.partition(b":")
        if not colon:
            return ProtocolError(400, "RFC 9112 5: field line without a colon", repr(line[:80]))
        if not TOKEN.fullmatch(name):
            return _malformed_name(name)
    return ProtocolError(400, "RFC 9112 5: malformed field line")


def normalise_lines(lines: list[bytes], policy: Policy) -> list[bytes]:
    """Apply the settings that accept what RFC 9112 tells a server to refuse or to replace."""
    unfolded: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            # RFC 9112 5.2: replace each obs-fold with one or more SP. One, whatever the blanks around it were.
            unfolded[-1] = unfolded[-1].rstrip(OWS) + b" " + line.strip(OWS)
        else:
            unfolded.append(line)
    return [_strip_name(line) for line in unfolded] if policy.strip_header_spaces else unfolded


def _strip_name(line: bytes) -> bytes:
    name, colon, value = line.partition(b":")
    return name.rstrip(OWS) + colon + value


def hold_back(headers: Headers, policy: Policy, trusted: bool) -> Headers:
    """Apply ``header_map`` and ``forwarder_headers`` to names with an underscore.

    In CGI's variables ``X_User`` and ``X-User`` are one name, so a client could overwrite what a proxy in front sets.
    Only a trusted peer may send ``forwarder_headers``: what reads ``SCRIPT_NAME`` from the result can believe it, even with
    ``header_map = dangerous``.

    Raises:
        ProtocolError: 400, with ``header_map = refuse``.
    """
    return [(name, value) for name, value in headers if b"_" not in name or _may_pass(name, policy, trusted)]


def _may_pass(name: bytes, policy: Policy, trusted: bool) -> bool:
    if name in policy.forwarder_headers or b"*" in policy.forwarder_headers or name == b"script_name":
        if trusted and (name != b"script_name" or name in policy.forwarder_headers or b"*" in policy.forwarder_headers):
            return True
        if policy.header_map is HeaderMap.DANGEROUS:
            return trusted
    if policy.header_map is HeaderMap.REFUSE:
        raise ProtocolError(400, "header_map: underscore in a field name", repr(name[:80]))
    return policy.header_map is HeaderMap.DANGEROUS


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
