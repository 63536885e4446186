"""Settings that change what the app sees: underscores, trust, odd methods (behaviour E1 and E3)."""

from __future__ import annotations

from typing import Any

from corpus.case import Chapter, post, request

S = Chapter("settings")
MAP = "behaviour E3"
STRANGER = {"forwarded_allow_ips": "192.0.2.1"}


def with_map(name: str, **more: Any) -> dict[str, Any]:
    """The header_map setting and others."""
    return {"header_map": name, **more}


S.accept(
    "underscore dropped", request(b"X_Foo: a", b"X-Foo: b"), MAP, has=((b"x-foo", b"b"),), lacks=(b"x_foo",)
)
S.accept("underscore dropped alone", request(b"_: a"), MAP, lacks=(b"_",))
S.accept("underscore dropped first", request(b"_X: a"), MAP, lacks=(b"_x",))
S.accept(
    "underscore alias of host dropped",
    request(b"HTTP_HOST: b", b"REMOTE_USER: root"),
    MAP,
    lacks=(b"http_host", b"remote_user"),
)
S.accept("underscore content-length is no length", request(b"Content_Length: 5") + request(), MAP, b"", b"")
S.accept(
    "underscore content-length beside the real one",
    post(b"Content_Length: 9", b"Content-Length: 2", body=b"ab") + request(),
    MAP,
    b"ab",
    b"",
)
S.accept(
    "underscore x-forwarded-proto is not trusted",
    request(b"X_Forwarded_Proto: https"),
    MAP,
    seen={"scheme": "http"},
)
S.refuse("underscore refused", request(b"X_Foo: a"), MAP, settings=with_map("refuse"))
S.refuse("underscore refused, framing", request(b"Content_Length: 5"), MAP, settings=with_map("refuse"))
S.accept("dash with refuse", request(b"X-Foo: a"), MAP, settings=with_map("refuse"), has=((b"x-foo", b"a"),))
S.accept(
    "underscore kept", request(b"X_Foo: a"), MAP, settings=with_map("dangerous"), has=((b"x_foo", b"a"),)
)
S.accept(
    "underscore kept is no length",
    request(b"Content_Length: 5") + request(),
    MAP,
    b"",
    b"",
    settings=with_map("dangerous"),
)
S.accept(
    "underscore kept is no coding",
    request(b"Transfer_Encoding: chunked") + request(),
    MAP,
    b"",
    b"",
    settings=with_map("dangerous"),
)
S.accept(
    "underscore kept is no connection",
    request(b"Connection: keep-alive", b"Proxy_Connection: close") + request(),
    MAP,
    b"",
    b"",
    settings=with_map("dangerous"),
)

TRUSTED_NAME = ((b"script_name", b"/a"),)
S.accept(
    "script name from a trusted peer", request(b"SCRIPT_NAME: /a", target=b"/a/b"), MAP, has=TRUSTED_NAME
)
S.accept(
    "script name from a stranger",
    request(b"SCRIPT_NAME: /a", target=b"/a/b"),
    MAP,
    settings=STRANGER,
    lacks=(b"script_name",),
)
S.accept(
    "path info from a stranger", request(b"PATH_INFO: /a"), MAP, settings=STRANGER, lacks=(b"path_info",)
)
S.refuse(
    "script name from a stranger, refused",
    request(b"SCRIPT_NAME: /a"),
    MAP,
    settings=with_map("refuse", **STRANGER),
)
S.accept(
    "script name from a trusted peer, refuse",
    request(b"SCRIPT_NAME: /a", target=b"/a/b"),
    MAP,
    settings=with_map("refuse"),
    has=TRUSTED_NAME,
)
S.accept(
    "other forwarder header",
    request(b"REMOTE_USER: x"),
    MAP,
    settings={"forwarder_headers": "REMOTE_USER"},
    has=((b"remote_user", b"x"),),
)
S.accept(
    "other forwarder header from a stranger",
    request(b"REMOTE_USER: x"),
    MAP,
    settings={"forwarder_headers": "REMOTE_USER", **STRANGER},
    lacks=(b"remote_user",),
)
S.accept(
    "any forwarder header",
    request(b"X_ANY: x"),
    MAP,
    settings={"forwarder_headers": "*"},
    has=((b"x_any", b"x"),),
)

HTTPS = {"scheme": "https"}
HTTP = {"scheme": "http"}
S.accept("proto from a trusted peer", request(b"X-Forwarded-Proto: https"), MAP, seen=HTTPS)
S.accept("proto in odd case", request(b"x-forwarded-PROTO: https"), MAP, seen=HTTPS)
S.accept("protocol from a trusted peer", request(b"X-Forwarded-Protocol: ssl"), MAP, seen=HTTPS)
S.accept("ssl from a trusted peer", request(b"X-Forwarded-Ssl: on"), MAP, seen=HTTPS)
S.accept("two that agree", request(b"X-Forwarded-Ssl: on", b"X-Forwarded-Proto: https"), MAP, seen=HTTPS)
S.accept("proto http", request(b"X-Forwarded-Proto: http"), MAP, seen=HTTP)
S.accept("proto of something else", request(b"X-Forwarded-Proto: wss"), MAP, seen=HTTP)
S.refuse("two that disagree", request(b"X-Forwarded-Ssl: on", b"X-Forwarded-Proto: http"), MAP)
S.refuse(
    "two that disagree the other way", request(b"X-Forwarded-Ssl: off", b"X-Forwarded-Proto: https"), MAP
)
S.refuse(
    "one field twice that disagrees", request(b"X-Forwarded-Proto: http", b"X-Forwarded-Proto: https"), MAP
)
S.accept("proto from a stranger", request(b"X-Forwarded-Proto: https"), MAP, settings=STRANGER, seen=HTTP)
S.accept(
    "disagreement from a stranger",
    request(b"X-Forwarded-Ssl: on", b"X-Forwarded-Proto: http"),
    MAP,
    settings=STRANGER,
    seen=HTTP,
)
S.accept(
    "proto from a trusted network",
    request(b"X-Forwarded-Proto: https"),
    MAP,
    settings={"forwarded_allow_ips": "127.0.0.0/8"},
    seen=HTTPS,
)
S.accept(
    "proto from anybody",
    request(b"X-Forwarded-Proto: https"),
    MAP,
    settings={"forwarded_allow_ips": "*"},
    seen=HTTPS,
)
S.accept("Forwarded is not read", request(b"Forwarded: proto=https;host=b.example"), MAP, seen=HTTP)
S.accept(
    "X-Forwarded-For is not applied",
    request(b"X-Forwarded-For: 192.0.2.9"),
    MAP,
    has=((b"x-forwarded-for", b"192.0.2.9"),),
)
S.accept(
    "own scheme header",
    request(b"X-Scheme: tls"),
    MAP,
    settings={"secure_scheme_headers": {"X-SCHEME": "tls"}},
    seen=HTTPS,
)
S.accept(
    "own scheme header only",
    request(b"X-Forwarded-Proto: https"),
    MAP,
    settings={"secure_scheme_headers": {"X-SCHEME": "tls"}},
    seen=HTTP,
)

FOLDED = {"casefold_http_method": True, "permit_unconventional_http_method": True}
S.accept(
    "small letters raised", request(method=b"get"), "behaviour E1", settings=FOLDED, seen={"method": "GET"}
)
S.accept(
    "odd letters raised",
    request(method=b"PrOpFind"),
    "behaviour E1",
    settings=FOLDED,
    seen={"method": "PROPFIND"},
)
S.accept("capitals stay", request(method=b"GET"), "behaviour E1", settings=FOLDED, seen={"method": "GET"})
S.either(
    "small letters raised but not permitted",
    request(method=b"get"),
    "behaviour E1",
    400,
    501,
    settings={"casefold_http_method": True},
)
S.refuse("raising makes no token", request(method=b"g\xe9t"), "RFC 9110 9.1", settings=FOLDED)
S.refuse(
    "small letters have no asterisk", request(method=b"get", target=b"*"), "RFC 9112 3.2.4", settings=FOLDED
)
S.either(
    "small options with an asterisk",
    request(method=b"options", target=b"*"),
    "RFC 9112 3.2.4",
    settings=FOLDED,
)

CASES = S.cases
