"""Heads that have been read before, by whatever connection: clients repeat themselves, and each other.

Behind a proxy, or with many users of one browser, most connections of a server say the same. What their heads
make is kept once and not with each of them: a server of many connections works with little memory, which
stays in the caches of the CPU.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.http.events import Peer, Request
from gunicorn.http.grammar import CRLF
from gunicorn.http.request_line import parse_usual_line

if TYPE_CHECKING:
    from gunicorn.http.buffer import ReceiveBuffer
    from gunicorn.http.events import Headers

__all__ = ["KnownFields", "KnownHead", "KnownHeads"]

_HEAD_END = b"\r\n\r\n"
_KEPT = 512
_NOTED = 1024
_NOBODY = Peer()

# The constructor of a named tuple is a Python function, which takes three times as long.
_new_request = partial(tuple.__new__, Request)


class KnownFields:
    """One block of field lines, with the empty line.

    Attributes:
        block: Its bytes.
        headers: What a request has of them. Nobody changes it.
        said: What they make of a ``Request``, from its scheme on; without a peer, since they are anybody's.
        last: The last head with them.
        environ: Whatever the driver makes of them.
    """

    __slots__ = ("block", "environ", "headers", "last", "said")

    def __init__(self, block: bytes, request: Request) -> None:
        self.block = block
        self.headers: Headers = request.headers
        self.said: tuple[object, ...] = (*request[6:-1], _NOBODY)
        self.last: KnownHead | None = None
        self.environ: dict[str, Any] | None = None


class KnownHead:
    """A head with known fields.

    Attributes:
        data: Its bytes.
        whole: The same where no body follows, else None.
        request: What it says. Its peer is nobody.
        environ: Whatever the driver makes of it.
        met: For the driver, which need not keep what is asked for once.
    """

    __slots__ = ("data", "environ", "fields", "met", "request", "whole")

    def __init__(self, data: bytes, fields: KnownFields, request: Request) -> None:
        self.data = data
        self.fields = fields
        self.request = request
        self.whole = None if request.chunked or request.content_length else data
        self.environ: dict[str, Any] | None = None
        self.met = False


class KnownHeads:
    """The heads that connections with one policy have in common, whose peers are trusted alike.

    Any thread may call. Fields are kept when they are said for the second time: those with a number of
    their own in every request (tracing) would fill the table with what nobody says again.

    Args:
        line_limit: The longest request line, in bytes.
    """

    __slots__ = ("_fields", "_line_limit", "_noted")

    def __init__(self, line_limit: int) -> None:
        self._line_limit = line_limit
        self._fields: dict[bytes, KnownFields] = {}
        self._noted: set[int] = set()

    def find(self, buffer: ReceiveBuffer, guess: KnownHead | None) -> KnownHead | None:
        """Take the next head from ``buffer``, if its fields are known and its line is a usual one.

        The fields were judged once, by the same rules, so only the request line is looked at.

        Args:
            guess: What it may be: spares the look-up.
        """
        data, start = buffer.data, buffer.position
        end = data.find(CRLF, start) + 2
        if end < 2 or not isinstance(data, bytes):
            return None
        if guess is not None and data.startswith(guess.fields.block, end):
            fields = guess.fields
        else:
            stop = data.find(_HEAD_END, end - 2) + 4
            known = self._fields.get(data[end:stop]) if stop > 4 else None
            if known is None:
                return None
            fields = known
        head = fields.last
        if head is None or not head.data.startswith(data[start:end]):
            head = self._with_line(data, start, end, fields)
        if head is not None:
            buffer.skip_to(end + len(fields.block))
        return head

    def _with_line(self, data: bytes, start: int, end: int, fields: KnownFields) -> KnownHead | None:
        line = data[start : end - 2]
        words = parse_usual_line(line)
        if words is None or len(line) > self._line_limit:
            return None
        request = _new_request((*words, "1.1", fields.headers, *fields.said))
        head = KnownHead(data[start : end + len(fields.block)], fields, request)
        fields.last = head
        return head

    def add(self, data: bytes, request: Request) -> None:
        """Keep the fields of a head, if they have been said before.

        Args:
            data: The head, with its empty line.
            request: What it says: HTTP/1.1, and all of it but line and peer by its fields.
        """
        block = data[data.find(CRLF) + 2 :]
        mark = hash(block)
        if mark not in self._noted:
            if len(self._noted) >= _NOTED:
                self._noted.clear()
            self._noted.add(mark)
            return
        if len(self._fields) >= _KEPT:
            self._fields.clear()
        self._fields[block] = KnownFields(block, request)
