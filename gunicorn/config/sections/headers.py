"""Whom to believe, and how strictly to read a request."""

from __future__ import annotations

from gunicorn.config.kinds import Section
from gunicorn.config.networks import validate_ip_list
from gunicorn.config.validators import validate_string_to_list

__all__ = ["SETTINGS"]

_here = Section("Server Mechanics")

LOOPBACK = ["127.0.0.1", "::1"]

SETTINGS = (
    _here.mapping(
        "secure_scheme_headers",
        {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"},
        """
        Header names and the value with which a trusted proxy says that its client used HTTPS. Another value
        means HTTP, and headers that contradict each other are refused. Believed only from
        `forwarded_allow_ips`. Make sure that the proxy removes these headers from what clients send.
        """,
    ),
    _here.row(
        "forwarded_allow_ips",
        "--forwarded-allow-ips",
        LOOPBACK,
        """
        Proxies whose scheme and forwarder headers are believed: IP addresses and networks (`10.0.0.0/8`)
        with commas, or `*` for all. A network must not have host bits. Peers on unix sockets are always
        believed. Where the environment has `FORWARDED_ALLOW_IPS`, that is the default.
        """,
        validator=validate_ip_list,
        meta="STRING",
        environ="FORWARDED_ALLOW_IPS",
        default_text="127.0.0.1,::1, or $FORWARDED_ALLOW_IPS",
    ),
    _here.choice(
        "proxy_protocol",
        "--proxy-protocol",
        "off v1 v2 auto",
        "off",
        """
        Accept HAProxy's PROXY protocol at the start of a connection: `v1` (text), `v2` (binary) or `auto`
        (both). The flag alone, and `True`, mean `auto`. Only peers in `proxy_allow_ips` may use it.
        """,
        meta="MODE",
        nargs="?",
        const="auto",
        also={True: "auto", False: "off", None: "off"},
    ),
    _here.row(
        "proxy_allow_ips",
        "--proxy-allow-from",
        LOOPBACK,
        "Peers that may send a PROXY protocol header: IP addresses and networks with commas, or `*` for all.",
        validator=validate_ip_list,
        default_text="127.0.0.1,::1",
    ),
    _here.row(
        "uwsgi_allow_ips",
        "--uwsgi-allow-from",
        LOOPBACK,
        "Peers that may speak the uwsgi protocol: IP addresses and networks with commas, or `*` for all.",
        validator=validate_ip_list,
        since="24.0",
        effective=False,
        default_text="127.0.0.1,::1",
    ),
    _here.row(
        "forwarder_headers",
        "--forwarder-headers",
        ["SCRIPT_NAME", "PATH_INFO"],
        """
        Header names with an underscore that a trusted proxy may send, with commas; `*` is any. They pass
        whatever `header_map` says, but only from `forwarded_allow_ips`.
        """,
        validator=validate_string_to_list,
        since="23.0",
        default_text="SCRIPT_NAME,PATH_INFO",
    ),
    _here.choice(
        "header_map",
        "--header-map",
        "drop refuse dangerous",
        "drop",
        """
        What happens to a header with an underscore in its name, which an application cannot tell from one
        with a hyphen: `drop` it, `refuse` the request, or let it through (`dangerous`: clients can then
        forge headers of the proxy).
        """,
        meta=None,
    ),
    _here.switch(
        "permit_obsolete_folding",
        "--permit-obsolete-folding",
        False,
        """
        Accept header values that go on in the next line, an old form that HTTP/1.1 forbids. Parts are
        joined by a blank.
        """,
        since="23.0",
    ),
    _here.switch(
        "strip_header_spaces",
        "--strip-header-spaces",
        False,
        """
        Accept blanks between a header's name and the colon. HTTP/1.1 forbids them because proxies disagree
        about such headers: a way to smuggle requests. Only for clients that cannot be repaired.
        """,
    ),
    _here.switch(
        "permit_unconventional_http_method",
        "--permit-unconventional-http-method",
        False,
        """
        Accept methods that are valid but unusual: with small letters or `#`, or shorter than 3 or longer
        than 20 characters.
        """,
    ),
    _here.switch(
        "permit_unconventional_http_version",
        "--permit-unconventional-http-version",
        False,
        "Accept HTTP versions other than 1.0 and 1.1 in a request line. For experiments only.",
    ),
    _here.switch(
        "casefold_http_method",
        "--casefold-http-method",
        False,
        """
        Turn the method into capital letters. HTTP methods are case-sensitive, so this hides faulty clients.
        """,
    ),
)
