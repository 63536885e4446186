"""What a worker accepts, as one frozen value that is built once from the configuration."""

from __future__ import annotations

import sys
import time
from enum import Enum
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from gunicorn.http.date import DateCache
from gunicorn.http.engines import engine_factory
from gunicorn.http.trust import AllowList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gunicorn.http.engines import Engine

__all__ = ["HeaderMap", "Policy", "ProxyMode"]

UNLIMITED = sys.maxsize

# Documented caps of limit_request_line and limit_request_fields.
MAX_REQUEST_LINE = 8190
MAX_REQUEST_FIELDS = 32768

# How many bytes of a body that the application left unread are read and thrown away to keep a connection.
DRAIN_LIMIT = 64 * 1024


class ProxyMode(Enum):
    """``proxy_protocol``: which versions of the PROXY header may open a connection."""

    OFF = "off"
    V1 = "v1"
    V2 = "v2"
    AUTO = "auto"


class HeaderMap(Enum):
    """``header_map``: what happens to a field name with an underscore, which CGI cannot tell from a hyphen."""

    DROP = "drop"
    REFUSE = "refuse"
    DANGEROUS = "dangerous"


def _line_limit(limit: int) -> int:
    return min(limit, MAX_REQUEST_LINE) if limit > 0 else UNLIMITED


def _field_count_limit(limit: int) -> int:
    return limit if 0 < limit <= MAX_REQUEST_FIELDS else MAX_REQUEST_FIELDS


def _or_unlimited(limit: int) -> int:
    return limit if limit > 0 else UNLIMITED


def _allow_list(entries: Iterable[str] | AllowList) -> AllowList:
    return entries if isinstance(entries, AllowList) else AllowList(entries)


def _lower_names(names: Iterable[str]) -> frozenset[bytes]:
    return frozenset(name.strip().lower().encode("latin-1") for name in names)


def _lower_keys(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items())


@frozen
class Policy:
    """The rules of HTTP/1.1 that a setting can move, with their defaults. Sizes are in bytes; 0 is unlimited.

    ``secure_scheme_headers`` and ``forwarder_headers`` are given as in the configuration and kept in lower case.
    """

    limit_request_line: int = field(default=4094, converter=_line_limit)
    limit_request_fields: int = field(default=100, converter=_field_count_limit)
    limit_request_field_size: int = field(default=8190, converter=_or_unlimited)
    limit_request_body: int = field(default=0, converter=_or_unlimited)
    permit_unconventional_http_method: bool = False
    permit_unconventional_http_version: bool = False
    permit_obsolete_folding: bool = False
    strip_header_spaces: bool = False
    casefold_http_method: bool = False
    header_map: HeaderMap = field(default=HeaderMap.DROP, converter=HeaderMap)
    forwarder_headers: frozenset[bytes] = field(default=("SCRIPT_NAME", "PATH_INFO"), converter=_lower_names)
    secure_scheme_headers: tuple[tuple[bytes, bytes], ...] = field(
        factory=lambda: {
            "X-FORWARDED-PROTOCOL": "ssl",
            "X-FORWARDED-PROTO": "https",
            "X-FORWARDED-SSL": "on",
        },
        converter=_lower_keys,
    )
    forwarded_allow_ips: AllowList = field(default=("127.0.0.1", "::1"), converter=_allow_list)
    proxy_protocol: ProxyMode = field(default=ProxyMode.OFF, converter=ProxyMode)
    proxy_allow_ips: AllowList = field(default=("127.0.0.1", "::1"), converter=_allow_list)
    new_engine: Callable[[], Engine] = field(default="auto", converter=engine_factory, eq=False)
    """Given as the setting ``http_parser``."""
    keep_alive: bool = True
    drain_limit: int = DRAIN_LIMIT
    keep_app_server_and_date: bool = False
    """True for ASGI, where the application's own Server and Date win; a WSGI application's are dropped."""
    server: bytes = b"gunicorn"
    date: Callable[[], bytes] = field(factory=lambda: DateCache(time.time), eq=False, repr=False)

    @classmethod
    def from_config(
        cls, cfg: Any, *, now: Callable[[], float] = time.time, keep_app_server_and_date: bool = False
    ) -> Policy:
        """The policy of a worker.

        Args:
            cfg: A ``gunicorn.config.Config``, or anything with its attributes.
            now: Seconds since the epoch, for the Date field.
            keep_app_server_and_date: True in an ASGI worker.
        """
        same_names = {name: getattr(cfg, name) for name in _SETTINGS}
        return cls(
            **same_names,
            new_engine=cfg.http_parser,
            keep_alive=cfg.keepalive > 0,
            keep_app_server_and_date=keep_app_server_and_date,
            date=DateCache(now),
        )


_SETTINGS = (
    "casefold_http_method",
    "forwarded_allow_ips",
    "forwarder_headers",
    "header_map",
    "limit_request_body",
    "limit_request_field_size",
    "limit_request_fields",
    "limit_request_line",
    "permit_obsolete_folding",
    "permit_unconventional_http_method",
    "permit_unconventional_http_version",
    "proxy_allow_ips",
    "proxy_protocol",
    "secure_scheme_headers",
    "strip_header_spaces",
)
