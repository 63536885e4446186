"""Real listening sockets: what can be bound, with which rights, and what is left behind."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from types import SimpleNamespace

import pytest

from gunicorn.config.sources import DEFAULT, command_line
from gunicorn.errors import ConfigError, HaltServer
from gunicorn.process import listeners as module
from gunicorn.process.listeners import (
    Listener,
    adopt,
    close_listeners,
    create_listeners,
    inherited_fds,
)

LOCAL = ("127.0.0.1", 0)


class ListLog:
    def __init__(self):
        self.lines = []

    def error(self, message, *args):
        self.lines.append(message % args)

    info = error


@pytest.fixture
def log():
    return ListLog()


def config(*addresses, umask=None, **values):
    """A configuration; ``umask`` None is that nobody has chosen one."""
    source = DEFAULT if umask is None else command_line("--umask")
    defaults = {
        "address": list(addresses), "backlog": 16, "is_ssl": False, "reuse_port": False,
        "uid": os.geteuid(), "gid": os.getegid(), "umask": umask or 0, "sources": {"umask": source},
    }  # fmt: skip
    return SimpleNamespace(**{**defaults, **values})


@pytest.fixture
def listen(log):
    """``listen(*addresses, **settings)`` opens listeners and closes them after the test."""
    opened = []

    def open_all(*addresses, fds=None, current=(), **values):
        result = create_listeners(config(*addresses, **values), log, fds, current, attempts=2)
        opened.extend(result)
        return result

    yield open_all
    close_listeners(opened, unlink=True)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 0.01)


def connects(listener):
    with socket.socket(listener.family) as client:
        client.settimeout(30)
        client.connect(listener.getsockname())
        return True


def mode(path):
    return oct(stat.S_IMODE(os.stat(path).st_mode))


@pytest.mark.parametrize(
    ("address", "tls", "text"),
    [
        (LOCAL, False, "http://127.0.0.1:{}"),
        (LOCAL, True, "https://127.0.0.1:{}"),
        (("::1", 0), False, "http://[::1]:{}"),
        (("localhost", 0), False, "http://127.0.0.1:{}"),
        (("0.0.0.0", 0), False, "http://0.0.0.0:{}"),
    ],
)
def test_tcp(listen, address, tls, text):
    (listener,) = listen(address, is_ssl=tls)
    assert str(listener) == text.format(listener.address[1])
    assert listener.is_tls is tls
    assert listener.configured == address
    assert listener.sock is listener
    assert connects(listener)


def test_options(listen):
    (listener,) = listen(LOCAL)
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    assert listener.getblocking() is False
    assert listener.get_inheritable() is False
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_accepted_connection_is_a_plain_socket(listen):
    (listener,) = listen(LOCAL)
    listener.setblocking(True)
    with socket.create_connection(listener.address), listener.accept()[0] as client:
        assert type(client) is socket.socket


def test_asyncio_takes_it_as_it_is(listen):
    (listener,) = listen(LOCAL)

    async def main():
        async def answer(reader, writer):
            writer.write(b"hello")
            writer.close()

        server = await asyncio.start_server(answer, sock=listener)
        async with server:
            reader, writer = await asyncio.open_connection(*listener.address)
            text = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return text

    assert asyncio.run(main()) == b"hello"


def test_several_binds(listen, tmp_path):
    result = listen(LOCAL, ("::1", 0), str(tmp_path / "sock"))
    assert [listener.family for listener in result] == [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX]


def test_dual_stack(listen):
    """Alone, [::] takes IPv4 too; beside 0.0.0.0 on the same port each takes its own."""
    (alone,) = listen(("::", 0))
    port = alone.address[1]
    with socket.create_connection(("127.0.0.1", port), timeout=30):
        pass
    alone.close()
    first, second = listen(("0.0.0.0", port), ("::", port))
    assert connects(first)
    assert connects(second)


def test_address_in_use_is_tried_again_then_ends_the_server(listen, log):
    (listener,) = listen(LOCAL)
    spare = Listener(LOCAL, False, socket.AF_INET)
    with spare, pytest.raises(HaltServer) as caught:
        listen(listener.address)
    assert caught.value.exit_status == 1
    assert [line for line in log.lines if "Retrying" not in line] == [
        f"Connection in use: {listener.address}",
        f"Connection in use: {listener.address}",
        f"Can't connect to {listener.address}",
    ]


def test_address_that_gets_free_meanwhile(listen, monkeypatch):
    (holder,) = listen(LOCAL)
    address = holder.address
    monkeypatch.setattr(module.time, "sleep", lambda seconds: holder.close())
    (listener,) = listen(address)
    assert connects(listener)


def test_failure_closes_what_was_opened_before(listen, tmp_path):
    (holder,) = listen(LOCAL)
    path = tmp_path / "sock"
    with pytest.raises(HaltServer):
        listen(str(path), holder.address)
    assert not path.exists()


def test_address_of_another_machine(listen, log):
    with pytest.raises(HaltServer):
        listen(("192.0.2.1", 8000))
    assert log.lines[0] == "Invalid address: ('192.0.2.1', 8000)"


def test_host_without_address_is_one_line(listen):
    with pytest.raises(ConfigError, match=r"^bind: cannot listen on \('no\.such\.host\.invalid', 8000\): "):
        listen(("no.such.host.invalid", 8000))


# Unix sockets


def test_unix(listen, tmp_path):
    path = str(tmp_path / "sock")
    (listener,) = listen(path)
    assert str(listener) == f"unix:{path}"
    assert listener.address == path
    assert connects(listener)


@pytest.mark.parametrize(
    ("umask", "expected"), [(None, "0o660"), (0, "0o777"), (0o077, "0o700"), (0o007, "0o770")]
)
def test_unix_mode(listen, tmp_path, umask, expected):
    path = str(tmp_path / "sock")
    previous = os.umask(0o022)
    try:
        listen(path, umask=umask)
        assert mode(path) == expected
        assert os.umask(0o022) == 0o022, "the process's own umask has changed"
    finally:
        os.umask(previous)


def test_unix_mode_is_right_from_the_first_moment(listen, tmp_path, monkeypatch):
    path, seen = str(tmp_path / "sock"), []
    monkeypatch.setattr(module, "chown", lambda *args: seen.append(mode(path)))
    listen(path)
    assert seen == ["0o660"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_unix_owner(listen, tmp_path):
    path = str(tmp_path / "sock")
    listen(path, uid=12345, gid=23456)
    assert (os.stat(path).st_uid, os.stat(path).st_gid) == (12345, 23456)


def test_stale_socket_file_is_replaced(listen, tmp_path):
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    (listener,) = listen(path)
    assert connects(listener)


def test_other_file_is_left_alone(listen, tmp_path):
    path = tmp_path / "sock"
    path.write_text("precious")
    with pytest.raises(ConfigError, match=rf"^bind: {path} exists and is not a socket$"):
        listen(str(path))
    assert path.read_text() == "precious"


def test_socket_of_a_living_server_is_left_alone(listen, log, tmp_path):
    path = str(tmp_path / "sock")
    (living,) = listen(path)
    with pytest.raises(HaltServer):
        listen(path)
    assert log.lines[0] == f"Connection in use: {path}"
    assert connects(living)


def test_unix_in_a_folder_that_is_not_there(listen):
    with pytest.raises(
        ConfigError, match=r"bind: cannot listen on /nonexistent/sock: No such file or directory"
    ):
        listen("/nonexistent/sock")


def test_unlink_is_asked_for_and_only_of_our_own_file(listen, tmp_path):
    path = tmp_path / "sock"
    (listener,) = listen(str(path))
    close_listeners([listener], unlink=False)
    assert path.exists()
    (first,) = listen(str(path))
    path.unlink()
    (second,) = listen(str(path))
    close_listeners([first], unlink=True)
    assert connects(second)
    close_listeners([second], unlink=True)
    assert not path.exists()


def test_abstract(listen):
    name = f"\0gunicorn-test-{os.getpid()}"
    (listener,) = listen(name)
    assert str(listener) == f"unix:@{name[1:]}"
    assert listener.address == name
    assert connects(listener)


# Inherited


def test_inherited_listening_socket_keeps_its_backlog(listen):
    with socket.create_server(LOCAL, backlog=7) as server:
        (listener,) = listen(LOCAL, fds=[os.dup(server.fileno())])
        assert listener.address == server.getsockname()
        assert connects(listener)


def test_inherited_socket_that_is_only_bound_starts_to_listen(listen):
    with socket.socket() as server:
        server.bind(LOCAL)
        (listener,) = listen(fds=[os.dup(server.fileno())])
    assert connects(listener)
    assert listener.getblocking() is False


def test_fd_bind(listen):
    with socket.create_server(LOCAL) as server:
        fd = os.dup(server.fileno())
        (listener,) = listen(fd)
    assert listener.fileno() == fd
    assert str(listener).startswith("http://127.0.0.1:")


def test_fd_that_is_no_stream_socket(listen):
    read, write = os.pipe()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(ConfigError, match=rf"^bind: fd://{datagrams.fileno()} is not a stream socket$"):
            listen(datagrams.fileno())
        with pytest.raises(ConfigError, match=rf"^bind: fd://{read} is not an open socket"):
            listen(read)
        with pytest.raises(ConfigError, match=r"^bind: fd://798 is not an open socket"):
            listen(798)
        assert datagrams.fileno() >= 0
    os.close(read)
    os.close(write)


def test_adopted_unix_socket_can_still_be_unlinked(listen, tmp_path):
    path = tmp_path / "sock"
    (listener,) = listen(str(path))
    adopted = adopt(os.dup(listener.fileno()), False)
    close_listeners([adopted], unlink=True)
    assert not path.exists()


def test_environment_of_an_upgrade(monkeypatch):
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    assert inherited_fds({"GUNICORN_FD": "5,7"}) == [5, 7]
    assert inherited_fds({}) == []
    with pytest.raises(ConfigError, match="GUNICORN_FD"):
        inherited_fds({"GUNICORN_FD": "5,x"})


def test_systemd_comes_first(monkeypatch):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert inherited_fds({"GUNICORN_FD": "9"}) == [3]


# Reload and reuse_port


def test_reload_keeps_the_listeners_whose_address_stays(listen, tmp_path):
    path, other = str(tmp_path / "a"), str(tmp_path / "b")
    first, second = listen(path, LOCAL)
    third, kept = listen(other, path, current=[first, second])
    assert kept is first
    assert third.address == other


def test_failed_reload_leaves_the_running_listeners_open(listen, tmp_path):
    (running,) = listen(str(tmp_path / "a"))
    with pytest.raises(ConfigError):
        listen(str(tmp_path / "a"), "/nonexistent/b", current=[running])
    assert connects(running)


def test_an_address_that_is_there_twice_is_kept_twice(listen):
    """Each port 0 is another port."""
    first, second = listen(LOCAL, LOCAL)
    assert listen(LOCAL, LOCAL, current=[first, second]) == [first, second]


def test_reuse_port_shares_the_port_with_other_servers(listen):
    (first,) = listen(LOCAL, reuse_port=True)
    (second,) = listen(first.address, reuse_port=True)
    assert second.address == first.address
    with pytest.raises(HaltServer):
        listen(first.address)
