"""Who may do what on the control socket, and where it is."""

from __future__ import annotations

import os
import socket
import stat
import sys

import pytest

from gunicorn.control.credentials import Access, Peer, Rules, peer_of
from gunicorn.control.places import address_of, default_places, existing, open_socket, with_pid

OWNER = 1000


def peer(uid: int, *groups: int, pid: int = 7) -> Peer:
    return Peer(pid, uid, frozenset(groups))


@pytest.mark.parametrize(
    ("who", "mode", "access"),
    [
        (peer(OWNER), 0o600, Access.CHANGE),
        (peer(0), 0o600, Access.CHANGE),
        (peer(1001), 0o600, Access.NONE),
        (peer(1001, 50), 0o600, Access.NONE),
        (peer(1001, 50), 0o660, Access.CHANGE),
        (peer(1001, 51), 0o660, Access.NONE),
        (peer(1001), 0o666, Access.LOOK),
        (peer(1001, 50), 0o666, Access.CHANGE),
        (peer(1001), 0o644, Access.NONE),  # connecting takes write permission
        (None, 0o600, Access.CHANGE),
    ],
)
def test_access_to_a_file(who, mode, access):
    assert Rules(OWNER, 50, mode).access_of(who) is access


@pytest.mark.parametrize(
    ("who", "access"),
    [
        (peer(OWNER), Access.CHANGE),
        (peer(0), Access.CHANGE),
        (peer(1001, 50), Access.NONE),
        (peer(0, pid=0), Access.NONE),  # root of another container
        (None, Access.NONE),
    ],
)
def test_access_to_an_abstract_socket_is_for_owner_and_root_whatever_the_mode(who, access):
    assert Rules(OWNER, None, 0o666).access_of(who) is access


def test_the_peer_is_who_connected():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = peer_of(ours)
    assert found is not None
    assert (found.pid, found.uid) == (os.getpid(), os.getuid())
    assert set(found.groups) >= {os.getgid()}


# --- places ---


def connects(name: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(address_of(name)) == 0


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_file_has_its_mode_from_the_beginning(tmp_path, mode, monkeypatch):
    seen = []

    class Watched(socket.socket):
        def listen(self, backlog: int) -> None:
            # Whoever waits for the file sees it now at the earliest.
            seen.append(stat.S_IMODE(os.stat(self.getsockname()).st_mode))
            super().listen(backlog)

    monkeypatch.setattr(socket, "socket", Watched)
    opened = open_socket(str(tmp_path / "ctl"), mode)
    opened.close()
    assert seen == [mode]


def test_the_directory_is_made_for_us_alone(tmp_path):
    opened = open_socket(str(tmp_path / "a" / "b" / "ctl"), 0o600)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    opened.close()


def test_a_missing_home_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_socket(str(tmp_path / "home" / ".gunicorn" / "ctl"), 0o600, make_parents=False)
    assert list(tmp_path.iterdir()) == []


def test_a_stale_socket_is_replaced(tmp_path):
    path = str(tmp_path / "ctl")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    opened = open_socket(path, 0o600)
    assert (opened.name, opened.is_first_choice) == (path, True)
    assert connects(path)
    opened.close()
    assert not os.path.exists(path)


@pytest.mark.parametrize("place", ["file", "abstract"])
def test_a_live_socket_is_left_alone(tmp_path, place):
    if place == "abstract" and sys.platform != "linux":
        pytest.skip("abstract sockets are Linux'")
    name = str(tmp_path / "gunicorn.ctl") if place == "file" else f"@gunicorn-test-{os.getpid()}"
    first = open_socket(name, 0o600)
    second = open_socket(name, 0o600)
    assert not second.is_first_choice
    assert second.name == with_pid(name) != name
    assert str(os.getpid()) in second.name
    second.close()
    assert connects(name)
    first.close()
    assert not connects(name)


def test_only_our_own_file_is_removed(tmp_path):
    path = tmp_path / "ctl"
    opened = open_socket(str(path), 0o600)
    path.unlink()
    path.write_text("somebody else's")
    opened.close()
    assert path.read_text() == "somebody else's"


def test_a_file_that_is_no_socket_is_not_touched(tmp_path):
    path = tmp_path / "ctl"
    path.write_text("precious")
    with pytest.raises(OSError):
        open_socket(str(path), 0o600)
    assert path.read_text() == "precious"
    assert [one.name for one in tmp_path.iterdir()] == ["ctl"]


def test_a_directory_that_another_has_locked_is_no_reason_to_wait(tmp_path):
    import fcntl

    path = str(tmp_path / "gunicorn.ctl")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    holder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    opened = open_socket(path, 0o600)
    os.close(holder)
    assert opened.name == with_pid(path)
    opened.close()


def test_a_path_that_is_too_long(tmp_path):
    with pytest.raises(OSError, match="too long"):
        open_socket(str(tmp_path / ("x" * 200)), 0o600)


def test_default_places(monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/shop:/run/other")
    places = default_places("/home/me/.gunicorn/gunicorn.ctl")
    assert places[:2] == ["/home/me/.gunicorn/gunicorn.ctl", "/run/shop/gunicorn.ctl"]
    if sys.platform == "linux":
        assert places[2:] == [f"@gunicorn-{os.geteuid()}"]


def test_the_client_finds_the_place_that_has_a_server(tmp_path):
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    assert existing([first, second]) == first
    opened = open_socket(second, 0o600)
    assert existing([first, second]) == second
    opened.close()
