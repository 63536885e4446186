"""Validators of peers: address lists and host:port pairs."""

from __future__ import annotations

import re
from typing import Any

from gunicorn.config.validators import validate_string, validate_string_to_list

__all__ = ["validate_hostport", "validate_ip_list", "validate_statsd_address"]


def validate_ip_list(value: Any) -> list[str]:
    """IP addresses and CIDR networks, comma-separated or as a list, or ``*``.

    Networks are strict: host bits that are set are an error, because ``10.0.0.1/8`` is more often a slip
    than a wish. The texts are kept as they were given; programs compare them as text.
    """
    items = validate_string_to_list(value)
    if any(item != "*" for item in items):
        _check_networks(items)
    return items


def _check_networks(items: list[str]) -> None:
    from ipaddress import ip_network  # its own cost is only paid by those who set a list

    for item in items:
        if item == "*":
            continue
        try:
            ip_network(item)
        except ValueError as error:
            raise ValueError(f"expected IP addresses, CIDR networks or *: {error}") from None


def validate_hostport(value: Any) -> tuple[str, int] | None:
    """``HOST:PORT`` as a pair."""
    text = validate_string(value)
    if text is None:
        return None
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError("expected HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def validate_statsd_address(value: Any) -> tuple[str, int] | str | None:
    """``HOST[:PORT]`` (port 8125) as a pair, or ``unix://PATH`` as the path.

    ``unix:8125`` is a host that is called unix: so it was before socket paths were known here.
    """
    text = validate_string(value)
    if text is None:
        return None
    if re.fullmatch(r"unix:\d+", text):
        return validate_hostport(text)
    from gunicorn.config.addresses import FdAddress, TcpAddress, parse_address

    try:
        address = parse_address(text, default_port=8125)
    except ValueError:
        raise ValueError("expected HOST:PORT or unix://PATH") from None
    if isinstance(address, FdAddress):
        raise ValueError("expected HOST:PORT or unix://PATH")  # noqa: TRY004  (a wrong value, not a wrong type)
    return (address.host, address.port) if isinstance(address, TcpAddress) else address.path
