"""One case of the corpus: bytes on a fresh connection, and what the standards say must become of them.

Written from the text of RFC 9110 (semantics), RFC 9112 (HTTP/1.1), RFC 3986 (targets) and the PROXY protocol
specification, and never from the parser under test. Where a standard leaves room, the verdict is ``EITHER``,
or the choice that Gunicorn documents, and the note says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from attrs import Factory, define, field, frozen

__all__ = ["SILENCE", "TRUNCATED", "Case", "Chapter", "Verdict", "post", "request"]

#: In ``Case.status``: closing without an answer is allowed too.
SILENCE = 0

#: An incomplete message may be answered or just closed (RFC 9112 section 8).
TRUNCATED = frozenset({SILENCE, 400, 408})


class Verdict(Enum):
    """What the server owes the sender."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    EITHER = "either"


@frozen
class Case:
    """Bytes and their verdict.

    Attributes:
        name: Unique; chapter and rule.
        data: All that the client sends on one connection.
        verdict: ACCEPT: every request is answered by the app. REFUSE: the one after ``bodies`` is answered
            with ``status`` and the connection closes. EITHER: one or the other, but always the same.
        status: Allowed answers to a refused request.
        section: Where the rule stands.
        settings: Settings that differ from the defaults.
        bodies: The bodies of the requests that the app answers, in order.
        in_body: The fault is behind the head, so that the app may have been called (never answered).
        closes: Whether the last answer ends the connection; None = not stated.
        seen: Attributes of the first request's event.
        has: Fields that the app sees in the first request.
        lacks: Names that the app must not see in the first request.
        trailers: Trailer fields of the first request, None = not stated.
        heads: Positions of HEAD requests (their answers have no body).
        note: Why, where it is not plain.
    """

    name: str
    data: bytes = field(repr=False)
    verdict: Verdict
    section: str
    status: frozenset[int] = frozenset()
    settings: Mapping[str, Any] = Factory(dict)
    bodies: tuple[bytes, ...] = ()
    in_body: bool = False
    closes: bool | None = None
    seen: Mapping[str, object] = Factory(dict)
    has: tuple[tuple[bytes, bytes], ...] = ()
    lacks: tuple[bytes, ...] = ()
    trailers: tuple[tuple[bytes, bytes], ...] | None = None
    heads: frozenset[int] = frozenset()
    note: str = ""

    @property
    def requests(self) -> int:
        """How many requests the app answers."""
        return len(self.bodies)

    @property
    def truncated(self) -> bool:
        """Whether the fault only shows when the client stops sending."""
        return SILENCE in self.status

    @property
    def group(self) -> tuple[tuple[str, Any], ...]:
        """Cases of one group can share a server."""
        return tuple(sorted((name, str(value)) for name, value in self.settings.items()))


@define
class Chapter:
    """Collects the cases of one module."""

    name: str
    cases: list[Case] = field(factory=list)

    def accept(self, name: str, data: bytes, section: str, *bodies: bytes, **more: Any) -> None:
        """The app answers every request; one without content when no bodies are named."""
        self._add(name, data, Verdict.ACCEPT, section, bodies=bodies or (b"",), **more)

    def refuse(self, name: str, data: bytes, section: str, *status: int, **more: Any) -> None:
        """The request behind ``bodies`` is refused, with 400 when no status is named."""
        self._add(name, data, Verdict.REFUSE, section, status=frozenset(status or (400,)), **more)

    def truncated(self, name: str, data: bytes, section: str, **more: Any) -> None:
        """The message never ends, the client stops sending."""
        self._add(name, data, Verdict.REFUSE, section, status=TRUNCATED, **more)

    def either(self, name: str, data: bytes, section: str, *status: int, **more: Any) -> None:
        """The standard leaves room; ``bodies`` are those of the case that it is accepted."""
        more.setdefault("bodies", (b"",))
        self._add(name, data, Verdict.EITHER, section, status=frozenset(status or (400,)), **more)

    def _add(self, name: str, data: bytes, verdict: Verdict, section: str, **more: Any) -> None:
        self.cases.append(Case(f"{self.name}: {name}", data, verdict, section, **more))


def request(
    *fields: bytes,
    line: bytes | None = None,
    method: bytes = b"GET",
    target: bytes = b"/",
    version: bytes = b"HTTP/1.1",
    host: bytes | None = b"a.example",
    body: bytes = b"",
) -> bytes:
    """A request whose parts are as right as the caller makes them."""
    lines = [line if line is not None else b" ".join((method, target, version))]
    if host is not None:
        lines.append(b"Host: " + host)
    return b"\r\n".join([*lines, *fields, b"", b""]) + body


def post(*fields: bytes, body: bytes = b"", **more: Any) -> bytes:
    """A POST request with whatever framing the fields announce."""
    return request(*fields, method=b"POST", body=body, **more)
