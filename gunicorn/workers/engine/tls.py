"""The TLS context of a worker: built once, before it is ready, so that a bad certificate fails the boot."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from gunicorn.errors import ConfigError

if TYPE_CHECKING:
    import socket

__all__ = ["new_context", "wrap"]


def new_context(cfg: Any) -> ssl.SSLContext:
    """The context that ``ssl_context`` returns; its default is made of certfile, keyfile, ca_certs,
    cert_reqs and ciphers.

    Only http/1.1 is offered by ALPN (RFC 7301): a client must not be talked into a protocol that these
    workers do not speak.

    Raises:
        ConfigError: a file or a value cannot be used.
    """

    def default() -> ssl.SSLContext:
        return _default_context(cfg)

    context: ssl.SSLContext = cfg.ssl_context(cfg, default)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _default_context(cfg: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=_checked_ca(cfg))
    try:
        context.load_cert_chain(cfg.certfile, cfg.keyfile)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"certfile {cfg.certfile!r} with keyfile {cfg.keyfile!r}: {error}") from error
    # check_hostname is for clients; Purpose.CLIENT_AUTH leaves it off, so that cert_reqs may be anything.
    context.verify_mode = ssl.VerifyMode(cfg.cert_reqs)
    if cfg.ciphers:
        try:
            context.set_ciphers(cfg.ciphers)
        except ssl.SSLError as error:
            raise ConfigError(f"ciphers {cfg.ciphers!r}: no such cipher; see `openssl ciphers`") from error
    return context


def _checked_ca(cfg: Any) -> str | None:
    if not cfg.ca_certs:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cfg.ca_certs)
    except (OSError, ValueError) as error:
        raise ConfigError(f"ca_certs {cfg.ca_certs!r}: {error}") from error
    path: str = cfg.ca_certs
    return path


def wrap(context: ssl.SSLContext, sock: socket.socket, *, suppress_ragged_eofs: bool = True) -> ssl.SSLSocket:
    """``sock`` as the server's side of a TLS connection, the handshake still to be done."""
    return context.wrap_socket(
        sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=suppress_ragged_eofs
    )
