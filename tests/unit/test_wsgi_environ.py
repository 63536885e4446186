"""The environ, field by field (PEP 3333, RFC 3875)."""

from __future__ import annotations

import logging
import socket
from types import SimpleNamespace
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn import SERVER_SOFTWARE
from gunicorn.http.events import Peer, ProxyInfo, Request
from gunicorn.wsgi.environ import (
    ScriptNameMismatch,
    add_client,
    add_proxy,
    fields_environ,
    listener_environ,
    request_environ,
    unquote,
    worker_environ,
)
from gunicorn.wsgi.file_wrapper import FileWrapper

PEER = Peer("192.0.2.7", 4711)


@pytest.fixture(autouse=True)
def no_script_name(monkeypatch):
    monkeypatch.delenv("SCRIPT_NAME", raising=False)


def environ_of(
    path=b"/", headers=(), *, server=("127.0.0.1", 8000), peer=PEER, workers=1, multithread=False, **fields
):
    query = fields.pop("query", b"")
    target = path + (b"?" + query if query else b"")
    request = Request(
        "GET", target, path, query, fields.pop("version", "1.1"), list(headers), peer=peer, **fields
    )
    worker = worker_environ(
        SimpleNamespace(workers=workers), logging.getLogger("test"), multithread=multithread
    )
    left, right = socket.socketpair()
    with left, right:
        fields = fields_environ(listener_environ(worker, server), request)
        environ = request_environ(fields, request)
        add_client(environ, left, peer.host or "", None if peer.port is None else str(peer.port))
        add_proxy(environ, peer)
        return environ


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("REQUEST_METHOD", "GET"),
        ("PATH_INFO", "/a b"),
        ("RAW_URI", "/a%20b?c=%20"),
        ("QUERY_STRING", "c=%20"),
        ("SCRIPT_NAME", ""),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", "127.0.0.1"),
        ("SERVER_PORT", "8000"),
        ("SERVER_SOFTWARE", SERVER_SOFTWARE),
        ("REMOTE_ADDR", "192.0.2.7"),
        ("REMOTE_PORT", "4711"),
        ("CONTENT_TYPE", "text/plain"),
        ("CONTENT_LENGTH", "3"),
        ("HTTP_HOST", "example.org"),
        ("HTTP_X_TWICE", "1,2"),
        ("HTTP_X_LATIN", "é"),
        ("wsgi.version", (1, 0)),
        ("wsgi.url_scheme", "http"),
        ("wsgi.run_once", False),
        ("wsgi.input_terminated", True),
        ("wsgi.file_wrapper", FileWrapper),
        ("wsgi.multithread", False),
        ("wsgi.multiprocess", False),
    ],
)
def test_field(key, value):
    headers = [
        (b"host", b"example.org"),
        (b"content-type", b"text/plain"),
        (b"content-length", b"3"),
        (b"x-twice", b"1"),
        (b"x-twice", b"2"),
        (b"x-latin", b"\xe9"),
    ]
    assert environ_of(b"/a%20b", headers, query=b"c=%20")[key] == value


def test_content_headers_have_no_http_twin():
    environ = environ_of(headers=[(b"content-type", b"a"), (b"content-length", b"0")])
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & environ.keys()


def test_threads_and_workers_are_told():
    environ = environ_of(workers=2, multithread=True)
    assert environ["wsgi.multithread"] is True
    assert environ["wsgi.multiprocess"] is True


def test_scheme_is_the_request_s():
    assert environ_of(scheme="https")["wsgi.url_scheme"] == "https"


def test_on_a_unix_socket_the_server_is_named_by_the_client():
    unix = {"server": "/run/app.sock", "peer": Peer(is_unix=True)}
    environ = environ_of(headers=[(b"host", b"example.org:81")], **unix)
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("example.org", "81")
    assert environ["REMOTE_ADDR"] == ""
    assert "REMOTE_PORT" not in environ


@pytest.mark.parametrize(
    ("host", "scheme", "expected"),
    [
        (b"example.org", "http", ("example.org", "80")),
        (b"example.org", "https", ("example.org", "443")),
        (b"[::1]", "http", ("[::1]", "80")),
        (b"[::1]:81", "http", ("[::1]", "81")),
        (b"", "http", ("localhost", "80")),
    ],
)
def test_default_port_on_a_unix_socket(host, scheme, expected):
    environ = environ_of(headers=[(b"host", host)], server="/s", peer=Peer(is_unix=True), scheme=scheme)
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == expected


def test_proxy_protocol_addresses():
    peer = Peer("10.0.0.1", 99, proxy=ProxyInfo(1, ("203.0.113.9", 5000), ("198.51.100.1", 443)))
    environ = environ_of(peer=peer)
    assert environ["PROXY_PROTOCOL"] == "TCP4"
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("203.0.113.9", "5000")
    assert (environ["PROXY_ADDR"], environ["PROXY_PORT"]) == ("198.51.100.1", "443")


def test_proxy_protocol_without_addresses_leaves_the_socket_s():
    environ = environ_of(peer=Peer("10.0.0.1", 99, proxy=ProxyInfo(2, None, None)))
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("10.0.0.1", "99")
    assert "PROXY_ADDR" not in environ


@pytest.mark.parametrize(
    ("script", "path", "rest"),
    [("/app", b"/app/x", "/x"), ("/app", b"/app", ""), ("/a b", b"/a%20b/c", "/c")],
)
@pytest.mark.parametrize("way", ["header", "environment"])
def test_script_name_is_cut_off(script, path, rest, way, monkeypatch):
    headers = [(b"script_name", script.encode())] if way == "header" else []
    if way == "environment":
        monkeypatch.setenv("SCRIPT_NAME", script)
    environ = environ_of(path, headers)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script, rest)


@pytest.mark.parametrize("path", [b"/other", b"/application", b"/"])
def test_path_outside_of_script_name(path):
    with pytest.raises(ScriptNameMismatch, match="/app"):
        environ_of(path, [(b"script_name", b"/app")])


def test_a_header_with_a_hyphen_is_not_the_forwarder_s():
    environ = environ_of(b"/app/x", [(b"script-name", b"/app")])
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/app/x")


def test_a_path_info_header_is_only_a_header():
    environ = environ_of(b"/x", [(b"path_info", b"/y")])
    assert environ["PATH_INFO"] == "/x"
    assert environ["HTTP_PATH_INFO"] == "/y"


def test_requests_share_nothing_that_an_application_changes():
    first = environ_of()
    first["wsgi.url_scheme"] = "changed"
    assert environ_of()["wsgi.url_scheme"] == "http"


@given(st.binary(max_size=30) | st.text("%0aFz/", max_size=12).map(str.encode))
def test_unquote_is_the_standard_one(path):
    assert unquote(path) == unquote_to_bytes(path)


def test_made_up_header_names_are_not_kept_for_ever():
    from gunicorn.wsgi import environ as module

    for number in range(3000):
        key = b"x-%d" % number
        assert module._KEYS[key] == f"HTTP_X_{number}"
    assert len(module._KEYS) <= module._NAMES_KEPT
