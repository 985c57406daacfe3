"""Accuracy by query and by shared prefix, against slow loops."""

import math
import random

import pytest

from rewardsmith.measures import acc_and_acc_plus, wilson_interval
from rewardsmith.measures.rankings import sibling_accuracy

NAN = math.nan


def test_both_accuracies_equal_a_slow_loop():
    draw = random.Random(3)
    scores = [[draw.choice([0.0, 1.0, 2.0, NAN]), draw.choice([0.0, 1.0, 2.0])] for _ in range(200)]
    queries = [draw.randrange(60) for _ in scores]
    right = pairs = whole = counted = 0
    for query in set(queries):
        own = [score for score, name in zip(scores, queries, strict=True) if name == query]
        known = [(c, r) for c, r in own if not math.isnan(c)]
        right += sum(c > r for c, r in known)
        pairs += len(known)
        if any(c <= r for c, r in known):
            counted += 1
        elif len(known) == len(own):
            counted, whole = counted + 1, whole + 1
    found = acc_and_acc_plus(scores, queries)
    assert found.acc[::3] == (right / pairs, pairs)
    assert found.acc_plus[::3] == (whole / counted, counted)
    assert (found.acc_plus.low, found.acc_plus.high) == wilson_interval(whole, counted)


def test_a_tie_is_wrong_and_an_unscored_pair_is_left_out():
    found = acc_and_acc_plus([[1.0, 1.0], [1.0, None], [2.0, 0.0]], ["a", "b", "c"])
    assert (found.acc.value, found.acc.n) == (0.5, 2)
    assert (found.acc_plus.value, found.acc_plus.n) == (0.5, 2)


def test_infinite_scores_rank():
    assert acc_and_acc_plus([[math.inf, 0.0], [0.0, -math.inf], [math.inf, math.inf]], [0, 1, 2]).acc.value == 2 / 3


def test_pairs_that_go_together_count_as_fewer():
    scores = [[1.0, 0.0]] * 40 + [[0.0, 1.0]] * 40
    apart = acc_and_acc_plus(scores, list(range(80))).acc
    together = acc_and_acc_plus(scores, [k // 8 for k in range(80)]).acc  # ten queries, each right or wrong throughout
    assert (together.low, together.high) == pytest.approx(wilson_interval(5, 10))
    assert together.low < apart.low < apart.high < together.high


def test_nothing_scored_is_not_zero():
    found = acc_and_acc_plus([], [])
    assert math.isnan(found.acc.value)
    assert (found.acc.low, found.acc.high, found.acc.n) == (0.0, 1.0, 0)


def test_accuracy_by_shared_prefix_equals_accuracy_of_each_part():
    draw = random.Random(0)
    scores = [[draw.gauss(0.3, 1), draw.gauss(0, 1)] for _ in range(90)]
    shared = [draw.randrange(3) for _ in scores]
    found = sibling_accuracy(scores, shared)
    assert list(found) == [0, 1, 2]
    for depth, share in found.items():
        own = [score for score, at in zip(scores, shared, strict=True) if at == depth]
        assert share == acc_and_acc_plus(own, list(range(len(own)))).acc


def test_trees_widen_the_intervals():
    scores, shared = [[1.0, 0.0]] * 16 + [[0.0, 1.0]] * 16, [1] * 32
    alone = sibling_accuracy(scores, shared)[1]
    by_tree = sibling_accuracy(scores, shared, clusters=[k // 8 for k in range(32)])[1]
    assert by_tree.low < alone.low


def test_refusals():
    with pytest.raises(ValueError, match=r"acc_and_acc_plus: scores have shape \(2,\) for 2 pairs. Pass \(n, 2\)"):
        acc_and_acc_plus([1.0, 2.0], ["a", "b"])
    with pytest.raises(ValueError, match=r"sibling_accuracy: scores have shape \(1, 2\) for 2 pairs"):
        sibling_accuracy([[1.0, 2.0]], [0, 1])
    with pytest.raises(ValueError, match=r"sibling_accuracy: got 1 pairs and 2 clusters. Pass one per pair"):
        sibling_accuracy([[1.0, 2.0]], [0], clusters=["a", "b"])
