"""gunicorn.glogging.Logger: what people see in their logs, and what their subclasses rely on."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace

import pytest
from harness import UNMEASURED, server_environment

from gunicorn.errors import ConfigError
from gunicorn.glogging import CONFIG_DEFAULTS, Logger, logging_transaction

NAMES = ("gunicorn.error", "gunicorn.access", "people.app")
FORMAT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
RESPONSE = SimpleNamespace(status="200 OK", sent=12, headers=[])
REQUEST = SimpleNamespace(headers=[])
ENVIRON = {
    "REMOTE_ADDR": "192.0.2.7",
    "REQUEST_METHOD": "GET",
    "RAW_URI": "/x",
    "SERVER_PROTOCOL": "HTTP/1.1",
}


def settings(**changes):
    values = {
        "accesslog": None, "errorlog": "-", "loglevel": "info",
        "access_log_format": FORMAT, "logconfig": None,
        "logconfig_dict": {}, "logconfig_json": None, "syslog": False, "syslog_addr": "udp://localhost:514",
        "syslog_prefix": None, "syslog_facility": "user",
        "disable_redirect_access_to_syslog": False,
        "capture_output": False, "proc_name": "app:app", "uid": os.getuid(), "gid": os.getgid(),
    }  # fmt: skip
    return SimpleNamespace(**(values | changes))


@pytest.fixture(autouse=True)
def _fresh_loggers():
    """Each test starts with fresh loggers, and may leave them as it likes."""
    root = logging.getLogger()
    level, before = root.level, root.handlers[:]
    for name in NAMES:  # pytest attaches handlers of its own to loggers that do not propagate
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    yield
    left = [handler for handler in root.handlers if handler not in before]
    root.handlers = before
    root.setLevel(level)
    for name in NAMES:
        logger = logging.getLogger(name)
        left += logger.handlers
        logger.handlers, logger.filters, logger.disabled = [], [], False
    for handler in left:
        handler.close()


def serve_one(log, **environ):
    log.access(RESPONSE, REQUEST, ENVIRON | environ, timedelta(milliseconds=5))


def test_the_error_line(tmp_path):
    path = tmp_path / "error.log"
    log = Logger(settings(errorlog=str(path)))
    log.info("Listening at: %s", "http://127.0.0.1:8000")
    pattern = (
        r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[%d\] \[INFO\] Listening at: http://127.0.0.1:8000\n"
    )
    assert re.fullmatch(pattern % os.getpid(), path.read_text())


def test_a_dash_is_stderr_for_errors_and_stdout_for_access(capsys):
    log = Logger(settings(accesslog="-"))
    log.error("wrong")
    serve_one(log)
    shown = capsys.readouterr()
    assert shown.err.endswith("[ERROR] wrong\n")
    assert '"GET /x HTTP/1.1" 200 12 "-" "-"\n' in shown.out


@pytest.mark.parametrize(
    ("level", "shown"), [("debug", 5), ("info", 4), ("WARNING", 3), ("critical", 1), ("loud", 4)]
)
def test_levels(tmp_path, level, shown):
    log = Logger(settings(errorlog=str(tmp_path / "e"), loglevel=level))
    for name in ("critical", "error", "warning", "info", "debug"):
        getattr(log, name)("said")
    assert (tmp_path / "e").read_text().count("said") == shown


def test_log_takes_numbers_names_and_unknown_names(tmp_path):
    log = Logger(settings(errorlog=str(tmp_path / "e")))
    log.log(logging.ERROR, "one")
    log.log("error", "two")
    log.log("whisper", "three")
    assert re.findall(r"\[(\w+)\] (one|two|three)", (tmp_path / "e").read_text()) == [
        ("ERROR", "one"), ("ERROR", "two"), ("INFO", "three"),
    ]  # fmt: skip


def test_an_exception_has_its_traceback(tmp_path):
    log = Logger(settings(errorlog=str(tmp_path / "e")))
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        log.exception("failed")
    assert "ZeroDivisionError" in (tmp_path / "e").read_text()


def test_nothing_propagates_to_the_applications_root_logger(tmp_path, caplog):
    log = Logger(settings(errorlog=str(tmp_path / "e"), accesslog=str(tmp_path / "a")))
    log.error("wrong")
    serve_one(log)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("changes", "enabled"),
    [
        ({}, False),
        ({"accesslog": "-"}, True),
        ({"logconfig_dict": {"version": 1}}, True),
        ({"syslog": True}, True),
        ({"syslog": True, "disable_redirect_access_to_syslog": True}, False),
    ],
)
def test_when_there_is_an_access_log(changes, enabled):
    log = Logger(settings(**changes))
    assert log.access_enabled is enabled


def test_a_subclass_that_counts_in_access_is_always_asked():
    class Counting(Logger):
        def access(self, resp, req, environ, request_time):
            super().access(resp, req, environ, request_time)

    assert Counting(settings()).access_enabled is True


def test_an_environ_that_the_application_broke_does_not_raise(tmp_path):
    log = Logger(settings(errorlog=str(tmp_path / "e"), accesslog=str(tmp_path / "a")))
    log.access(SimpleNamespace(), REQUEST, ENVIRON, timedelta())
    assert "Error in the access log" in (tmp_path / "e").read_text()


def test_a_full_disk_does_not_raise(capsys):
    log = Logger(settings(accesslog="/dev/full"))
    serve_one(log)
    assert "No space left" in capsys.readouterr().err
    # The line stays in the file object's buffer; closing must not complain a second time.
    os.dup2(os.open(os.devnull, os.O_WRONLY), log.access_log.handlers[0].stream.fileno())


def test_filters_and_handlers_of_the_user_see_records_with_atoms(tmp_path):
    log = Logger(settings(accesslog=str(tmp_path / "a")))
    serve_one(log)
    seen = []
    logging.getLogger("gunicorn.access").addFilter(
        lambda record: seen.append(record) or "/health" not in record.getMessage()
    )
    serve_one(log)
    serve_one(log, RAW_URI="/health")
    assert [record.args["r"] for record in seen] == ["GET /x HTTP/1.1", "GET /health HTTP/1.1"]
    lines = (tmp_path / "a").read_text().splitlines()
    assert len(lines) == 2
    assert "/health" not in "".join(lines)


def test_a_second_handler_gets_the_lines_too(tmp_path):
    log = Logger(settings(accesslog=str(tmp_path / "a")))
    more = logging.FileHandler(tmp_path / "more")
    log.access_log.addHandler(more)
    serve_one(log)
    assert (tmp_path / "a").read_text() == (tmp_path / "more").read_text() != ""


@pytest.mark.parametrize("change", ["formatter", "level", "disable"])
def test_the_short_way_gives_way_to_the_users_changes(tmp_path, change):
    log = Logger(settings(accesslog=str(tmp_path / "a")))
    handler = log.access_log.handlers[0]
    if change == "formatter":
        handler.setFormatter(logging.Formatter("mine: %(message)s"))
    elif change == "level":
        handler.setLevel(logging.ERROR)
    else:
        log.access_log.disabled = True
    serve_one(log)
    expected = "mine: 192.0.2.7" if change == "formatter" else ""
    assert (tmp_path / "a").read_text().startswith(expected)
    assert bool((tmp_path / "a").read_text()) is bool(expected)


def test_both_ways_write_the_same_line(tmp_path):
    log = Logger(settings(accesslog=str(tmp_path / "a")))
    serve_one(log, HTTP_USER_AGENT='a"b\n')
    log.access_log.addFilter(lambda record: True)
    serve_one(log, HTTP_USER_AGENT='a"b\n')
    first, second = (re.sub(r"\[.*?\]", "", line) for line in (tmp_path / "a").read_text().splitlines())
    assert first == second


class JsonLogger(Logger):
    """As in people's configuration files: other atoms, another formatter, another setup."""

    def setup(self, cfg):
        super().setup(cfg)
        self._set_handler(self.access_log, cfg.accesslog, logging.Formatter("J %(message)s"))
        self.error_log.addFilter(lambda record: "secret" not in record.getMessage())

    def atoms(self, resp, req, environ, request_time):
        return super().atoms(resp, req, environ, request_time) | {"own": "my\natom"}


def test_a_custom_logger_class(tmp_path):
    log = JsonLogger(
        settings(
            accesslog=str(tmp_path / "a"), errorlog=str(tmp_path / "e"), access_log_format="%(own)s %(s)s"
        )
    )
    serve_one(log)
    log.error("secret thing")
    assert (tmp_path / "a").read_text() == "J my\\x0aatom 200\n"
    assert (tmp_path / "e").read_text() == ""


def test_time_is_shown_in_brackets_and_told_by_now(tmp_path):
    class Fixed(Logger):
        def now(self):
            return "[then]"

    assert re.fullmatch(r"\[\d\d/\w+/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", Logger(settings()).now())
    serve_one(Fixed(settings(accesslog=str(tmp_path / "a"), access_log_format="%(t)s")))
    assert (tmp_path / "a").read_text() == "[then]\n"


def test_reopen_follows_a_rotation_of_every_loggers_file(tmp_path):
    log = Logger(settings(errorlog=str(tmp_path / "e"), accesslog=str(tmp_path / "a")))
    theirs = logging.getLogger("people.app")
    theirs.addHandler(logging.FileHandler(tmp_path / "p"))
    for name in "eap":
        (tmp_path / name).rename(tmp_path / f"{name}.1")
    log.reopen_files()
    log.error("new")
    serve_one(log)
    theirs.error("new")
    assert [(tmp_path / name).read_text() != "" for name in ("e", "a", "p", "e.1", "a.1", "p.1")] == [
        True
    ] * 3 + [False] * 3


def test_a_file_that_cannot_be_reopened_stays_in_use(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    log = Logger(settings(errorlog=str(tmp_path / "e"), accesslog=str(folder / "a")))
    folder.rename(tmp_path / "old")
    log.reopen_files()
    serve_one(log)
    assert "192.0.2.7" in (tmp_path / "old" / "a").read_text()
    assert "Cannot reopen" in (tmp_path / "e").read_text()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_log_files_belong_to_the_workers_user_also_after_a_rotation(tmp_path):
    log = Logger(settings(errorlog=str(tmp_path / "e"), accesslog="/dev/null", uid=65534, gid=65534))
    assert os.stat(tmp_path / "e").st_uid == 65534
    assert os.stat("/dev/null").st_uid == 0
    (tmp_path / "e").rename(tmp_path / "e.1")
    log.reopen_files()
    assert os.stat(tmp_path / "e").st_uid == 65534


@pytest.mark.parametrize(("setting", "path"), [("errorlog", "no/e"), ("accesslog", "no/a"), ("errorlog", "")])
def test_a_log_file_that_cannot_be_opened_names_its_setting(tmp_path, setting, path):
    with pytest.raises(ConfigError, match=rf"^{setting}: cannot append to '.*': "):
        Logger(settings(**{setting: str(tmp_path / path)}))


BAD = [
    {"logconfig": "missing.ini"},
    {"logconfig_json": "missing.json"},
    {"logconfig_dict": {"handlers": {"x": {"class": "no.such.Handler"}}}},
    {"logconfig_dict": {"version": 99}},
    {"syslog": True, "syslog_addr": "http://x"},
    {"syslog": True, "syslog_facility": "nobody"},
    {"access_log_format": "%(h)d"},
    {"errorlog": "/dev/null/x"},
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: "-".join(bad))
def test_a_bad_logger_configuration_at_a_reload_changes_nothing(tmp_path, bad):
    cfg = settings(errorlog=str(tmp_path / "e"), accesslog=str(tmp_path / "a"), loglevel="warning")
    log = Logger(cfg)
    theirs = logging.getLogger("people.app")
    theirs.addHandler(logging.FileHandler(tmp_path / "p", mode="w"))
    handlers = log.error_log.handlers[:], log.access_log.handlers[:]
    for attempt in (lambda: Logger(settings(**bad)), lambda: log.setup(settings(**bad))):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert str(caught.value).startswith(next(reversed(bad)))
        assert "\n" not in str(caught.value)
    assert (log.error_log.handlers, log.access_log.handlers) == handlers
    assert log.cfg is cfg
    log.info("not shown")
    log.error("shown")
    theirs.error("shown")
    serve_one(log)
    assert re.findall(r"\[ERROR\] shown|not", (tmp_path / "e").read_text()) == ["[ERROR] shown"]
    assert (tmp_path / "p").read_text() == "shown\n"
    assert "192.0.2.7" in (tmp_path / "a").read_text()


def test_a_subclass_that_fails_after_the_base_setup_changes_nothing(tmp_path):
    class Failing(Logger):
        def setup(self, cfg):
            super().setup(cfg)
            raise RuntimeError("mine")

    log = Logger(settings(errorlog=str(tmp_path / "e")))
    with pytest.raises(RuntimeError, match="mine"):
        Failing(settings(errorlog=str(tmp_path / "other"), loglevel="critical"))
    log.info("still here")
    assert "still here" in (tmp_path / "e").read_text()


def test_a_reload_closes_what_it_replaces_and_keeps_the_users_handlers(tmp_path):
    log = Logger(settings(errorlog=str(tmp_path / "one")))
    old = log.error_log.handlers[0].stream
    mine = logging.FileHandler(tmp_path / "mine")
    log.error_log.addHandler(mine)
    log = Logger(settings(errorlog=str(tmp_path / "two")))
    log.error("now")
    assert old.closed
    assert [(tmp_path / name).read_text().count("now") for name in ("one", "two", "mine")] == [0, 1, 1]


def test_a_transaction_undoes_loggers_that_did_not_exist(tmp_path):
    def fail():
        with logging_transaction():
            logging.getLogger("people.new").addHandler(logging.FileHandler(tmp_path / "x"))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert logging.getLogger("people.new").handlers == []


def test_logconfig_dict_wins_over_json_and_is_laid_over_the_defaults(tmp_path, capsys):
    ignored = tmp_path / "ignored.json"
    log = Logger(
        settings(
            logconfig_json=str(ignored),
            logconfig_dict={"formatters": {"generic": {"format": "D %(message)s"}}},
        )
    )
    log.error("hello")
    assert "D hello\n" in capsys.readouterr().err
    assert CONFIG_DEFAULTS["formatters"]["generic"]["format"] != "D %(message)s"


def test_logconfig_json_is_read_and_its_handlers_see_atoms(tmp_path):
    path = tmp_path / "log.json"
    handler = {"class": "logging.FileHandler", "filename": str(tmp_path / "a"), "formatter": "f"}
    path.write_text(json.dumps({
        "handlers": {"h": handler}, "formatters": {"f": {"format": "JSON %(message)s"}}, "root": {},
        "loggers": {"gunicorn.access": {"level": "INFO", "handlers": ["h"]}},
    }))  # fmt: skip
    log = Logger(settings(logconfig_json=str(path)))
    serve_one(log)
    assert (tmp_path / "a").read_text().startswith("JSON 192.0.2.7 - -")


@pytest.mark.parametrize(
    ("content", "reason"), [("{", "is not JSON"), ("[1]", "must hold a JSON object, not list")]
)
def test_a_wrong_json_file(tmp_path, content, reason):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ConfigError, match=rf"^logconfig_json: .*{reason}"):
        Logger(settings(logconfig_json=str(tmp_path / "x.json")))


INI = """
[loggers]
keys=root,gunicorn.error
[handlers]
keys=file
[formatters]
keys=plain
[logger_root]
handlers=
[logger_gunicorn.error]
level=INFO
handlers=file
qualname=gunicorn.error
propagate=0
[handler_file]
class=FileHandler
formatter=plain
args=(r'%(here)s/from-ini.log',)
[formatter_plain]
format=I %(message)s
"""


def test_logconfig_ini_knows_where_it_is(tmp_path):
    folder = tmp_path / "100%"
    folder.mkdir()
    (folder / "log.ini").write_text(INI)
    Logger(settings(logconfig=str(folder / "log.ini"))).info("hello")
    assert (folder / "from-ini.log").read_text() == "I hello\n"


def receive(server):
    server.settimeout(30)
    return server.recv(4096)


@pytest.mark.parametrize(("prefix", "tag"), [(None, "app.app"), ("shop 50%", "shop 50%")])
def test_syslog_over_udp(prefix, tag):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        address = f"udp://127.0.0.1:{server.getsockname()[1]}"
        log = Logger(
            settings(
                errorlog=None,
                syslog=True,
                syslog_addr=address,
                syslog_prefix=prefix,
                syslog_facility="LOCAL3",
            )
        )
        log.warning("careful")
        assert receive(server) == f"<{19 * 8 + 4}>gunicorn.{tag}.error: [{os.getpid()}] careful\0".encode()
        serve_one(log)
        assert f">gunicorn.{tag}.access: [{os.getpid()}] 192.0.2.7 - -".encode() in receive(server)


@pytest.mark.parametrize(
    ("kind", "suffix"), [("DGRAM", "#dgram"), ("STREAM", "#stream"), ("DGRAM", ""), ("STREAM", "")]
)
def test_syslog_over_a_unix_socket(tmp_path, kind, suffix):
    with socket.socket(socket.AF_UNIX, getattr(socket, f"SOCK_{kind}")) as server:
        server.bind(str(tmp_path / "log"))
        if kind == "STREAM":
            server.listen()
        log = Logger(settings(errorlog=None, syslog=True, syslog_addr=f"unix://{tmp_path}/log{suffix}"))
        log.error("hello")
        if kind == "DGRAM":
            assert b"] hello" in receive(server)
        else:
            with server.accept()[0] as connection:
                assert b"] hello" in receive(connection)


def test_syslog_over_tcp():
    with socket.create_server(("127.0.0.1", 0)) as server:
        log = Logger(
            settings(errorlog=None, syslog=True, syslog_addr=f"tcp://127.0.0.1:{server.getsockname()[1]}")
        )
        log.error("hello")
        with server.accept()[0] as connection:
            assert b"] hello" in receive(connection)


def test_captured_output_goes_to_the_error_log_and_follows_a_rotation(tmp_path):
    """In a process of its own, because it takes descriptors 1 and 2."""
    program = f"""
import os, sys
sys.path[:0] = {[path for path in sys.path if "tests" in path]!r}
from test_logging_setup import settings, Logger
path = {str(tmp_path / "e")!r}
print("before", flush=True)
log = Logger(settings(errorlog=path, capture_output=True))
print("printed", flush=True)
os.write(2, b"from C\\n")
log.info("logged")
os.rename(path, path + ".1")
log.reopen_files()
print("printed again", flush=True)
assert log.logfile is not None and log.logfile.name == path
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert (done.stdout, done.stderr) == ("before\n", "")
    first = (tmp_path / "e.1").read_text()
    assert [word in first for word in ("printed\n", "from C\n", "logged\n", "again")] == [
        True,
        True,
        True,
        False,
    ]
    assert (tmp_path / "e").read_text() == "printed again\n"


def test_a_worker_that_logs_imports_little():
    program = "import sys, gunicorn.glogging; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env=server_environment(UNMEASURED),
    )
    heavy = {
        "asyncio",
        "trio",
        "queue",
        "email",
        "http.client",
        "concurrent.futures",
        "socket",
        "logging.handlers",
        "logging.config",
        "json",
    }
    assert heavy & set(done.stdout.split()) == set()


def test_descriptors_do_not_survive_an_exec(tmp_path):
    log = Logger(settings(errorlog=str(tmp_path / "e")))
    fd = log.error_log.handlers[0].stream.fileno()
    os.set_inheritable(fd, True)
    log.close_on_exec()
    assert os.get_inheritable(fd) is False


def test_captured_output_that_cannot_be_reopened_is_reported(tmp_path, monkeypatch):
    log = Logger(settings(errorlog=str(tmp_path / "e")))
    log.cfg = settings(errorlog=str(tmp_path / "no" / "e"), capture_output=True)
    log.reopen_files()
    assert "capture_output: cannot append to" in (tmp_path / "e").read_text()


def test_our_handler_is_found_among_others(tmp_path):
    log = Logger(settings(errorlog=str(tmp_path / "e")))
    ours = log.error_log.handlers[0]
    log.error_log.handlers.insert(0, logging.NullHandler())
    assert log._get_gunicorn_handler(log.error_log) is ours
    assert log._get_gunicorn_handler(log.access_log) is None


def test_a_reload_without_logconfig_drops_what_it_had_configured(tmp_path):
    handler = {"class": "logging.FileHandler", "filename": str(tmp_path / "old")}
    overlay = {
        "handlers": {"h": handler},
        "root": {},
        "loggers": {"gunicorn.error": {"handlers": ["h"], "level": "INFO"}},
    }
    log = Logger(settings(logconfig_dict=overlay))
    log.info("one")
    log.setup(settings(errorlog=str(tmp_path / "new")))
    log.info("two")
    assert (tmp_path / "old").read_text() == "one\n"
    assert (tmp_path / "new").read_text().count("two") == 1
