"""What a worker accepts, as one frozen value that is built once from the configuration."""

from __future__ import annotations

import sys
import time
from enum import Enum
from typing import TYPE_CHECKING, Any

from gunicorn.http.date import DateCache, OwnFields
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

LOCAL = AllowList(("127.0.0.1", "::1"))

SECURE_SCHEME_HEADERS = {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}


class ProxyMode(Enum):
    """``proxy_protocol``: which versions of the PROXY header may open a connection."""

    OFF = "off"
    V1 = "v1"
    V2 = "v2"
    AUTO = "auto"


class HeaderMap(Enum):
    """``header_map``: what happens to a name with an underscore, which CGI cannot tell from a hyphen."""

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


class Policy:
    """The rules of HTTP/1.1 that a setting can move, with their defaults. Sizes are in bytes; 0 is unlimited.

    Nothing changes it once it is made: all connections of a worker share it. ``secure_scheme_headers`` and
    ``forwarder_headers`` are given as in the configuration and kept in lower case.

    Args:
        new_engine: Makes what splits field lines, one for each connection.
        keep_app_server_and_date: True for ASGI, where the application's own Server and Date win; a WSGI
            application's are dropped.
        server: Value of the Server field.
        date: Value of the Date field, now; made from ``now`` by default.
        now: Seconds since the epoch, the only clock that the HTTP core is given.
    """

    __slots__ = (
        "casefold_http_method", "date", "drain_limit", "forwarded_allow_ips", "forwarder_headers",
        "header_map", "keep_alive", "keep_app_server_and_date", "limit_request_body",
        "limit_request_field_size", "limit_request_fields", "limit_request_line", "new_engine", "own_fields",
        "permit_obsolete_folding", "permit_unconventional_http_method",
        "permit_unconventional_http_version", "proxy_allow_ips", "proxy_protocol", "secure_scheme_headers",
        "server", "strip_header_spaces",
    )  # fmt: skip

    def __init__(
        self,
        *,
        limit_request_line: int = 4094,
        limit_request_fields: int = 100,
        limit_request_field_size: int = 8190,
        limit_request_body: int = 0,
        permit_unconventional_http_method: bool = False,
        permit_unconventional_http_version: bool = False,
        permit_obsolete_folding: bool = False,
        strip_header_spaces: bool = False,
        casefold_http_method: bool = False,
        header_map: str | HeaderMap = HeaderMap.DROP,
        forwarder_headers: Iterable[str] = ("SCRIPT_NAME", "PATH_INFO"),
        secure_scheme_headers: Mapping[str, str] = SECURE_SCHEME_HEADERS,
        forwarded_allow_ips: Iterable[str] | AllowList = LOCAL,
        proxy_protocol: str | ProxyMode = ProxyMode.OFF,
        proxy_allow_ips: Iterable[str] | AllowList = LOCAL,
        new_engine: Callable[[], Engine] | None = None,
        keep_alive: bool = True,
        drain_limit: int = DRAIN_LIMIT,
        keep_app_server_and_date: bool = False,
        server: bytes = b"gunicorn",
        date: Callable[[], bytes] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.limit_request_line = _line_limit(limit_request_line)
        self.limit_request_fields = _field_count_limit(limit_request_fields)
        self.limit_request_field_size = _or_unlimited(limit_request_field_size)
        self.limit_request_body = _or_unlimited(limit_request_body)
        self.permit_unconventional_http_method = permit_unconventional_http_method
        self.permit_unconventional_http_version = permit_unconventional_http_version
        self.permit_obsolete_folding = permit_obsolete_folding
        self.strip_header_spaces = strip_header_spaces
        self.casefold_http_method = casefold_http_method
        self.header_map = HeaderMap(header_map)
        self.forwarder_headers = _lower_names(forwarder_headers)
        self.secure_scheme_headers = _lower_keys(secure_scheme_headers)
        self.forwarded_allow_ips = _allow_list(forwarded_allow_ips)
        self.proxy_protocol = ProxyMode(proxy_protocol)
        self.proxy_allow_ips = _allow_list(proxy_allow_ips)
        self.new_engine = new_engine or engine_factory("auto")
        self.keep_alive = keep_alive
        self.drain_limit = drain_limit
        self.keep_app_server_and_date = keep_app_server_and_date
        self.server = server
        self.date = date or DateCache(now)
        self.own_fields = OwnFields(server, self.date, now)

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
            new_engine=engine_factory(cfg.http_parser),
            keep_alive=cfg.keepalive > 0,
            keep_app_server_and_date=keep_app_server_and_date,
            now=now,
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
