"""The fuzzer's invariants under Hypothesis, which makes a finding small."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import SEEDS, TOKENS, Edit, Kind, check, damaged

EDITS = st.builds(
    Edit,
    kind=st.sampled_from(Kind),
    place=st.floats(0, 1, exclude_max=True),
    extent=st.integers(1, 20),
    token=st.sampled_from(TOKENS),
)
BRIEF = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@BRIEF
@given(case=st.sampled_from(SEEDS), edits=st.lists(EDITS, min_size=1, max_size=4), seed=st.integers(0, 9999))
def test_a_damaged_case_parses_or_is_a_protocol_error(case, edits, seed):
    check(damaged(case.data, edits), case.settings, Random(seed))


@BRIEF
@given(
    first=st.sampled_from(SEEDS),
    second=st.sampled_from(SEEDS),
    edits=st.lists(EDITS, max_size=2),
    seed=st.integers(0, 9999),
)
def test_two_cases_on_one_connection(first, second, edits, seed):
    check(damaged(first.data + second.data, edits), first.settings, Random(seed))


@BRIEF
@given(data=st.binary(max_size=300), case=st.sampled_from(SEEDS), seed=st.integers(0, 9999))
def test_rubbish(data, case, seed):
    check(data, case.settings, Random(seed))


@BRIEF
@given(
    pieces=st.lists(st.sampled_from(TOKENS), max_size=40),
    case=st.sampled_from(SEEDS),
    seed=st.integers(0, 9999),
)
def test_words_of_the_protocol_in_any_order(pieces, case, seed):
    check(b"".join(pieces), case.settings, Random(seed))
