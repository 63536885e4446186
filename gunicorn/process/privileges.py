"""Owners of processes and files."""

from __future__ import annotations

import os

__all__ = ["chown", "set_owner_process"]


def set_owner_process(uid: int, gid: int, initgroups: bool = False) -> None:
    """Become ``uid`` and ``gid`` for good; the group first, since only root may change it.

    Raises:
        PermissionError: the process may not change to them.
    """
    if (uid, gid) != (os.geteuid(), os.getegid()) or initgroups:
        if os.geteuid() == 0:
            # Otherwise root's supplementary groups would stay, and with them all that they may read.
            os.setgroups(_groups_of(uid, gid) if initgroups else [gid])
        os.setgid(gid)
        os.setuid(uid)


def _groups_of(uid: int, gid: int) -> list[int]:
    import pwd

    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        # A number without a name, as containers have: no database says more than the group.
        return [gid]


def chown(path: str, uid: int, gid: int) -> None:
    """Give a file to the configured user and group, if it is not theirs.

    Raises:
        PermissionError: only root may give files away.
    """
    status = os.stat(path)
    if (status.st_uid, status.st_gid) != (uid, gid):
        os.chown(path, uid, gid)
