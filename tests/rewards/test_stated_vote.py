"""Votes against a slow count, and the rule that breaks ties."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardsmith.rewards import weighted_vote

BALLOTS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), st.one_of(st.none(), st.sampled_from([0.1, 0.25, 0.5, 1.0]))),
    max_size=9,
)


@pytest.mark.slow
@given(BALLOTS)
def test_the_winner_is_the_one_that_a_slow_count_finds(ballots):
    answers, confidence = [y for y, _ in ballots], [c for _, c in ballots]
    vote = weighted_vote(answers, confidence)
    best, best_key = None, (-1.0, 0)
    for candidate in dict.fromkeys(y for y, c in ballots if c is not None):  # a skipped vote comes at no place
        cast = [c for y, c in ballots if y == candidate and y is not None and c is not None]
        key = (round(sum(cast), 9), len(cast))
        if cast and key > best_key:
            best, best_key = candidate, key
    assert vote.winner == best
    assert sum(vote.shares.values()) == pytest.approx(1.0 if vote.shares else 0.0)


def test_without_confidences_it_is_the_majority():
    assert weighted_vote(["4", "5", "5"]).winner == "5"


def test_confidence_overrules_the_majority():
    vote = weighted_vote(["4", "5", "5"], [1.0, 0.3, 0.3])
    assert vote.winner == "4"
    assert vote.shares == pytest.approx({"4": 0.625, "5": 0.375})
    assert not vote.tied


@pytest.mark.parametrize(
    ("answers", "confidence", "winner"),
    [
        (["4", "5"], [0.5, 0.5], "4"),  # the first
        (["4", "5", "5"], [0.3, 0.1, 0.2], "5"),  # 0.1 + 0.2 rounds above 0.3: a tie all the same, and 5 came twice
        (["5", "5", "4"], [0.1, 0.2, 0.3], "5"),
        (["4", "5", "5"], [0.0, 0.0, 0.0], "5"),  # no weight at all: the majority
    ],
)
def test_ties_go_to_the_more_frequent_and_then_to_the_first(answers, confidence, winner):
    assert weighted_vote(answers, confidence).winner == winner


def test_a_tie_is_reported():
    assert weighted_vote(["4", "5"], [0.5, 0.5]).tied
    assert not weighted_vote(["4", "4"], [0.5, 0.5]).tied


def test_what_cannot_be_counted_is_skipped():
    vote = weighted_vote([None, "4", "5", "6"], [1.0, 0.2, None, math.nan])
    assert vote == ("4", {"4": 1.0}, False)
    assert weighted_vote([], []) == (None, {}, False)
    assert weighted_vote([None, "4"], [0.5, None]) == (None, {}, False)


@pytest.mark.parametrize("confidence", [-0.1, math.inf])
def test_what_is_no_weight_is_refused(confidence):
    with pytest.raises(ValueError, match=rf"weighted_vote: confidence holds {confidence}, which is no weight. Pass"):
        weighted_vote(["4"], [confidence])


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"weighted_vote: 2 answers come with 1 confidences. Give one per answer"):
        weighted_vote(["4", "5"], [0.5])
