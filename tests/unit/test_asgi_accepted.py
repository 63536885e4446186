"""The sockets of accepted connections, as loops take them."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from gunicorn.workers.asgi.acceptor import _Accepted


def test_its_family_and_type_are_numbers_that_equal_the_members():
    with socket.socket() as plain:
        accepted = _Accepted(int(plain.family), int(plain.type), plain.proto, plain.detach())
        with accepted:
            assert (accepted.family, accepted.type) == (socket.AF_INET, socket.SOCK_STREAM)
            assert type(accepted.family) is type(accepted.type) is int


@pytest.mark.parametrize(("module", "end"), [("asyncio", "closed"), ("uvloop", "detached")])
def test_a_loop_closes_its_descriptor_once(module, end):
    loop = pytest.importorskip(module).new_event_loop()
    left, right = socket.socketpair(socket.AF_UNIX)
    ends = []

    class Noted(_Accepted):
        __slots__ = ()

        def detach(self):
            ends.append("detached")
            return super().detach()

        def close(self):
            ends.append("closed")
            super().close()

    with right:
        accepted = Noted(int(left.family), int(left.type), left.proto, left.detach())
        fd = accepted.fileno()

        async def serve():
            transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, accepted)
            transport.close()

        loop.run_until_complete(serve())
        assert right.recv(1) == b""
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    # uvloop closes the descriptor itself, and would close that of somebody else if it closed this one, too.
    assert ends[0] == end
    assert accepted.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
