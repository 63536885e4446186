"""The table that one image of the arbiter leaves to the next."""

from __future__ import annotations

import os

import pytest

from gunicorn.arbiter import handover
from gunicorn.arbiter.handover import Handover, Heir, Spawning
from gunicorn.arbiter.launch import Launch
from gunicorn.errors import ConfigError


@pytest.fixture
def descriptors():
    """Enough open descriptors, closed at the end."""
    fds = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
    yield fds
    for fd in fds:
        os.close(fd)


def table(fds: list[int]) -> Handover:
    return Handover(
        slots=fds[0],
        listeners=[(fds[1], ("127.0.0.1", 80)), (fds[2], "/run/app.socket"), (fds[3], "\0name")],
        is_systemd=False,
        generation=3,
        wanted=2,
        age=9,
        heirs=[Heir(8, 0, 3, "ready", 4711, *fds[4:7])],
        spawners=[Spawning(3, fds[7])],
    )


def test_what_is_left_is_what_arrives(descriptors, monkeypatch):
    left = table(descriptors)
    for fd in left.descriptors():
        os.set_inheritable(fd, True)
    monkeypatch.setenv(handover.VARIABLE, str(left.store()))
    assert handover.receive() == left
    assert not any(os.get_inheritable(fd) for fd in left.descriptors())
    assert handover.receive() is None


def test_channels_are_not_for_other_processes(descriptors):
    assert set(table(descriptors).channels()) == set(descriptors[4:])


@pytest.mark.parametrize("value", ["x", "-1", "999999", "0x7"])
def test_a_variable_of_somebody_else_is_refused(monkeypatch, value):
    monkeypatch.setenv(handover.VARIABLE, value)
    with pytest.raises(ConfigError, match="GUNICORN_HANDOVER is set by Gunicorn itself; unset it"):
        handover.receive()


def test_who_is_started_later_does_not_take_it_for_its_own(monkeypatch):
    monkeypatch.setenv(handover.VARIABLE, "7")
    monkeypatch.setenv(handover.CHECK_VARIABLE, handover.FORMAT)
    assert not [name for name in Launch.capture().environ if name.startswith("GUNICORN_HANDOVER")]
