"""From the lines of a head to a request that may reach an application."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gunicorn.errors import ProtocolError
from gunicorn.http.events import Request
from gunicorn.http.fields import hold_back, normalise_lines, read_fields
from gunicorn.http.framing import (
    body_length,
    check_transfer_encoding,
    connection_options,
    is_continue_expected,
)
from gunicorn.http.grammar import CRLF
from gunicorn.http.host import is_host
from gunicorn.http.request_line import parse_request_line, parse_usual_line

if TYPE_CHECKING:
    from gunicorn.http.buffer import ReceiveBuffer
    from gunicorn.http.engines import Engine
    from gunicorn.http.events import Headers, Peer
    from gunicorn.http.known import KnownHeads
    from gunicorn.http.policy import Policy

__all__ = ["RequestReader"]

# RFC 9112 3.2 for Host; RFC 9110 8.6 and 8.3 for the others. Which of two would count is a guess.
_SINGLE = (b"host", b"content-length", b"content-type")

# A connection remembers fields up to this size: an idle one should not hold much.
_REMEMBERED = 2048

# The constructor of a named tuple is a Python function, which takes three times as long.
_new_request = partial(tuple.__new__, Request)


class RequestReader:
    """Reads the heads of one connection.

    Args:
        policy: What is accepted.
        engine: What splits field lines.
        peer: The socket's peer, which decides on trust. Not the one that a PROXY header announced: the fields
        come from,
            or passed through, the proxy that is connected.
        secure: TLS ends here.
        shares_requests: Nobody changes the headers of a request, so that one said twice may be one object.
        known: Is told what was said, instead of its being remembered here.
    """

    __slots__ = (
        "_engine", "_fields", "_headers", "_known", "_last", "_lenient", "_line", "_policy", "_request",
        "_said", "_scheme", "_secure", "_shares", "_trusted", "peer",
    )  # fmt: skip

    def __init__(
        self,
        policy: Policy,
        engine: Engine,
        peer: Peer,
        *,
        secure: bool,
        shares_requests: bool = False,
        known: KnownHeads | None = None,
    ) -> None:
        self._policy = policy
        self._known = known
        self._engine = engine
        self._secure = secure
        self._shares = shares_requests
        self._scheme = "https" if secure else "http"
        self._trusted = policy.forwarded_allow_ips.trusts(peer)
        self._lenient = policy.permit_obsolete_folding or policy.strip_header_spaces
        self.peer = peer
        """Whom requests show as their peer."""
        self._fields: bytes | tuple[()] = ()
        """The field lines of the last request with the empty line; nothing starts with ``()``."""
        self._headers: Headers = []
        self._said: tuple[object, ...] = ()
        """What they make of a ``Request``, from its scheme on."""
        self._line: bytes | tuple[()] = ()
        """The last request line with its end."""
        self._request: Request | None = None
        """What the line and the fields made together."""
        self._last: tuple[Request, bytes] | None = None
        """The last request and its head, until those above are made of them."""

    def read_again(self, buffer: ReceiveBuffer) -> Request | None:
        """Take the next request from ``buffer``, if it differs from the one before in its first line only.

        Most clients send the same fields with every request of a connection. They were judged once, by the
        same rules and for the same peer, so only the request line is looked at, and one that is the same too
        (polling, health checks) is compared and no more. None: read it as any other.
        """
        if self._last is not None:
            self._remember(*self._last)
        elif not self._fields:
            return None
        data, start, request = buffer.data, buffer.position, self._request
        if request is not None and data.startswith(self._line, start):
            end = start + len(self._line)
            if data.startswith(self._fields, end):
                buffer.skip_to(end + len(self._fields))
                return request if self._shares else self._copied(request)
        return self._read_line(buffer)

    def _read_line(self, buffer: ReceiveBuffer) -> Request | None:
        data, start = buffer.data, buffer.position
        end = data.find(CRLF, start)
        if end < 0 or not isinstance(data, bytes) or not data.startswith(self._fields, end + 2):
            return None
        line = data[start:end]
        words = parse_usual_line(line)
        if words is None or len(line) > self._policy.limit_request_line:
            return None
        buffer.skip_to(end + 2 + len(self._fields))
        self._line = data[start : end + 2]
        self._request = request = _new_request((*words, "1.1", self._headers, *self._said))
        return request if self._shares else self._copied(request)

    def _copied(self, request: Request) -> Request:
        # The list is the application's, which may change it. Not _replace: it takes six times as long.
        return _new_request((*request[:5], self._headers.copy(), *self._said))

    def forget(self) -> None:
        """Let the next request be read as if it were the first."""
        self._fields, self._line, self._request, self._last = (), (), None, None

    def _remember(self, request: Request, head: bytes) -> None:
        """Done when the next request comes: many connections have only one."""
        end = head.find(CRLF) + 2
        self._line, self._fields = head[:end], head[end:]
        self._said, self._request, self._last = request[6:], request, None

    def read(self, lines: list[bytes], head: bytes = b"") -> Request:
        """The request that the lines of a head make.

        Args:
            lines: Of the head, without line ends. The list is used up.
            head: The head that they come from with its empty line, if ``read_again`` may compare with it.

        Raises:
            ProtocolError: 400, 413, 417, 421, 501 or 505.
        """
        policy = self._policy
        if self._fields or self._last is not None:
            self.forget()
        usual = parse_usual_line(lines[0])
        method, target, path, query, version, target_scheme, authority = (
            parse_request_line(lines[0], policy) if usual is None else (*usual, "1.1", None, None)
        )
        del lines[0]
        if self._lenient:
            lines = normalise_lines(lines, policy)
        headers, known, underscored = read_fields(lines, self._engine)
        if known is None:
            known = _combine(headers)
        if underscored:
            headers = hold_back(headers, policy, self._trusted)

        # "0.9" and the like only get here with permit_unconventional_http_version.
        http_1_0 = version < "1.1"
        host = known.get(b"host")
        if host is None:
            if not http_1_0:
                raise ProtocolError(400, "RFC 9112 3.2: no Host")
        elif not is_host(host):
            raise ProtocolError(400, "RFC 9112 3.2: invalid Host", repr(host[:80]))
        if authority is not None:
            headers = self._replace_host(authority, target_scheme, headers)

        length: int | None = None
        if b"content-length" in known:
            length = body_length(known[b"content-length"], policy)
        coding = known.get(b"transfer-encoding")
        if coding is not None:
            check_transfer_encoding(coding, http_1_0=http_1_0, with_length=length is not None)

        close, keep_alive, upgrade = connection_options(known.get(b"connection"))
        expect = known.get(b"expect")
        request = _new_request(
            (
                method,
                target,
                path,
                query,
                version,
                headers,
                self._secure_scheme(known, headers) if self._trusted else self._scheme,
                length,
                coding is not None,
                # RFC 9110 10.1.1: a server must ignore 100-continue in HTTP/1.0.
                expect is not None and not http_1_0 and is_continue_expected(expect),
                # RFC 9112 9.3: close wins. What follows CONNECT may be meant for a tunnel, whatever the
                # answer was.
                not close and (keep_alive or not http_1_0) and policy.keep_alive and method != "CONNECT",
                # RFC 9110 7.8: Upgrade counts only with its connection option, and never in HTTP/1.0.
                known.get(b"upgrade") if upgrade and not http_1_0 else None,
                self.peer,
            )
        )
        if 0 < len(head) <= _REMEMBERED and request.keep_alive and authority is None and not http_1_0:
            if self._known is not None:
                self._known.add(head, request)
            else:
                self._headers = headers if self._shares else headers.copy()
                self._last = request, head
        return request

    def _replace_host(self, authority: bytes, scheme: bytes | None, headers: Headers) -> Headers:
        """RFC 9112 3.2.2: the target's authority replaces the received Host."""
        if scheme == b"https" and not (self._secure or self._trusted):
            # RFC 9110 7.4: unless it comes from a trusted gateway, an https request must arrive secured.
            raise ProtocolError(421, "RFC 9110 7.4: https target on a connection without TLS")
        return [(b"host", authority), *(field for field in headers if field[0] != b"host")]

    def _secure_scheme(self, known: dict[bytes, bytes], headers: Headers) -> str:
        """Apply ``secure_scheme_headers``: a trusted peer has the last word, unless its fields disagree."""
        secure: bool | None = None
        for name, value in self._policy.secure_scheme_headers:
            if name in known:
                for field, given in headers:
                    if field != name:
                        continue
                    if secure is not None and secure != (given == value):
                        raise ProtocolError(400, "secure_scheme_headers: two fields disagree", repr(name))
                    secure = given == value
        if secure is None:
            return self._scheme
        return "https" if secure else "http"


def _combine(headers: Headers) -> dict[bytes, bytes]:
    """RFC 9110 5.3: lines of one name make one list, in their order."""
    known: dict[bytes, bytes] = {}
    for name, value in headers:
        if name not in known:
            known[name] = value
        elif name in _SINGLE:
            raise ProtocolError(400, f"RFC 9110 5.3: more than one {name.decode('ascii').title()}")
        else:
            known[name] += b", " + value
    return known
