"""HTTP/1.1 without input or output: bytes in, events out; events in, bytes out."""

from __future__ import annotations

from gunicorn.errors import ProtocolError
from gunicorn.http.connection import ServerConnection
from gunicorn.http.error_page import error_page, error_response
from gunicorn.http.errors import LocalProtocolError
from gunicorn.http.events import (
    NEED_DATA,
    PAUSED,
    ConnectionClosed,
    Data,
    EndOfMessage,
    InformationalResponse,
    Peer,
    ProxyInfo,
    Request,
    Response,
)
from gunicorn.http.policy import Policy

__all__ = [
    "NEED_DATA",
    "PAUSED",
    "ConnectionClosed",
    "Data",
    "EndOfMessage",
    "InformationalResponse",
    "LocalProtocolError",
    "Peer",
    "Policy",
    "ProtocolError",
    "ProxyInfo",
    "Request",
    "Response",
    "ServerConnection",
    "error_page",
    "error_response",
]
