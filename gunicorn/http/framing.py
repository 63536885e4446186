"""Where a request's body ends, and whether its connection goes on (RFC 9112 sections 6 and 9.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gunicorn.errors import ProtocolError
from gunicorn.http.grammar import DIGITS, OWS, TOKEN

if TYPE_CHECKING:
    from gunicorn.http.policy import Policy

__all__ = ["Options", "body_length", "check_transfer_encoding", "connection_options", "is_continue_expected"]

# Eighteen digits: every length up to 10**18 - 1 is one of a file that could exist.
_MAX_LENGTH_DIGITS = 18

# RFC 9112 7: the registered codings. "identity" was one until RFC 7230.
_KNOWN_CODINGS = frozenset((b"compress", b"deflate", b"gzip", b"identity", b"x-compress", b"x-gzip"))


class Options(NamedTuple):
    """What the Connection field asks for (RFC 9110 7.6.1)."""

    close: bool
    keep_alive: bool
    upgrade: bool


_NO_OPTIONS = Options(close=False, keep_alive=False, upgrade=False)
_USUAL_OPTIONS = {
    b"keep-alive": Options(close=False, keep_alive=True, upgrade=False),
    b"Keep-Alive": Options(close=False, keep_alive=True, upgrade=False),
    b"close": Options(close=True, keep_alive=False, upgrade=False),
    b"Upgrade": Options(close=False, keep_alive=False, upgrade=True),
}


def connection_options(value: bytes | None) -> Options:
    """Read the combined value of the Connection lines."""
    if value is None:
        return _NO_OPTIONS
    return _USUAL_OPTIONS.get(value) or _read_options(value)


def _read_options(value: bytes) -> Options:
    options = {option.strip(OWS) for option in value.lower().split(b",")}
    return Options(
        close=b"close" in options, keep_alive=b"keep-alive" in options, upgrade=b"upgrade" in options
    )


def body_length(value: bytes, policy: Policy) -> int:
    """The value of the only Content-Length line.

    Raises:
        ProtocolError: 400, or 413 above ``limit_request_body``.
    """
    if not DIGITS.fullmatch(value):
        # RFC 9110 8.6 lets a recipient take "5, 5" for 5. Front ends disagree on it, so it is refused.
        raise ProtocolError(400, "RFC 9110 8.6: Content-Length is not a number", repr(value[:80]))
    digits = value.lstrip(b"0") or b"0"
    if len(digits) > _MAX_LENGTH_DIGITS:
        raise ProtocolError(413, "RFC 9110 8.6: Content-Length is absurd", f"{len(digits)} digits")
    length = int(digits)
    if length > policy.limit_request_body:
        raise ProtocolError(413, "limit_request_body", f"Content-Length {length}")
    return length


def check_transfer_encoding(value: bytes, *, http_1_0: bool, with_length: bool) -> None:
    """Make sure that the body is chunked, once and with nothing else.

    Args:
        value: All Transfer-Encoding lines, joined by commas.
        http_1_0: The request has version 1.0.
        with_length: There is a Content-Length too.

    Raises:
        ProtocolError: 400, or 501 for a coding that is not implemented.
    """
    if http_1_0:
        raise ProtocolError(400, "RFC 9112 6.1: Transfer-Encoding in HTTP/1.0")
    if with_length:
        # RFC 9112 6.3 lets a server drop the Content-Length. It is the mark of a smuggled request, so it is
        # refused.
        raise ProtocolError(400, "RFC 9112 6.3: Transfer-Encoding with Content-Length")
    if value.lower() != b"chunked":
        raise _wrong_coding(value)


def _wrong_coding(value: bytes) -> ProtocolError:
    codings = [coding.strip(OWS).lower() for coding in value.split(b",")]
    detail = repr(value[:80])
    if not all(TOKEN.fullmatch(coding) for coding in codings):
        return ProtocolError(400, "RFC 9112 6.1: malformed Transfer-Encoding", detail)
    if b"chunked" in codings[:-1]:
        return ProtocolError(400, "RFC 9112 6.1: chunked is not the last coding, or not the only one", detail)
    if codings[-1] in _KNOWN_CODINGS:
        return ProtocolError(400, "RFC 9112 6.3: Transfer-Encoding does not end with chunked", detail)
    return ProtocolError(501, "RFC 9112 6.1: transfer coding is not implemented", detail)


def is_continue_expected(value: bytes) -> bool:
    """Whether the Expect lines of an HTTP/1.1 request ask for 100 (Continue).

    Raises:
        ProtocolError: 417 for any other expectation (RFC 9110 10.1.1).
    """
    expectations = {member for raw in value.split(b",") if (member := raw.strip(OWS).lower())}
    if expectations - {b"100-continue"}:
        raise ProtocolError(417, "RFC 9110 10.1.1: unknown expectation", repr(value[:80]))
    return bool(expectations)
