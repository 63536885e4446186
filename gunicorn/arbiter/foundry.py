"""The arbiter's side of those who fork: the root fork server and the molds.

Requests that were sent to a spawner which then died are not lost: they stay in a table until they are
answered, and are sent again to its successor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from gunicorn.arbiter.handle import SpawnError, receive, receive_pending, send
from gunicorn.arbiter.handover import Spawning
from gunicorn.arbiter.orders import MoldError, Orders, Request, disown
from gunicorn.process.channel import Channel, ChannelClosed
from gunicorn.process.messages import Hello, Listeners, MoldReady, Reopen, Spawn, StartMold

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gunicorn.arbiter.actions import SpawnChild
    from gunicorn.arbiter.handle import Handle
    from gunicorn.arbiter.log import Log
    from gunicorn.process.messages import Message

__all__ = ["Foundry", "MoldError", "Process"]

#: First and longest pause before a fork server is started again that died right after its start, seconds.
RESTART_FIRST, RESTART_LIMIT = 0.1, 30.0
#: Pause before lost requests are repeated, seconds.
RETRY = 1.0


class Process(Protocol):
    """A child process of the arbiter that is no worker."""

    @property
    def pid(self) -> int: ...
    async def wait(self) -> object: ...


@attrs.define(eq=False)
class Mold:
    """A spawner of one generation, and the task that listens to it."""

    channel: Channel
    listening: trio.CancelScope = attrs.Factory(trio.CancelScope)


class Foundry:
    """Asks for workers and molds.

    Args:
        root: Channel to the root fork server. Owned from now on.
        process: The root fork server.
        restart: Starts another root by exec; its channel and process.
        root_generation: The generation whose workers the root itself forks; None when each needs a mold.
    """

    def __init__(
        self,
        root: Channel,
        process: Process,
        *,
        restart: Callable[[], Awaitable[tuple[Channel, Process]]],
        root_generation: int | None,
        log: Log,
    ) -> None:
        root.setblocking(False)
        self._root = root
        self._process = process
        self._restart = restart
        self._root_generation = root_generation
        self._log = log
        self._molds: dict[int, Mold] = {}
        self._mold_fds: dict[int, tuple[int, ...]] = {}
        self._inherited: set[int] = set()
        self._relics: list[Channel] = []
        self._orders = Orders()
        self._nursery: trio.Nursery
        self._running = trio.CancelScope()
        self._stopped = trio.Event()

    # --- requests ---

    @property
    def is_forking(self) -> bool:
        """Whether there may be a child of ours whose pid is not known yet."""
        return bool(self._orders.workers)

    @property
    def pid(self) -> int:
        """Process id of the root fork server."""
        return self._process.pid

    def already_sent(self, message: Spawn | StartMold, fds: Sequence[int] = ()) -> None:
        """``message`` was written to the root's channel before the event loop was there."""
        request = Request(message, tuple(fds))
        if isinstance(message, Spawn):
            self._orders.workers[message.age] = request
        else:
            self._mold_fds[message.generation] = request.fds
            self._orders.molds[message.generation] = request

    async def spawn(self, order: SpawnChild) -> Handle:
        """A new worker process.

        Raises:
            SpawnError: it could not be made.
        """
        request = self._orders.workers.get(order.age)
        if request is None:
            if order.generation != self._root_generation and order.generation not in self._mold_fds:
                raise _unwanted(order.generation)
            request = self._orders.workers[order.age] = Request(
                Spawn(order.slot, order.age, order.generation)
            )
            await self._send_order(request)
        try:
            await request.answered.wait()
        except trio.Cancelled:
            # Too late for the fork server to hear of it: when its answer comes, nobody waits and the worker
            # is ended.
            if request.handle is not None:
                disown(request.handle)
            raise
        finally:
            del self._orders.workers[order.age]
        if isinstance(request.error, SpawnError):
            raise request.error
        assert request.handle is not None
        return request.handle

    async def start_mold(self, generation: int, fds: Sequence[int]) -> None:
        """Have a mold for ``generation``, which holds the listeners ``fds``.

        Raises:
            MoldError: it could not load what it needs.
        """
        self._mold_fds[generation] = tuple(fds)
        request = self._orders.molds.get(generation)
        if request is None:
            request = self._orders.molds[generation] = Request(StartMold(generation), tuple(fds))
            await self._send(self._root, request)
        try:
            await request.answered.wait()
        finally:
            self._orders.molds.pop(generation, None)
        if request.error is not None:
            raise request.error

    def promote(self, generation: int) -> None:
        """Workers come from ``generation`` now: no other mold is replaced when it dies."""
        self._mold_fds = {g: fds for g, fds in self._mold_fds.items() if g == generation}
        if generation != self._root_generation:
            self._root_generation = None

    def close_unwanted_molds(self) -> None:
        """Close molds of generations without workers; where molds reap, they see their workers go first."""
        for generation in [g for g in self._molds if g not in self._mold_fds]:
            self._drop_mold(generation)
        if not self._inherited & self._molds.keys():
            # The end of a root is the end of its molds: it must outlive them.
            for channel in self._relics:
                channel.close()
            self._relics.clear()

    def retire_mold(self, generation: int) -> None:
        """Close one mold."""
        self._mold_fds.pop(generation, None)
        self._drop_mold(generation)

    async def reopen_logs(self) -> None:
        """Have all spawners reopen their log files, for the workers to come."""
        for channel in [self._root, *(mold.channel for mold in self._molds.values())]:
            await self._tell(channel, Reopen())

    async def hold(self, fds: Sequence[int]) -> None:
        """Have the root hold these listeners and no others."""
        await self._tell(self._root, Listeners(), tuple(fds))

    async def be_quiet(self) -> None:
        """Wait until there is no request that is not answered."""
        while requests := self._orders.all():
            await requests[0].answered.wait()
            await trio.lowlevel.checkpoint()

    def give_away(self) -> list[Spawning]:
        """The channels of all spawners, for the next image of this process; they are not ours any more."""
        given = [Spawning(generation, mold.channel.detach()) for generation, mold in self._molds.items()]
        given += [Spawning(0, channel.detach()) for channel in self._relics]
        given.append(Spawning(self._root_generation or 0, self._root.detach()))
        self._molds.clear()
        self._relics.clear()
        return given

    def inherit(self, spawners: Sequence[Spawning], fds: Sequence[int]) -> None:
        """Take over what another image has given away; ``fds`` are the listeners of its generation."""
        for generation, fd in spawners:
            channel = Channel.from_fd(fd)
            if generation:
                self._inherited.add(generation)
                self._mold_fds[generation] = tuple(fds)
                self._add_mold(generation, channel)
            else:
                self._relics.append(channel)

    async def close(self) -> None:
        """End all spawners: they leave at the end of their channels. Returns when the root has."""
        self._running.cancel()
        await self._stopped.wait()
        self._root.close()
        await self._process.wait()

    # --- the task ---

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen to the spawners, and replace the root when it dies, until closed or cancelled."""
        try:
            with self._running:
                async with trio.open_nursery() as self._nursery:
                    task_status.started()
                    await self._keep_root()
        finally:
            for channel in [*(mold.channel for mold in self._molds.values()), *self._relics]:
                channel.close()
            self._stopped.set()

    async def _keep_root(self) -> None:
        pause = RESTART_FIRST
        while True:
            started = trio.current_time()
            await self._hear(self._root)
            self._log.error("Fork server (pid:%s) is gone; starting another one.", self._process.pid)
            if trio.current_time() - started > RESTART_LIMIT:
                pause = RESTART_FIRST
            await self._succeed(pause)
            pause = min(pause * 2, RESTART_LIMIT)

    async def _succeed(self, pause: float) -> None:
        self._root.close()
        await self._process.wait()
        await trio.sleep(pause)
        try:
            self._root, self._process = await self._restart()
        except OSError as error:
            # The closed channel reads as its end: the next turn of the loop tries again, later.
            self._log.error("The fork server cannot be started: %s", error)
            return
        self._root.setblocking(False)
        await self._repeat_requests()

    async def _repeat_requests(self) -> None:
        """Ask again for what has not been answered. Should both answers come, the second worker is ended."""
        for request in self._orders.all():
            if isinstance(request.message, StartMold):
                await self._send(self._root, request)
            else:
                await self._send_order(request)

    async def _hear(self, channel: Channel) -> None:
        """Take messages until the channel ends."""
        if channel.fileno() < 0:
            return
        while True:
            try:
                self._take(*await receive(channel))
            except ChannelClosed:
                return
            except OSError as error:
                # Out of descriptors: the message is lost, and the worker in it sees the end of its channel.
                self._log.error("A message of the fork server is lost: %s", error)
                await trio.sleep(RETRY)
                await self._repeat_requests()

    def _take(self, message: Message, fds: list[int]) -> None:
        if isinstance(message, MoldReady):
            self._take_mold(message, fds)
        elif isinstance(message, Hello):
            self._log.debug("Fork server with pid: %s", message.pid)
        else:
            self._orders.take(message, fds)

    def _take_mold(self, message: MoldReady, fds: list[int]) -> None:
        channel = Channel.from_fd(fds[0])
        if message.generation not in self._mold_fds:
            # Its reload was superseded while it loaded.
            channel.close()
            return
        self._add_mold(message.generation, channel)
        request = self._orders.molds.get(message.generation)
        if request is not None:
            request.answer()

    def _add_mold(self, generation: int, channel: Channel) -> None:
        channel.setblocking(False)
        self._molds[generation] = mold = Mold(channel)
        self._nursery.start_soon(self._serve_mold, generation, mold)

    async def _serve_mold(self, generation: int, mold: Mold) -> None:
        """Listen to a mold; start another one when it dies while its generation is wanted."""
        try:
            with mold.listening:
                for request in self._orders.of_generation(generation):
                    await self._send_order(request)
                await self._hear(mold.channel)
        finally:
            mold.channel.close()
        if self._molds.get(generation) is not mold:
            # It was dropped, and what it has not made by now will never be.
            self._refuse(generation)
            return
        del self._molds[generation]
        if generation not in self._mold_fds:
            return
        self._log.error("The mold of generation %s is gone; starting another one.", generation)
        pause = RESTART_FIRST
        while generation in self._mold_fds and generation not in self._molds:
            pause = await self._revive(generation, pause)

    async def _revive(self, generation: int, pause: float) -> float:
        await trio.sleep(pause)
        try:
            if generation in self._mold_fds:
                await self.start_mold(generation, self._mold_fds[generation])
        except MoldError as error:
            self._log.error("The mold of generation %s cannot load: %s", generation, error.reason)
        return min(pause * 2, RESTART_LIMIT)

    # --- steps ---

    async def _send_order(self, request: Request) -> None:
        generation = request.message.generation
        if generation == self._root_generation:
            await self._send(self._root, request)
        elif generation in self._molds:
            await self._send(self._molds[generation].channel, request)

    async def _send(self, channel: Channel, request: Request) -> None:
        await self._tell(channel, request.message, request.fds)

    async def _tell(self, channel: Channel, message: Message, fds: tuple[int, ...] = ()) -> None:
        if channel.fileno() < 0:
            # Between two roots: requests are repeated to the next one.
            return
        try:
            await send(channel, message, fds)
        except ChannelClosed:
            # Whoever listens to this channel sees its end too, and acts.
            return

    def _drop_mold(self, generation: int) -> None:
        """End a mold. It tells of the workers that it has made by now, which are for their tasks to stop: the
        end of a channel would leave them to find out by themselves, beside those that take their place.
        """
        mold = self._molds.pop(generation, None)
        if mold is None:
            self._refuse(generation)
        elif not mold.channel.finish():
            self._hear_last_words(mold.channel)
            mold.listening.cancel()

    def _refuse(self, generation: int) -> None:
        for request in self._orders.of_generation(generation):
            if not request.answered.is_set():
                request.answer(_unwanted(generation))

    def _hear_last_words(self, channel: Channel) -> None:
        try:
            while (pending := receive_pending(channel)) is not None:
                self._take(*pending)
        except (ChannelClosed, OSError):
            return


def _unwanted(generation: int) -> SpawnError:
    return SpawnError(1, f"generation {generation} is not wanted any more")
