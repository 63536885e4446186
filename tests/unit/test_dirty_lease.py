"""A lease: every state with every event, what is shut down, and that no message is lost or read twice."""

from __future__ import annotations

import itertools
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.dirty.frames import HANDED, FrameDecoder, Kind
from gunicorn.dirty.handing import receive_into
from gunicorn.dirty.lease import STEPS, Event, Lease, State
from gunicorn.dirty.line import CALLS, MOST, QUICK, Habit

ORDER = [State.OPEN, State.ENDING, State.CUT, State.OVER]


class Line:
    """Both ends of the line of a lease, as worker and caller get them."""

    def __init__(self) -> None:
        self.lease = Lease()
        handed = self.lease.order().handed
        assert handed is not None
        self.worker = socket.socket(fileno=handed.detach())
        self.caller = self._granted()
        for end in (self.worker, self.caller):
            end.setblocking(False)

    def _granted(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.lease.grant(ours, 7)
            decoder = FrameDecoder()
            receive_into(theirs, decoder)
        frame = decoder.next_frame()
        assert frame is not None
        assert (frame.kind, frame.request_id) == (Kind.LEASE, 7)
        assert frame.handed is not None
        return socket.socket(fileno=frame.handed.detach())

    def write(self, data: bytes) -> bool:
        """Whether the caller's message was taken."""
        try:
            return self.caller.send(data) == len(data)
        except BrokenPipeError:
            return False

    def read(self) -> bytes | None:
        """What the worker finds: nothing yet (None), bytes, or the end (none)."""
        try:
            return self.worker.recv(64)
        except BlockingIOError:
            return None

    def close(self) -> None:
        self.lease.take(Event.RETURNED)
        self.worker.close()
        self.caller.close()


@pytest.fixture
def line() -> Line:
    line = Line()
    yield line
    line.close()


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_event_in_every_state(state: State, event: Event) -> None:
    after, shut = STEPS[state, event]
    assert ORDER.index(after) >= ORDER.index(state), "a lease never comes back"
    assert (after is State.OVER) == (event is Event.RETURNED or state is State.OVER)
    if after is state:
        assert shut is None, "done once"
    if state is State.CUT or event is Event.RETURNED:
        assert shut is None
    if after is State.CUT and state is not State.CUT:
        assert shut == socket.SHUT_RDWR


def test_what_was_written_before_is_read_and_answered(line: Line) -> None:
    assert line.write(b"one")
    line.lease.take(Event.RECALLED)
    assert not line.write(b"two")
    assert line.read() == b"one"
    line.worker.send(b"answer")
    assert line.caller.recv(64) == b"answer"
    assert line.read() == b""


def test_after_a_cut_the_caller_knows_at_once_and_the_worker_answers_nobody(line: Line) -> None:
    assert line.write(b"one")
    line.lease.take(Event.RECALLED)
    line.lease.take(Event.DROPPED)
    assert line.caller.recv(64) == b""
    assert line.read() == b"one"
    with pytest.raises(BrokenPipeError):
        line.worker.send(b"late")
    assert line.read() == b""


def test_a_worker_that_ends_its_side_refuses_the_rest(line: Line) -> None:
    """What a worker does that leaves."""
    assert line.write(b"one")
    line.worker.shutdown(socket.SHUT_RD)
    assert not line.write(b"two")
    assert (line.read(), line.read()) == (b"one", b"")


@given(st.lists(st.sampled_from(["write", "read", "recall", "drop", "leave"]), max_size=30))
def test_every_message_is_either_read_once_or_refused(steps: list[str]) -> None:
    line, taken, found = Line(), [], b""
    for number, step in enumerate(steps):
        if step == "write" and line.write(bytes([number])):
            taken.append(number)
        elif step == "read":
            found += line.read() or b""
        elif step == "recall":
            line.lease.take(Event.RECALLED)
        elif step == "drop":
            line.lease.take(Event.DROPPED)
        elif step == "leave":
            line.worker.shutdown(socket.SHUT_RD)
    while data := line.read():
        found += data
    line.close()
    assert list(found) == taken


def test_a_lease_that_is_over_holds_no_descriptor(line: Line) -> None:
    line.worker.close()
    line.lease.take(Event.RETURNED)
    assert not line.write(b"one")
    line.lease.take(Event.RECALLED)
    assert line.lease.state is State.OVER


def test_the_frame_of_a_lease_has_its_flag() -> None:
    decoder = FrameDecoder()
    [frame] = decoder.feed(bytes.fromhex("474401") + bytes([Kind.LEASE | HANDED]) + bytes(12))
    assert frame.handed is None, "it came without the descriptor that it announces"


# When a client asks


def asked(
    habit: Habit, calls: int, *, apart: float = 0.0, path: str = "m:A", start: float = 5.0
) -> list[int]:
    """After which of so many calls it is time to ask."""
    return [number for number in range(1, calls + 1) if habit.called(path, start + number * apart)]


def test_asking_takes_calls_in_a_row() -> None:
    assert asked(Habit(), 3 * (CALLS + 1)) == [CALLS + 1, 2 * (CALLS + 1), 3 * (CALLS + 1)]


def test_calls_to_many_classes_are_no_row() -> None:
    habit = Habit()
    assert not any(habit.called(path, 5.0) for _ in range(100) for path in ("m:A", "m:B"))


def test_slow_calls_go_the_usual_way() -> None:
    assert asked(Habit(), 1000, apart=2 * QUICK) == []
    assert asked(Habit(), CALLS + 1, apart=QUICK / 2) == [CALLS + 1]


def test_refusals_make_patient() -> None:
    habit, times = Habit(), []
    for _ in range(9):
        times.append(next(n for n in itertools.count(1) if habit.called("m:A", 5.0)))
        habit.answered(granted=False)
    assert times[:3] == [CALLS + 1, 2 * CALLS + 1, 4 * CALLS + 1]
    assert times[-1] == times[-2] == MOST + 1
    habit.answered(granted=True)
    assert asked(habit, CALLS + 1) == [CALLS + 1]
