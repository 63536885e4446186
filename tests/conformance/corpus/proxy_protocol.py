"""PROXY protocol headers, versions 1 and 2 (haproxy's proxy-protocol.txt 2.1 and 2.2), and their settings."""

from __future__ import annotations

import struct
from typing import Any

from corpus.case import SILENCE, Chapter, request

P = Chapter("proxy_protocol")
V1 = "proxy-protocol.txt 2.1"
V2 = "proxy-protocol.txt 2.2"
ON = "behaviour E4"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
GOOD_V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
LONGEST = b":".join([b"ffff"] * 8)
INET = bytes((192, 0, 2, 1, 198, 51, 100, 2)) + struct.pack("!HH", 56324, 443)
INET6 = bytes(15) + b"\x01" + bytes(15) + b"\x02" + struct.pack("!HH", 56324, 443)


def version2(
    command: int = 0x21, family: int = 0x11, addresses: bytes = INET, length: int | None = None
) -> bytes:
    """A version 2 header; every part can be wrong."""
    size = len(addresses) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, family, size) + addresses


def mode(name: str, **more: Any) -> dict[str, Any]:
    """Settings with the protocol on."""
    return {"proxy_protocol": name, **more}


GOOD_V2 = version2()
for name in ("v1", "auto"):
    for title, line in {
        "TCP4": GOOD_V1,
        "TCP6": b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n",
        "TCP6 in full": b"PROXY TCP6 " + b" ".join([LONGEST, LONGEST]) + b" 65535 65535\r\n",
        "port zero": b"PROXY TCP4 192.0.2.1 198.51.100.2 0 0\r\n",
        "highest port": b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 65535\r\n",
        "UNKNOWN": b"PROXY UNKNOWN\r\n",
        "UNKNOWN with addresses": b"PROXY UNKNOWN " + LONGEST + b" ffff::1 65535 65535\r\n",
        "UNKNOWN with anything": b"PROXY UNKNOWN something else\r\n",
    }.items():
        P.accept(f"{name}, {title}", line + request(), V1, settings=mode(name))
        P.accept(f"{name}, {title}, two requests", line + request() * 2, V1, b"", b"", settings=mode(name))
    P.accept(f"{name}, header left out", request(), ON, settings=mode(name))
for name in ("v2", "auto"):
    for title, head in {
        "TCP4": GOOD_V2,
        "TCP6": version2(family=0x21, addresses=INET6),
        "TCP4 with TLVs": version2(addresses=INET + b"\x04\x00\x00" + b"\x02\x00\x09a.example"),
        "TCP6 with TLVs": version2(family=0x21, addresses=INET6 + b"\x01\x00\x02h2"),
        "TCP4 with a checksum of noise": version2(addresses=INET + b"\xee\x00\x01x"),
        "LOCAL": version2(command=0x20, family=0x00, addresses=b""),
        "LOCAL with addresses": version2(command=0x20),
        "UNSPEC": version2(family=0x00, addresses=b""),
        "UNSPEC with bytes": version2(family=0x00, addresses=b"abc"),
    }.items():
        P.accept(f"{name}, version 2, {title}", head + request(), V2, settings=mode(name))
        P.accept(
            f"{name}, version 2, {title}, two requests",
            head + request() * 2,
            V2,
            b"",
            b"",
            settings=mode(name),
        )
    P.accept(f"{name}, no header", request(), ON, settings=mode(name))

for title, line in {
    "lower case": b"proxy TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
    "no protocol": b"PROXY\r\n",
    "no protocol but a blank": b"PROXY \r\n",
    "protocol only": b"PROXY TCP4\r\n",
    "unknown protocol": b"PROXY TCP5 192.0.2.1 198.51.100.2 56324 443\r\n",
    "UDP": b"PROXY UDP4 192.0.2.1 198.51.100.2 56324 443\r\n",
    "protocol in lower case": b"PROXY tcp4 192.0.2.1 198.51.100.2 56324 443\r\n",
    "no ports": b"PROXY TCP4 192.0.2.1 198.51.100.2\r\n",
    "one port": b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
    "three ports": b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 80\r\n",
    "trailing blank": b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n",
    "two blanks": b"PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n",
    "tabs": b"PROXY\tTCP4\t192.0.2.1\t198.51.100.2\t56324\t443\r\n",
    "leading blank": b" PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
    "port too big": b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
    "destination port too big": b"PROXY TCP4 192.0.2.1 198.51.100.2 1 99999\r\n",
    "huge port": b"PROXY TCP4 192.0.2.1 198.51.100.2 1 99999999999999\r\n",
    "negative port": b"PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n",
    "signed port": b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
    "port with a zero first": b"PROXY TCP4 192.0.2.1 198.51.100.2 01 443\r\n",
    "port of letters": b"PROXY TCP4 192.0.2.1 198.51.100.2 a 443\r\n",
    "port with underscore": b"PROXY TCP4 192.0.2.1 198.51.100.2 1_0 443\r\n",
    "port of superscripts": b"PROXY TCP4 192.0.2.1 198.51.100.2 \xb2 443\r\n",
    "ipv6 under TCP4": b"PROXY TCP4 ::1 ::2 56324 443\r\n",
    "ipv4 under TCP6": b"PROXY TCP6 192.0.2.1 198.51.100.2 56324 443\r\n",
    "mixed families": b"PROXY TCP4 192.0.2.1 ::2 56324 443\r\n",
    "short ipv4": b"PROXY TCP4 192.0.2 198.51.100.2 56324 443\r\n",
    "ipv4 too big": b"PROXY TCP4 192.0.2.256 198.51.100.2 56324 443\r\n",
    "ipv4 with zeros first": b"PROXY TCP4 192.000.002.001 198.51.100.2 56324 443\r\n",
    "host name": b"PROXY TCP4 a.example 198.51.100.2 56324 443\r\n",
    "brackets": b"PROXY TCP6 [2001:db8::1] [2001:db8::2] 56324 443\r\n",
    "zone": b"PROXY TCP6 fe80::1%eth0 fe80::2 56324 443\r\n",
    "bare LF": b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n",
    "NUL": b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\x00\r\n",
    "bare CR": b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\rX\r\n",
    "non-ascii": b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 44\xb3\r\n",
    "too long": b"PROXY UNKNOWN " + b"a" * 200 + b"\r\n",
    "endless": b"PROXY TCP4 " + b"1" * 5000,
}.items():
    P.refuse(f"v1 bad, {title}", line + request(), V1, 400, 414, settings=mode("v1"))
P.refuse("v1 twice", GOOD_V1 * 2 + request(), V1, settings=mode("v1"))
P.refuse(
    "v1 before the second request",
    GOOD_V1 + request() + GOOD_V1 + request(),
    ON,
    settings=mode("v1"),
    bodies=(b"",),
)
P.refuse("v1 late", request() + GOOD_V1 + request(), ON, settings=mode("v1"), bodies=(b"",))
P.refuse("v1 behind an empty line", b"\r\n" + GOOD_V1 + request(), ON, settings=mode("v1"))
P.refuse("v1 while off", GOOD_V1 + request(), "RFC 9112 3")
P.refuse("v1 while only v2 is on", GOOD_V1 + request(), ON, settings=mode("v2"))
P.refuse(
    "v1 from a peer that may not",
    GOOD_V1 + request(),
    ON,
    403,
    settings=mode("v1", proxy_allow_ips="192.0.2.0/24"),
)
P.refuse(
    "v1 from a peer that may not, auto",
    GOOD_V1 + request(),
    ON,
    403,
    settings=mode("auto", proxy_allow_ips="192.0.2.0/24"),
)
P.accept(
    "no header from a peer that may not",
    request(),
    ON,
    settings=mode("auto", proxy_allow_ips="192.0.2.0/24"),
    note="the header is optional",
)
P.accept(
    "v1 from a peer in a network",
    GOOD_V1 + request(),
    ON,
    settings=mode("auto", proxy_allow_ips="127.0.0.0/8"),
)
P.accept("v1 from anybody", GOOD_V1 + request(), ON, settings=mode("auto", proxy_allow_ips="*"))
P.accept("v2 from anybody", GOOD_V2 + request(), ON, settings=mode("auto", proxy_allow_ips="*"))
P.refuse("v1 then a bad request", GOOD_V1 + request(host=None), "RFC 9112 3.2", settings=mode("v1"))
for cut in (3, 5, 6, 10, len(GOOD_V1) - 1):
    P.truncated(f"v1 cut after {cut} bytes", GOOD_V1[:cut], V1, settings=mode("v1"))
P.truncated("v1 and no request", GOOD_V1, V1, settings=mode("v1"))

for title, head in {
    "version 0": version2(command=0x01),
    "version 1": version2(command=0x11),
    "version 3": version2(command=0x31),
    "command 2": version2(command=0x22),
    "command 15": version2(command=0x2F),
    "UDP over ipv4": version2(family=0x12),
    "UDP over ipv6": version2(family=0x22, addresses=INET6),
    "addresses missing": version2(addresses=b""),
    "addresses short": version2(addresses=INET[:11]),
    "ipv6 addresses short": version2(family=0x21, addresses=INET6[:35]),
    "ipv4 addresses under ipv6": version2(family=0x21),
    "signature with another letter": b"\r\n\r\n\x00\r\nQUIP\n" + GOOD_V2[12:],
    "signature without NUL": b"\r\n\r\n\r\nQUIT\n" + GOOD_V2[12:],
}.items():
    P.refuse(f"v2 bad, {title}", head + request(), V2, settings=mode("v2"))
for title, head in {
    "unix stream": version2(family=0x31, addresses=bytes(216)),
    "unix datagram": version2(family=0x32, addresses=bytes(216)),
    "unknown family": version2(family=0x41),
    "unknown transport": version2(family=0x13),
    "TLV longer than the header": version2(addresses=INET + b"\x04\xff\xff"),
    "half a TLV": version2(addresses=INET + b"\x04"),
}.items():
    P.either(f"v2, {title}", head + request(), V2, settings=mode("v2"))
P.refuse("v2 twice", GOOD_V2 * 2 + request(), V2, settings=mode("v2"))
P.refuse(
    "v2 before the second request",
    GOOD_V2 + request() + GOOD_V2 + request(),
    ON,
    settings=mode("v2"),
    bodies=(b"",),
)
P.refuse("v2 then v1", GOOD_V2 + GOOD_V1 + request(), ON, settings=mode("auto"))
P.refuse("v1 then v2", GOOD_V1 + GOOD_V2 + request(), ON, settings=mode("auto"))
P.refuse("v2 while off", GOOD_V2 + request(), "RFC 9112 3")
P.refuse("v2 while only v1 is on", GOOD_V2 + request(), ON, settings=mode("v1"))
P.refuse(
    "v2 from a peer that may not",
    GOOD_V2 + request(),
    ON,
    403,
    settings=mode("v2", proxy_allow_ips="192.0.2.0/24"),
)
P.refuse("v2 then a bad request", GOOD_V2 + request(host=None), "RFC 9112 3.2", settings=mode("v2"))
P.refuse("v2 longer than it says", version2(length=8) + request(), V2, settings=mode("v2"))
P.refuse(
    "v2 shorter than it says", version2(length=2000) + request(), V2, SILENCE, 400, 408, settings=mode("v2")
)
P.refuse(
    "v2 swallows the request",
    version2(length=12 + len(request())) + request(),
    V2,
    SILENCE,
    400,
    408,
    settings=mode("v2"),
)
for cut in (5, 11, 12, 14, 15, 16, 20, 27):
    P.truncated(f"v2 cut after {cut} bytes", GOOD_V2[:cut], V2, settings=mode("v2"))

CASES = P.cases
