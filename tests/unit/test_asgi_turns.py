"""Requests that come all at once begin a few at a time, each connection in its turn."""

from __future__ import annotations

from gunicorn.workers.asgi.turns import AT_ONCE, Turns


class Loop:
    def __init__(self):
        self.soon = []

    def call_soon(self, callback):
        self.soon.append(callback)

    def turn(self):
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Connection:
    def __init__(self, number, taken, then=None):
        self.number = number
        self.taken = taken
        self.then = then

    def take_turn(self):
        self.taken.append(self.number)
        if self.then is not None:
            self.then()


def test_those_who_wait_begin_in_their_order_and_not_all_at_once():
    loop, taken = Loop(), []
    turns = Turns(loop)
    for number in range(3 * AT_ONCE - 1):
        turns.wait(Connection(number, taken))
    sizes = []
    while loop.soon:
        assert len(loop.soon) == 1
        loop.turn()
        sizes.append(len(taken))
    assert sizes == [AT_ONCE, 2 * AT_ONCE, 3 * AT_ONCE - 1]
    assert taken == list(range(3 * AT_ONCE - 1))


def test_one_who_comes_while_another_has_its_turn_is_not_forgotten():
    loop, taken = Loop(), []
    turns = Turns(loop)
    turns.wait(Connection(1, taken, then=lambda: turns.wait(Connection(2, taken))))
    while loop.soon:
        loop.turn()
    assert taken == [1, 2]
