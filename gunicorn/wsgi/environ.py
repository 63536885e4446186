"""From a request head to a WSGI environ (PEP 3333, RFC 3875).

Four layers, each copied into the next: what is constant in the worker, behind the listener, with the same
fields, in the request. Clients repeat their fields, so most requests only pay for the last, and for the
client, who alone has nothing in common with others. All strings are latin-1 (PEP 3333, "Unicode Issues").
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gunicorn import SERVER_SOFTWARE
from gunicorn.wsgi.errors import ErrorStream
from gunicorn.wsgi.file_wrapper import FileWrapper
from gunicorn.wsgi.input import NO_INPUT

if TYPE_CHECKING:
    import socket

    from gunicorn.http.events import Peer, Request

__all__ = [
    "ScriptNameMismatch",
    "add_client",
    "add_line",
    "add_proxy",
    "fields_environ",
    "listener_environ",
    "request_environ",
    "unquote",
    "worker_environ",
]

Environ = dict[str, Any]

_NAMES_KEPT = 1024


class ScriptNameMismatch(Exception):
    """The path does not begin with SCRIPT_NAME: a wrong deployment, not a wrong client."""


class _Keys(dict[bytes, str]):
    """Environ keys by header name. Bounded: a client may make up names for ever."""

    def __missing__(self, name: bytes) -> str:
        key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        if len(self) < _NAMES_KEPT:
            self[name] = key
        return key


_KEYS = _Keys({b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"})
_PROTOCOLS = {"1.1": "HTTP/1.1", "1.0": "HTTP/1.0"}
_HEX = "0123456789abcdefABCDEF"
_OCTETS = {(high + low).encode(): bytes([int(high + low, 16)]) for high in _HEX for low in _HEX}
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def worker_environ(cfg: Any, error_log: Any, *, multithread: bool) -> Environ:
    """What is the same for every request of this worker."""
    return {
        "wsgi.version": (1, 0),
        "wsgi.errors": ErrorStream(error_log),
        "wsgi.multithread": multithread,
        "wsgi.multiprocess": cfg.workers > 1,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
        "wsgi.input": NO_INPUT,
        "SERVER_SOFTWARE": SERVER_SOFTWARE,
        "SCRIPT_NAME": os.environ.get("SCRIPT_NAME", ""),
    }


def listener_environ(worker: Environ, server: object) -> Environ:
    """What is the same for every request that comes through one listener.

    Args:
        worker: From :func:`worker_environ`.
        server: The listener's address: (host, port, …), or a path.
    """
    environ = worker.copy()
    if isinstance(server, tuple):
        environ["SERVER_NAME"] = str(server[0])
        environ["SERVER_PORT"] = str(server[1])
    return environ


def add_client(environ: Environ, sock: socket.socket, host: str, port: str | None) -> None:
    """Add what is the connection's own.

    Args:
        sock: The accepted socket, for applications that take it over.
        host: The address of the socket's peer, "" on a unix socket.
        port: Its port.
    """
    environ["gunicorn.socket"] = sock
    environ["REMOTE_ADDR"] = host
    if port is not None:
        environ["REMOTE_PORT"] = port


def add_proxy(environ: Environ, peer: Peer) -> None:
    """Say what the PROXY protocol announced, instead of what is said of the socket's peer."""
    proxy = peer.proxy
    if proxy is None or proxy.source is None:
        return
    environ["PROXY_PROTOCOL"] = "TCP6" if ":" in proxy.source[0] else "TCP4"
    environ["REMOTE_ADDR"] = proxy.source[0]
    environ["REMOTE_PORT"] = str(proxy.source[1])
    if proxy.destination is not None:
        environ["PROXY_ADDR"] = proxy.destination[0]
        environ["PROXY_PORT"] = str(proxy.destination[1])


def fields_environ(listener: Environ, request: Request) -> Environ:
    """What is the same for every request with these very fields, and this version.

    Args:
        listener: From :func:`listener_environ`.
        request: One of them.
    """
    environ = listener.copy()
    version, headers, scheme = request[4:7]
    environ["wsgi.url_scheme"] = scheme
    environ["SERVER_PROTOCOL"] = _PROTOCOLS.get(version) or f"HTTP/{version}"
    keys, size = _KEYS, len(environ) + len(headers)
    for name, value in headers:
        environ[keys[name]] = value.decode("latin-1")
    if len(environ) != size:
        environ.update(_joined(headers))
    if "HTTP_SCRIPT_NAME" in environ:
        _take_script_name(environ, headers)
    if "SERVER_NAME" not in environ:
        _name_server_by_host(environ)
    return environ


def _joined(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """The variables of fields of which some share a name, or the variable of a name."""
    variables: dict[str, str] = {}
    for name, value in headers:
        key, text = _KEYS[name], value.decode("latin-1")
        variables[key] = f"{variables[key]},{text}" if key in variables else text
    return variables


def request_environ(fields: Environ, request: Request) -> Environ:
    """The environ of one request without a body and a client; the caller owns it.

    Args:
        fields: From :func:`fields_environ`, or what this function made with it of another request.
        request: The request.

    Raises:
        ScriptNameMismatch: the path is not below SCRIPT_NAME.
    """
    environ = fields.copy()
    add_line(environ, request)
    return environ


def add_line(environ: Environ, request: Request) -> None:
    """Add to what :func:`fields_environ` made, which is then the environ of ``request``.

    Raises:
        ScriptNameMismatch: the path is not below SCRIPT_NAME.
    """
    method, target, path, query = request[:4]
    uri = target.decode("latin-1")
    environ["REQUEST_METHOD"] = method
    environ["RAW_URI"] = uri
    environ["QUERY_STRING"] = query.decode("latin-1") if query else ""
    if b"%" in path:
        path = unquote(path)  # which makes it shorter than the target
    environ["PATH_INFO"] = uri if len(path) == len(target) else path.decode("latin-1")
    if environ["SCRIPT_NAME"]:
        _cut_script_name(environ)


def _take_script_name(environ: Environ, headers: list[tuple[bytes, bytes]]) -> None:
    # Only the name with the underscore is the forwarder's; the policy lets it through from trusted peers
    # only. ``Script-Name`` makes the same key and may come from anybody.
    for name, value in headers:
        if name == b"script_name":
            environ["SCRIPT_NAME"] = value.decode("latin-1")


def _cut_script_name(environ: Environ) -> None:
    script, path = environ["SCRIPT_NAME"], environ["PATH_INFO"]
    rest = path[len(script) :]
    if not path.startswith(script) or (rest and not rest.startswith("/") and not script.endswith("/")):
        raise ScriptNameMismatch(f"the request path {path!r} does not begin with SCRIPT_NAME {script!r}")
    environ["PATH_INFO"] = rest


def _name_server_by_host(environ: Environ) -> None:
    """A unix listener has no name: take the one that the client used (RFC 3875 4.1.14)."""
    host = environ.get("HTTP_HOST", "")
    name, colon, port = host.rpartition(":")
    if not colon or "]" in port:
        name, port = host, ""
    environ["SERVER_NAME"] = name or "localhost"
    environ["SERVER_PORT"] = port or _DEFAULT_PORTS.get(environ["wsgi.url_scheme"], "80")


def unquote(path: bytes) -> bytes:
    """Decode percent escapes; what is not a valid escape stays (RFC 3986 2.1)."""
    head, *parts = path.split(b"%")
    decoded = [head]
    for part in parts:
        octet = _OCTETS.get(part[:2])
        decoded.append(b"%" + part if octet is None else octet + part[2:])
    return b"".join(decoded)
