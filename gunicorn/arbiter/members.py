"""What the roster keeps of each child, and what it wants of all."""

from __future__ import annotations

import enum

import attrs

__all__ = ["Member", "State", "Wanted"]


class State(enum.Enum):
    """What the roster knows of a child."""

    BOOTING = "booting"
    READY = "ready"
    RETIRING = "retiring"


@attrs.define
class Member:
    """One child, from the request to spawn it until its exit."""

    age: int
    slot: int
    generation: int
    state: State = State.BOOTING
    ready_at: float = 0.0
    leaving: bool = False


@attrs.frozen
class Wanted:
    """``count`` workers of ``generation``."""

    generation: int
    count: int
