"""Plays bytes into ``ServerConnection`` as a worker does, and writes down what an app would have noticed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from attrs import evolve, field, frozen

from gunicorn.config import Config
from gunicorn.errors import ProtocolError
from gunicorn.http import (
    ConnectionClosed,
    Data,
    EndOfMessage,
    Peer,
    Policy,
    Request,
    Response,
    ServerConnection,
)
from gunicorn.http.events import Sentinel
from gunicorn.http.known import KnownHeads

__all__ = ["ENGINES", "Heard", "Outcome", "anonymous", "bytewise", "policy", "replay", "whole"]

ENGINES = ("fast", "python")
LOOPBACK = Peer(host="127.0.0.1", port=40000)
MAX_EVENTS = 100_000


@frozen
class Heard:
    """One request as the app would know it."""

    request: Request
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...] = ()


@frozen
class Outcome:
    """All that came of a connection's bytes.

    Attributes:
        heard: The requests that were complete.
        begun: A request whose head was accepted and whose content was not.
        error: The status of the refusal.
        rule: Its rule, for messages only.
        closing: Whether the last answer said that it ends the connection.
    """

    heard: tuple[Heard, ...]
    begun: Request | None
    error: int | None
    rule: str = field(eq=False)
    closing: bool | None

    @property
    def bodies(self) -> tuple[bytes, ...]:
        return tuple(heard.body for heard in self.heard)


@cache
def _policy(engine: str, items: tuple[tuple[str, Any], ...]) -> Policy:
    cfg = Config()
    for name, value in (*items, ("http_parser", engine)):
        cfg.set(name, dict(value) if name == "secure_scheme_headers" else value)
    return Policy.from_config(cfg)


def policy(engine: str, settings: Mapping[str, Any]) -> Policy:
    """The policy of a worker with these settings."""
    hashable = (
        (name, tuple(value.items()) if isinstance(value, dict) else value) for name, value in settings.items()
    )
    return _policy(engine, tuple(hashable))


def whole(data: bytes) -> Iterator[bytes]:
    """All at once."""
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    """One byte at a time; long inputs in pieces of an odd size, because the machine's time is bounded."""
    step = 1 if len(data) <= 3000 else 251 if len(data) <= 200_000 else 4093
    for start in range(0, len(data), step):
        yield data[start : start + step]


class _Listener:
    def __init__(self, connection: ServerConnection, *, shares: bool) -> None:
        self.connection = connection
        self.shares = shares
        self.heard: list[Heard] = []
        self.begun: Request | None = None
        self.body: list[bytes] = []
        self.closing: bool | None = None
        self.over = False

    def take(self, data: bytes) -> None:
        if data and self.shares and self.connection.idle:
            again = self.connection.receive_again(data, self.connection.known)
            if again is not None:
                self._notice(again)
        else:
            self.connection.receive_data(data)
        for _ in range(MAX_EVENTS):
            event = self.connection.next_event()
            if isinstance(event, Sentinel):
                return
            self._notice(event)
            if self.over:
                return
        raise AssertionError("next_event never asks for more data")

    def _notice(self, event: object) -> None:
        if isinstance(event, Request):
            assert self.begun is None, "a second request before the first one ended"
            self.begun, self.body = event, []
        elif isinstance(event, Data):
            self.body.append(event.data)
        elif isinstance(event, EndOfMessage):
            self._answer(event)
        else:
            assert isinstance(event, ConnectionClosed), event
            self.over = True

    def _answer(self, end: EndOfMessage) -> None:
        assert self.begun is not None
        self.heard.append(Heard(self.begun, b"".join(self.body), tuple(end.trailers)))
        self.begun = None
        head = self.connection.send(Response(404, b"Not Found", [(b"content-length", b"0")]))
        head += self.connection.send(EndOfMessage())
        self.closing = self.connection.must_close
        assert (b"connection: close" in head.lower()) == self.closing, head
        if self.closing:
            self.over = True
        else:
            self.connection.start_next_cycle()


def replay(
    pieces: Iterable[bytes], rules: Policy, peer: Peer = LOOPBACK, heads: KnownHeads | None = None
) -> Outcome:
    """What becomes of the pieces, with end of file behind the last one.

    Anything but ``ProtocolError`` that the connection raises is a defect and is let through.
    """
    connection = ServerConnection(rules, peer, shares_requests=heads is not None, heads=heads)
    listener = _Listener(connection, shares=heads is not None)
    error, rule = None, ""
    try:
        for piece in (*pieces, b""):
            listener.take(piece)
            if listener.over:
                break
    except ProtocolError as failure:
        error, rule = failure.status, failure.rule
    return Outcome(tuple(listener.heard), listener.begun, error, rule, listener.closing)


def anonymous(outcome: Outcome) -> Outcome:
    """The same without peers: requests that connections share have none."""
    heard = (evolve(one, request=one.request._replace(peer=Peer())) for one in outcome.heard)
    begun = outcome.begun and outcome.begun._replace(peer=Peer())
    return evolve(outcome, heard=tuple(heard), begun=begun)
