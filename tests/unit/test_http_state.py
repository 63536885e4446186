"""The state machines, over every state and every input."""

from __future__ import annotations

import itertools

import pytest

from gunicorn.http import LocalProtocolError
from gunicorn.http.state import (
    CLIENT_TRANSITIONS,
    SERVER_TRANSITIONS,
    Client,
    ClientInput,
    Server,
    ServerInput,
    next_client,
    next_server,
)

CLIENT = list(itertools.product(Client, ClientInput))
SERVER = list(itertools.product(Server, ServerInput))


@pytest.mark.parametrize(("state", "symbol"), CLIENT)
def test_client_goes_to_a_state_or_refuses(state, symbol):
    expected = CLIENT_TRANSITIONS[state].get(symbol)
    if expected is None:
        with pytest.raises(LocalProtocolError, match=f"{symbol.name} is not possible .* {state.name}"):
            next_client(state, symbol)
    else:
        assert next_client(state, symbol) is expected


@pytest.mark.parametrize(("state", "symbol"), SERVER)
def test_server_goes_to_a_state_or_refuses(state, symbol):
    expected = SERVER_TRANSITIONS[state].get(symbol)
    if expected is None:
        with pytest.raises(LocalProtocolError, match=f"{symbol.name} is not possible .* {state.name}"):
            next_server(state, symbol)
    else:
        assert next_server(state, symbol) is expected


@pytest.mark.parametrize("state", Client)
def test_a_fault_ends_every_client_state(state):
    assert next_client(state, ClientInput.FAULT) is Client.ERROR


def test_nothing_leaves_the_error_and_no_response_starts_twice():
    assert set(CLIENT_TRANSITIONS[Client.ERROR].values()) == {Client.ERROR}
    assert set(SERVER_TRANSITIONS[Server.ERROR].values()) == {Server.ERROR}
    starts = [state for state, row in SERVER_TRANSITIONS.items() if ServerInput.RESPONSE in row]
    assert starts == [Server.HEAD]
    ends = [state for state, row in SERVER_TRANSITIONS.items() if row.get(ServerInput.END) is Server.DONE]
    assert ends == [Server.BODY]


def test_every_state_can_be_reached():
    assert {target for row in CLIENT_TRANSITIONS.values() for target in row.values()} == set(Client) - {
        Client.OPENING
    }
    assert {target for row in SERVER_TRANSITIONS.values() for target in row.values()} == set(Server)
