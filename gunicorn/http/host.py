"""The Host field (RFC 9110 section 7.2, RFC 9112 section 3.2)."""

from __future__ import annotations

from gunicorn.http.grammar import HOST

__all__ = ["is_host"]

_MAX_HOSTS = 256
# Hosts that have passed. A worker sees a handful of names, and the check is a regular expression for each
# request.
_known: set[bytes] = set()


def is_host(value: bytes) -> bool:
    """Whether ``value`` is ``uri-host [":" port]``.

    Empty is allowed: RFC 9112 3.2 has a client send it for a target without an authority.
    """
    return value in _known or not value or _check(value)


def _check(value: bytes) -> bool:
    match = HOST.fullmatch(value)
    if match is None or (match["ipv6"] is not None and not _is_ipv6(match["ipv6"])):
        return False
    if len(value) <= 255:
        if len(_known) >= _MAX_HOSTS:
            _known.clear()
        _known.add(value)
    return True


def _is_ipv6(text: bytes) -> bool:
    from ipaddress import AddressValueError, IPv6Address

    try:
        IPv6Address(text.decode("ascii"))
    except AddressValueError:
        return False
    return True
