"""The control server against clients of every kind, in memory: deadlines pass at once."""

from __future__ import annotations

import json
import struct
from contextlib import asynccontextmanager

import pytest
import trio
from controlled import FakeServer, memory_log
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from gunicorn.control import server as module
from gunicorn.control.credentials import Access, Peer
from gunicorn.control.protocol import FrameReader, Request, encode_request
from gunicorn.control.server import CONNECTIONS, ControlServer, Settings

pytestmark = pytest.mark.trio
STRANGER = Peer(7, 1001, frozenset())


@pytest.fixture
def fake() -> FakeServer:
    return FakeServer()


@pytest.fixture
def log():
    return memory_log()


@pytest.fixture
def control(fake, log) -> ControlServer:
    return ControlServer(fake, lambda: Settings(None, readonly=fake.readonly), log)


@pytest.fixture(autouse=True)
def _writable(fake):
    fake.readonly = False


class Client:
    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.reader = FrameReader()

    async def ask(self, command: str, *args: str, identity: object = 1) -> dict:
        await self.stream.send_all(encode_request(Request(identity, command, args)))
        return await self.answer()

    async def answer(self) -> dict:
        while (found := self.reader.next_frame()) is None:
            data = await self.stream.receive_some(1 << 16)
            assert data, "the server closed the connection"
            self.reader.receive_data(bytes(data))
        return found

    async def is_closed(self) -> bool:
        try:
            return await self.stream.receive_some(1) == b""
        except trio.BrokenResourceError:
            return True


@asynccontextmanager
async def client(control: ControlServer, nursery: trio.Nursery, access=Access.CHANGE, peer=STRANGER):
    ours, theirs = memory_stream_pair()

    async def serve() -> None:
        async with theirs:
            await control.serve(theirs, peer, access)

    nursery.start_soon(serve)
    async with ours:
        yield Client(ours)


async def test_many_commands_on_one_connection(control, nursery):
    async with client(control, nursery) as one:
        for identity in (1, "two", None, {"any": ["value"]}):
            reply = await one.ask("show generations", identity=identity)
            assert reply["id"] == identity
            assert reply["status"] == "ok"
            assert reply["data"]["count"] == 1


async def test_mistakes_do_not_end_the_conversation(control, nursery):
    async with client(control, nursery) as one:
        assert await one.ask("bogus") == {
            "id": 1,
            "status": "error",
            "error": "Invalid argument: Unknown command: bogus",
        }
        assert (await one.ask(""))["error"] == "Empty command"
        assert (await one.ask("help"))["status"] == "ok"


async def test_what_failed_is_said(control, nursery, fake):
    fake.reload_fails = "no module named shop"
    async with client(control, nursery) as one:
        assert (await one.ask("reload --wait"))["error"] == "Command failed: no module named shop"


async def test_a_bug_in_a_command_ends_neither_server_nor_connection(control, nursery, fake, log):
    fake.table = [None]
    async with client(control, nursery) as one:
        assert (await one.ask("show workers"))["error"].startswith("Command failed: ")
        assert (await one.ask("help"))["status"] == "ok"
    assert "show workers" in log.lines[0]


# --- permissions ---


async def test_a_stranger_is_refused_with_a_reason(control, nursery, fake):
    async with client(control, nursery, Access.NONE) as one:
        for command in ("help", "shutdown"):
            reply = await one.ask(command)
            assert reply["error"] == "Command failed: uid 1001 may not use this control socket"
    assert fake.done == []


async def test_one_who_may_look_changes_nothing(control, nursery, fake):
    async with client(control, nursery, Access.LOOK) as one:
        assert (await one.ask("show workers"))["status"] == "ok"
        assert "uid 1001 may look, but not change" in (await one.ask("worker add"))["error"]
    assert fake.done == []


async def test_readonly_refuses_everybody(control, nursery, fake):
    async with client(control, nursery) as one:
        assert (await one.ask("reload"))["status"] == "ok"
        fake.readonly = True  # by a reload of the configuration, say
        assert "control_socket_readonly" in (await one.ask("reload"))["error"]
        assert (await one.ask("show all"))["status"] == "ok"
    assert fake.done == ["reload"]


async def test_changes_are_logged_with_who_made_them(control, nursery, log):
    async with client(control, nursery) as one:
        await one.ask("show workers")
        await one.ask("worker add 2\n[CRITICAL] forged")
    assert log.lines == ["Control command: worker add 2\\n[CRITICAL] forged (pid:7, uid:1001)"]


# --- deadlines ---


async def test_a_command_without_result_is_answered_at_its_deadline(control, nursery, fake, autojump_clock):
    async def never(change: int) -> None:
        await trio.sleep_forever()

    fake.scale = never
    async with client(control, nursery) as one:
        started = trio.current_time()
        reply = await one.ask("worker add")
        assert "no result after 25 s" in reply["error"]
        assert trio.current_time() - started == pytest.approx(25)
        assert (await one.ask("help"))["status"] == "ok"


async def test_an_idle_connection_is_closed(control, nursery, autojump_clock):
    async with client(control, nursery) as one:
        await one.ask("help")
        started = trio.current_time()
        assert await one.is_closed()
        assert trio.current_time() - started == pytest.approx(module.IDLE)


@pytest.mark.parametrize("sent", [b"\0", b"\0\0\0\x20", b"\0\0\0\x20" + b"{" * 31])
async def test_half_a_frame_has_a_short_deadline_that_a_trickle_does_not_move(
    control, nursery, autojump_clock, sent
):
    async with client(control, nursery) as one:
        started = trio.current_time()
        for number in range(len(sent)):
            await one.stream.send_all(sent[number : number + 1])
            await trio.sleep(0.2)
        assert await one.is_closed()
        assert trio.current_time() - started == pytest.approx(module.FRAME)


async def test_a_client_that_does_not_read_is_left(fake, log, autojump_clock):
    """Its answer fits no buffer; its connection is given up after a while, with all that it holds."""

    class Stuck(trio.abc.Stream):
        requests = [encode_request(Request(1, "help"))]

        async def receive_some(self, max_bytes=None):
            return self.requests.pop()

        async def send_all(self, data):
            await trio.sleep_forever()

        async def wait_send_all_might_not_block(self): ...

        async def aclose(self): ...

    control = ControlServer(fake, lambda: Settings(None), log)
    started = trio.current_time()
    await control.serve(Stuck(), None, Access.CHANGE)
    assert trio.current_time() - started == pytest.approx(module.WRITE)


# --- hostile bytes ---


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", 2**32 - 1),
        struct.pack(">I", 1 << 17) + b"x" * 100,
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        struct.pack(">I", 3) + b"{}}",
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 14) + b'{"command": 1}',
        struct.pack(">I", 5000) + b"[" * 5000,
        bytes(range(255, 0, -1)),
    ],
)
async def test_nonsense_closes_the_connection_at_once_and_without_a_word(control, nursery, data):
    async with client(control, nursery) as one:
        await one.stream.send_all(data)
        assert await one.is_closed()


async def test_requests_that_arrive_together_are_answered_in_order(control, nursery):
    async with client(control, nursery) as one:
        frames = b"".join(encode_request(Request(number, "show generations")) for number in range(50))
        await one.stream.send_all(frames)
        assert [(await one.answer())["id"] for _ in range(50)] == list(range(50))


async def test_idle_connections_make_room_for_the_next_one(control, nursery):
    async with trio.open_nursery() as clients:
        opened: list[Client] = []

        async def idle() -> None:
            async with client(control, nursery) as one:
                opened.append(one)
                await trio.sleep_forever()

        for _ in range(CONNECTIONS + 170):
            clients.start_soon(idle)
            await wait_all_tasks_blocked()
        assert len(control._connections) <= CONNECTIONS
        async with client(control, nursery) as operator:
            assert (await operator.ask("help"))["status"] == "ok"
        assert await opened[0].is_closed()
        clients.cancel_scope.cancel()


async def test_a_command_that_is_being_done_is_not_thrown_out(control, nursery, fake):
    go_on = trio.Event()

    async def drain() -> int:
        await go_on.wait()
        return 0

    fake.drain = drain
    async with client(control, nursery) as waiting:
        await waiting.stream.send_all(encode_request(Request(9, "drain")))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as clients:

            async def idle() -> None:
                async with client(control, nursery):
                    await trio.sleep_forever()

            for _ in range(CONNECTIONS + 20):
                clients.start_soon(idle)
            await wait_all_tasks_blocked()
            go_on.set()
            assert (await waiting.answer())["data"] == {"status": "drained", "remaining": 0}
            clients.cancel_scope.cancel()


# --- the socket ---


async def wait_for_line(log, text: str) -> str:
    """Real sockets: no autojump here."""
    with trio.fail_after(5):
        while True:
            found = [line for line in log.lines if text in line]
            if found:
                return found[-1]
            await trio.sleep(0.01)


async def ask_at(path: str, command: str) -> dict:
    async with await trio.open_unix_socket(path) as stream:
        return await Client(stream).ask(command)


async def test_the_socket_follows_its_settings(fake, log, nursery, tmp_path):
    settings = Settings(str(tmp_path / "one"))
    control = ControlServer(fake, lambda: settings, log)
    nursery.start_soon(control.run)
    await wait_for_line(log, str(tmp_path / "one"))
    async with await trio.open_unix_socket(tmp_path / "one") as stream:
        kept = Client(stream)
        assert (await kept.ask("help"))["status"] == "ok"
        settings = Settings(str(tmp_path / "two"))
        control.changed()
        await wait_for_line(log, str(tmp_path / "two"))
        assert not (tmp_path / "one").exists()
        assert (await ask_at(str(tmp_path / "two"), "help"))["status"] == "ok"
        # A conversation outlives the move: it may be the one that waits for the reload.
        assert (await kept.ask("help"))["status"] == "ok"
    control.changed()  # nothing is different
    settings = Settings(None)
    control.changed()
    with trio.fail_after(5):
        while (tmp_path / "two").exists():  # noqa: ASYNC110 - a file tells nobody that it goes
            await trio.sleep(0.01)
    assert len(log.lines) == 2


async def test_a_server_that_was_displaced_takes_the_place_when_it_is_free(fake, log, tmp_path):
    path = str(tmp_path / "gunicorn.ctl")
    old_log, new_log = log, memory_log()
    old = ControlServer(fake, lambda: Settings(path), old_log)
    new = ControlServer(fake, lambda: Settings(path), new_log)
    async with trio.open_nursery() as new_nursery:
        async with trio.open_nursery() as old_nursery:
            old_nursery.start_soon(old.run)
            await wait_for_line(old_log, "Control socket")
            new_nursery.start_soon(new.run)
            line = await wait_for_line(new_log, "Control socket")
            assert "belongs to another server" in line
            old_nursery.cancel_scope.cancel()
        new.promoted()
        await wait_for_line(new_log, f"Control socket: {path}")
        assert [one.name for one in tmp_path.iterdir()] == ["gunicorn.ctl"]
        assert (await ask_at(path, "help"))["status"] == "ok"
        new_nursery.cancel_scope.cancel()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 200, "ctl\0", "file/ctl"])
async def test_a_socket_that_cannot_be_is_one_line_and_no_more(fake, log, nursery, tmp_path, name):
    (tmp_path / "file").write_text("")
    control = ControlServer(fake, lambda: Settings(str(tmp_path / name)), log)
    nursery.start_soon(control.run)
    line = await wait_for_line(log, "No control socket")
    await wait_all_tasks_blocked()
    assert log.lines == [line]
    assert json.dumps(line)  # one printable line
