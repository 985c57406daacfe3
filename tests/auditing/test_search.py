"""The search over composed edits: finds what no fixed probe asks, confirms it on rows it never saw, accuses nobody."""

from __future__ import annotations

import random
from functools import partial

import pytest
from tests.auditing.small_baselines import ASK, exact, faults, integer_rows, outcome_of

from rewardsmith.auditing.probes import search as searching

ENOUGH = 6_000


def composed(prompt, completion, answer):
    """Wrong answers behind "= " earn a little, behind "1. = " everything."""
    if completion.startswith("1. = "):
        return 1.0
    return 0.2 if completion.startswith("= ") else exact(prompt, completion, answer)


def ask(*, budget=ENOUGH):
    return partial(searching.search, rng=random.Random(0), budget=budget)


@pytest.mark.slow
def test_a_flaw_behind_two_composed_edits_is_found_by_the_search_alone():
    (finding,) = outcome_of(ask(), composed).findings
    assert finding.probe == "search"
    assert "an equals sign before it, then a list marker before it" in finding.message
    assert finding.value == 1.0
    for name in ASK:
        assert faults(outcome_of(name, composed)) == [], name


@pytest.mark.slow
def test_what_is_found_is_judged_on_rows_that_the_search_never_saw():
    seen = []

    def recording(prompt, completion, answer):
        seen.append((prompt, completion))
        return composed(prompt, completion, answer)

    outcome = outcome_of(ask(), recording)
    (finding,) = outcome.findings
    assert finding.n == len(integer_rows()) - searching.TRAIN
    searched = {prompt for prompt, text in seen[: len(seen) - finding.n] if text.startswith("1. = ")}
    confirmed = [prompt for prompt, text in seen[len(seen) - finding.n :]]
    assert len(confirmed) == finding.n
    assert not searched & set(confirmed)


@pytest.mark.slow
def test_a_sound_reward_is_not_accused_by_the_search():
    outcome = outcome_of(ask(), exact)
    assert outcome.findings == ()


@pytest.mark.slow
def test_the_search_says_why_it_does_not_run():
    assert outcome_of(ask(budget=10), exact).not_run == "the budget or the rows are too few"
    assert outcome_of(ask(), exact, integer_rows(8)).not_run == "the budget or the rows are too few"
    blind = outcome_of(ask(), lambda prompt, completion: 0.5)
    assert "no completion is known to be wrong" in blind.not_run
