"""gunicornc without a server: options, layouts, completion, exit status, the numbers of the live view."""

from __future__ import annotations

import asyncio
import json

import pytest
from controlled import FakeDirty, FakeServer
from hypothesis import given
from hypothesis import strategies as st

from gunicorn import __version__
from gunicorn.control import commands
from gunicorn.control.arguments import WAIT
from gunicorn.control.cli.interactive import completions
from gunicorn.control.cli.options import parse_options
from gunicorn.control.cli.render import render
from gunicorn.control.cli.table import Column, clean, clip, table
from gunicorn.control.cli.trend import Trend, sparkline
from gunicorn.control.cli.units import duration, number, size
from gunicorn.control.cli.words import exit_status, patience


def data_of(line: str, server: FakeServer | None = None) -> dict:
    data = asyncio.run(commands.run(server or FakeServer(), commands.parse(line)))
    return json.loads(json.dumps(data))


# --- options ---


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], (None, [], False)),
        (["show", "workers"], (None, ["show", "workers"], False)),
        (["-c", "show workers"], (None, ["show", "workers"], False)),
        (["-s", "/run/x", "-j", "reload", "--wait", "5"], ("/run/x", ["reload", "--wait", "5"], True)),
        (["show", "all", "--json"], (None, ["show", "all"], True)),
        (["-c", ""], (None, [], False)),
    ],
)
def test_options(argv, expected):
    assert tuple(parse_options(argv)) == expected


@pytest.mark.parametrize("argv", [["--bogus"], ["-c", "'"], ["-c", "help", "help"], ["-s"]])
def test_wrong_options_end_with_status_2(argv, capsys):
    with pytest.raises(SystemExit) as end:
        parse_options(argv)
    assert end.value.code == 2
    assert "gunicornc: error: " in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        parse_options(["-v"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"gunicornc (gunicorn {__version__})\n"


# --- what scripts see ---


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"workers": []}, 0),
        ({"success": True, "killed": 7, "gone": True}, 0),
        ({"success": True, "killed": 7}, 0),  # an older server
        ({"success": False, "error": "no"}, 1),
        ({"success": True, "killed": 7, "gone": False}, 3),
        ({"added": 1, "done": False}, 3),
        ({"status": "draining", "remaining": 2}, 3),
        ({"status": "drained", "remaining": 0}, 0),
    ],
)
def test_exit_status(data, status):
    assert exit_status(["of", "any", "kind"], data) == status


def test_a_reload_that_an_older_server_does_not_wait_for_is_not_done():
    begun = {"status": "reloading"}
    assert exit_status(["reload"], begun) == 0
    assert exit_status(["reload", "--wait"], begun) == 3
    assert exit_status(["reload", "--wait"], {"status": "reloaded", "generation": 2}) == 0


def test_the_client_waits_longer_than_the_server():
    for line in ("worker add", "reload", "reload --wait", "reload --wait 500"):
        assert patience(line.split()) > commands.parse(line).seconds
    assert patience(["of", "a", "newer", "server"]) > WAIT


# --- layouts ---

LINES = (
    "show all",
    "show workers",
    "show requests",
    "show listeners",
    "show generations",
    "show stats",
    "help",
)


@pytest.mark.parametrize("line", [*LINES, "show config", "stack all", "show dirty"])
def test_layouts_show_what_the_server_said(line):
    server = FakeServer()
    text = render(line.split(), data_of(line, server))
    expected = {
        "show all": "WEB WORKERS (2)",
        "show workers": "Total: 2 workers",
        "show requests": "/old",
        "show listeners": "unix:/s",
        "show generations": "serving",
        "show stats": "Workers current:  2",
        "help": "worker retire <PID>",
        "show config": "bind: 127.0.0.1:8000",
        "stack all": "Worker 101",
        "show dirty": "Dirty arbiter not running",
    }
    assert expected[line] in text
    assert "\x1b" not in text
    assert "\0" not in text


@pytest.mark.parametrize("width", [120, 80, 60, 40])
@pytest.mark.parametrize("line", ["show all", "show workers", "show requests", "show listeners"])
def test_tables_fit_the_terminal(line, width):
    assert max(map(len, render(line.split(), data_of(line), width).splitlines())) <= width


def test_a_narrow_table_keeps_what_matters_most():
    header = render(["show", "workers"], data_of("show workers"), 40).splitlines()[0].split()
    assert header[0] == "PID"
    assert {"STATE", "REQUESTS"} <= set(header)
    assert "SLOT" not in header


def test_an_older_server_tells_less():
    old = {
        "workers": [{"pid": 7, "age": 1, "booted": False, "aborted": False, "last_heartbeat": 2.02}],
        "count": 1,
    }
    header, row, *_ = render(["show", "workers"], old).splitlines()
    assert header.split() == ["PID", "AGE", "BOOTED", "LAST_BEAT"]
    assert row.split() == ["7", "1", "no", "2.02s", "ago"]


def test_an_answer_of_another_shape_is_shown_as_it_is():
    assert json.loads(render(["show", "workers"], {"surprise": 1})) == {"surprise": 1}
    assert render(["reopen"], {}) == "OK"
    assert json.loads(render(["worker", "add"], {"added": 1})) == {"added": 1}


def test_dirty_layout():
    server = FakeServer()
    server.dirty = FakeDirty()
    text = render(["show", "dirty"], data_of("show dirty", server))
    assert "Dirty arbiter PID: 200" in text
    assert "m:App" in text
    assert "201" in render(["show", "all"], data_of("show all", server))


def death(**more: object) -> dict:
    request = {"method": "GET", "path": "/\x1b[2Jevil", "seconds": 3.5, "phase": "app"}
    return {
        "at": 0.0,
        "pid": 7,
        "cause": "timeout",
        "lived": 61.0,
        "requests": 5,
        "reason": "stuck",
        "in_flight": [request],
        "stacks": "Thread 1\n  File x, line 2",
        **more,
    }


def test_one_death_is_told_in_full():
    text = render(["show", "deaths", "1"], {"deaths": [death()], "count": 9})
    for part in ("timeout", "1m 1s", "stuck", "GET", "Thread 1"):
        assert part in text


def test_several_deaths_are_a_table():
    lines = render(["show", "deaths"], {"deaths": [death(), death(pid=8)], "count": 9}, 80).splitlines()
    assert [line.split()[2] for line in lines[1:3]] == ["7", "8"]
    assert "2 of 9" in lines[-1]


def test_nothing_that_a_client_of_the_server_sent_commands_the_terminal():
    text = render(["show", "deaths", "1"], {"deaths": [death()], "count": 1}, 80, colour=False)
    assert "\x1b" not in text
    assert "\\x1b[2Jevil" in text


def test_colours_only_where_they_are_wanted():
    data = {"success": False, "error": "no"}
    assert "\x1b" not in render(["worker", "kill", "7"], data)
    assert render(["worker", "kill", "7"], data, None, True) == "\x1b[31mError: no\x1b[0m"


@given(
    st.lists(st.fixed_dictionaries({"a": st.text(max_size=30), "b": st.text(max_size=30)}), min_size=1),
    st.integers(20, 90),
)
def test_a_table_with_a_flexible_column_never_exceeds_its_width(rows, width):
    columns = [
        Column("FIRST", lambda row: clip(clean(row["a"]), 5)),
        Column("SECOND", lambda row: clean(row["b"]), flexible=True),
    ]
    lines = table(columns, rows, width)
    assert len(lines) == len(rows) + 1
    assert all(len(line) <= max(width, 5 + 2 + 12) for line in lines)


# --- completion ---


@pytest.mark.parametrize(
    ("before", "some"),
    [
        ([], {"show", "worker", "reload", "quit", "top", "help"}),
        (["show"], {"workers", "all", "requests", "deaths"}),
        (["worker"], {"add", "remove", "kill", "retire"}),
        (["worker", "kill"], {"7", "8"}),
        (["stack"], {"7", "8", "all"}),
        (["reload"], {"--wait"}),
        (["shutdown"], {"graceful", "quick"}),
    ],
)
def test_completion(before, some):
    assert some <= set(completions(before, ["7", "8"]))


def test_nothing_to_complete():
    assert completions(["bogus"]) == completions(["show", "workers"]) == []


# --- the live view ---


def load(*workers: tuple[int, int, int], queue_time: float = 0.0) -> dict:
    return {
        "workers": [
            {
                "pid": pid,
                "requests": requests,
                "errors": 0,
                "bytes_sent": 10 * requests,
                "in_flight": busy,
                "queue_time": queue_time,
            }
            for pid, requests, busy in workers
        ]
    }


def test_rates_are_those_between_two_looks():
    trend = Trend()
    assert trend.look(10.0, load((1, 1000, 0))).requests == 0
    rates = trend.look(12.0, load((1, 1100, 5), queue_time=1.0))
    assert (rates.requests, rates.sent, rates.by_worker) == (50.0, 500.0, {1: 50.0})
    assert rates.queued == pytest.approx(0.01)
    assert rates.latency == pytest.approx(0.1)


def test_a_worker_that_was_replaced_takes_no_requests_back():
    trend = Trend()
    trend.look(0.0, load((1, 1000, 0), (2, 500, 0)))
    assert trend.look(1.0, load((2, 510, 0), (3, 20, 0))).by_worker == {2: 10.0, 3: 20.0}


def test_nothing_happened():
    trend = Trend()
    trend.look(0.0, load((1, 5, 0)))
    rates = trend.look(1.0, load((1, 5, 0)))
    assert (rates.requests, rates.latency, rates.queued) == (0.0, None, None)


def test_sparkline():
    assert sparkline([0, 1, 8], 5) == "   ▁█"
    assert sparkline([4] * 9, 3) == "███"
    assert sparkline([], 3) == "   "


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 50), (60, 16), (40, 12)])
@pytest.mark.parametrize("count", [1, 40])
def test_the_picture_fits_the_terminal(width, height, count):
    console_module = pytest.importorskip("rich.console")
    from gunicorn.control.cli.dashboard import picture

    server = FakeServer()
    server.table = [server.table[0]._replace(pid=100_000 + n, age=n) for n in range(count)]
    data = data_of("show load", server)
    data["requests"] = data["requests"] * count
    console = console_module.Console(width=width, height=height, color_system=None, force_terminal=False)
    trend = Trend()
    trend.look(0.0, data)
    with console.capture() as capture:
        console.print(picture(data, trend.look(1.0, data), trend, width, height))
    lines = capture.get().splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for part in (
        "requests/s",
        f"workers {count}/2",
        f"in flight {count}",
        "100000",
        "POST /old",
    ):
        assert part in text


# --- units ---


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0123, "12ms"),
        (1, "1.0s"),
        (9.94, "9.9s"),
        (75, "1m 15s"),
        (3600, "1h 0m"),
        (200_000, "2d 7h"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_size_and_number():
    assert [size(n) for n in (0, 940, 3_200_000, 512 << 20, 3 << 40)] == [
        "0 B",
        "940 B",
        "3.1 MB",
        "512 MB",
        "3.0 TB",
    ]
    assert [number(n) for n in (0, 3.25, 1234.5, 1_000_000)] == ["0", "3.2", "1,234", "1,000,000"]
