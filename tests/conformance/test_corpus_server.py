"""The corpus over real sockets against a running server: each worker class, each engine.

One server for all cases that need the same settings; one connection for each case.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus.case import SILENCE, Case, Verdict
from corpus.catalogue import ALL, groups
from harness import Server
from wire import Exchange, Garbled, Hung, exchange

HERE = Path(__file__).parent
WORKERS = {
    "sync": ("-k", "sync"),
    "gthread": ("-k", "gthread", "--threads", "3"),
    "asyncio": ("-k", "asgi", "--asgi-loop", "asyncio"),
    "uvloop": ("-k", "asgi", "--asgi-loop", "uvloop"),
    "trio": ("-k", "asgi", "--asgi-loop", "trio"),
}
GROUPS = groups(ALL)
DEFAULTS = GROUPS[()]
MANY = 15
# A worker surely has received all of a case below this size when it sees the head.
ONE_READ = 16_000


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    servers: list[Server] = []

    def launch(
        worker: str, engine: str, settings: dict[str, object], app: str = "app"
    ) -> tuple[Server, Path]:
        marks = tmp_path / "marks"
        marks.touch()
        lines = [f"{name} = {value!r}" for name, value in {**settings, "http_parser": engine}.items()]
        server = Server(
            *WORKERS[worker],
            app=f"witness:asgi_{app}" if "asgi" in WORKERS[worker] else f"witness:{app}",
            env={"PYTHONPATH": str(HERE), "WITNESS": str(marks)},
            config="\n".join(lines),
            cwd=tmp_path,
        )
        servers.append(server)
        return server.start(), marks

    yield launch
    for server in servers:
        server.close()


def _address(server: Server) -> tuple[str, int]:
    host, _, port = server.wait_for(r"Listening at: http://(\S+)").group(1).rpartition(":")
    return host, int(port)


def _play(case: Case, address: tuple[str, int]) -> Exchange:
    accepted = case.verdict is Verdict.ACCEPT
    with socket.create_connection(address, 5) as sock:
        return exchange(
            sock,
            case.data,
            expected=case.requests if accepted and not case.closes else None,
            heads=case.heads,
            finish=case.truncated or case.verdict is Verdict.EITHER,
        )


def _fault(case: Case, answer: Exchange, calls: int) -> str | None:
    """What is wrong about the server's reaction."""
    if answer.rest:
        return f"half an answer: {answer.rest[:200]!r}"
    good = [one for one in answer.answers if one.status in (200, 405)]
    refused = [one for one in answer.answers if one.status not in (200, 405)]
    if case.verdict is Verdict.EITHER and not refused:
        return _fault_of_accepted(case, answer, calls)
    if case.verdict is Verdict.ACCEPT:
        return _fault_of_accepted(case, answer, calls)
    return _fault_of_refused(
        case, [one.status for one in good], [one.status for one in refused], answer, calls
    )


def _fault_of_accepted(case: Case, answer: Exchange, calls: int) -> str | None:
    statuses = [one.status for one in answer.answers]
    if len(statuses) != case.requests or any(status not in (200, 405) for status in statuses):
        return f"answered {statuses}, expected {case.requests} times 200"
    if calls != case.requests:
        return f"the app was called {calls} times"
    for position, (one, body) in enumerate(zip(answer.answers, case.bodies, strict=True)):
        if position not in case.heads and not one.saw_body(body):
            return f"the app saw another body in request {position}: {one.saw()}"
    if case.closes is not None and answer.answers[-1].closes != case.closes:
        return f"the last answer's fields are {answer.answers[-1].fields}"
    return None if 0 in case.heads else _fault_of_sight(case, answer)


def _fault_of_sight(case: Case, answer: Exchange) -> str | None:
    saw = answer.answers[0].saw()
    for name in ("method", "version", "scheme"):
        if name in case.seen and saw[name] != case.seen[name]:
            return f"the app saw {name} {saw[name]!r}"
    for name in ("target", "query"):
        # A scope does not have the whole target of a proxy request.
        if name in case.seen and name in saw and saw[name].encode("latin-1") != case.seen[name]:
            return f"the app saw {name} {saw[name]!r}"
    return None


def _fault_of_refused(
    case: Case, good: list[int], refused: list[int], answer: Exchange, calls: int
) -> str | None:
    if case.verdict is Verdict.REFUSE and len(good) != case.requests:
        return f"{len(good)} requests were answered by the app, expected {case.requests}"
    if case.verdict is Verdict.REFUSE and not case.requests <= calls <= case.requests + case.in_body:
        return f"the app was called {calls} times"
    if not refused:
        return (
            None
            if SILENCE in case.status
            else "closed without an answer" + (" (reset)" if answer.reset else "")
        )
    if len(refused) > 1 or refused[0] not in case.status:
        return f"refused with {refused}, allowed is {sorted(case.status)}"
    if not answer.answers[-1].closes:
        return "no Connection: close on a refusal"
    return None


def _run(cases: list[Case], server: Server, marks: Path) -> list[str]:
    address = _address(server)
    faults = []
    for case in cases:
        before = marks.stat().st_size
        try:
            answer = _play(case, address)
            fault = _fault(case, answer, marks.stat().st_size - before)
        except (Hung, Garbled) as error:
            fault = f"{type(error).__name__}: {error}"
        if fault:
            faults.append(f"{case.name} ({case.section}): {fault}")
            if len(faults) >= MANY:
                break
    return faults


def _check(cases: list[Case], server: Server, marks: Path) -> None:
    faults = _run(cases, server, marks)
    assert not faults, "\n" + "\n".join(faults)
    assert "Traceback" not in server.log


@pytest.mark.parametrize("engine", ["fast", "python"])
@pytest.mark.parametrize("worker", list(WORKERS))
def test_defaults(start, worker, engine):
    _check(DEFAULTS, *start(worker, engine, {}))


def _plans() -> Iterator[object]:
    """Large groups on all these servers, the small ones in turn on one of them."""
    choices = [("sync", "fast"), ("gthread", "python"), ("uvloop", "fast")]
    for number, (key, cases) in enumerate((key, cases) for key, cases in GROUPS.items() if key):
        for worker, engine in choices if len(cases) >= 10 else [choices[number % len(choices)]]:
            name = "-".join(f"{setting}={value}" for setting, value in key)
            yield pytest.param(worker, engine, cases, id=f"{worker}-{engine}-{name}"[:80])


@pytest.mark.parametrize(("worker", "engine", "cases"), list(_plans()))
def test_settings(start, worker, engine, cases):
    _check(cases, *start(worker, engine, dict(cases[0].settings)))


def _lazy_fault(case: Case, answer: Exchange, calls: int, *, decodes_first: bool) -> str | None:
    """A fault of content that came with its head is found before the app is called, by a WSGI worker.

    Else the app may have answered before it could be seen, but nothing behind it.
    """
    good = [one for one in answer.answers if one.status in (200, 405)]
    if case.verdict is Verdict.ACCEPT:
        statuses = [one.status for one in answer.answers]
        return (
            None
            if len(good) == len(statuses) == calls == case.requests
            else f"answered {statuses}, {calls} calls"
        )
    if decodes_first and not case.truncated and len(case.data) < ONE_READ:
        refused = [one.status for one in answer.answers if one not in good]
        served = len(good) == calls == case.requests
        return None if served and len(refused) == 1 and refused[0] in case.status else f"{answer.answers}"
    if not case.requests <= len(good) <= case.requests + 1 or not len(good) <= calls <= case.requests + 1:
        return f"{len(good)} requests were answered by the app, {calls} calls"
    return None


@pytest.mark.parametrize("worker", list(WORKERS))
def test_an_app_that_reads_nothing(start, worker):
    server, marks = start(worker, "fast", {}, "lazy")
    address = _address(server)
    faults = []
    for case in DEFAULTS:
        # A final answer without a 100 before it may end the connection (RFC 9110 section 10.1.1).
        dull = case.verdict is Verdict.EITHER or not (case.in_body or any(case.bodies))
        if dull or len(case.data) > 60_000 or case.name.startswith("expect:"):
            continue
        before = marks.stat().st_size
        try:
            exchange = _play(case, address)
            calls = marks.stat().st_size - before
            fault = _lazy_fault(case, exchange, calls, decodes_first=worker in ("sync", "gthread"))
        except (Hung, Garbled) as error:
            fault = f"{type(error).__name__}: {error}"
        if fault:
            faults.append(f"{case.name} ({case.section}): {fault}")
    assert not faults, "\n" + "\n".join(faults[:30])
    assert "Traceback" not in server.log
