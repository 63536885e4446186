"""From a request head to a scope."""

from __future__ import annotations

import pytest

from gunicorn.asgi.scope import ScopeBase, server_address, subprotocols
from gunicorn.http import Peer, ProxyInfo, Request
from gunicorn.workers.asgi.tls import _name

PEER = Peer("192.0.2.9", 4000)


def request(
    path: bytes = b"/", *, headers=(), version: str = "1.1", scheme: str = "http", peer: Peer = PEER
) -> Request:
    return Request("GET", path, path, b"", version, list(headers), scheme=scheme, peer=peer)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/a", "/a"),
        (b"/%E2%82%AC", "/€"),
        (b"/%2Fa%25", "//a%"),
        (b"/%ff", "/\ufffd"),
        (b"/%zz%4", "/%zz%4"),
        (b"*", "*"),
    ],
)
def test_the_path_is_decoded_and_the_raw_one_is_there(raw, path):
    scope = ScopeBase(PEER, ("h", 1)).http(request(raw))
    assert (scope["path"], scope["raw_path"]) == (path, raw)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("::1", 80, 0, 0), ("::1", 80)),
        (("127.0.0.1", 80), ("127.0.0.1", 80)),
        ("/run/s", ("/run/s", None)),
        (b"\0abstract", ("@abstract", None)),
        ("", None),
        (None, None),
    ],
)
def test_server_addresses_have_two_parts(name, address):
    assert server_address(name) == address


def test_who_asks_is_the_proxys_client():
    proxied = Peer("10.0.0.1", 1, proxy=ProxyInfo(1, ("192.0.2.1", 5), None))
    base = ScopeBase(PEER, ("h", 1))
    assert base.http(request())["client"] == ("192.0.2.9", 4000)
    assert base.http(request(peer=proxied))["client"] == ("192.0.2.1", 5)
    assert ScopeBase(Peer(is_unix=True), "/s").http(request(peer=Peer(is_unix=True)))["client"] is None


def test_nothing_of_a_scope_is_shared_with_the_next():
    base = ScopeBase(PEER, ("h", 1), state={"a": 1})
    first = base.http(request())
    for name in ("asgi", "state", "extensions"):
        first[name]["changed"] = True
    first["changed"] = True
    second = base.http(request())
    assert "changed" not in second
    assert all("changed" not in second[name] for name in ("asgi", "state", "extensions"))


def test_http_1_0_has_fewer_extensions():
    base = ScopeBase(PEER, ("h", 1))
    assert set(base.http(request(version="1.0"))["extensions"]) == {"http.response.pathsend"}


def test_the_websocket_scope():
    base = ScopeBase(PEER, ("h", 1), tls={"tls_version": 0x0304})
    fields = [(b"sec-websocket-protocol", b"chat, v2"), (b"sec-websocket-protocol", b"v3,")]
    scope = base.websocket(request(headers=fields, scheme="https"))
    assert (scope["type"], scope["scheme"]) == ("websocket", "wss")
    assert scope["subprotocols"] == ["chat", "v2", "v3"]
    assert scope["extensions"] == {"tls": {"tls_version": 0x0304}, "websocket.http.response": {}}
    assert "method" not in scope
    assert subprotocols(request()) == []


def test_the_name_in_a_client_certificate():
    subject = ((("countryName", "DE"),), (("organizationName", "A, B+C"),), (("commonName", " x "),))
    assert _name({"subject": subject}) == "CN=\\ x\\ ,O=A\\, B\\+C,C=DE"
    assert _name({}) is None
