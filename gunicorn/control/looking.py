"""The commands that look: the data of their answers.

The names and fields that every ``gunicornc`` knows are fixed; more fields may be added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.control.arguments import count_of, pid_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gunicorn.control.operations import Operations, WorkerState

    Data = dict[str, Any]

_CONFIG = (
    *("bind", "workers", "worker_class", "threads", "timeout", "graceful_timeout", "keepalive"),
    *("max_requests", "max_requests_jitter", "worker_connections", "preload_app", "daemon", "pidfile"),
    *("proc_name", "reload", "dirty_workers", "dirty_apps", "dirty_timeout"),
    *("control_socket", "control_socket_disable"),
)


async def show_all(operations: Operations, args: Sequence[str]) -> Data:
    web = [{"pid": w.pid, "type": "web", **_classic(w), **_more(w)} for w in _by_age(operations)]
    dirty = await _dirty_status(operations)
    pid, workers = dirty["pid"], dirty["workers"]
    return {
        "arbiter": {"pid": operations.pid, "type": "arbiter", "role": "master"},
        "web_workers": web,
        "web_worker_count": len(web),
        "dirty_arbiter": pid and {"pid": pid, "type": "dirty_arbiter", "role": "dirty master"},
        "dirty_workers": workers,
        "dirty_worker_count": len(workers),
    }


async def show_workers(operations: Operations, args: Sequence[str]) -> Data:
    workers = [{"pid": w.pid, **_classic(w), "aborted": w.aborted, **_more(w)} for w in _by_age(operations)]
    return {"workers": workers, "count": len(workers)}


async def show_dirty(operations: Operations, args: Sequence[str]) -> Data:
    return await _dirty_status(operations)


async def show_config(operations: Operations, args: Sequence[str]) -> Data:
    values = {name: getattr(operations.config, name) for name in _CONFIG}
    return {name: _plain(value) for name, value in values.items()}


async def show_stats(operations: Operations, args: Sequence[str]) -> Data:
    stats, dirty = operations.stats(), operations.dirty
    data = {**stats._asdict(), "uptime": round(stats.uptime, 2)}
    workers = operations.workers()
    return {
        **data,
        "dirty_arbiter_pid": dirty.pid if dirty is not None else None,
        "requests": sum(w.requests for w in workers),
        "in_flight": sum(w.in_flight for w in workers),
    }


async def show_listeners(operations: Operations, args: Sequence[str]) -> Data:
    listeners = [listener._asdict() for listener in operations.listeners()]
    return {"listeners": listeners, "count": len(listeners)}


async def show_requests(operations: Operations, args: Sequence[str]) -> Data:
    requests = sorted(operations.requests(), key=lambda request: -request.age)
    shown = [{**request._asdict(), "age": round(request.age, 3)} for request in requests]
    return {"requests": shown, "count": len(shown)}


async def show_deaths(operations: Operations, args: Sequence[str]) -> Data:
    deaths = list(operations.deaths())
    wanted = count_of(args, default=10)
    return {"deaths": deaths[-wanted:], "count": len(deaths)}


async def show_generations(operations: Operations, args: Sequence[str]) -> Data:
    generations = [generation._asdict() for generation in operations.generations()]
    return {"generations": generations, "count": len(generations)}


async def show_load(operations: Operations, args: Sequence[str]) -> Data:
    """Everything that a live view draws, of one moment."""
    config = operations.config
    return {
        "name": config.proc_name,
        "worker_class": config.worker_class_str,
        "stats": await show_stats(operations, ()),
        "workers": (await show_workers(operations, ()))["workers"],
        "requests": (await show_requests(operations, ()))["requests"][:64],
        "listeners": (await show_listeners(operations, ()))["listeners"],
        "deaths": len(operations.deaths()),
        "dirty": await _dirty_status(operations),
    }


async def stack(operations: Operations, args: Sequence[str]) -> Data:
    if args and args[0].lower() == "all":
        pids = [worker.pid for worker in _by_age(operations)]
    else:
        pids = [pid_of(args, "stack")]
    stacks = await operations.stacks(pids)
    return {"stacks": [{"pid": pid, "stack": stacks[pid]} for pid in pids]}


# --- values ---


def _by_age(operations: Operations) -> list[WorkerState]:
    return sorted(operations.workers(), key=lambda worker: worker.age)


def _classic(worker: WorkerState) -> Data:
    beat = worker.last_heartbeat
    return {
        "age": worker.age,
        "booted": worker.booted,
        "last_heartbeat": None if beat is None else round(beat, 2),
    }


def _more(worker: WorkerState) -> Data:
    return {
        "slot": worker.slot,
        "generation": worker.generation,
        "state": worker.state,
        "uptime": round(worker.uptime, 2),
        "requests": worker.requests,
        "errors": worker.errors,
        "in_flight": worker.in_flight,
        "connections": worker.connections,
        "bytes_sent": worker.bytes_sent,
        "queue_time": round(worker.queue_time, 3),
        "memory": worker.memory,
    }


async def _dirty_status(operations: Operations) -> Data:
    if operations.dirty is None:
        return {"enabled": False, "pid": None, "workers": [], "apps": []}
    status = await operations.dirty.status()
    return {"enabled": True, "pid": operations.dirty.pid, "workers": [], "apps": [], **status}


def _plain(value: Any) -> Any:
    """A setting as JSON has it; a class shows as its text."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
