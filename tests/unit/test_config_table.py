"""The table of settings against the facts that people rely on, and the page that is generated from it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from gunicorn.config import KNOWN_SETTINGS, SETTINGS, Config, make_settings
from gunicorn.config.callables import accepts
from gunicorn.config.document import page

FACTS = json.loads((Path(__file__).parent / "data" / "settings_facts.json").read_text())
NEW = {
    "boot_timeout": 0,
    "header_timeout": 15,
    "body_timeout": 60,
    "write_timeout": 60,
    "request_timeout": 0,
    "handshake_timeout": 10,
    "limit_request_body": 0,
    "lifespan_timeout": 0,
    "dirty_cancel_abandoned": False,
    "dirty_queue_size": 1000,
    "drain_delay": 0,
    "max_worker_lifetime": 0,
    "max_worker_lifetime_jitter": 0,
    "max_worker_memory": 0,
    "upgrade_in_place": False,
    "reload_surge": 1,
    "reload_unavailable": 0,
    "control_socket_readonly": False,
    "websocket_compression": "on",
    "websocket_ping_interval": 20,
    "websocket_ping_timeout": 20,
}
ADDED_CHOICES = {"asgi_loop": ["trio"]}
# Environment variables that give defaults; the facts are those of an environment without them.
VARIABLES = ("PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "SENDFILE")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def test_every_setting_is_there_and_nothing_else():
    assert set(SETTINGS) == set(FACTS) | set(NEW)


@pytest.mark.parametrize("name", FACTS)
def test_setting_is_as_it_always_was(name):
    fact, setting = FACTS[name], SETTINGS[name]
    assert setting.section == fact["section"]
    assert setting.cli == fact["flags"]
    assert list(setting.choices) == fact.get("choices", []) + ADDED_CHOICES.get(name, [])


@pytest.mark.parametrize("name", [name for name, fact in FACTS.items() if fact["flags"]])
def test_flag_behaves_as_it_always_did(name):
    fact = FACTS[name]
    (action,) = [action for action in Config().parser()._actions if action.dest == name]
    assert action.option_strings == fact["flags"]
    assert (
        type(action).__name__
        == {
            "store": "_StoreAction",
            "append": "_AppendAction",
            "store_true": "_StoreTrueAction",
            "store_const": "_StoreConstAction",
        }[fact["action"]]
    )
    assert action.default is None
    assert action.nargs == (fact.get("nargs") if fact["action"] in ("store", "append") else 0)
    assert action.metavar == fact.get("metavar")
    assert getattr(action.type, "__name__", None) == fact.get("type")
    if "const" in fact:
        assert action.const == fact["const"]


@pytest.mark.parametrize("name", [name for name, fact in FACTS.items() if "default" in fact])
def test_default_is_as_it_always_was(name):
    assert make_settings()[name].value == ast.literal_eval(FACTS[name]["default"])


@pytest.mark.parametrize("name", [name for name, fact in FACTS.items() if "arity" in fact])
def test_default_hooks_can_be_called(name):
    assert accepts(SETTINGS[name].default, max(FACTS[name]["arity"]))


@pytest.mark.parametrize("name", NEW)
def test_new_setting(name):
    assert SETTINGS[name].value == NEW[name]
    assert SETTINGS[name].cli == ["--" + name.replace("_", "-")]
    assert SETTINGS[name].since == "28.0"


@pytest.mark.parametrize("setting", make_settings().values(), ids=lambda setting: setting.name)
def test_default_is_canonical(setting):
    # Defaults are stored without a validation, so each must be what its validator would return.
    if setting.validator is not None:
        assert setting.validator(setting.default) == setting.default


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_setting_is_documented(setting):
    assert setting.summary
    assert setting.desc.strip().endswith(".")
    assert len(setting.desc.strip().splitlines()) <= 8


def test_flags_are_unique():
    flags = [flag for setting in KNOWN_SETTINGS for flag in setting.cli or ()]
    assert len(flags) == len(set(flags))


def test_page_is_current():
    stored = Path(__file__).parents[2] / "docs" / "settings.md"
    assert stored.read_text() == page(), "run: python -m gunicorn.config.document > docs/settings.md"


def test_page_names_every_setting_and_lists_what_is_not_effective_in_one_place():
    head, _, later = page().partition("## Accepted, not yet effective")
    for name, setting in SETTINGS.items():
        assert f"### {name}\n" in head
        listed = f"- [`{name}`](#{name})" in later
        assert listed == (not setting.effective or bool(setting.later))


def test_help_groups_flags_by_section(capsys):
    with pytest.raises(SystemExit) as exit_:
        Config(prog="gunicorn").parser().parse_args(["--help"])
    text = capsys.readouterr().out
    assert exit_.value.code == 0
    position = [text.index(title) for title in ("Server Socket:", "Worker Processes:", "SSL:", "Control:")]
    assert position == sorted(position)
    assert "--limit-request-field_size" in text
    assert "%(h)s" in text  # the access log format has percent signs, which argparse would expand


@pytest.mark.parametrize("flag", ["-v", "--version"])
def test_version(flag, capsys):
    from gunicorn import __version__

    with pytest.raises(SystemExit) as exit_:
        Config(prog="gunicorn").parser().parse_args([flag])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"gunicorn (version {__version__})\n"


def test_flags_can_be_shortened():
    assert Config().parser().parse_args(["--backl", "7"]).backlog == 7
