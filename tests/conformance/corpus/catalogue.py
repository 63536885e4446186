"""Every case, and the ones that fuzzing found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from corpus import (
    chunked,
    connection,
    content_length,
    expect,
    fields,
    host,
    limits,
    pipelining,
    proxy_protocol,
    request_line,
    settings,
    targets,
    trailers,
    transfer_encoding,
    versions,
)
from corpus.case import Case, Verdict

__all__ = ["ALL", "count", "groups"]

ALL: tuple[Case, ...] = tuple(
    case
    for module in (
        request_line,
        targets,
        versions,
        fields,
        host,
        content_length,
        transfer_encoding,
        chunked,
        trailers,
        connection,
        expect,
        pipelining,
        proxy_protocol,
        limits,
        settings,
    )
    for case in module.CASES
)


def groups(cases: Iterable[Case]) -> dict[tuple[tuple[str, object], ...], list[Case]]:
    """Cases by what they need to be set, so that a server is started once for each set."""
    found: dict[tuple[tuple[str, object], ...], list[Case]] = {}
    for case in cases:
        found.setdefault(case.group, []).append(case)
    return found


def count() -> Counter[Verdict]:
    """How many cases there are of each verdict."""
    return Counter(case.verdict for case in ALL)
