"""Best-of-group by weight against a slow loop."""

import math

import numpy as np
import pytest

from rewardsmith.measures import aspect_tradeoff

NAN = math.nan


def test_gains_equal_a_slow_loop_with_unscored_completions_and_ties():
    generator = np.random.default_rng(2)
    rewards = generator.integers(-2, 3, size=(40, 3)).astype(float)  # ties are many
    rewards[[3, 17]], rewards[20:23, 1] = NAN, -math.inf  # the sixth group keeps one completion
    segments = generator.integers(1, 9, size=40).astype(float)
    weights = [[1.0, 0.5, 0.0], [0.0, 0.0, -1.0], [0.0, 0.0, 0.0]]
    found = aspect_tradeoff(rewards, weights, group_size=4, names=["a", "b", "c"], n_segments=segments)
    for row, w in zip(found, weights, strict=True):
        gains = []
        for start in range(0, 40, 4):
            kept = [k for k in range(start, start + 4) if np.isfinite(rewards[k]).all()]
            if len(kept) < 2:
                continue
            totals = [float(np.dot(w, rewards[k])) for k in kept]
            best = [k for k, total in zip(kept, totals, strict=True) if total == max(totals)]
            columns = np.column_stack([rewards, segments])
            gains.append(columns[best].mean(axis=0) - columns[kept].mean(axis=0))
        expected = np.mean(gains, axis=0)
        assert [aspect.gain for aspect in row.aspects] == pytest.approx(expected[:3].tolist(), abs=1e-12)
        assert row.segments.gain == pytest.approx(expected[3], abs=1e-12)
        assert row.n == len(gains) == 9
        assert [aspect.name for aspect in row.aspects] == ["a", "b", "c"]
        assert all(aspect.low <= aspect.gain <= aspect.high for aspect in row.aspects)
    assert [aspect.gain for aspect in found[2].aspects] == pytest.approx([0.0] * 3)  # nothing is chosen


def test_a_dominated_choice_is_off_the_frontier():
    rewards = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.6]]
    found = aspect_tradeoff(rewards, [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, -1.0]], group_size=3)
    assert [row.on_frontier for row in found] == [True, True, True, False]


def test_a_weight_that_pays_for_more_segments_shows():
    rewards = [[0.3 * k, 0.0] for k in range(1, 9)]
    paid, free = aspect_tradeoff(rewards, [[1.0, 0.0], [0.0, 1.0]], group_size=4, n_segments=list(range(1, 9)))
    assert paid.segments.gain == pytest.approx(1.5)
    assert free.segments.gain == 0.0


def test_nothing_to_compare_is_not_zero():
    (row,) = aspect_tradeoff([[1.0], [NAN]], [[1.0]], group_size=2)
    assert math.isnan(row.aspects[0].gain)
    assert row.n == 0
    assert row.segments is None


def test_refusals():
    with pytest.raises(ValueError, match=r"aspect_tradeoff: source_rewards \(2, 1\) and weights \(1, 2\) must be"):
        aspect_tradeoff([[1.0], [2.0]], [[1.0, 2.0]], group_size=2)
    with pytest.raises(ValueError, match=r"aspect_tradeoff: got 1 names for 2 aspects. Name each once"):
        aspect_tradeoff([[1.0, 2.0]], [[1.0, 2.0]], group_size=1, names=["a"])
    with pytest.raises(ValueError, match=r"aspect_tradeoff: n_segments is \(1,\), not \(2,\). Pass one per row"):
        aspect_tradeoff([[1.0], [2.0]], [[1.0]], group_size=2, n_segments=[1])
    with pytest.raises(ValueError, match=r"aspect_tradeoff: 3 rows are not a whole number of groups of 2"):
        aspect_tradeoff([[1.0]] * 3, [[1.0]], group_size=2)
