"""h11 at either end, as a second opinion."""

from __future__ import annotations

import h11
from attrs import frozen

__all__ = ["H11Outcome", "Message", "client_bytes", "server_outcome"]


@frozen
class Message:
    """A request as a client means it."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    pieces: tuple[bytes, ...] = ()
    chunked: bool = False
    trailers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def all_fields(self) -> list[tuple[bytes, bytes]]:
        framing = (
            (b"Transfer-Encoding", b"chunked")
            if self.chunked
            else (b"Content-Length", b"%d" % len(self.body))
        )
        return [(b"Host", b"a.example"), *self.fields, *([framing] if self.pieces or self.chunked else [])]


def client_bytes(message: Message) -> bytes:
    """What an h11 client sends for it."""
    connection = h11.Connection(h11.CLIENT)
    sent = [
        connection.send(h11.Request(method=message.method, target=message.target, headers=message.all_fields))
    ]
    sent += [connection.send(h11.Data(piece)) for piece in message.pieces]
    sent.append(connection.send(h11.EndOfMessage(headers=list(message.trailers) if message.chunked else [])))
    return b"".join(piece for piece in sent if piece)


@frozen
class H11Outcome:
    """What an h11 server makes of bytes: the bodies that it read, and why it refused, if it did."""

    bodies: tuple[bytes, ...]
    refusal: str | None


def server_outcome(data: bytes) -> H11Outcome:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=200_000)
    connection.receive_data(data)
    connection.receive_data(b"")
    bodies: list[bytes] = []
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                bodies.append(body)
                body = b""
                connection.send(h11.Response(status_code=404, headers=[(b"Content-Length", b"0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return H11Outcome(tuple(bodies), None)
                connection.start_next_cycle()
            elif not isinstance(event, h11.Request):
                return H11Outcome(tuple(bodies), None)
    except h11.RemoteProtocolError as error:
        return H11Outcome(tuple(bodies), str(error))
