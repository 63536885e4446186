"""The door to WebSockets: which requests ask for one, and which of these may have it.

The code behind it is imported by the first such request, so that workers without WebSockets do without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gunicorn.asgi.websocket import WebSocketSettings
    from gunicorn.http.events import Request
    from gunicorn.workers.asgi.ledger import Entry
    from gunicorn.workers.asgi.protocol import Connection
    from gunicorn.workers.asgi.service import Service
    from gunicorn.workers.asgi.socket_cycle import SocketCycle

__all__ = ["Sockets"]


class Sockets:
    """Opens WebSockets for the connections of one worker."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings: WebSocketSettings | None = None

    def wants(self, request: Request) -> bool:
        """Whether an upgrade is one to a WebSocket; others are ignored (RFC 9110 7.8)."""
        from gunicorn.asgi.websocket import is_websocket

        return is_websocket(request)

    def open(self, connection: Connection, request: Request, entry: Entry) -> SocketCycle | None:
        """The cycle of a handshake that may go on; None: the refusal has been written."""
        from gunicorn.asgi.websocket import WebSocketSession, WebSocketSettings, refuse_handshake
        from gunicorn.workers.asgi.socket_cycle import SocketCycle

        service = self._service
        refusal = refuse_handshake(connection.http, request, draining=service.draining)
        if refusal is not None:
            connection.transport.write(refusal)
            service.ledger.socket_over(entry, int(refusal[9:12]))
            return None
        if self._settings is None:
            self._settings = WebSocketSettings.from_config(service.worker.cfg)
        return SocketCycle(connection, WebSocketSession(connection.http, request, self._settings), entry)
