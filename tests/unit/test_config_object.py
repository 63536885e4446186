"""The configuration object and settings of custom applications."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import gunicorn
from gunicorn.config import (
    KNOWN_SETTINGS,
    SETTINGS,
    Config,
    Setting,
    make_settings,
    validate_bool,
    validate_callable,
    validate_list_string,
    validate_pos_int,
)
from gunicorn.config.checks import check
from gunicorn.config.loader import load
from gunicorn.errors import ConfigError


@pytest.fixture
def custom_settings():
    """Takes settings that a test registers out of the table again."""
    known = dict(SETTINGS)
    yield
    for name in set(SETTINGS) - set(known):
        KNOWN_SETTINGS.remove(SETTINGS.pop(name))


# -- reading and writing


def test_settings_are_read_as_attributes():
    cfg = Config()
    cfg.set("workers", "4")
    assert cfg.workers == 4
    assert cfg.settings["workers"].get() == 4
    assert cfg.settings["workers"].default == 1


def test_settings_are_not_written_as_attributes():
    cfg = Config()
    with pytest.raises(AttributeError, match=r"^Invalid access!$"):
        cfg.workers = 4
    with pytest.raises(AttributeError, match=r"^Invalid access!$"):
        cfg.sendfile = False
    assert cfg.workers == 1


def test_unknown_names():
    cfg = Config()
    with pytest.raises(AttributeError, match="no setting is called 'wrokers'"):
        _ = cfg.wrokers
    with pytest.raises(AttributeError, match="no setting is called 'wrokers'"):
        cfg.set("wrokers", 1)


def test_set_refuses_as_configuration_error_and_as_value_error():
    cfg = Config()
    with pytest.raises(ConfigError, match=r"^application: workers = 'x': expected an integer >= 0$"):
        cfg.set("workers", "x")
    with pytest.raises(ValueError, match="expected an integer"):
        cfg.set("workers", "x")


def test_a_setting_can_be_set_directly():
    cfg = Config()
    cfg.settings["workers"].set("3")
    assert cfg.workers == 3


def test_configurations_share_nothing():
    first, second = Config(), Config()
    first.bind.append("x")
    first.secure_scheme_headers.clear()
    first.settings["timeout"].set(1)
    assert second.bind == ["127.0.0.1:8000"]
    assert second.secure_scheme_headers
    assert second.timeout == 30
    assert Config().bind == ["127.0.0.1:8000"]


def test_frozen():
    cfg = Config()
    cfg.freeze()
    with pytest.raises(ConfigError, match="workers cannot be set: the configuration is frozen"):
        cfg.set("workers", 2)
    assert cfg.workers == 1


def test_sources_of_all_settings():
    cfg = Config()
    cfg.set("workers", 2)
    assert set(cfg.sources) == set(cfg.settings)
    assert str(cfg.sources["workers"]) == "application"
    assert str(cfg.sources["threads"]) == "default"


def test_the_environment_is_kept_as_it_was(monkeypatch):
    monkeypatch.setenv("SOME_NAME", "before")
    cfg = Config()
    monkeypatch.setenv("SOME_NAME", "after")
    assert cfg.env_orig["SOME_NAME"] == "before"


def test_program_and_usage():
    parser = Config("%(prog)s [OPTIONS] APP", "gunicorn").parser()
    assert parser.format_usage() == "usage: gunicorn [OPTIONS] APP\n"


def test_print_config_is_sorted_and_names_functions():
    cfg = Config()
    cfg.set("bind", ["a:1", "b:2"])
    lines = str(cfg).splitlines()
    pairs = {name.strip(): value for name, _, value in (line.partition(" = ") for line in lines)}
    assert list(pairs) == sorted(cfg.settings)
    assert pairs["bind"] == "['a:1', 'b:2']"
    assert pairs["when_ready"] == "<when_ready()>"
    assert pairs["workers"] == "1"
    assert pairs["pidfile"] == "None"


def test_default_hooks_do_what_is_documented():
    cfg = Config()
    lines = []
    logger = type("Log", (), {"debug": lambda self, text, *arguments: lines.append(text % arguments)})()
    worker = type("Worker", (), {"log": logger})()
    cfg.pre_request(worker, type("Request", (), {"method": "GET", "path": "/a"})())
    assert lines == ["GET /a"]
    assert cfg.post_request(worker, None, None, None) is None
    assert cfg.ssl_context(cfg, lambda: "made") == "made"


# -- derived properties


def test_environment_pairs():
    cfg = Config()
    cfg.set("raw_env", ["A=1", "B=x=y", "C="])
    assert cfg.env == {"A": "1", "B": "x=y", "C": ""}


def test_paste_pairs():
    cfg = Config()
    assert cfg.paste_global_conf == {}
    cfg.set("raw_paste_global_conf", ["a=1", r"b\=c=d"])
    assert cfg.paste_global_conf == {"a": "1", "b=c": "d"}
    cfg.set("raw_paste_global_conf", "bare")
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        _ = cfg.paste_global_conf


def test_process_name_falls_back():
    cfg = Config()
    assert cfg.proc_name == "gunicorn"
    cfg.set("default_proc_name", "app:app")
    assert cfg.proc_name == "app:app"
    cfg.set("proc_name", "site")
    assert cfg.proc_name == "site"


def test_identity():
    cfg = Config()
    cfg.set("user", 12)
    cfg.set("group", "34")
    assert (cfg.uid, cfg.gid) == (12, 34)


def test_networks_of_trusted_peers():
    from ipaddress import ip_network

    cfg = Config()
    cfg.set("forwarded_allow_ips", "10.0.0.0/8,*")
    assert cfg.forwarded_allow_networks() == [ip_network("10.0.0.0/8")]
    assert cfg.proxy_allow_networks() == [ip_network("127.0.0.1"), ip_network("::1")]
    assert cfg.uwsgi_allow_networks() == [ip_network("127.0.0.1"), ip_network("::1")]


def test_tls():
    cfg = Config()
    assert not cfg.is_ssl
    cfg.set("certfile", "c.pem")
    assert cfg.is_ssl
    assert cfg.ssl_options["certfile"] == "c.pem"
    assert {"keyfile", "cert_reqs", "ca_certs", "ciphers"} < set(cfg.ssl_options)


# -- classes


class Kind:
    prepared = 0

    @classmethod
    def setup(cls):
        cls.prepared += 1

    @classmethod
    def install(cls):
        cls.prepared += 1


@pytest.mark.parametrize(("setting", "prepare"), [("worker_class", "setup"), ("logger_class", "install")])
@pytest.mark.parametrize("form", ["class", "text", "function"])
def test_class_is_resolved_and_prepared_once(setting, prepare, form):
    Kind.prepared = 0
    value = {"class": Kind, "text": f"{__name__}.Kind", "function": lambda: Kind}[form]
    cfg = Config()
    cfg.set(setting, value)
    assert Kind.prepared == 0
    assert getattr(cfg, setting).__name__ == "Kind"
    assert getattr(cfg, setting) is getattr(cfg, setting)
    assert getattr(cfg, setting).prepared == 1


@pytest.mark.parametrize(
    ("value", "threads", "shown"),
    [
        ("sync", 1, "sync"),
        ("sync", 4, "gthread"),
        ("gunicorn.workers.sync.SyncWorker", 2, "gthread"),
        ("gthread", 1, "gthread"),
        (Kind, 4, "Kind"),
        ("a.B", 4, "a.B"),
    ],
)
def test_name_of_the_worker_class(value, threads, shown):
    cfg = Config()
    cfg.set("worker_class", value)
    cfg.set("threads", threads)
    assert cfg.worker_class_str == shown


def test_worker_class_that_cannot_be_loaded():
    cfg = Config()
    cfg.set("worker_class", "no_such_module.Worker")
    with pytest.raises(ConfigError) as caught:
        _ = cfg.worker_class
    assert str(caught.value) == (
        "application: worker_class = 'no_such_module.Worker': "
        "cannot load 'no_such_module.Worker': No module named 'no_such_module'"
    )


def test_statsd_address_chooses_the_logger_that_counts(monkeypatch):
    statsd = type("Statsd", (), {})
    module = type(sys)("gunicorn.instrument.statsd")
    module.Statsd = statsd
    monkeypatch.setitem(sys.modules, "gunicorn.instrument.statsd", module)
    cfg = Config()
    cfg.set("statsd_host", "h")
    assert cfg.logger_class is statsd
    cfg.set("logger_class", Kind)
    assert cfg.logger_class is Kind


# -- settings of custom applications


def test_custom_setting(custom_settings):
    class Greeting(Setting):
        name = "greeting_count"
        section = "My App"
        cli = ["--greeting-count"]
        meta = "INT"
        validator = validate_pos_int
        type = int
        default = "3"
        desc = """How often to greet.

        Twice is polite."""

    cfg = Config()
    assert cfg.greeting_count == 3
    assert "--greeting-count" in cfg.parser().format_help()
    load(cfg, ["--greeting-count", "5"], environ={})
    assert cfg.greeting_count == 5
    assert isinstance(cfg.settings["greeting_count"], Greeting)
    assert Config().greeting_count == 3
    assert SETTINGS["greeting_count"] in KNOWN_SETTINGS


def test_custom_hook_switch_and_list(custom_settings):
    class MyHook(Setting):
        name = "my_hook"
        section = "My App"
        validator = validate_callable(1)
        type = callable

        def my_hook(server):
            return server

        default = staticmethod(my_hook)

    class MySwitch(Setting):
        name = "my_switch"
        section = "My App"
        cli = ["--my-switch"]
        validator = validate_bool
        action = "store_true"
        default = False

    class MyList(Setting):
        name = "my_list"
        section = "My App"
        cli = ["--my-list"]
        action = "append"
        validator = validate_list_string
        default: list[str] = []

    cfg = Config()
    assert cfg.my_hook(7) == 7
    load(cfg, ["--my-switch", "--my-list", "a", "--my-list", "b"], environ={})
    assert cfg.my_switch is True
    assert cfg.my_list == ["a", "b"]
    assert Config().my_list == []


def test_custom_setting_replaces_one_of_the_same_name(custom_settings):
    for value in (1, 2):
        type("Replaced", (Setting,), {"name": "replaced", "section": "My App", "default": value})
    assert Config().replaced == 2
    assert sum(setting.name == "replaced" for setting in KNOWN_SETTINGS) == 1


def test_a_base_class_without_a_name_is_not_a_setting():
    count = len(KNOWN_SETTINGS)
    type("MyBase", (Setting,), {"section": "My App"})
    assert len(KNOWN_SETTINGS) == count


def test_settings_by_the_names_of_classes():
    from gunicorn import config

    assert config.AccessLogFormat.default == Config().access_log_format
    assert config.WorkerClass.name == "worker_class"
    for name in ("NoSuchSetting", "workers"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
            getattr(config, name)


def test_some_settings_can_be_left_out():
    assert set(SETTINGS) - set(make_settings(ignore=["workers"])) == {"workers"}


def test_checks_may_run_twice():
    cfg = Config()
    cfg.set("http2_max_concurrent_streams", 2)
    check(cfg)
    check(cfg)
    assert len(cfg.warnings) == 1


# -- cost


def test_importing_the_package_imports_little():
    heavy = ["argparse", "ast", "asyncio", "attrs", "dataclasses", "difflib", "importlib.metadata", "inspect"]
    heavy += ["ipaddress", "logging", "shutil", "socket", "ssl", "trio", "gunicorn.workers"]
    code = (
        f"import gunicorn.config; gunicorn.config.Config(); print([m for m in {heavy} if m in sys.modules])"
    )
    # -I -S: neither a .pth file of the environment nor a coverage hook may import things before us.
    root = str(Path(gunicorn.__file__).parents[1])
    run = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {root!r}); {code}"]
    found = subprocess.run(run, capture_output=True, text=True, check=True, timeout=30).stdout
    assert found.strip() == "[]"
