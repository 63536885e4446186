"""Who is at the other end of a unix socket, and what they may do."""

from __future__ import annotations

import enum
import socket
import struct
from typing import NamedTuple, Protocol

__all__ = ["Access", "Peer", "Rules", "peer_of"]

_UCRED = struct.Struct("3i")
# Missing in the socket module: getsockopt(2) option of Linux 4.13 for the supplementary groups of the peer.
_SO_PEERGROUPS = 59
_OPTION_LIMIT = 1024  # bytes; the most that Python's getsockopt takes

# unix(4) of macOS and the BSDs: struct xucred, at level 0 (SOL_LOCAL).
_LOCAL_PEERCRED = 1
_XUCRED = struct.Struct("=IIh2x16I")

_GROUP_WRITE, _OTHER_WRITE = 0o020, 0o002


class Access(enum.IntEnum):
    """What a peer may do."""

    NONE = 0
    LOOK = 1
    CHANGE = 2


class Peer(NamedTuple):
    """The process that connected. ``pid`` is 0 when it lives in another container."""

    pid: int
    uid: int
    groups: frozenset[int]


class Rules(NamedTuple):
    """Who may do what: the owner and root everything; others as the mode of the socket says.

    The kernel looks at the mode of a file already. An abstract socket (``gid`` None) has neither mode nor
    owner, and is open to every process of the network namespace: there this is the only check.
    """

    uid: int
    gid: int | None
    mode: int

    def access_of(self, peer: Peer | None) -> Access:
        """What ``peer`` may do; None is a peer that the system does not tell, whom the file's mode let in."""
        if peer is None:
            return Access.CHANGE if self.gid is not None else Access.NONE
        if self.gid is None and not peer.pid:
            # Root of another container that shares the network is not root here.
            return Access.NONE
        if peer.uid in (0, self.uid):
            return Access.CHANGE
        if self.gid in peer.groups and self.mode & _GROUP_WRITE:
            return Access.CHANGE
        # "Everybody" is meant for monitoring: nobody needs a server that every account may stop.
        return Access.LOOK if self.gid is not None and self.mode & _OTHER_WRITE else Access.NONE


class Options(Protocol):
    """A socket, of the standard library or of trio."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


def peer_of(connection: Options) -> Peer | None:
    """The peer; None where the system does not tell."""
    if hasattr(socket, "SO_PEERCRED"):
        pid, uid, gid = _UCRED.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        )
        return Peer(pid, uid, frozenset({gid, *_supplementary(connection)}))
    return _peer_of_bsd(connection)


def _supplementary(connection: Options) -> tuple[int, ...]:
    try:
        found = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _OPTION_LIMIT)
    except OSError:
        return ()
    return struct.unpack(f"{len(found) // 4}I", found)


def _peer_of_bsd(connection: Options) -> Peer | None:
    try:
        found = connection.getsockopt(0, _LOCAL_PEERCRED, _XUCRED.size)
        _, uid, count, *groups = _XUCRED.unpack(found)
    except (OSError, struct.error):
        return None
    return Peer(-1, uid, frozenset(groups[:count]))
