"""The commands of the control socket: fields that other clients rely on, arguments, refusals."""

from __future__ import annotations

import outcome
import pytest
from controlled import FakeDirty, FakeServer
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.control import commands
from gunicorn.control.arguments import RELOAD_WAIT
from gunicorn.control.operations import RefusedError

CLASSIC_HELP = {
    *("show all", "show workers", "show dirty", "show config", "show stats", "show listeners"),
    *("worker add [N]", "worker remove [N]", "worker kill <PID>", "dirty add [N]", "dirty remove [N]"),
    *("reopen", "shutdown [graceful|quick]", "help"),
}
CONFIG_KEYS = {
    *("bind", "workers", "worker_class", "threads", "timeout", "graceful_timeout", "keepalive"),
    *("max_requests", "max_requests_jitter", "worker_connections", "preload_app", "daemon", "pidfile"),
    *("proc_name", "reload", "dirty_workers", "dirty_apps", "dirty_timeout", "control_socket"),
    "control_socket_disable",
}


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def run(server: FakeServer, line: str, *args: str) -> dict:
    """Run a command; none of the fake server's operations really waits."""
    task = commands.run(server, commands.parse(line, args))

    def finish() -> dict:
        try:
            task.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("it waits")

    return outcome.capture(finish).unwrap()


# --- what every client knows ---


def test_show_workers_has_the_fields_that_it_always_had(server):
    data = run(server, "show workers")
    assert [w["pid"] for w in data["workers"]] == [101, 102]
    first = data["workers"][0]
    assert {name: first[name] for name in ("pid", "age", "booted", "aborted", "last_heartbeat")} == {
        "pid": 101,
        "age": 1,
        "booted": True,
        "aborted": False,
        "last_heartbeat": 0.13,
    }
    assert data["workers"][1]["last_heartbeat"] is None
    assert data["count"] == 2


def test_show_all(server):
    data = run(server, "show all")
    assert data["arbiter"] == {"pid": 100, "type": "arbiter", "role": "master"}
    assert [(w["pid"], w["type"], w["booted"]) for w in data["web_workers"]] == [
        (101, "web", True),
        (102, "web", True),
    ]
    assert data["web_worker_count"] == 2
    assert (data["dirty_arbiter"], data["dirty_workers"], data["dirty_worker_count"]) == (None, [], 0)


def test_show_all_asks_the_dirty_arbiter(server):
    server.dirty = FakeDirty()
    data = run(server, "show all")
    assert data["dirty_arbiter"] == {"pid": 200, "type": "dirty_arbiter", "role": "dirty master"}
    assert [w["pid"] for w in data["dirty_workers"]] == [201]
    assert data["dirty_worker_count"] == 1


def test_show_dirty(server):
    assert run(server, "show dirty") == {"enabled": False, "pid": None, "workers": [], "apps": []}
    server.dirty = FakeDirty()
    data = run(server, "show dirty")
    assert (data["enabled"], data["pid"], len(data["workers"]), len(data["apps"])) == (True, 200, 1, 1)


def test_show_stats(server):
    data = run(server, "show stats")
    assert data == {
        "uptime": 12.35,
        "pid": 100,
        "workers_current": 2,
        "workers_target": 2,
        "workers_spawned": 3,
        "workers_killed": 1,
        "reloads": 0,
        "dirty_arbiter_pid": None,
        "requests": 20,
        "in_flight": 2,
    }


def test_show_config(server):
    data = run(server, "show config")
    assert set(data) == CONFIG_KEYS
    assert data["worker_class"] == "<class 'gunicorn.workers.sync.SyncWorker'>"
    assert data["bind"] == ["127.0.0.1:8000"]


def test_show_listeners(server):
    data = run(server, "show listeners")
    assert data["listeners"][0] == {"address": "http://127.0.0.1:8000", "fd": 3, "type": "tcp", "queued": 0}
    assert data["count"] == 2


@pytest.mark.parametrize(
    ("line", "asked", "field"),
    [
        ("worker add", 1, "added"),
        ("WORKER Add 3", 3, "added"),
        ("worker add 0", 1, "added"),
        ("worker add -5", 1, "added"),
        ("worker remove", -1, "removed"),
    ],
)
def test_scaling(server, line, asked, field):
    data = run(server, line)
    assert server.done == [("scale", asked)]
    assert data[field] == abs(asked)
    assert (data["previous"], data["total"]) == (2, 2 + asked)


def test_the_number_removed_is_the_number_that_went(server):
    assert run(server, "worker remove 9")["removed"] == 1


def test_kill(server):
    assert run(server, "worker kill", "101") == {"success": True, "killed": 101, "gone": True}
    assert run(server, "worker kill 7") == {"success": False, "error": "Worker 7 not found"}


def test_dirty_workers_when_there_are_none(server):
    expected = {"success": False, "error": "Dirty arbiter not running"}
    assert run(server, "dirty add") == run(server, "dirty remove 2") == expected
    server.dirty = FakeDirty()
    assert run(server, "dirty remove 2") == {"success": True, "operation": "remove", "requested": 2}


@pytest.mark.parametrize(
    ("line", "done", "data"),
    [
        ("reload", "reload", {"status": "reloading"}),
        ("reopen", "reopen", {"status": "reopening"}),
        ("shutdown", "graceful", {"status": "shutting_down", "mode": "graceful"}),
        ("shutdown graceful", "graceful", {"status": "shutting_down", "mode": "graceful"}),
        ("SHUTDOWN QUICK", "quick", {"status": "shutting_down", "mode": "quick"}),
    ],
)
def test_verbs(server, line, done, data):
    assert run(server, line) == data
    assert server.done == [done]


def test_help_names_every_command(server):
    listed = run(server, "help")["commands"]
    assert set(listed) >= CLASSIC_HELP
    assert all(usage.startswith(name) for usage, name in zip(listed, commands.COMMANDS, strict=True))


# --- beyond ---


def test_requests_are_listed_oldest_first(server):
    data = run(server, "show requests")
    assert [(r["path"], r["age"], r["pid"]) for r in data["requests"]] == [
        ("/old", 7.5, 102),
        ("/new", 0.001, 101),
    ]


def test_deaths(server):
    data = run(server, "show deaths")
    assert [death["pid"] for death in data["deaths"]] == list(range(2, 12))
    assert data["count"] == 12
    assert [death["pid"] for death in run(server, "show deaths 1")["deaths"]] == [11]


def test_generations(server):
    (only,) = run(server, "show generations")["generations"]
    assert only == {"generation": 1, "role": "serving", "workers": 2, "ready": 2}


def test_stack(server):
    assert run(server, "stack 101") == {"stacks": [{"pid": 101, "stack": "stack of 101"}]}
    assert [one["pid"] for one in run(server, "stack all")["stacks"]] == [101, 102]
    assert run(server, "stack 7") == {"success": False, "error": "Worker 7 not found"}


def test_retire_and_drain_say_when_they_are_not_through(server):
    assert run(server, "worker retire 101") == {"success": True, "retired": 101, "gone": False}
    assert run(server, "drain") == {"status": "draining", "remaining": 1}


def test_reload_with_its_result(server):
    assert run(server, "reload --wait") == {"status": "reloaded", "generation": 2}
    assert run(server, "reload --wait 7.5")["generation"] == 2
    assert server.done == [("reload", RELOAD_WAIT), ("reload", 7.5)]
    server.reload_fails = "no such module"
    with pytest.raises(RefusedError, match="no such module"):
        run(server, "reload --wait")


def test_the_deadline_of_a_reload_is_its_own():
    assert commands.parse("reload --wait 300").seconds == 300 + commands.SLACK
    assert commands.parse("worker add").seconds < 30  # the patience of older clients


# --- mistakes ---


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "Empty command"),
        ("   ", "Empty command"),
        ("bogus", "Unknown command: bogus"),
        ("show", "Missing target after show: all, workers"),
        ("show bogus", "Unknown show target: bogus"),
        ("worker frob", "Unknown worker action: frob"),
        ("worker kill", "Missing PID for worker kill"),
        ("worker kill x", "PID is a whole number, not 'x'"),
        ("worker add many", "N is a whole number, not 'many'"),
        ("stack", "Missing PID for stack"),
        ("shutdown now", "graceful or quick, not 'now'"),
        ("reload --frob", "reload takes --wait"),
        ("reload --wait soon", "seconds, from 1 to 86400, not 'soon'"),
        ("reload --wait nan", "not 'nan'"),
        ("reload --wait -1", "not '-1'"),
        ('show "workers', "No closing quotation"),
        ("x" * 3000, "at most 2000 characters"),
    ],
)
def test_mistakes_say_what_would_be_right(server, line, message):
    with pytest.raises(ValueError) as error:
        run(server, line)
    assert message in str(error.value)
    assert server.done == []


def test_arguments_beside_the_line_need_no_quotes(server):
    with pytest.raises(ValueError, match="Unknown show target: a b"):
        run(server, "show", "a b")


@given(st.text(max_size=60))
def test_any_text_is_a_command_or_a_mistake(text):
    try:
        found = commands.parse(text)
    except ValueError:
        return
    assert found.command in commands.COMMANDS.values()


def test_what_changes_the_server_is_marked():
    looking = {"show", "help", "stack"}
    for name, command in commands.COMMANDS.items():
        assert command.changes == (name.split()[0] not in looking)
