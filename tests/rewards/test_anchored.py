"""Anchored rewards against their formulas, offsets that they cannot see, and anchors that are replaced."""

from __future__ import annotations

import math
from functools import partial

import pytest

from rewardsmith.rewards import AnchorStore, anchored_reward

QUALITY = {"bad": -1.0, "fair": 0.2, "good": 1.5, "best": 3.0}
OFFSET = {"x": 0.0, "y": 20.0, "none": 5.0}


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def compare(prompts, firsts, seconds, *, bias=0.7):
    """P(first is better) by quality, with a position bias in the log-odds."""
    return [sigmoid(QUALITY[a] - QUALITY[b] + bias) for a, b in zip(firsts, seconds, strict=True)]


def scalar(*, prompts, completions, **columns):
    return [OFFSET[p] + QUALITY[c] for p, c in zip(prompts, completions, strict=True)]


def store(**options):
    return AnchorStore(["x", "y"], ["fair", "fair"], **options)


ROWS = {"prompts": ["x", "x", "y", "none"], "completions": ["bad", "best", "good", "good"]}
GAINS = [-1.2, 2.8, 1.3]  # over "fair"


def test_each_kind_is_its_formula_and_knows_neither_order_nor_offset():
    both = [(sigmoid(g + 0.7) + 1 - sigmoid(-g + 0.7)) / 2 for g in GAINS]
    assert anchored_reward(**ROWS, judge=compare, anchors=store()) == [*map(pytest.approx, both), None]
    odds = anchored_reward(**ROWS, judge=compare, anchors=store(), kind="logodds", limit=2.0)
    assert odds == [*map(pytest.approx, [-1.2, 2.0, 1.3]), None]
    scalars = anchored_reward(**ROWS, judge=scalar, anchors=store(), kind="bt_sigmoid")
    assert scalars == [*(pytest.approx(sigmoid(g)) for g in GAINS), None]
    equal = anchored_reward(["x"], ["fair"], judge=compare, anchors=store())
    assert equal == [pytest.approx(0.5)]  # both orders: σ(b) + 1 − σ(b)


def test_the_judge_that_is_sure_or_silent():
    certain = lambda prompts, firsts, seconds: [1.0 if a == "good" else 0.0 for a in firsts]  # noqa: E731
    assert anchored_reward(["x"], ["good"], judge=certain, anchors=store(), kind="logodds", limit=3.0) == [3.0]
    silent = lambda prompts, firsts, seconds: [None if a == "bad" else math.nan for a in firsts]  # noqa: E731
    assert anchored_reward(["x", "y"], ["bad", "good"], judge=silent, anchors=store()) == [None, None]
    with pytest.raises(ValueError, match="anchored_reward: kind is 'bt', which is not one of"):
        anchored_reward(["x"], ["good"], judge=certain, anchors=store(), kind="bt")


def test_columns_reach_a_scalar_reward_with_their_rows():
    seen = []

    def keyed(*, prompts, completions, answer, **columns):
        seen.append(answer)
        return scalar(prompts=prompts, completions=completions)

    rows = {"prompts": ["none", "x"], "completions": ["bad", "good"], "answer": ["a", "b"], "trainer_state": None}
    anchored_reward(**rows, judge=keyed, anchors=store(), kind="bt_sigmoid")
    assert seen == [["b"], ["b"]]


@pytest.mark.parametrize("kind", ["prob", "logodds", "bt_sigmoid"])
def test_an_anchor_is_replaced_by_the_median_where_it_loses_too_often(kind):
    anchors = store(refresh_above=0.6)
    judge = scalar if kind == "bt_sigmoid" else partial(compare, bias=0.0)
    rows = {"prompts": ["x", "y", "x", "y", "x"], "completions": ["good", "bad", "fair", "fair", "best"]}
    first = anchored_reward(**rows, judge=judge, anchors=anchors, kind=kind)
    assert anchors.refreshed == 1  # x: σ(1.3), σ(0), σ(2.8) have mean .74; y: σ(−1.2), σ(0) have .37
    assert anchors.of(["x", "y", "none"]) == ["good", "fair", None]
    again = anchored_reward(**rows, judge=judge, anchors=anchors, kind=kind)
    assert again[0] == pytest.approx(0.0 if kind == "logodds" else 0.5)
    assert again[1] == first[1]
    assert store().of([[{"role": "user", "content": "x"}]]) == [None]


@pytest.mark.parametrize("kind", ["prob", "logodds"])
def test_a_judge_whose_value_is_no_probability_is_refused(kind):
    def score(prompts, firsts, seconds):
        return [1.5] * len(firsts)

    with pytest.raises(
        ValueError, match=r"the judge gave 1.5 and 1.5, and a probability lies in \[0, 1\]. Pass a judge"
    ):
        anchored_reward(["?"], ["a"], judge=score, anchors=AnchorStore(["?"], ["b"]), kind=kind)
