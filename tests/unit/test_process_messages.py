"""Messages and the channel: what goes in comes out, at the other end, with its descriptors."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.process import messages
from gunicorn.process.channel import Channel, ChannelClosed
from gunicorn.process.messages import BootFailed, MoldFailed, Reopen, Spawn, WorkerLeaving, WorkerReady

BY_TYPE = {"int": st.integers(-(2**63), 2**63), "str": st.text(max_size=400)}
MESSAGES = st.one_of(
    st.builds(cls, **{name: BY_TYPE[kind.__forward_arg__] for name, kind in cls.__annotations__.items()})
    for cls in get_args(messages.Message)
)


@pytest.fixture
def pair():
    ours, theirs = Channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


@given(MESSAGES)
def test_round_trip(message):
    assert messages.decode(messages.encode(message)) == message


@pytest.mark.parametrize(
    "datagram",
    [b"", b"{}", b"[]", b"1", b'{"type": "Spawn"}', b'{"type": "Config"}', b"\xff", b'{"type": []}'],
)
def test_what_is_no_message_is_a_value_error(datagram):
    with pytest.raises(ValueError):
        messages.decode(datagram)


@given(st.lists(MESSAGES, min_size=1, max_size=5))
def test_messages_arrive_whole_and_in_order(sent):
    ours, theirs = Channel.pair()
    for message in sent:
        ours.send(message)
    assert [theirs.receive() for _ in sent] == [(message, []) for message in sent]
    ours.close()
    theirs.close()


@given(st.sampled_from([BootFailed, MoldFailed]), st.text(min_size=1, max_size=8), st.integers(700, 9000))
def test_long_reason_is_clipped_to_fit(cls, text, times):
    ours, theirs = Channel.pair()
    values = {"reason": text * times, "exit_code": 3, "generation": 1}
    message = cls(**{name: values[name] for name in cls._fields})
    ours.send(message)
    received, _ = theirs.receive()
    if received != message:
        assert received.reason.endswith("...")
        assert message.reason.startswith(received.reason[:-3])
        assert len(received.reason) > 600
    ours.close()
    theirs.close()


def test_descriptors_arrive_closed_on_exec(pair):
    ours, theirs = pair
    read, write = os.pipe()
    ours.send(Reopen(), [read, write])
    os.close(read)
    os.close(write)
    message, (read, write) = theirs.receive()
    assert message == Reopen()
    os.write(write, b"through")
    assert os.read(read, 10) == b"through"
    for fd in (read, write):
        assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        os.close(fd)


def test_as_many_descriptors_as_the_kernel_takes(pair):
    ours, theirs = pair
    ours.send(Reopen(), [ours.fileno()] * 253)
    _, fds = theirs.receive()
    assert len(set(fds)) == 253
    for fd in fds:
        os.close(fd)


def test_closed_peer(pair):
    ours, theirs = pair
    ours.send(WorkerReady())
    ours.close()
    assert theirs.receive() == (WorkerReady(), [])
    with pytest.raises(ChannelClosed):
        theirs.receive()
    with pytest.raises(ChannelClosed):
        theirs.send(WorkerReady())


def test_non_blocking_channel_that_is_empty_or_full(pair):
    ours, theirs = pair
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.receive()
    with pytest.raises(BlockingIOError):  # noqa: PT012 - how many fit is the kernel's affair
        while True:
            theirs.send(WorkerLeaving("x" * 500))
    assert ours.receive()[0] == WorkerLeaving("x" * 500)


def test_descriptors_of_a_foreign_datagram_are_closed():
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    read, write = os.pipe()
    with left, right:
        socket.send_fds(left, [b"what?"], [write])
        os.close(write)
        with pytest.raises(ValueError):
            Channel(right).receive()
        assert os.read(read, 1) == b"", "somebody still holds the other end"
    os.close(read)


def test_descriptor_number_of_something_else_is_refused():
    read, write = os.pipe()
    with pytest.raises(OSError) as caught:
        Channel.from_fd(read)
    assert caught.value.errno == errno.ENOTSOCK
    os.close(read)
    os.close(write)


def test_taken_over_by_number():
    ours, theirs = Channel.pair()
    taken = Channel.from_fd(theirs.detach())
    ours.send(Spawn(1, 2, 3))
    assert taken.receive()[0] == Spawn(1, 2, 3)
    taken.close()
    ours.close()
