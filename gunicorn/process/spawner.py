"""The loop of a process that forks workers: the root fork server, or a mold."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NoReturn

from gunicorn.errors import HaltServer
from gunicorn.process import birth, lineage, mold, signals, stacks
from gunicorn.process.brood import Brood, Watch
from gunicorn.process.channel import Channel, ChannelClosed
from gunicorn.process.listeners import close_listeners
from gunicorn.process.messages import (
    Exited,
    Listeners,
    Message,
    MoldFailed,
    MoldReady,
    Reopen,
    Spawn,
    Spawned,
    SpawnFailed,
    StartMold,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gunicorn.process.slots import Slot
    from gunicorn.process.workshop import Workshop

__all__ = ["Spawner"]

_WORKERS_LEAVE = 1.5  # seconds from end of file to SIGKILL for workers...
_MOLDS_LEAVE = 1.9  # ...and for molds, which first have to do the same for theirs


class Spawner:
    """Serves one channel: requests in, processes out. Leaves when the channel ends.

    Args:
        retirable: For a mold. Its channel also ends when its generation is no longer needed, which is no
            reason to kill
            workers that are still draining; only the end of the arbiter is.
    """

    def __init__(self, workshop: Workshop, channel: Channel, *, retirable: bool = False) -> None:
        self.workshop = workshop
        self.channel = channel
        self._patient = retirable and workshop.arbiter_pidfd is not None
        signals.ignore_all()
        self._watch = Watch()
        self._brood = Brood(self._watch)
        self._molds: set[int] = set()
        self._unready: dict[int, tuple[int, Channel]] = {}
        self._worker_class: Any = None
        self._open = True
        self._handlers: dict[type[Message], Callable[[Any, list[int]], None]] = {
            Spawn: self._spawn,
            StartMold: self._start_mold,
            Listeners: lambda message, fds: workshop.hold(fds),
            Reopen: lambda message, fds: workshop.log.reopen_files(),
        }

    def serve(self) -> None:
        """Returns when the channel has ended and all children are gone."""
        self._watch.add(self.channel.fileno(), self._on_message)
        try:
            while self._open:
                self._watch.turn(None)
        except ChannelClosed:
            # An answer met the end of the channel before the loop did.
            self._open = False
        self._leave()

    def _on_message(self) -> None:
        log = self.workshop.log
        try:
            message, fds = self.channel.receive()
        except ChannelClosed:
            self._open = False
            return
        except (OSError, ValueError) as error:
            log.error("Fork server: cannot take a message: %s", error)
            return
        try:
            self._handlers[type(message)](message, fds)
        except ChannelClosed:
            raise
        except Exception:
            # A log file that cannot be reopened, or a listener that is none, must not cost the fork server.
            log.exception("Fork server: cannot serve %s", message)

    def _answer(self, message: Message, fds: Sequence[int] = ()) -> None:
        if self._open:
            self.channel.send(message, fds)

    # Workers

    def _spawn(self, message: Spawn, fds: list[int]) -> None:
        try:
            slot, server = self.workshop.slots[message.slot], self.workshop.view()
            worker = self._build(message, server)
        except (Exception, SystemExit, HaltServer) as error:  # noqa: BLE001 - the user's worker class and hook
            code = error.exit_status if isinstance(error, HaltServer) else 1
            self._answer(SpawnFailed(message.slot, message.age, code, birth.one_line(error)))
            return
        try:
            self._deliver(message, worker, slot, server)
        except OSError as error:
            reason = f"cannot fork: {error.strerror or error}"
            self._answer(SpawnFailed(message.slot, message.age, 1, reason))

    def _build(self, message: Spawn, server: birth.ServerView) -> Any:
        """The worker object, made before the fork because ``pre_fork`` gets it."""
        shop = self.workshop
        parent = shop.arbiter if lineage.are_adopted() else os.getpid()
        try:
            worker_class = self._load_worker_class()
            worker = worker_class(
                message.age, parent, list(shop.listeners), shop.app, shop.cfg.timeout / 2, shop.cfg, shop.log
            )
            shop.cfg.pre_fork(server, worker)
        except Exception:
            shop.log.exception("Cannot make a worker")
            raise
        return worker

    def _load_worker_class(self) -> Any:
        if self._worker_class is None:
            worker_class = self.workshop.cfg.worker_class
            if hasattr(worker_class, "check_config"):
                worker_class.check_config(self.workshop.cfg, self.workshop.log)
            self._worker_class = worker_class
        return self._worker_class

    def _deliver(self, message: Spawn, worker: Any, slot: Slot, server: birth.ServerView) -> None:
        """Fork. What may fail was done before: an exception would make the new process a second spawner."""
        arbiters_end, workers_end = Channel.pair()
        stacks_out, stacks_in = stacks.make_pipe()
        try:
            birth.flush_stdio()
            pid, pidfds = self._fork()
            if pid == 0:
                os.close(stacks_out)
                birth.live(
                    worker, slot, birth.Reports(workers_end, stacks_in), server, message.generation,
                    lambda: self._release(arbiters_end),
                )  # fmt: skip
            self._answer(
                Spawned(message.slot, message.age, pid), [arbiters_end.fileno(), stacks_out, *pidfds]
            )
        finally:
            # Copies that stayed here would keep the end of a worker, and of the arbiter, from being seen.
            arbiters_end.close()
            workers_end.close()
            os.close(stacks_out)
            os.close(stacks_in)

    def _fork(self) -> tuple[int, list[int]]:
        """The new worker's pid, 0 in itself, and the pidfd for the arbiter if that is its parent."""
        if not lineage.are_adopted():
            pid = lineage.fork_child(default_signals=True)
            if pid:
                self._brood.add_own(pid, lambda pid, status: self._answer(Exited(pid, status)))
            return pid, []
        child = lineage.fork_adopted()
        if child is None:
            return 0, []
        self._brood.add_adopted(child)
        return child.pid, [child.pidfd]

    # Molds

    def _start_mold(self, message: StartMold, fds: list[int]) -> None:
        try:
            arbiters_end, molds_end = Channel.pair()
            birth.flush_stdio()
            pid = lineage.fork_child(default_signals=False)
        except OSError as error:
            self._answer(MoldFailed(message.generation, 1, f"cannot fork: {error.strerror}"))
            return
        if pid == 0:
            self._be_mold(message, fds, arbiters_end, molds_end)
        molds_end.close()
        for fd in fds:
            os.close(fd)
        self._molds.add(pid)
        self._unready[pid] = message.generation, arbiters_end
        self._watch.add(arbiters_end.fileno(), lambda: self._on_mold(pid))
        self._brood.add_own(pid, self._on_mold_end)

    def _be_mold(
        self, message: StartMold, fds: list[int], arbiters_end: Channel, molds_end: Channel
    ) -> NoReturn:
        def release() -> None:
            self._release(arbiters_end, is_mold=True)

        def serve() -> None:
            Spawner(self.workshop, molds_end, retirable=True).serve()

        mold.live(self.workshop, molds_end, message.generation, fds, release, serve)

    def _on_mold(self, pid: int) -> None:
        """Pass a mold's first word on; until then the arbiter's end of its channel stays here to hear it."""
        _, arbiters_end = self._unready[pid]
        self._watch.remove(arbiters_end.fileno())
        try:
            message, _ = arbiters_end.receive()
        except ChannelClosed:
            # Its exit status says why, in a moment.
            return
        del self._unready[pid]
        fds = [arbiters_end.fileno()] if isinstance(message, MoldReady) else []
        try:
            self._answer(message, fds)
        finally:
            arbiters_end.close()

    def _on_mold_end(self, pid: int, status: int) -> None:
        self._molds.discard(pid)
        if pid in self._unready:
            self._on_mold(pid)  # its last word may be waiting still
        if pid not in self._unready:
            return
        generation, arbiters_end = self._unready.pop(pid)
        arbiters_end.close()
        code = os.waitstatus_to_exitcode(status)
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        self._answer(
            MoldFailed(generation, max(code, 1), f"the process that was loading it ended with {how}")
        )

    # The end

    def _release(self, arbiters_end: Channel, *, is_mold: bool = False) -> None:
        """In a forked process: close all that is the spawner's, and the end that the arbiter will get."""
        arbiters_end.close()
        self.channel.close()
        self._brood.release()
        if not is_mold and self.workshop.arbiter_pidfd is not None:
            os.close(self.workshop.arbiter_pidfd)
        for _, arbiters_end in self._unready.values():
            arbiters_end.close()

    def _leave(self) -> None:
        """No orphans: what does not leave by itself, because it is stuck, is killed."""
        self._watch.remove(self.channel.fileno())
        self.channel.close()
        for _, arbiters_end in self._unready.values():
            self._watch.remove(arbiters_end.fileno())
            arbiters_end.close()
        self._unready.clear()
        close_listeners(self.workshop.listeners, unlink=False)
        if self._patient:
            self._outlive_workers()
        end = time.monotonic()
        if not self._brood.wait(end + _WORKERS_LEAVE):
            self._brood.kill(spare=frozenset(self._molds))
            self._brood.wait(end + _MOLDS_LEAVE)
            self._brood.kill()

    def _outlive_workers(self) -> None:
        """A retired mold stays as long as its workers, in case the arbiter dies before they have drained."""
        arbiter = self.workshop.arbiter_pidfd
        assert arbiter is not None
        lives = [True]
        self._watch.add(arbiter, lives.clear)
        while self._brood and lives:
            self._watch.turn(None)
        self._watch.remove(arbiter)
