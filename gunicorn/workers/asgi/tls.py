"""The ``tls`` extension of the scope (ASGI, "TLS Extension", version 0.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

__all__ = ["TlsExtension"]

_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


class TlsExtension:
    """Makes the extension of a connection from its ``ssl.SSLObject`` or ``ssl.SSLSocket``.

    Args:
        cfg: Gives ``certfile``.
        context: None when the listeners do not speak TLS: then there is no extension.
    """

    def __init__(self, cfg: Any, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._server_cert = _first_certificate(cfg.certfile) if context is not None else None

    def __call__(self, ssl_object: ssl.SSLObject | None) -> dict[str, Any] | None:
        if self._context is None or ssl_object is None:
            return None
        import ssl

        client = ssl_object.getpeercert(binary_form=True)
        return {
            "server_cert": self._server_cert,
            "client_cert_chain": [ssl.DER_cert_to_PEM_cert(client)] if client else [],
            "client_cert_name": _name(ssl_object.getpeercert() or {}),
            "client_cert_error": None,
            "tls_version": _VERSIONS.get(ssl_object.version() or ""),
            # The ssl module tells its name, and no number.
            "cipher_suite": None,
        }


def _first_certificate(certfile: str | None) -> str | None:
    """The server's own certificate of a PEM file; None where ``ssl_context`` made a context without one."""
    if not certfile:
        return None
    try:
        with open(certfile, encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    start, stop = text.find(begin), text.find(end)
    return text[start : stop + len(end)] + "\n" if 0 <= start < stop else None


_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}


def _name(certificate: Any) -> str | None:
    """The subject as RFC 4514 writes it: the last part first, special characters escaped."""
    parts = [
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in part)
        for part in reversed(certificate.get("subject", ()))
    ]
    return ",".join(parts) or None


def _escaped(value: str) -> str:
    text = "".join("\\" + char if char in '"+,;<>\\' else char for char in value)
    if text.startswith(("#", " ")):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and not text.endswith("\\ ") else text
