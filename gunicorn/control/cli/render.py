"""Answers as text: one layout per command, indented JSON for all others."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from gunicorn.control.cli.table import Column, clean, table
from gunicorn.control.cli.units import duration, size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Data = Mapping[str, Any]
    Lines = list[str]

__all__ = ["render"]

_BOLD, _DIM, _RED, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m"


def render(words: Sequence[str], data: Data, width: int | None = None, colour: bool = False) -> str:
    """The answer to the command ``words``, in ``width`` columns (None: as many as it takes)."""
    layout = _LAYOUTS.get(" ".join(words[:2]).lower()) or _LAYOUTS.get(words[0].lower() if words else "")
    try:
        lines = layout(data, width) if layout else _json(data)
    except (KeyError, TypeError, AttributeError):
        # Another version of the server answers with other fields: better raw than not at all.
        lines = _json(data)
    return "\n".join(map(_painted, lines) if colour else map(_unmarked, lines))


# A line that begins with one of these is painted on a terminal; the mark itself is never printed.
_TITLE, _FAINT, _ALARM = "\0", "\1", "\2"
_PAINT = {_TITLE: _BOLD, _FAINT: _DIM, _ALARM: _RED}


def _painted(line: str) -> str:
    paint = _PAINT.get(line[:1])
    return f"{paint}{line[1:]}{_PLAIN}" if paint else line


def _unmarked(line: str) -> str:
    return line[1:] if line[:1] in _PAINT else line


def _json(data: Data) -> Lines:
    return json.dumps(data, indent=2).splitlines() if data else ["OK"]


def _table(columns: Sequence[Column], rows: Sequence[Data], width: int | None, indent: str = "") -> Lines:
    room = None if width is None else width - len(indent)
    header, *body = table(columns, rows, room)
    return [_TITLE + indent + header, *(indent + line for line in body)]


# --- cells ---


def _text(key: str) -> Callable[[Data], str | None]:
    return lambda row: None if row.get(key) is None else clean(row[key])


def _yes(key: str) -> Callable[[Data], str | None]:
    return lambda row: None if key not in row else "yes" if row[key] else "no"


def _seconds(key: str) -> Callable[[Data], str | None]:
    return lambda row: None if row.get(key) is None else duration(row[key])


def _bytes(key: str) -> Callable[[Data], str | None]:
    return lambda row: None if row.get(key) is None else size(row[key])


def _beat(row: Data) -> str | None:
    return None if row.get("last_heartbeat") is None else f"{row['last_heartbeat']}s ago"


_WORKER = (
    Column("PID", _text("pid"), right=True),
    Column("AGE", _text("age"), right=True, rank=1),
    Column("STATE", _text("state")),
    Column("BOOTED", _yes("booted"), rank=2),
    Column("LAST_BEAT", lambda row: _beat(row) or "n/a", right=True, rank=3),
    Column("UPTIME", _seconds("uptime"), right=True, rank=4),
    Column("REQUESTS", _text("requests"), right=True),
    Column("IN FLIGHT", _text("in_flight"), right=True, rank=5),
    Column("ERRORS", _text("errors"), right=True, rank=6),
    Column("MEMORY", _bytes("memory"), right=True, rank=7),
    Column("GEN", _text("generation"), right=True, rank=8),
    Column("SLOT", _text("slot"), right=True, rank=9),
)
_REQUEST = (
    Column("PID", _text("pid"), right=True),
    Column("AGE", _seconds("age"), right=True),
    Column("PHASE", _text("phase"), rank=1),
    Column("METHOD", _text("method")),
    Column("PATH", _text("path"), flexible=True),
)
_DEATH = (
    Column("WHEN", lambda row: time.strftime("%m-%d %H:%M:%S", time.localtime(row["at"]))),
    Column("PID", _text("pid"), right=True),
    Column("CAUSE", _text("cause"), flexible=True),
    Column("LIVED", _seconds("lived"), right=True, rank=2),
    Column("REQUESTS", _text("requests"), right=True, rank=1),
    Column("IN FLIGHT", lambda row: str(len(row.get("in_flight", ()))), right=True, rank=3),
)
_GENERATION = (
    Column("GENERATION", _text("generation"), right=True),
    Column("ROLE", _text("role")),
    Column("WORKERS", _text("workers"), right=True),
    Column("READY", _text("ready"), right=True),
)
_LISTENER = (
    Column("ADDRESS", _text("address"), flexible=True),
    Column("TYPE", _text("type")),
    Column("FD", _text("fd"), right=True),
    Column("QUEUED", _text("queued"), right=True),
)
_DIRTY_WORKER = (
    Column("PID", _text("pid"), right=True),
    Column("AGE", _text("age"), right=True),
    Column("BOOTED", _yes("booted")),
    Column("LAST_BEAT", lambda row: _beat(row) or "n/a", right=True),
    Column("APPS", lambda row: ", ".join(_short(app) for app in row.get("apps", ())), flexible=True),
)
_DIRTY_APP = (
    Column("APP", _text("import_path"), flexible=True),
    Column("WORKERS", _text("current_workers"), right=True),
    Column("LIMIT", lambda row: str(row.get("worker_count") or "none"), right=True),
)


def _short(app: str) -> str:
    return clean(app).partition(":")[2] or clean(app)


# --- layouts ---


def _workers(data: Data, width: int | None) -> Lines:
    if not data["workers"]:
        return ["No workers running"]
    return [*_table(_WORKER, data["workers"], width), "", f"{_FAINT}Total: {data['count']} workers"]


def _requests(data: Data, width: int | None) -> Lines:
    if not data["requests"]:
        return ["No requests in flight"]
    return [*_table(_REQUEST, data["requests"], width), "", f"{_FAINT}Total: {data['count']} requests"]


def _deaths(data: Data, width: int | None) -> Lines:
    deaths = data["deaths"]
    if not deaths:
        return ["No worker has died"]
    if len(deaths) == 1:
        return _death(deaths[0], width)
    hint = 'the last one in full: "show deaths 1"'
    return [*_table(_DEATH, deaths, width), "", f"{_FAINT}{len(deaths)} of {data['count']}; {hint}"]


def _death(death: Data, width: int | None) -> Lines:
    lines = [*_table(_DEATH, [death], width)]
    if death.get("reason"):
        lines += ["", f"{_ALARM}{clean(death['reason'])}"]
    if death.get("in_flight"):
        rows = [{**request, "pid": death["pid"], "age": request["seconds"]} for request in death["in_flight"]]
        lines += ["", f"{_TITLE}IN FLIGHT", *_table(_REQUEST, rows, width, "  ")]
    if death.get("stacks"):
        lines += ["", f"{_TITLE}STACKS", *(f"  {clean(line)}" for line in death["stacks"].splitlines())]
    return lines


def _stacks(data: Data, width: int | None) -> Lines:
    lines: Lines = []
    for one in data["stacks"]:
        text = one["stack"].splitlines() or ["(it did not answer)"]
        lines += [f"{_TITLE}Worker {one['pid']}", *(f"  {clean(line)}" for line in text), ""]
    return lines[:-1] or ["No workers running"]


def _generations(data: Data, width: int | None) -> Lines:
    return _table(_GENERATION, data["generations"], width)


def _listeners(data: Data, width: int | None) -> Lines:
    if not data["listeners"]:
        return ["No listeners"]
    return [*_table(_LISTENER, data["listeners"], width), "", f"{_FAINT}Total: {data['count']} listeners"]


def _stats(data: Data, width: int | None) -> Lines:
    shown = {_label(key): value for key, value in data.items() if value is not None}
    column = max(18, *(len(label) + 2 for label in shown))
    return [
        f"{label + ':':{column}}{duration(value) if label == 'Uptime' else clean(value)}"
        for label, value in shown.items()
    ]


def _label(key: str) -> str:
    words = key.replace("_", " ").capitalize()
    return "PID" if words == "Pid" else words.replace(" pid", " PID")


def _config(data: Data, width: int | None) -> Lines:
    shown = {k: ", ".join(map(str, v)) if isinstance(v, list) else v for k, v in data.items()}
    return [f"{key}: {clean(shown[key])}" for key in sorted(shown)]


def _all(data: Data, width: int | None) -> Lines:
    dirty = data["dirty_arbiter"]
    return [
        f"{_TITLE}ARBITER (master)",
        f"  PID: {data['arbiter']['pid']}",
        "",
        f"{_TITLE}WEB WORKERS ({data['web_worker_count']})",
        *_block(_WORKER, data["web_workers"], width),
        "",
        f"{_TITLE}DIRTY ARBITER",
        f"  PID: {dirty['pid']}" if dirty else "  (not running)",
        "",
        f"{_TITLE}DIRTY WORKERS ({data['dirty_worker_count']})",
        *_block(_DIRTY_WORKER, data["dirty_workers"], width),
    ]


def _block(columns: Sequence[Column], rows: Sequence[Data], width: int | None) -> Lines:
    return _table(columns, rows, width, "  ") if rows else ["  (none)"]


def _dirty(data: Data, width: int | None) -> Lines:
    if not data["enabled"]:
        return ["Dirty arbiter not running"]
    return [
        f"Dirty arbiter PID: {data['pid']}",
        "",
        f"{_TITLE}DIRTY WORKERS",
        *_block(_DIRTY_WORKER, data["workers"], width),
        "",
        f"{_TITLE}DIRTY APPS",
        *_block(_DIRTY_APP, data["apps"], width),
    ]


def _help(data: Data, width: int | None) -> Lines:
    commands = data["commands"]
    column = max(map(len, commands), default=0)
    return [f"{_TITLE}Commands:", "", *(f"  {usage:{column}}  {text}" for usage, text in commands.items())]


def _changed(data: Data, width: int | None) -> Lines:
    if data.get("success") is False:
        return [f"{_ALARM}Error: {clean(data.get('error', 'failed'))}"]
    return _json(data)


_LAYOUTS: Mapping[str, Callable[[Data, int | None], Lines]] = {
    "show all": _all,
    "show workers": _workers,
    "show requests": _requests,
    "show deaths": _deaths,
    "show generations": _generations,
    "show listeners": _listeners,
    "show dirty": _dirty,
    "show stats": _stats,
    "show config": _config,
    "stack": _stacks,
    "help": _help,
    "worker": _changed,
    "dirty": _changed,
}
