"""The request line: method, target and version (RFC 9112 section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gunicorn.errors import ProtocolError
from gunicorn.http.grammar import ABSOLUTE_TARGET, TARGET_TEXT, TOKEN, USUAL_LINE
from gunicorn.http.host import is_host

if TYPE_CHECKING:
    from gunicorn.http.policy import Policy

__all__ = ["RequestLine", "parse_request_line", "parse_usual_line"]


# Method, target, path, query, version, and the scheme and authority of an absolute-form target, else None. A
# bare tuple that is unpacked at once: the cheapest way to return seven things for every request.
RequestLine = tuple[str, bytes, bytes, bytes, str, "bytes | None", "bytes | None"]


# Methods that need no look at their grammar. All others that are tokens are accepted too.
_METHODS = {
    name.encode(): name
    for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "REPORT")
}

# RFC 9110 2.5: a higher minor version should be processed as the highest one that the recipient knows. It is
# shown as that one too, so that nothing behind here has to know of versions that do not exist.
_VERSIONS = {b"HTTP/1.0": "1.0", **{b"HTTP/1.%d" % minor: "1.1" for minor in range(1, 10)}}


def parse_usual_line(line: bytes) -> tuple[str, bytes, bytes, bytes] | None:
    """Method, target, path and query of the usual HTTP/1.1 line; None for one that needs a closer look."""
    match = USUAL_LINE.fullmatch(line)
    if match is None:
        return None
    method, target, path, query = match.groups(b"")
    return _METHODS[method], target, path, query


def parse_request_line(line: bytes, policy: Policy) -> RequestLine:
    """Read ``line``, which holds no CTL, without its line end.

    Raises:
        ProtocolError: 400 for what is malformed, 505 for a version that is not served.
    """
    parts = line.split(b" ")
    if len(parts) != 3:
        # RFC 9112 3: exactly one SP between them. A lenient reading of blanks has let requests be smuggled.
        raise ProtocolError(400, "RFC 9112 3: request-line is not three words", f"{len(parts)} words")
    word, target, protocol = parts
    method = None if word == b"CONNECT" else _METHODS.get(word)
    version = _VERSIONS.get(protocol) or _other_version(protocol, policy)
    if target.translate(None, TARGET_TEXT):
        raise ProtocolError(400, "RFC 9112 3.2: forbidden byte in the request-target")
    if method is None:
        method = _other_method(word, policy)
    if target.startswith(b"/") and method != "CONNECT":
        path, _, query = target.partition(b"?")
        return method, target, path, query, version, None, None
    return _other_form(method, target, version)


def _other_version(protocol: bytes, policy: Policy) -> str:
    well_formed = len(protocol) == 8 and protocol.startswith(b"HTTP/") and protocol[6:7] == b"."
    if not (well_formed and protocol[5:6].isdigit() and protocol[7:8].isdigit()):
        raise ProtocolError(400, "RFC 9112 2.3: malformed HTTP-version", repr(protocol[:20]))
    version = protocol[5:].decode("ascii")
    if policy.permit_unconventional_http_version:
        return version
    raise ProtocolError(505, "RFC 9110 15.6.6: HTTP version not supported", version)


def _other_method(word: bytes, policy: Policy) -> str:
    if not TOKEN.fullmatch(word):
        raise ProtocolError(400, "RFC 9110 9.1: method is not a token", repr(word[:20]))
    if policy.casefold_http_method:
        word = word.upper()
    if not (policy.permit_unconventional_http_method or _is_conventional(word)):
        raise ProtocolError(400, "permit_unconventional_http_method: unconventional method", repr(word[:20]))
    return word.decode("ascii")


def _is_conventional(method: bytes) -> bool:
    return 3 <= len(method) <= 20 and method == method.upper() and b"#" not in method


def _other_form(method: str, target: bytes, version: str) -> RequestLine:
    if method == "CONNECT":
        return _authority_form(target, version)
    if target == b"*":
        if method != "OPTIONS":
            raise ProtocolError(400, "RFC 9112 3.2.4: asterisk-form is only for OPTIONS", method)
        return method, target, target, b"", version, None, None
    return _absolute_form(method, target, version)


def _authority_form(target: bytes, version: str) -> RequestLine:
    host, _, port = target.rpartition(b":")
    if not host or not is_host(target):
        raise ProtocolError(400, "RFC 9112 3.2.3: CONNECT needs the authority-form", repr(target[:80]))
    # RFC 9110 9.3.6: a server must reject an empty or invalid port number.
    if not (port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65535):
        raise ProtocolError(400, "RFC 9110 9.3.6: CONNECT needs a port", repr(target[:80]))
    return "CONNECT", target, b"", b"", version, None, None


def _absolute_form(method: str, target: bytes, version: str) -> RequestLine:
    match = ABSOLUTE_TARGET.fullmatch(target)
    if match is None:
        raise ProtocolError(400, "RFC 9112 3.2: request-target has none of the four forms", repr(target[:80]))
    scheme, authority = match["scheme"].lower(), match["authority"]
    if scheme not in (b"http", b"https"):
        raise ProtocolError(400, "RFC 9110 7.4: scheme of the target is not served", repr(scheme[:20]))
    # RFC 9110 4.2.1: a recipient must reject an empty host; 4.2.4: userinfo is an error, and a Host knows no
    # "@".
    if not authority or not is_host(authority):
        raise ProtocolError(400, "RFC 9112 3.2.2: invalid authority in the target", repr(authority[:80]))
    path, _, query = (match["rest"] or b"").partition(b"?")
    if not path:
        # RFC 9112 3.2.4: an empty path means the server as a whole for OPTIONS; 3.2.1: "/" for the others.
        path = b"*" if method == "OPTIONS" and not query else b"/"
    return method, target, path, query, version, scheme, authority
