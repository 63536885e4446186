"""Where a head ends and whether its lines are lines: limits and line grammar, at the byte that breaks them.

A hostile head is refused at its limit, not at its end, and a client that ends its lines with LF alone gets
its 400 at once instead of waiting for a deadline. What is found does not depend on how the bytes were cut:
the first fault counts.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gunicorn.errors import ProtocolError
from gunicorn.http.fields import fold_fault
from gunicorn.http.grammar import CRLF, FIELD_TEXT, LINE_FAULT
from gunicorn.http.request_line import parse_request_line

if TYPE_CHECKING:
    from gunicorn.http.policy import Policy

__all__ = ["HeadScanner", "line_fault", "lines_at_once"]


def lines_at_once(head: bytes, policy: Policy) -> list[bytes] | None:
    """The lines of a head that is complete and without fault; None when ``HeadScanner`` has to look closer.

    Args:
        head: With the empty line.
    """
    lines = head.split(CRLF)
    count = len(lines) - 3
    # What is no text must be the line ends and nothing else. A bare CR or LF beside them makes it longer; if
    # one of each stands apart, the count of CRLF is smaller than their number.
    if count < 0 or lines.index(b"") != count + 1 or head.translate(None, FIELD_TEXT) != CRLF * (count + 2):
        return None
    if count > policy.limit_request_fields:
        return None
    if policy.permit_obsolete_folding and (b"\n " in head or b"\n\t" in head):
        return None  # a field's size includes its folds
    del lines[-2:]
    size, field_limit = len(head), policy.limit_request_field_size - len(CRLF)
    if size <= policy.limit_request_line and size <= field_limit:
        return lines
    fits = len(lines[0]) <= policy.limit_request_line and max(map(len, lines)) <= field_limit
    return lines if fits else None


def line_fault(fragment: bytes | bytearray) -> str | None:
    """The rule that the first bad byte breaks, or None."""
    # The table first, since it is ten times as fast and finds nothing in nearly everything.
    if fragment.translate(None, FIELD_TEXT) in (b"", CRLF) and fragment.endswith(CRLF) == (b"\n" in fragment):
        return None
    match = LINE_FAULT.search(fragment)
    if match is None:
        return None
    found = match[0]
    if found == b"\n":
        return "RFC 9112 2.2: line ends with a bare LF"
    if found == b"\r":
        return "RFC 9112 2.2: bare CR"
    return "RFC 9110 5.5: control character"


class HeadScanner:
    """Looks at each byte of one head once, whatever the pieces it comes in.

    Offsets are relative to the start of the head.
    """

    __slots__ = ("_fields", "_first", "_line", "_policy", "_seen", "_start")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._seen = 0
        """Up to here nothing is left to look at."""
        self._line = 0
        """Where the current line starts."""
        self._start = 0
        """Where the current field starts: its first line, if it is folded."""
        self._first = True
        self._fields = 0

    def scan(self, data: bytes | bytearray, origin: int) -> int | None:
        """Look at what is new in ``data``, where the head starts at ``origin``.

        Returns:
            The size of the head with its empty line; None while it is incomplete.

        Raises:
            ProtocolError: 400, 414, 431 or 505.
        """
        while True:
            end = data.find(b"\n", origin + self._seen) + 1
            complete = end > 0
            size = (end or len(data)) - origin
            self._check_line(data, origin, size, complete)
            if not complete:
                return None
            self._seen = self._line = size
            if self._fields == -1:
                return size

    def _check_line(self, data: bytes | bytearray, origin: int, size: int, complete: bool) -> None:
        if size == self._line:
            return
        folded = self._begin_field(data[origin + self._line])
        limit = self._start + self._limit()
        fragment = data[origin + self._seen : origin + min(size, limit)]
        if fragment.endswith(b"\r"):
            # Whether it is a bare CR shows with the next byte.
            fragment = fragment[:-1]
        rule = line_fault(fragment)
        if rule is not None:
            raise ProtocolError(400, rule)
        if size > limit:
            raise self._too_long()
        self._seen = self._seen + len(fragment)
        if complete:
            self._end_line(bytes(data[origin + self._line : origin + size - 2]), folded)

    def _begin_field(self, byte: int) -> bool:
        folded = byte in (0x20, 0x09) and not self._first
        if not (folded and self._policy.permit_obsolete_folding):
            self._start = self._line
        return folded

    def _limit(self) -> int:
        if not self._first:
            return self._policy.limit_request_field_size
        return min(self._policy.limit_request_line, sys.maxsize - 2) + len(CRLF)

    def _too_long(self) -> ProtocolError:
        if self._first:
            return ProtocolError(
                414, "limit_request_line", f"more than {self._policy.limit_request_line} bytes"
            )
        return ProtocolError(
            431, "limit_request_field_size", f"more than {self._policy.limit_request_field_size} bytes"
        )

    def _end_line(self, line: bytes, folded: bool) -> None:
        if self._first:
            parse_request_line(line, self._policy)
            self._first = False
        elif not line:
            self._fields = -1
        elif folded:
            if self._fields == 0 or not self._policy.permit_obsolete_folding:
                raise fold_fault(first=self._fields == 0)
        else:
            self._fields += 1
            if self._fields > self._policy.limit_request_fields:
                raise ProtocolError(
                    431, "limit_request_fields", f"more than {self._policy.limit_request_fields} fields"
                )
