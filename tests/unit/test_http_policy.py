"""Settings to policy, allow lists and the choice of the engine."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from gunicorn.errors import ConfigError
from gunicorn.http import Peer, Policy
from gunicorn.http.engines import engine_factory
from gunicorn.http.trust import AllowList

CONFIG = {
    "casefold_http_method": True,
    "forwarded_allow_ips": ["10.0.0.0/8"],
    "forwarder_headers": ["SCRIPT_NAME", "REMOTE_USER"],
    "header_map": "refuse",
    "http_parser": "python",
    "keepalive": 0,
    "limit_request_body": 10,
    "limit_request_field_size": 0,
    "limit_request_fields": 0,
    "limit_request_line": 100_000,
    "permit_obsolete_folding": False,
    "permit_unconventional_http_method": False,
    "permit_unconventional_http_version": False,
    "proxy_allow_ips": ["*"],
    "proxy_protocol": "v2",
    "secure_scheme_headers": {"X-FORWARDED-PROTO": "https"},
    "strip_header_spaces": False,
}


def test_from_config():
    policy = Policy.from_config(SimpleNamespace(**CONFIG), now=lambda: 784111777.0)
    assert policy.limit_request_line == 8190
    assert policy.limit_request_fields == 32768
    assert policy.limit_request_field_size == sys.maxsize
    assert policy.limit_request_body == 10
    assert policy.forwarder_headers == {b"script_name", b"remote_user"}
    assert policy.secure_scheme_headers == ((b"x-forwarded-proto", b"https"),)
    assert policy.forwarded_allow_ips.trusts(Peer("10.1.2.3"))
    assert policy.proxy_allow_ips.trusts(Peer("192.0.2.1"))
    assert not policy.keep_alive
    assert type(policy.new_engine()).__name__ == "ReferenceEngine"
    assert policy.date() == b"Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("entries", "host", "trusted"),
    [
        (["127.0.0.1", "::1"], "127.0.0.1", True),
        (["127.0.0.1", "::1"], "127.0.0.2", False),
        (["127.0.0.1", "::1"], "::ffff:127.0.0.1", True),
        (["10.0.0.0/8"], "10.255.0.1", True),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", True),
        (["10.0.0.0/8"], "11.0.0.1", False),
        (["2001:db8::/32"], "2001:db8::5%eth0", True),
        (["2001:DB8::1"], "2001:db8::1", True),
        (["10.0.0.0/8"], "not an address", False),
        (["10.0.0.0/8"], None, False),
        ([], "127.0.0.1", False),
        (["*"], "192.0.2.1", True),
        (["*"], None, True),
    ],
)
def test_allow_list(entries, host, trusted):
    assert AllowList(entries).trusts(Peer(host, 1)) is trusted


def test_unix_peers_are_trusted_and_entries_are_kept_as_written():
    assert AllowList([]).trusts(Peer(is_unix=True))
    assert AllowList(["10.0.0.0/8", "*"]).entries == ("10.0.0.0/8", "*")


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "localhost", "10.0.0.0/40", ""])
def test_allow_list_is_strict(entry):
    with pytest.raises(ValueError):
        AllowList([entry])


def test_engine_choice(monkeypatch):
    assert engine_factory("fast") is engine_factory("auto")
    assert engine_factory("python") is not engine_factory("auto")
    monkeypatch.setitem(sys.modules, "httptools", None)
    monkeypatch.delitem(sys.modules, "gunicorn.http.engines.fast")
    assert engine_factory("auto") is engine_factory("python")
    with pytest.raises(ConfigError, match="http_parser = 'fast' needs the package httptools"):
        engine_factory("fast")
