"""Every case of the corpus against the sans-IO core: both engines, whole and in pieces, one verdict."""

from __future__ import annotations

import pytest
from corpus.case import Case, Verdict
from corpus.catalogue import ALL, count
from replay import ENGINES, Outcome, bytewise, policy, replay, whole


def _check(case: Case, outcome: Outcome) -> None:
    if case.verdict is Verdict.ACCEPT or (case.verdict is Verdict.EITHER and outcome.error is None):
        _check_accepted(case, outcome)
    else:
        _check_refused(case, outcome)


def _check_accepted(case: Case, outcome: Outcome) -> None:
    assert outcome.error is None, f"refused with {outcome.error} by the rule {outcome.rule!r}"
    assert outcome.begun is None
    assert outcome.bodies == case.bodies
    if case.closes is not None:
        assert outcome.closing == case.closes
    first = outcome.heard[0]
    for name, value in case.seen.items():
        assert getattr(first.request, name) == value, name
    names = {name for name, _ in first.request.headers}
    for pair in case.has:
        assert pair in first.request.headers
    assert names.isdisjoint(case.lacks)
    if case.trailers is not None:
        assert first.trailers == case.trailers


def _check_refused(case: Case, outcome: Outcome) -> None:
    if case.verdict is Verdict.REFUSE:
        assert outcome.bodies == case.bodies
        assert case.in_body or outcome.begun is None, "an app would have been called"
    if not (case.truncated and outcome.error is None):
        assert outcome.error in case.status, outcome.rule


def test_the_corpus_is_large_and_covers_both_directions() -> None:
    verdicts = count()
    assert len({case.name for case in ALL}) == len(ALL) >= 1000
    assert verdicts[Verdict.ACCEPT] >= 400
    assert verdicts[Verdict.REFUSE] >= 400
    assert verdicts[Verdict.EITHER] <= len(ALL) / 10


@pytest.mark.parametrize("case", ALL, ids=[case.name for case in ALL])
def test_verdict(case: Case) -> None:
    outcomes = [
        replay(pieces(case.data), policy(engine, case.settings))
        for engine in ENGINES
        for pieces in (whole, bytewise)
    ]
    _check(case, outcomes[0])
    assert outcomes[1:] == [outcomes[0]] * 3
