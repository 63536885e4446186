"""The two halves of a connection as state machines: tables, with nothing else in them.

A driver that asks for what the table does not hold made an error of its own (``LocalProtocolError``); what
the peer does wrong is found by the grammar and ends in ``ERROR``.

``IntEnum`` and nested tuples rather than ``Enum`` and dictionaries: the hash of an ``Enum`` member is a
Python function, and every request takes eight transitions.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar

from gunicorn.http.errors import LocalProtocolError

__all__ = [
    "CLIENT_TABLE",
    "SERVER_TABLE",
    "Client",
    "ClientInput",
    "Server",
    "ServerInput",
    "next_client",
    "next_server",
]


class Client(IntEnum):
    """What the peer is sending."""

    OPENING = 0
    """Nothing yet: a PROXY header may come first."""
    IDLE = 1
    """A request head is due."""
    BODY = 2
    END = 3
    """All of the message has arrived; ``EndOfMessage`` has not been handed out yet."""
    DONE = 4
    CLOSED = 5
    SWITCHED = 6
    """Another protocol (RFC 9110 7.8), or a tunnel (9.3.6)."""
    ERROR = 7


class ClientInput(IntEnum):
    OPENED = 0
    REQUEST_WITH_BODY = 1
    REQUEST = 2
    BODY_END = 3
    END_TAKEN = 4
    NEXT_CYCLE = 5
    EOF = 6
    SWITCH = 7
    FAULT = 8


class Server(IntEnum):
    """What we are sending."""

    IDLE = 0
    HEAD = 1
    """A request waits for its final response."""
    BODY = 2
    DONE = 3
    SWITCHED = 4
    ERROR = 5


class ServerInput(IntEnum):
    REQUEST = 0
    INFORMATIONAL = 1
    RESPONSE = 2
    DATA = 3
    END = 4
    SWITCH = 5
    NEXT_CYCLE = 6
    FAULT = 7


CLIENT_TRANSITIONS: dict[Client, dict[ClientInput, Client]] = {
    Client.OPENING: {
        ClientInput.OPENED: Client.IDLE,
        ClientInput.EOF: Client.CLOSED,
        ClientInput.FAULT: Client.ERROR,
    },
    Client.IDLE: {
        ClientInput.REQUEST_WITH_BODY: Client.BODY,
        ClientInput.REQUEST: Client.END,
        ClientInput.EOF: Client.CLOSED,
        ClientInput.FAULT: Client.ERROR,
    },
    Client.BODY: {
        ClientInput.BODY_END: Client.END,
        ClientInput.SWITCH: Client.SWITCHED,
        ClientInput.FAULT: Client.ERROR,
    },
    Client.END: {
        ClientInput.END_TAKEN: Client.DONE,
        ClientInput.NEXT_CYCLE: Client.IDLE,
        ClientInput.SWITCH: Client.SWITCHED,
        ClientInput.FAULT: Client.ERROR,
    },
    Client.DONE: {
        ClientInput.NEXT_CYCLE: Client.IDLE,
        ClientInput.EOF: Client.CLOSED,
        ClientInput.SWITCH: Client.SWITCHED,
        ClientInput.FAULT: Client.ERROR,
    },
    # A client that half-closes after its request still gets its answer.
    Client.CLOSED: {
        ClientInput.EOF: Client.CLOSED,
        ClientInput.SWITCH: Client.SWITCHED,
        ClientInput.FAULT: Client.ERROR,
    },
    Client.SWITCHED: {ClientInput.FAULT: Client.ERROR},
    Client.ERROR: {ClientInput.FAULT: Client.ERROR},
}

SERVER_TRANSITIONS: dict[Server, dict[ServerInput, Server]] = {
    Server.IDLE: {ServerInput.REQUEST: Server.HEAD, ServerInput.FAULT: Server.ERROR},
    Server.HEAD: {
        ServerInput.INFORMATIONAL: Server.HEAD,
        ServerInput.RESPONSE: Server.BODY,
        ServerInput.SWITCH: Server.SWITCHED,
        ServerInput.FAULT: Server.ERROR,
    },
    Server.BODY: {
        ServerInput.DATA: Server.BODY,
        ServerInput.END: Server.DONE,
        ServerInput.SWITCH: Server.SWITCHED,
        ServerInput.FAULT: Server.ERROR,
    },
    Server.DONE: {ServerInput.NEXT_CYCLE: Server.IDLE, ServerInput.FAULT: Server.ERROR},
    # What an application still gives is of the other protocol, and goes out as it is.
    Server.SWITCHED: {
        ServerInput.DATA: Server.SWITCHED,
        ServerInput.END: Server.SWITCHED,
        ServerInput.FAULT: Server.ERROR,
    },
    Server.ERROR: {ServerInput.FAULT: Server.ERROR},
}

_S = TypeVar("_S", bound=IntEnum)
_I = TypeVar("_I", bound=IntEnum)


def _compile(transitions: dict[_S, dict[_I, _S]], inputs: type[_I]) -> tuple[tuple[_S | None, ...], ...]:
    return tuple(tuple(row.get(symbol) for symbol in inputs) for row in transitions.values())


CLIENT_TABLE = _compile(CLIENT_TRANSITIONS, ClientInput)
SERVER_TABLE = _compile(SERVER_TRANSITIONS, ServerInput)


def next_client(state: Client, symbol: ClientInput) -> Client:
    """The peer's state after ``symbol``.

    Raises:
        LocalProtocolError: the driver is out of step.
    """
    following = CLIENT_TABLE[state][symbol]
    if following is None:
        raise LocalProtocolError(f"{symbol.name} is not possible while the client is in state {state.name}")
    return following


def next_server(state: Server, symbol: ServerInput) -> Server:
    """Our state after ``symbol``.

    Raises:
        LocalProtocolError: the application or the driver is out of step.
    """
    following = SERVER_TABLE[state][symbol]
    if following is None:
        raise LocalProtocolError(f"{symbol.name} is not possible while the server is in state {state.name}")
    return following
