"""Metrics as a statsd daemon receives them."""

from __future__ import annotations

import socket
from datetime import timedelta
from types import SimpleNamespace

import pytest

from gunicorn.glogging import logging_transaction
from gunicorn.instrument.statsd import Statsd

RESPONSE = SimpleNamespace(status="404 Not Found", sent=12, headers=[])
REQUEST = SimpleNamespace(headers=[])


def settings(**changes):
    values = {
        "accesslog": None, "errorlog": None, "loglevel": "info",
        "access_log_format": "%(s)s", "logconfig": None,
        "logconfig_dict": {}, "logconfig_json": None, "syslog": False,
        "disable_redirect_access_to_syslog": False,
        "capture_output": False, "proc_name": "app", "statsd_host": None,
        "statsd_prefix": "", "dogstatsd_tags": "",
    }  # fmt: skip
    return SimpleNamespace(**(values | changes))


class Undo(Exception):
    """Ends a transaction."""


@pytest.fixture(autouse=True)
def _loggers_as_before():
    try:
        with logging_transaction():
            yield
            raise Undo
    except Undo:
        pass


@pytest.fixture(params=["v4", "v6", "unix", "unix-path"])
def daemon(request, tmp_path):
    """A statsd daemon's socket, and the setting that leads to it."""
    if request.param.startswith("unix"):
        server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        server.bind(str(tmp_path / "s"))
        host = f"unix://{tmp_path}/s" if request.param == "unix" else f"{tmp_path}/s"
    else:
        family, address = (socket.AF_INET, "127.0.0.1") if request.param == "v4" else (socket.AF_INET6, "::1")
        server = socket.socket(family, socket.SOCK_DGRAM)
        server.bind((address, 0))
        host = server.getsockname()[:2]
    server.settimeout(30)
    with server:
        yield server, host


@pytest.fixture
def statsd(daemon):
    server, host = daemon
    made = []

    def make(**changes):
        made.append(Statsd(settings(statsd_host=host, **changes)))
        return made[-1], lambda count: [server.recv(4096).decode() for _ in range(count)]

    yield make
    for log in made:
        log.sock.close()


def test_each_request_is_counted_without_an_access_log(statsd):
    log, received = statsd()
    assert log.access_enabled
    log.access(RESPONSE, REQUEST, {}, timedelta(seconds=1, microseconds=500))
    assert received(3) == [
        "gunicorn.request.duration:1000.5|ms",
        "gunicorn.requests:1|c|@1.0",
        "gunicorn.request.status.404:1|c|@1.0",
    ]


@pytest.mark.parametrize("prefix", ["shop", "shop."])
def test_prefix_has_one_dot_and_tags_come_last(statsd, prefix):
    log, received = statsd(statsd_prefix=prefix, dogstatsd_tags="env:x,az:1")
    log.increment("a", 1)
    log.gauge("b", 2)
    assert received(2) == ["shop.a:1|c|@1.0|#env:x,az:1", "shop.b:2|g|#env:x,az:1"]


@pytest.mark.parametrize("level", ["critical", "error", "warning", "exception"])
def test_bad_news_is_counted(statsd, level):
    log, received = statsd()
    getattr(log, level)("news")
    assert received(1) == [f"gunicorn.log.{level}:1|c|@1.0"]


@pytest.mark.parametrize(
    ("mtype", "wire"), [("gauge", "g"), ("counter", "c|@1.0"), ("histogram", "h"), ("timer", "ms")]
)
def test_any_log_call_can_carry_a_metric_also_zero(statsd, mtype, wire):
    log, received = statsd()
    log.info("", extra={"metric": "m", "value": 0, "mtype": mtype})
    log.debug("hidden by its level", extra={"metric": "n", "value": 2.5, "mtype": mtype})
    assert received(2) == [f"m:0|{wire}", f"n:2.5|{wire}"]


@pytest.mark.parametrize(
    "extra",
    [{"metric": "m"}, {"metric": "m", "value": 1}, {"metric": "m", "value": 1, "mtype": "set"}, {"x": 1}],
)
def test_an_extra_that_is_no_metric_is_not_sent(statsd, extra):
    log, received = statsd()
    log.info("", extra=extra)
    log.decrement("end", 1)
    assert received(1) == ["end:-1|c|@1.0"]


def test_messages_are_logged_with_their_traceback_too(statsd, tmp_path):
    log, received = statsd(errorlog=str(tmp_path / "e"), accesslog=str(tmp_path / "a"))
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        log.exception("failed at %d", 7)
    log.info("workers", extra={"metric": "gunicorn.workers", "value": 2, "mtype": "gauge"})
    log.info("", extra={"metric": "silent", "value": 2, "mtype": "gauge"})
    log.access(RESPONSE, REQUEST, {}, timedelta())
    text = (tmp_path / "e").read_text()
    assert "[ERROR] failed at 7" in text
    assert "ZeroDivisionError" in text
    assert text.splitlines()[-1].endswith("[INFO] workers")
    assert (tmp_path / "a").read_text() == "404\n"
    assert len(received(6)) == 6


def test_a_daemon_that_is_not_there_or_does_not_read_costs_nothing(tmp_path):
    log = Statsd(settings(statsd_host=f"unix://{tmp_path}/later"))
    log.increment("lost", 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "later"))
        for _ in range(5000):
            log.increment("full", 1)
        server.settimeout(30)
        assert server.recv(100) == b"full:1|c|@1.0"
    log.sock.close()


def test_a_host_that_does_not_resolve_is_a_warning(tmp_path):
    log = Statsd(settings(statsd_host=("host.invalid", 8125), errorlog=str(tmp_path / "e")))
    log.increment("lost", 1)
    assert "[WARNING] statsd_host: no metrics, ('host.invalid', 8125): " in (tmp_path / "e").read_text()


def test_without_a_host_it_is_only_a_logger():
    log = Statsd(settings())
    log.increment("lost", 1)
    assert log.sock is None
