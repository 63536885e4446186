"""What control asks the dirty arbiter, over the same socket and with the same messages as anybody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import trio

from gunicorn.control.operations import RefusedError
from gunicorn.dirty import tlv
from gunicorn.dirty.errors import DirtyError
from gunicorn.dirty.frames import FrameDecoder, Kind, pack
from gunicorn.dirty.protocol import ManageOp, result_of
from gunicorn.dirty.specs import parse_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["PoolLink"]

#: For the two kinds of answers, seconds.
STATUS_WAIT = 2.0
MANAGE_WAIT = 10.0
_CHUNK = 1 << 16
_OPERATIONS = {"add": ManageOp.ADD, "remove": ManageOp.REMOVE}


class Service(Protocol):
    """The dirty arbiter as a child of ours."""

    @property
    def pid(self) -> int: ...


class PoolLink:
    """The dirty arbiter, asked anew each time: it may be another process by then.

    Args:
        service: Knows its process id.
        path: Its socket.
        apps: ``dirty_apps`` as configured now.
    """

    def __init__(self, service: Service, path: str, apps: Callable[[], Sequence[str]]) -> None:
        self._service = service
        self._path = path
        self._apps = apps

    @property
    def pid(self) -> int:
        """Process id of the dirty arbiter; 0 while there is none."""
        return self._service.pid

    async def status(self) -> dict[str, Any]:
        """Workers and apps; none when it does not answer."""
        try:
            status = await self._ask(pack(Kind.STATUS, 1), STATUS_WAIT)
        except RefusedError:
            return {"workers": [], "apps": []}
        workers = status.get("workers", [])
        return {"workers": workers, "apps": self._describe(workers)}

    async def manage(self, action: str, count: int) -> dict[str, Any]:
        """More workers (``add``) or fewer (``remove``)."""
        payload = tlv.encode({"op": int(_OPERATIONS[action]), "count": count})
        try:
            return await self._ask(pack(Kind.MANAGE, 1, payload), MANAGE_WAIT)
        except RefusedError as error:
            return {"success": False, "error": str(error)}

    def _describe(self, workers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        found = []
        for spec in parse_all(self._apps()):
            pids = [worker["pid"] for worker in workers if spec.path in worker["apps"]]
            app = {"import_path": spec.path, "worker_count": spec.limit}
            found.append({**app, "current_workers": len(pids), "worker_pids": pids})
        return found

    async def _ask(self, question: bytes, seconds: float) -> dict[str, Any]:
        """One question on a connection of its own.

        Raises:
            RefusedError: there is no answer.
        """
        try:
            with trio.fail_after(seconds):
                async with await trio.open_unix_socket(self._path) as stream:
                    await stream.send_all(question)
                    return await _answer(stream)
        except trio.TooSlowError:
            raise RefusedError(f"the dirty arbiter did not answer within {seconds:g} s") from None
        except (OSError, trio.BrokenResourceError, DirtyError) as error:
            raise RefusedError(f"the dirty arbiter did not answer: {error}") from error


async def _answer(stream: trio.SocketStream) -> dict[str, Any]:
    decoder = FrameDecoder()
    while data := await stream.receive_some(_CHUNK):
        for frame in decoder.feed(bytes(data)):
            result: dict[str, Any] = result_of(frame)
            return result
    raise RefusedError("the dirty arbiter closed the connection")
