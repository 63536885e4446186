"""Shared-memory slots: what one process writes another reads, from many threads, and nothing is lost."""

from __future__ import annotations

import math
import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.process.slots import (
    BYTES_SENT,
    CONNECTIONS,
    ERRORS,
    IN_FLIGHT,
    REQUESTS,
    Phase,
    Slots,
    SlotState,
)

ATTRIBUTES = (
    "pid",
    "generation",
    "started",
    "deadline",
    "queue_time",
    "requests",
    "errors",
    "bytes_sent",
    "in_flight",
    "connections",
)


@pytest.fixture
def slots():
    return Slots.create(4)


def other_view(slots):
    """The same memory as another process sees it."""
    return Slots.attach(os.dup(slots.fd))


def test_fresh_slot_is_free_and_all_zero(slots):
    slot = slots[3]
    assert slot.state is SlotState.FREE
    assert [getattr(slot, name) for name in ATTRIBUTES] == [0] * len(ATTRIBUTES)
    assert slot.table.snapshot() == []


def test_attributes_do_not_overlap_and_are_seen_elsewhere(slots):
    slot, seen = slots[1], other_view(slots)[1]
    slot.state = SlotState.DRAINING
    for value, name in enumerate(ATTRIBUTES, 1):
        setattr(slot, name, value)
    assert [getattr(seen, name) for name in ATTRIBUTES] == list(range(1, len(ATTRIBUTES) + 1))
    assert seen.state is SlotState.DRAINING
    assert slots[0].pid == slots[2].pid == 0


def test_never_is_a_deadline(slots):
    slots[0].deadline = math.inf
    assert other_view(slots)[0].deadline == math.inf


def test_number_of_slots_travels_with_the_descriptor(slots):
    assert len(other_view(slots)) == 4
    for number in (4, -1):
        with pytest.raises(IndexError):
            slots[number]
    assert slots[2] is slots[2]


def test_counters(slots):
    slot = slots[0]
    for amount, counter in enumerate((REQUESTS, ERRORS, BYTES_SENT, IN_FLIGHT, CONNECTIONS), 1):
        assert slot.add(counter, amount) == amount
    assert slot.add(IN_FLIGHT, -4) == 0
    assert (slot.requests, slot.errors, slot.bytes_sent, slot.in_flight, slot.connections) == (1, 2, 3, 0, 5)


def test_threads_lose_no_count_and_share_no_entry(slots):
    slot, problems = slots[0], []

    def work(name):
        for _ in range(2000):
            index = slot.table.begin(name, b"/")
            if index >= 0 and name not in {request.method for request in slot.table.snapshot()}:
                problems.append(name)
            slot.finish(index, 10)

    threads = [threading.Thread(target=work, args=(f"T{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (slot.requests, slot.bytes_sent) == (8000, 80_000)
    assert problems == []
    assert slot.table.snapshot() == []


def test_requests_in_flight_oldest_first(slots):
    table, seen = slots[0].table, other_view(slots)[0].table
    before = time.monotonic()
    first = table.begin("GET", b"/slow")
    table.begin("POST", b"/upload")
    table.advance(first, Phase.RESPONSE)
    one, two = seen.snapshot()
    assert (one.method, one.path, one.phase) == ("GET", "/slow", Phase.RESPONSE)
    assert (two.method, two.path, two.phase) == ("POST", "/upload", Phase.APP)
    assert before <= one.started <= two.started <= time.monotonic()
    table.end(first)
    assert [request.path for request in seen.snapshot()] == ["/upload"]


@given(
    st.text(st.characters(max_codepoint=0x2FF, exclude_characters="\0"), max_size=40), st.binary(max_size=400)
)
def test_long_names_are_clipped_and_leave_the_neighbours_alone(method, path):
    table = Slots.create(1)[0].table
    table.begin("HEAD", b"/before")
    table.begin(method, path)
    table.begin("HEAD", b"/after")
    before, request, after = table.snapshot()
    assert (before.path, after.path) == ("/before", "/after")
    assert request.method == method.encode("latin-1", "replace")[:16].decode("latin-1")
    assert request.path == path[:160].rstrip(b"\0").decode("latin-1")


def test_full_table_refuses_and_recovers(slots):
    table = slots[0].table
    taken = [table.begin("GET", b"/") for _ in range(64)]
    assert sorted(taken) == list(range(64))
    assert table.begin("GET", b"/") == -1
    table.advance(-1, Phase.RESPONSE)
    table.end(-1)
    assert table.begin("GET", b"/") == -1
    table.end(taken[7])
    assert table.begin("GET", b"/") == taken[7]


def test_reset_forgets_what_a_killed_worker_left(slots):
    slot = slots[0]
    slot.state, slot.pid, slot.deadline = SlotState.READY, 7, 5.0
    slot.add(REQUESTS, 9)
    for _ in range(64):
        slot.table.begin("GET", b"/")
    other_view(slots)[0].reset()
    assert (slot.state, slot.pid, slot.deadline, slot.requests) == (SlotState.FREE, 0, 0.0, 0)
    assert slot.table.snapshot() == []
    slot.reset()
    assert slot.table.begin("GET", b"/") == 0


def test_file_in_the_chosen_folder_is_unlinked(tmp_path):
    slots = Slots.create(2, str(tmp_path))
    assert os.readlink(f"/proc/self/fd/{slots.fd}").startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    slots[1].pid = 3
    assert other_view(slots)[1].pid == 3


def test_folder_that_is_not_there():
    with pytest.raises(FileNotFoundError):
        Slots.create(2, "/nonexistent")


def test_untouched_slots_cost_no_memory():
    slots = Slots.create(1024)
    slots[3].pid = 1
    assert os.fstat(slots.fd).st_blocks * 512 < 64 * 1024
