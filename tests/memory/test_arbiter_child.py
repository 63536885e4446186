"""One worker's task, in memory: fake processes, real channels, a clock that jumps."""

from __future__ import annotations

import json
import logging
import math
import signal

import pytest
import trio
import trio.testing

from gunicorn.arbiter.actions import ChildExit, SpawnChild
from gunicorn.arbiter.ageing import Limits
from gunicorn.arbiter.child import ABORT_WAIT, BOOTING_WAIT, Child
from gunicorn.arbiter.death import Cause
from gunicorn.arbiter.handle import SpawnError
from gunicorn.arbiter.timing import StopPlan, Timing
from gunicorn.process import memory
from gunicorn.process.channel import Channel
from gunicorn.process.messages import BootFailed, WorkerLeaving, WorkerReady
from gunicorn.process.slots import Slots
from gunicorn.process.stacks import STACK_SIGNAL

GRACEFUL = 30.0


class FakeProcess:
    """A process that notes its signals and ends when told to, or by a signal that it does not survive."""

    def __init__(self, pid: int = 77, survives: tuple[int, ...] = ()) -> None:
        self.pid = pid
        self.report, self.worker = Channel.pair()
        self.report.setblocking(False)
        self.survives = survives
        self.signals: list[tuple[int, float]] = []
        self.ended: ChildExit | None = None
        self.gone = trio.Event()
        self.stacks = 'File "stuck.py", line 1 in loop'
        self.crash = ""

    async def dump_stacks(self) -> str:
        self.signals.append((STACK_SIGNAL, trio.current_time()))
        return self.stacks

    def read_stacks(self) -> str:
        return self.crash

    async def wait(self) -> ChildExit:
        await self.gone.wait()
        return self.ended

    def send_signal(self, number: int) -> None:
        self.signals.append((number, trio.current_time()))
        if number not in self.survives:
            self.end(ChildExit(signal=number))

    def end(self, ended: ChildExit) -> None:
        if self.ended is None:
            self.ended = ended
            self.gone.set()

    def close(self) -> None:
        self.report.close()
        self.worker.close()


class Stage:
    """Runs one child and notes what its observer hears."""

    def __init__(
        self,
        process: FakeProcess | SpawnError,
        spawn_time: float = 0.0,
        liveness: float = 10.0,
        limits: Limits | None = None,
    ) -> None:
        self.process = process
        self.spawn_time = spawn_time
        self.slots = Slots.create(1)
        self.slot = self.slots[0]
        self.slot.deadline = trio.current_time() + liveness
        self.plan = StopPlan()
        self.heard: list[object] = []
        self.out_of_memory: bool | None = None
        self.child = Child(
            SpawnChild(0, 1, 1),
            self.slot,
            spawn=self.spawn,
            observer=self,
            plan=self.plan,
            timing=Timing(liveness=liveness, graceful=GRACEFUL, boot=liveness),
            log=logging.getLogger("test.child"),
            clock=trio.current_time,
            limits=limits or Limits(),
            out_of_memory=lambda: self.out_of_memory,
        )

    async def spawn(self, order: SpawnChild) -> FakeProcess:
        await trio.sleep(self.spawn_time)
        if isinstance(self.process, SpawnError):
            raise self.process
        return self.process

    def child_spawned(self, child: Child) -> None:
        self.heard.append("spawned")

    def child_ready(self, child: Child) -> None:
        self.heard.append("ready")

    def child_leaving(self, child: Child, reason: str) -> None:
        self.heard.append(reason)

    def child_exited(self, child: Child, ended: ChildExit) -> None:
        self.heard.append(ended)


@pytest.fixture
def clock(autojump_clock):
    return autojump_clock


@pytest.mark.trio
async def test_a_life_without_trouble(clock):
    stage = Stage(FakeProcess())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.child.run)
        stage.process.worker.send(WorkerReady())
        stage.process.worker.send(WorkerLeaving("max_requests"))
        await trio.sleep(1)
        assert stage.heard == ["spawned", "ready", "max_requests"]
        stage.process.end(ChildExit(code=0))
    assert stage.heard[-1] == ChildExit(code=0)


@pytest.mark.trio
async def test_a_worker_that_cannot_be_made_is_reported(clock):
    stage = Stage(SpawnError(1, "cannot fork"))
    await stage.child.run()
    assert stage.heard == [ChildExit(code=1, reason="cannot fork")]


@pytest.mark.trio
async def test_last_words_before_the_exit_are_heard(clock):
    stage = Stage(FakeProcess())
    stage.process.worker.send(BootFailed(4, "no such attribute"))
    stage.process.end(ChildExit(code=4))
    await stage.child.run()
    assert stage.heard == ["spawned", ChildExit(code=4, reason="no such attribute")]


@pytest.mark.trio
async def test_silence_is_answered_with_abrt_then_kill(clock, caplog):
    stage = Stage(FakeProcess(survives=(signal.SIGABRT,)), liveness=10)
    await stage.child.run()
    assert stage.process.signals == [
        (STACK_SIGNAL, 10.0),
        (signal.SIGABRT, 10.0),
        (signal.SIGKILL, 10.0 + ABORT_WAIT),
    ]
    assert stage.heard[-1] == ChildExit(signal=signal.SIGKILL, timed_out=True)
    assert "WORKER TIMEOUT (pid:77)" in caplog.text
    assert "out of memory" not in caplog.text
    assert stage.child.death.cause is Cause.BOOT_TIMEOUT
    assert stage.child.death.stacks == stage.process.stacks


@pytest.mark.trio
async def test_the_requests_of_a_silent_worker_are_logged(clock, caplog):
    stage = Stage(FakeProcess(), liveness=10)
    stage.slot.table.begin("GET", b"/slow\x1b[2J")
    await stage.child.run()
    assert "GET /slow\\x1b[2J" in caplog.text


@pytest.mark.trio
async def test_a_worker_that_beats_lives_on(clock):
    stage = Stage(FakeProcess(), liveness=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.child.run)
        for _ in range(10):
            await trio.sleep(6)
            stage.slot.deadline = trio.current_time() + 10
        assert stage.process.signals == []
        stage.process.end(ChildExit(code=0))


@pytest.mark.trio
async def test_a_boot_without_deadline_gets_one_when_ready(clock):
    stage = Stage(FakeProcess(), liveness=10)
    stage.slot.deadline = math.inf
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.child.run)
        await trio.sleep(1000)
        stage.slot.deadline = trio.current_time() + 10
        stage.process.worker.send(WorkerReady())
    assert stage.process.signals[:2] == [(STACK_SIGNAL, 1010.0), (signal.SIGABRT, 1010.0)]


@pytest.mark.trio
async def test_after_a_suspend_workers_get_one_grace_period():
    clock = trio.testing.MockClock()

    async def scenario() -> None:
        stage = Stage(FakeProcess(), liveness=10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.child.run)
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(1000)
            await trio.testing.wait_all_tasks_blocked()
            assert stage.process.signals == []
            clock.jump(10)
            await trio.testing.wait_all_tasks_blocked()
            assert [number for number, _ in stage.process.signals] == [STACK_SIGNAL, signal.SIGABRT]

    await _run_with(clock, scenario)


async def _run_with(clock: trio.testing.MockClock, scenario) -> None:
    """A run of its own in a thread: the clock of a run is chosen at its start."""
    await trio.to_thread.run_sync(lambda: trio.run(scenario, clock=clock))


@pytest.mark.trio
async def test_retirement_is_term_and_then_patience(clock):
    stage = Stage(FakeProcess(survives=(signal.SIGTERM,)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.child.run)
        stage.process.worker.send(WorkerReady())
        await trio.sleep(5)
        stage.child.retire()
    killed = 5.0 + GRACEFUL
    assert stage.process.signals == [(signal.SIGTERM, 5.0), (STACK_SIGNAL, killed), (signal.SIGKILL, killed)]
    assert stage.child.death.cause is Cause.STUCK


@pytest.mark.trio
async def test_a_worker_that_never_served_gets_less_patience(clock):
    stage = Stage(FakeProcess(survives=(signal.SIGTERM,)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.child.run)
        await trio.sleep(5)
        stage.child.retire()
    assert stage.process.signals[0] == (signal.SIGTERM, 5.0)
    assert stage.process.signals[-1] == (signal.SIGKILL, 5.0 + BOOTING_WAIT)
    assert stage.child.death is None


@pytest.mark.trio
async def test_the_shared_deadline_bounds_a_retirement_that_is_under_way(clock):
    stage = Stage(FakeProcess(survives=(signal.SIGTERM, signal.SIGQUIT)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.child.run)
        stage.process.worker.send(WorkerReady())
        await trio.sleep(5)
        stage.child.retire()
        await trio.sleep(1)
        stage.plan.signal, stage.plan.deadline = signal.SIGQUIT, 8.0
        stage.child.hurry()
    assert stage.process.signals == [
        (signal.SIGTERM, 5.0),
        (signal.SIGQUIT, 6.0),
        (STACK_SIGNAL, 8.0),
        (signal.SIGKILL, 8.0),
    ]


@pytest.mark.trio
async def test_a_stop_waits_for_a_worker_that_is_being_made(clock):
    """It may answer requests before the arbiter knows its pid; killing it would lose them."""
    stage = Stage(FakeProcess(), spawn_time=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.child.run)
        await trio.sleep(1)
        stage.plan.deadline = 20.0
        stage.child.hurry()
        nursery.cancel_scope.cancel()
    assert stage.process.signals == [(signal.SIGTERM, 3.0)]


@pytest.mark.trio
async def test_a_spawner_that_never_answers_does_not_hold_the_stop_up(clock):
    stage = Stage(FakeProcess(), spawn_time=1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.child.run)
        await trio.sleep(1)
        stage.plan.deadline = 20.0
        stage.child.hurry()
        nursery.cancel_scope.cancel()
    assert trio.current_time() == 20.0
    assert stage.process.signals == []
    stage.process.close()


@pytest.mark.trio
async def test_logs_are_reopened_once_the_worker_has_the_handler(clock):
    stage = Stage(FakeProcess(survives=(signal.SIGUSR1,)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.child.run)
        await trio.sleep(1)
        stage.child.reopen_logs()
        await trio.sleep(1)
        assert stage.process.signals == []
        stage.process.worker.send(WorkerReady())
        await trio.sleep(1)
        assert stage.process.signals == [(signal.SIGUSR1, 2.0)]
        stage.process.end(ChildExit(code=0))


@pytest.mark.trio
@pytest.mark.parametrize(
    ("out_of_memory", "cause", "said"),
    [
        (True, Cause.OUT_OF_MEMORY, "Out of memory: the kernel killed it"),
        (False, Cause.KILLED, "somebody sent it"),
        (None, Cause.KILLED_OR_OUT_OF_MEMORY, "Perhaps out of memory?"),
    ],
)
async def test_a_kill_is_explained_as_far_as_the_kernel_tells(clock, caplog, out_of_memory, cause, said):
    stage = Stage(FakeProcess())
    stage.out_of_memory = out_of_memory
    stage.process.worker.send(WorkerReady())
    stage.process.end(ChildExit(signal=signal.SIGKILL))
    await stage.child.run()
    assert stage.child.death.cause is cause
    assert "Worker (pid:77) was sent SIGKILL!" in caplog.text
    assert said in caplog.text


@pytest.mark.trio
@pytest.mark.parametrize(
    ("ended", "ready", "cause"),
    [
        (ChildExit(signal=signal.SIGSEGV), True, Cause.SIGNAL),
        (ChildExit(code=7), True, Cause.EXIT),
        (ChildExit(code=7), False, Cause.BOOT),
        (ChildExit(code=0), True, None),
        (ChildExit(signal=signal.SIGTERM), True, None),
    ],
)
async def test_every_end_that_was_not_planned_is_one_record(clock, caplog, ended, ready, cause):
    stage = Stage(FakeProcess())
    stage.process.crash = 'Fatal Python error\n  File "native.py", line 3 in call'
    if ready:
        stage.process.worker.send(WorkerReady())
    stage.process.end(ended)
    await stage.child.run()
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == (cause is not None)
    if cause is not None:
        record = stage.child.death.as_dict()
        assert record["cause"] == cause.value
        assert json.loads(json.dumps(record)) == record
        assert 'File "native.py", line 3 in call' in caplog.text


@pytest.mark.trio
async def test_a_child_that_is_handed_over_is_not_touched(clock):
    stage = Stage(FakeProcess())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.child.run)
        stage.process.worker.send(WorkerReady())
        await trio.sleep(1)
        stage.plan.hands_over = True
        nursery.cancel_scope.cancel()
    assert stage.process.signals == []
    assert stage.heard == ["spawned", "ready"]
    assert stage.slot.deadline > 0
    stage.process.close()


class Grower:
    """Stands for the kernel: what each look at the memory of the worker finds, in bytes."""

    def __init__(self, monkeypatch, *sizes: int) -> None:
        self.sizes = list(sizes)
        monkeypatch.setattr(memory, "measure", self.measure)

    def measure(self, pid: int) -> memory.Memory:
        size = self.sizes.pop(0) if len(self.sizes) > 1 else self.sizes[0]
        return memory.Memory(private=size, resident=10 * size)


@pytest.mark.trio
async def test_a_worker_asks_to_be_replaced_once_when_it_is_too_big(clock, monkeypatch):
    Grower(monkeypatch, 50 << 20, 90 << 20, 101 << 20)
    stage = Stage(FakeProcess(), liveness=1e9, limits=Limits(memory=100 << 20))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.child.run)
        stage.process.worker.send(WorkerReady())
        await trio.sleep(10 * memory.CHECK_EVERY)
        stage.process.end(ChildExit(code=0))
    assert stage.heard[1:3] == ["ready", "max_worker_memory (101.0 MB private)"]
    assert len(stage.heard) == 4


@pytest.mark.trio
async def test_a_limit_that_no_worker_can_keep_is_said_once_and_kills_nobody(clock, monkeypatch, caplog):
    Grower(monkeypatch, 101 << 20)
    limits = Limits(memory=100 << 20)
    for _ in range(3):
        stage = Stage(FakeProcess(), liveness=1e9, limits=limits)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.child.run)
            stage.process.worker.send(WorkerReady())
            await trio.sleep(10 * memory.CHECK_EVERY)
            stage.process.end(ChildExit(code=0))
        assert stage.heard == ["spawned", "ready", ChildExit(code=0)]
    assert caplog.text.count("cannot be kept") == 1


@pytest.mark.trio
async def test_a_worker_asks_to_be_replaced_when_its_time_is_over(clock):
    stage = Stage(FakeProcess(), liveness=1e9, limits=Limits(lifetime=100, jitter=10))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.child.run)
        await trio.sleep(1000)  # the time of a boot does not count
        stage.process.worker.send(WorkerReady())
        await trio.sleep(99)
        assert stage.heard == ["spawned", "ready"]
        await trio.sleep(12)
        assert stage.heard[-1] == "max_worker_lifetime"
        stage.process.end(ChildExit(code=0))
