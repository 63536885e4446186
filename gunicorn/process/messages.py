"""What the arbiter, the spawners and the workers say to each other: one frozen class per message.

A message is one JSON object in one SOCK_SEQPACKET datagram. JSON and not pickle: a datagram can be read in a
trace, and nothing that arrives can run code.
"""

from __future__ import annotations

import json
from typing import NamedTuple, get_args

__all__ = [
    "BootFailed",
    "Exited",
    "Hello",
    "Listeners",
    "Message",
    "MoldFailed",
    "MoldReady",
    "Reopen",
    "Spawn",
    "SpawnFailed",
    "Spawned",
    "StartMold",
    "WorkerLeaving",
    "WorkerReady",
    "decode",
    "encode",
]


class Hello(NamedTuple):
    """A fork server that was started by exec is at work."""

    pid: int


class StartMold(NamedTuple):
    """Fork a clone that loads ``generation``. Descriptors: its listeners; none means those of the root."""

    generation: int


class MoldReady(NamedTuple):
    """The mold has loaded all that it needs. Descriptor: its channel."""

    generation: int
    pid: int


class MoldFailed(NamedTuple):
    """The mold could not load its configuration or application; it is gone."""

    generation: int
    exit_code: int
    reason: str


class Spawn(NamedTuple):
    """Fork one worker into ``slot``; ``age`` is the server-wide running number of workers."""

    slot: int
    age: int
    generation: int


class Spawned(NamedTuple):
    """The worker exists. Descriptors: its report channel, the pipe of its stacks, then (Linux) its pidfd."""

    slot: int
    age: int
    pid: int


class SpawnFailed(NamedTuple):
    """No process could be made. A server whose first worker this was ends with ``exit_code``."""

    slot: int
    age: int
    exit_code: int
    reason: str


class Exited(NamedTuple):
    """A worker ended (only where it is the spawner's child). ``status`` as from ``os.waitpid``."""

    pid: int
    status: int


class Reopen(NamedTuple):
    """Reopen the log files, so that workers forked later write to the new ones."""


class Listeners(NamedTuple):
    """Hold these listeners instead of those held so far. Descriptors: the listeners, maybe none.

    A spawner that kept the listeners of a retired generation would keep their ports in LISTEN with nobody to
    accept.
    """


class WorkerReady(NamedTuple):
    """The application is loaded and the worker serves."""


class WorkerLeaving(NamedTuple):
    """The worker would like to be replaced (``max_requests`` and the like); it serves until it gets TERM."""

    reason: str


class BootFailed(NamedTuple):
    """The worker ends with ``exit_code`` without having been ready."""

    exit_code: int
    reason: str


Message = (
    Hello | StartMold | MoldReady | MoldFailed | Spawn | Spawned | SpawnFailed | Exited | Reopen | Listeners
    | WorkerReady | WorkerLeaving | BootFailed
)  # fmt: skip

_CLASSES: dict[str, type[Message]] = {cls.__name__: cls for cls in get_args(Message)}


def encode(message: Message) -> bytes:
    """The datagram that carries ``message``."""
    return json.dumps({"type": type(message).__name__, **message._asdict()}).encode()


def decode(datagram: bytes) -> Message:
    """The message in ``datagram``.

    Raises:
        ValueError: not one of ours.
    """
    fields = json.loads(datagram)
    try:
        return _CLASSES[fields.pop("type")](**fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a message: {datagram[:80]!r}") from error
