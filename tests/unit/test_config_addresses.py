"""Addresses to listen on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.config import Config
from gunicorn.config.addresses import FdAddress, TcpAddress, UnixAddress, classic, parse_address
from gunicorn.errors import ConfigError

FORMS = [
    ("127.0.0.1", TcpAddress("127.0.0.1", 8000)),
    ("LocalHost:81", TcpAddress("localhost", 81)),
    (":9000", TcpAddress("0.0.0.0", 9000)),
    ("", TcpAddress("0.0.0.0", 8000)),
    ("[::1]:82", TcpAddress("::1", 82)),
    ("[::]", TcpAddress("::", 8000)),
    ("tcp://h:83", TcpAddress("h", 83)),
    ("tcp://[FE80::1]:84", TcpAddress("fe80::1", 84)),
    ("h:0", TcpAddress("h", 0)),
    ("unix:/run/a.sock", UnixAddress("/run/a.sock")),
    ("unix:///run/a.sock", UnixAddress("/run/a.sock")),
    ("unix://a.sock", UnixAddress("a.sock")),
    ("unix:\0name", UnixAddress("\0name")),
    ("fd://3", FdAddress(3)),
]


@pytest.mark.parametrize(("text", "address"), FORMS)
def test_forms(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("h:port", "a port from 0 to 65535, not 'port'"),
        ("h:", "a port from 0 to 65535"),
        ("h:70000", "a port from 0 to 65535"),
        ("h:-1", "a port from 0 to 65535"),
        ("h:\uff11", "a port from 0 to 65535"),
        ("::1", "brackets around an IPv6 address"),
        ("[::1", "[IPv6]:PORT"),
        ("[]:80", "[IPv6]:PORT"),
        ("[::1]80", "[IPv6]:PORT"),
        ("http://h", "HOST:PORT"),
        ("a b:80", "HOST:PORT"),
        ("unix:", "a path after 'unix:'"),
        ("fd://x", "the number of a descriptor"),
        ("fd://", "the number of a descriptor"),
    ],
)
def test_refused(text, allowed):
    with pytest.raises(ValueError, match="expected") as caught:
        parse_address(text)
    assert allowed in str(caught.value)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text):
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert classic(address) is not None


@given(st.sampled_from([address for text, address in FORMS if text and "\0" not in text]))
def test_str_reads_back(address):
    assert parse_address(str(address)) == address


def test_both_views_of_the_bind_list():
    cfg = Config()
    cfg.set("bind", ["[::1]:80", "unix:/a", "fd://4"])
    assert cfg.addresses == [TcpAddress("::1", 80), UnixAddress("/a"), FdAddress(4)]
    assert cfg.address == [("::1", 80), "/a", 4]


def test_wrong_bind_names_the_setting_and_the_source():
    cfg = Config()
    cfg.set("bind", "h:port")
    with pytest.raises(ConfigError, match=r"^application: bind = \['h:port'\]: expected a port"):
        _ = cfg.addresses


def test_abstract_names_are_shown_with_an_at_sign():
    address = UnixAddress("\0name")
    assert address.is_abstract
    assert str(address) == "unix:@name"
