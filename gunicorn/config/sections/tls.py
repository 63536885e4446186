"""TLS on the listeners."""

from __future__ import annotations

from typing import Any

from gunicorn.config.kinds import Section

__all__ = ["SETTINGS"]

_here = Section("SSL")

# ssl.PROTOCOL_TLS, without the cost of importing ssl where nobody serves TLS.
PROTOCOL_TLS = 2
CERT_REQS = {"CERT_NONE": 0, "CERT_OPTIONAL": 1, "CERT_REQUIRED": 2}


def _any_version(value: Any) -> Any:
    return value


def _cert_reqs(value: Any) -> int:
    number = CERT_REQS.get(value.strip().upper(), value) if isinstance(value, str) else value
    try:
        number = int(number, 0) if isinstance(number, str) else int(number.__index__())
    except (AttributeError, ValueError):
        number = -1
    if number not in CERT_REQS.values():
        raise ValueError("expected 0 (none), 1 (optional) or 2 (required)")
    return number


SETTINGS = (
    _here.text("keyfile", "--keyfile", None, "The TLS private key, a PEM file.", meta="FILE"),
    _here.text(
        "certfile",
        "--certfile",
        None,
        """
        The TLS certificate, a PEM file with the chain behind it. It turns TLS on for every listener. The
        key may be in the same file.
        """,
        meta="FILE",
    ),
    _here.row(
        "ssl_version",
        "--ssl-version",
        PROTOCOL_TLS,
        "Ignored. Use the `ssl_context` hook to set the lowest and highest TLS version.",
        validator=_any_version,
        default_text="negotiated",
    ),
    _here.row(
        "cert_reqs",
        "--cert-reqs",
        0,
        """
        Whether clients must show a certificate: 0 no, 1 it is checked if shown, 2 they must. Needs
        `ca_certs`.
        """,
        validator=_cert_reqs,
    ),
    _here.text(
        "ca_certs",
        "--ca-certs",
        None,
        "Certificates, a PEM file, that client certificates are checked against.",
        meta="FILE",
    ),
    _here.switch(
        "suppress_ragged_eofs",
        "--suppress-ragged-eofs",
        True,
        """
        Treat a connection that ends without TLS's closing message as an ordinary end. The file can switch
        it off.
        """,
    ),
    _here.switch(
        "do_handshake_on_connect",
        "--do-handshake-on-connect",
        False,
        """
        Accepted for compatibility: handshakes take place when the client's first bytes arrive, and hold up
        nobody.
        """,
    ),
    _here.text(
        "ciphers",
        "--ciphers",
        None,
        """
        The ciphers to offer, in OpenSSL's notation. Without it Python's choice applies, which is the better
        one.
        """,
        meta=None,
    ),
    _here.span(
        "handshake_timeout",
        "--handshake-timeout",
        10,
        "Seconds for a client to complete the TLS handshake; 0 is no limit.",
        since="28.0",
    ),
)
