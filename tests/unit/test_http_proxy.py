"""PROXY protocol, versions 1 and 2 (sections of haproxy's proxy-protocol.txt), whole and byte by byte."""

from __future__ import annotations

import pytest

from gunicorn.http import (
    NEED_DATA,
    Peer,
    Policy,
    ProtocolError,
    ProxyInfo,
    Request,
    Response,
    ServerConnection,
)
from gunicorn.http.events import EndOfMessage

LOCAL = Peer("127.0.0.1", 40000)
REMOTE = Peer("192.0.2.7", 40000)
UNIX = Peer(is_unix=True)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
V1 = b"PROXY TCP4 198.51.100.1 203.0.113.2 1000 2000\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
ADDRESSES = bytes([198, 51, 100, 1, 203, 0, 113, 2]) + (1000).to_bytes(2, "big") + (2000).to_bytes(2, "big")


def v2(block=ADDRESSES, *, command=0x21, family=0x11):
    return SIGNATURE + bytes([command, family]) + len(block).to_bytes(2, "big") + block


def first(data, peer=LOCAL, mode="auto", **rules):
    connection = ServerConnection(Policy(proxy_protocol=mode, **rules), peer)
    for i in range(len(data)):
        connection.receive_data(data[i : i + 1])
        event = connection.next_event()
        if event is not NEED_DATA:
            break
    whole = ServerConnection(Policy(proxy_protocol=mode, **rules), peer)
    whole.receive_data(data)
    assert whole.next_event() == event
    return event


@pytest.mark.parametrize(("header", "version"), [(V1, 1), (v2(), 2), (v2(ADDRESSES + b"\x04\0\1x"), 2)])
@pytest.mark.parametrize("peer", [LOCAL, UNIX])
def test_announced_peer(header, version, peer):
    info = ProxyInfo(version, ("198.51.100.1", 1000), ("203.0.113.2", 2000))
    assert first(header + GET, peer).peer == Peer("198.51.100.1", 1000, proxy=info)


def test_version_6_addresses():
    peer = first(b"PROXY TCP6 2001:DB8::1 ::1 1 2\r\n" + GET).peer
    assert (peer.host, peer.port) == ("2001:db8::1", 1)
    peer = first(v2(bytes(15) + b"\1" + bytes(16) + b"\0\1\0\2", family=0x21) + GET).peer
    assert (peer.host, peer.port) == ("::1", 1)


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff:f...f:ffff whatever\r\n",
        v2(b"", command=0x20, family=0),
        v2(command=0x20),
        v2(b"", family=0),
    ],
)
def test_without_addresses_the_socket_s_peer_stays(header):
    """2.1 UNKNOWN, 2.2 LOCAL and AF_UNSPEC."""
    peer = first(header + GET).peer
    assert (peer.host, peer.port) == (LOCAL.host, LOCAL.port)
    assert peer.proxy.source is None


BAD = [
    b"PROXY TCP4 1.2.3.4 5.6.7.8 9\r\n",
    b"PROXY TCP5 1.2.3.4 5.6.7.8 9 10\r\n",
    b"PROXY TCP4 1.2.3.4.5 5.6.7.8 9 10\r\n",
    b"PROXY TCP4 ::1 ::2 9 10\r\n",
    b"PROXY TCP6 fe80::1%a ::2 9 10\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 9 70000\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 09 1\r\n",
    b"PROXY TCP4  1.2.3.4 5.6.7.8 9 1\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 9 1\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWN " + b"x" * 107,
    v2(command=0x11),
    v2(command=0x2F),
    v2(family=0x12),
    v2(ADDRESSES[:-1]),
    v2(bytes(5000)),
]


@pytest.mark.parametrize("header", BAD)
def test_malformed(header):
    with pytest.raises(ProtocolError, match="malformed PROXY header") as caught:
        first(header + GET)
    assert caught.value.status == 400


@pytest.mark.parametrize("header", [V1, v2()])
def test_untrusted(header):
    with pytest.raises(ProtocolError) as caught:
        first(header + GET, REMOTE)
    assert caught.value.status == 403
    assert isinstance(first(header + GET, REMOTE, proxy_allow_ips=["192.0.2.0/24"]), Request)


@pytest.mark.parametrize(("header", "mode"), [(V1, "v2"), (v2(), "v1"), (V1, "off"), (v2(), "off")])
def test_a_version_that_is_off_is_no_http(header, mode):
    with pytest.raises(ProtocolError):
        first(header + GET, mode=mode)


@pytest.mark.parametrize("mode", ["v1", "v2", "auto"])
def test_the_header_is_optional(mode):
    assert first(GET, mode=mode).peer == LOCAL
    assert first(b"\r\n" + GET, mode=mode).peer == LOCAL
    assert first(b"PUT / HTTP/1.0\r\n\r\n", mode=mode).method == "PUT"


def test_only_the_first_request_has_one_and_its_peer_stays():
    connection = ServerConnection(Policy(proxy_protocol="auto"), LOCAL)
    connection.receive_data(V1 + GET + GET + V1 + GET)
    for _ in range(2):
        assert connection.next_event().peer.host == "198.51.100.1"
        connection.send(Response(204))
        connection.send(EndOfMessage())
        connection.start_next_cycle()
    with pytest.raises(ProtocolError):
        connection.next_event()


def test_trust_in_fields_is_the_socket_peer_s():
    data = V1 + b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n"
    assert first(data).scheme == "https"
