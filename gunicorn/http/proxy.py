"""The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt, section numbers as there)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gunicorn.errors import ProtocolError
from gunicorn.http.events import Peer, ProxyInfo
from gunicorn.http.policy import ProxyMode

if TYPE_CHECKING:
    from gunicorn.http.policy import Policy

__all__ = ["read_proxy_header"]

_V1_START = b"PROXY "
# 2.1: the longest line, with CRLF.
_V1_LIMIT = 107
# 2.2
_V2_START = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_HEAD = 16
# Our own bound; the specification's is 65535. Addresses take 216 bytes and the known TLVs a few hundred more.
_V2_LIMIT = 4096

Address = tuple[str, int]


def read_proxy_header(data: bytes | bytearray, policy: Policy, peer: Peer) -> tuple[int, Peer] | None:
    """Read the header at the start of a connection; it is optional.

    Args:
        data: All that was received.
        policy: Which versions are accepted, and from whom.
        peer: The socket's peer.

    Returns:
        The header's size and the peer that it announces, 0 and ``peer`` when there is none; None while that
        is open.

    Raises:
        ProtocolError: 400 for a malformed header, 403 for one from a peer that may not send it.
    """
    mode = policy.proxy_protocol
    for start, versions, read in _VERSIONS:
        if mode not in versions:
            continue
        if data.startswith(start):
            if not policy.proxy_allow_ips.trusts(peer):
                raise ProtocolError(403, "proxy_allow_ips: PROXY header from a peer that is not allowed")
            return read(bytes(data[: _V2_HEAD + _V2_LIMIT]), peer)
        if start.startswith(data):
            return None
    return 0, peer


def _malformed(detail: str) -> ProtocolError:
    return ProtocolError(400, "proxy_protocol: malformed PROXY header", detail)


def _announce(peer: Peer, version: int, source: Address, destination: Address) -> Peer:
    return Peer(source[0], source[1], proxy=ProxyInfo(version, source, destination))


def _keep(peer: Peer, version: int) -> Peer:
    """UNKNOWN and LOCAL carry no address of use: the connection is the proxy's own."""
    return peer._replace(proxy=ProxyInfo(version, None, None))


def _read_v1(data: bytes, peer: Peer) -> tuple[int, Peer] | None:
    end = data.find(b"\n", 0, _V1_LIMIT) + 1
    if not end:
        if len(data) >= _V1_LIMIT:
            raise _malformed("version 1 line is too long")
        return None
    if not data.endswith(b"\r\n", 0, end):
        raise _malformed("version 1 line does not end with CRLF")
    return end, _read_v1_line(data[: end - 2], peer)


def _read_v1_line(line: bytes, peer: Peer) -> Peer:
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        # 2.1: the receiver must ignore anything before the CRLF.
        return _keep(peer, 1)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise _malformed(repr(line[:80]))
    family = 4 if words[1] == b"TCP4" else 6
    source = _v1_address(words[2], family), _v1_port(words[4])
    destination = _v1_address(words[3], family), _v1_port(words[5])
    return _announce(peer, 1, source, destination)


def _v1_address(word: bytes, family: int) -> str:
    from ipaddress import IPv4Address, IPv6Address

    try:
        text = word.decode("ascii")
        if "%" in text:
            raise ValueError("a zone means nothing on another machine")
        return str(IPv4Address(text) if family == 4 else IPv6Address(text))
    except ValueError:
        raise _malformed(f"not an IPv{family} address: {word[:60]!r}") from None


def _v1_port(word: bytes) -> int:
    if word.isdigit() and len(word) <= 5 and int(word) <= 65535 and (word == b"0" or word[:1] != b"0"):
        return int(word)
    raise _malformed(f"not a port: {word[:60]!r}")


def _read_v2(data: bytes, peer: Peer) -> tuple[int, Peer] | None:
    if len(data) < _V2_HEAD:
        _check_v2_partial(data)
        return None
    _check_v2_partial(data)
    length = int.from_bytes(data[14:16], "big")
    if length > _V2_LIMIT:
        raise _malformed(f"version 2 header of {length} bytes")
    if len(data) < _V2_HEAD + length:
        return None
    block = data[_V2_HEAD : _V2_HEAD + length]
    if data[12] & 0x0F == 0:
        # LOCAL: 2.2: the receiver must use the real endpoints and discard the block, whatever its family.
        return _V2_HEAD + length, _keep(peer, 2)
    return _V2_HEAD + length, _read_v2_block(data[13], block, peer)


def _check_v2_partial(data: bytes) -> None:
    if len(data) > 12 and data[12] not in (0x20, 0x21):
        raise _malformed(f"version and command {data[12]:#x}")


def _read_v2_block(family: int, block: bytes, peer: Peer) -> Peer:
    if family >> 4 == 0 or family & 0x0F == 0:
        # AF_UNSPEC, or an unspecified transport: 2.2: ignore the addresses.
        return _keep(peer, 2)
    size = _V2_ADDRESS_SIZES.get(family)
    if size is None:
        raise _malformed(f"family and transport {family:#x} are not TCP over IP")
    if len(block) < 2 * size + 4:
        raise _malformed(f"version 2 addresses of {len(block)} bytes")
    source = _v2_address(block[:size]), int.from_bytes(block[2 * size : 2 * size + 2], "big")
    destination = (
        _v2_address(block[size : 2 * size]),
        int.from_bytes(block[2 * size + 2 : 2 * size + 4], "big"),
    )
    return _announce(peer, 2, source, destination)


_V2_ADDRESS_SIZES = {0x11: 4, 0x21: 16}


def _v2_address(packed: bytes) -> str:
    from ipaddress import ip_address

    return str(ip_address(packed))


_VERSIONS = (
    (_V1_START, (ProxyMode.V1, ProxyMode.AUTO), _read_v1),
    (_V2_START, (ProxyMode.V2, ProxyMode.AUTO), _read_v2),
)
