"""The commands that change the server: each answers when it has happened, with its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.control.arguments import count_of, pid_of, worth_waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gunicorn.control.operations import Operations, Scaled

    Data = dict[str, Any]


async def worker_add(operations: Operations, args: Sequence[str]) -> Data:
    return _scaled("added", await operations.scale(count_of(args)))


async def worker_remove(operations: Operations, args: Sequence[str]) -> Data:
    return _scaled("removed", await operations.scale(-count_of(args)))


async def worker_kill(operations: Operations, args: Sequence[str]) -> Data:
    pid = pid_of(args, "worker kill")
    gone = await operations.kill(pid)
    return {"success": True, "killed": pid, "gone": gone}


async def worker_retire(operations: Operations, args: Sequence[str]) -> Data:
    pid = pid_of(args, "worker retire")
    gone = await operations.retire(pid)
    return {"success": True, "retired": pid, "gone": gone}


async def dirty_add(operations: Operations, args: Sequence[str]) -> Data:
    return await _dirty_manage(operations, "add", count_of(args))


async def dirty_remove(operations: Operations, args: Sequence[str]) -> Data:
    return await _dirty_manage(operations, "remove", count_of(args))


async def reload(operations: Operations, args: Sequence[str]) -> Data:
    if not args:
        # At once: loading a large application would outlast the patience of older clients.
        operations.reload()
        return {"status": "reloading"}
    if args[0] not in ("--wait", "wait") or len(args) > 2:
        raise ValueError(f"reload takes --wait [SECONDS], not {' '.join(args)!r}")
    generation = await operations.reload_and_wait(worth_waiting(args))
    return {"status": "reloaded", "generation": generation}


async def drain(operations: Operations, args: Sequence[str]) -> Data:
    remaining = await operations.drain()
    return {"status": "draining" if remaining else "drained", "remaining": remaining}


async def reopen(operations: Operations, args: Sequence[str]) -> Data:
    operations.reopen()
    return {"status": "reopening"}


async def shutdown(operations: Operations, args: Sequence[str]) -> Data:
    mode = args[0].lower() if args else "graceful"
    if mode not in ("graceful", "quick"):
        # A mistyped "quick" must not be the other thing.
        raise ValueError(f"shutdown is graceful or quick, not {args[0]!r}")
    operations.shut_down(quick=mode == "quick")
    return {"status": "shutting_down", "mode": mode}


# --- values ---


def _scaled(verb: str, scaled: Scaled) -> Data:
    return {
        verb: abs(scaled.total - scaled.previous),
        "previous": scaled.previous,
        "total": scaled.total,
        "serving": scaled.serving,
        "done": scaled.done,
    }


async def _dirty_manage(operations: Operations, action: str, count: int) -> Data:
    if operations.dirty is None:
        return {"success": False, "error": "Dirty arbiter not running"}
    return await operations.dirty.manage(action, count)
