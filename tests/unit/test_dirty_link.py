"""A worker's link: no call is lost, whenever the signal comes that has it look for cancellations."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from gunicorn.dirty import protocol
from gunicorn.dirty.errors import DirtyCancelledError
from gunicorn.dirty.frames import Frame, FrameDecoder, Kind, pack
from gunicorn.dirty.link import WorkerLink

PATH = "m:App"


def request(number: int) -> bytes:
    return protocol.request(number, PATH, "echo", [number], {})


class Arbiter:
    """The other end of a link whose one class calls ``action``."""

    def __init__(self, action: Callable[[Arbiter, int], object]) -> None:
        self._sock, theirs = socket.socketpair()
        apps = {PATH: lambda name, number: action(self, number)}
        self._theirs = theirs
        self._is_leaving = False
        self._link = WorkerLink(theirs, apps, None, lambda: self._is_leaving)  # type: ignore[arg-type]

    def send(self, *frames: bytes) -> None:
        self._sock.sendall(b"".join(frames))

    def signal(self, *frames: bytes) -> None:
        """Send these and no more; have the worker look, as the handler of the signal does."""
        self.send(*frames)
        self._sock.shutdown(socket.SHUT_WR)
        self._link.cancel()

    def leave(self) -> None:
        """What the handler of TERM does."""
        self._is_leaving = True
        self._link.leave()

    def answers(self, *frames: bytes) -> list[object]:
        """Send these, and let the worker work until there is nothing more; what it has answered."""
        with self._sock, self._theirs:
            if frames:
                self.send(*frames)
            self._link.serve()
            self._theirs.close()
            decoder, found = FrameDecoder(), []
            while data := self._sock.recv(65536):
                found += [outcome(frame) for frame in decoder.feed(data)]
        return found


def outcome(frame: Frame) -> tuple[int, object]:
    try:
        return frame.request_id, protocol.result_of(frame)
    except DirtyCancelledError:
        return frame.request_id, "cancelled"


def test_a_call_that_arrives_with_the_signal_for_another_one_is_not_lost() -> None:
    def action(arbiter: Arbiter, number: int) -> int:
        if number == 1:
            arbiter.signal(request(2))
        return number

    assert Arbiter(action).answers(request(1)) == [(1, 1), (2, 2)]


def test_a_call_that_is_cancelled_before_it_is_begun_never_runs() -> None:
    ran = []

    def action(arbiter: Arbiter, number: int) -> int:
        ran.append(number)
        if number == 1:
            arbiter.signal(request(2), pack(Kind.CANCEL, 2), request(3))
        return number

    assert Arbiter(action).answers(request(1)) == [(1, 1), (2, "cancelled"), (3, 3)]
    assert ran == [1, 3]


@pytest.mark.parametrize("of", [1, 7])
def test_a_cancellation_is_of_its_own_call_alone(of: int) -> None:
    def action(arbiter: Arbiter, number: int) -> int:
        if number == 1:
            arbiter.signal(pack(Kind.CANCEL, of), request(2))
        return number

    first = "cancelled" if of == 1 else 1
    assert Arbiter(action).answers(request(1)) == [(1, first), (2, 2)]


def test_a_call_that_arrives_as_the_worker_leaves_is_run() -> None:
    def action(arbiter: Arbiter, number: int) -> int:
        if number == 1:
            arbiter.send(request(2))
            arbiter.leave()
        return number

    assert Arbiter(action).answers(request(1)) == [(1, 1), (2, 2)]


def test_an_idle_worker_leaves_at_once() -> None:
    arbiter = Arbiter(lambda arbiter, number: number)
    arbiter.leave()
    assert arbiter.answers() == []
