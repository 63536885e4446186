"""USR2 with ``upgrade_in_place``: this process becomes the version that is installed now.

exec is a way of no return, so whether the new image can start is tried first, by a process of its own that
loads the configuration and the code and leaves.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Protocol

import trio

from gunicorn.arbiter import handover
from gunicorn.arbiter.actions import SpawnChild
from gunicorn.arbiter.boot import SIGNALS, boot_seconds
from gunicorn.arbiter.handle import Handle
from gunicorn.arbiter.handover import Handover, Heir
from gunicorn.arbiter.members import Member, State, Wanted
from gunicorn.arbiter.processes import execute
from gunicorn.process.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gunicorn.arbiter.boot import Boot
    from gunicorn.arbiter.child import Child
    from gunicorn.arbiter.foundry import Foundry
    from gunicorn.arbiter.master import Master
    from gunicorn.arbiter.notify import Notifier
    from gunicorn.arbiter.roster import Roster
    from gunicorn.arbiter.timing import StopPlan

__all__ = ["InPlace", "inherit"]

#: For the trial of the new image where the boot of a worker has no limit, seconds.
CHECK_WAIT = 60.0


class Supervisor(Protocol):
    """What an upgrade in place needs of the running server."""

    server: Master
    boot: Boot
    roster: Roster
    foundry: Foundry
    notifier: Notifier
    plan: StopPlan
    stopping: trio.Event
    children: dict[int, Child]


class InPlace:
    """The replacement of the arbiter's image; at most one is tried at a time."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._is_under_way = False

    def claim(self) -> bool:
        """Whether it may be tried now; if so, it has to be ``run``."""
        supervisor = self._supervisor
        if not handover.is_possible():
            reason = "the workers are not children of this process"
        elif self._is_under_way or supervisor.boot.successor or supervisor.boot.predecessor:
            reason = "another upgrade is under way"
        elif supervisor.roster.candidate is not None:
            reason = "a reload is under way"
        else:
            self._is_under_way = True
            return True
        supervisor.server.log.warning("USR2 signal ignored: %s", reason)
        return False

    async def run(self) -> None:
        """Try the new image; if it starts, end the loop such that it takes over."""
        supervisor = self._supervisor
        supervisor.server.log.info("Upgrading in place")
        supervisor.server.call_hook("pre_exec", supervisor.server)
        supervisor.notifier.reloading()
        try:
            failure = await self._try_out()
            if failure is not None:
                supervisor.server.log.error("The upgrade failed, the server goes on as before: %s", failure)
                supervisor.notifier.unchanged(failure)
                return
            # A worker that is on its way has no name yet, and could not be handed over.
            await supervisor.foundry.be_quiet()
            self._end_the_loop()
        finally:
            self._is_under_way = False

    async def _try_out(self) -> str | None:
        """Why the new image cannot take over, or None."""
        launch = self._supervisor.boot.launch
        try:
            process = await execute(launch.argv, launch, {handover.CHECK_VARIABLE: handover.FORMAT}, ())
        except OSError as error:
            return f"{launch.argv[0]}: {error.strerror}"
        with trio.move_on_after(boot_seconds(self._supervisor.server.cfg) or CHECK_WAIT):
            status = await process.wait()
            return None if status == 0 else f"the new version ended with status {status}"
        process.kill()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await process.wait()
        return "the new version took too long to load"

    def _end_the_loop(self) -> None:
        """From here to the handlers of the next image signals wait; a mask outlives an exec."""
        supervisor = self._supervisor
        if supervisor.stopping.is_set():
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        supervisor.plan.hands_over = True
        supervisor.roster.stop()
        supervisor.stopping.set()

    def describe(self) -> Handover:
        """What the next image needs, once no task uses it any more."""
        supervisor = self._supervisor
        server, roster = supervisor.server, supervisor.roster
        return Handover(
            slots=supervisor.boot.slots.fd,
            listeners=[(listener.fileno(), listener.configured) for listener in server.LISTENERS],
            is_systemd=supervisor.boot.is_systemd,
            generation=roster.wanted.generation,
            wanted=roster.count,
            age=roster.age,
            heirs=[self._heir(child) for child in supervisor.children.values()],
            spawners=supervisor.foundry.give_away(),
        )

    def _heir(self, child: Child) -> Heir:
        order = child.order
        state = self._supervisor.roster.members[order.age].state.value
        return Heir(order.age, order.slot, order.generation, state, *child.give_away())


class Heiress(Protocol):
    """What the next image needs of its server to take over."""

    roster: Roster
    foundry: Foundry

    def adopt(self, order: SpawnChild, spawn: Callable[[SpawnChild], Awaitable[Handle]]) -> Child: ...


def inherit(supervisor: Heiress, inheritance: Handover) -> None:
    """Go on with the workers of the image before this one; the reload that replaces them is to follow."""
    heirs = inheritance.heirs
    members = [Member(heir.age, heir.slot, heir.generation, State(heir.state)) for heir in heirs]
    wanted = Wanted(inheritance.generation, inheritance.wanted)
    supervisor.roster.take_over(members, wanted, inheritance.age)
    supervisor.foundry.inherit(inheritance.spawners, [fd for fd, _ in inheritance.listeners])
    for heir in heirs:
        _adopt(supervisor, heir)


def _adopt(supervisor: Heiress, heir: Heir) -> None:
    report = Channel.from_fd(heir.report)
    report.setblocking(False)
    handle = Handle(heir.pid, report, heir.stacks, heir.pidfd)

    async def spawn(order: SpawnChild) -> Handle:
        return handle

    child = supervisor.adopt(SpawnChild(heir.slot, heir.age, heir.generation), spawn)
    if heir.state != State.BOOTING.value:
        child.is_serving_already()
    if heir.state == State.RETIRING.value:
        child.retire()
