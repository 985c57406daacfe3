"""Shift probes on rewards that use a planted cue and on one that does not; the bootstrap against scipy's."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from rewardsmith.auditing import generalization_gap, invariance_gap, spurious_shift_accuracy
from rewardsmith.data import PreferenceRow
from rewardsmith.measures import accuracy_gap


def pairs_at(rho):
    """Content 0 to 99 decides; an exclamation mark goes with it by ρ."""
    generator = np.random.default_rng(1)
    rows = []
    for k in range(300):
        better, worse = sorted(generator.choice(100, 2, replace=False).tolist(), reverse=True)
        marked = generator.random() < (1 + rho) / 2
        rows.append(PreferenceRow(f"q{k}", f"{better}{'!' * marked}", f"{worse}{'!' * (not marked)}"))
    return rows


def content(completion):
    return float(completion.rstrip("!"))


def causal(prompt, completion):
    return content(completion)


def cued(prompt, completion):
    return content(completion) + 1000.0 * completion.endswith("!")


def flat(prompt, completion):
    return 1.0


@pytest.mark.slow
def test_a_causal_reward_has_one_accuracy_and_a_cued_one_falls_with_the_cue():
    found = spurious_shift_accuracy(causal, pairs_at, workers=0)
    assert [share.value for share in found.values()] == [1.0, 1.0, 1.0]
    found = spurious_shift_accuracy(cued, pairs_at, rho=[1.0, 0.0, -1.0], workers=0)
    assert found[1.0].value == 1.0
    assert found[0.0].low < 0.5 < found[0.0].high
    assert found[-1.0].value == 0.0
    tied = spurious_shift_accuracy(flat, pairs_at, rho=[0.0], workers=0)[0.0]
    assert (tied.value, tied.n) == (0.5, 300)


def test_unscored_pairs_are_left_out_of_a_shift():
    def partial(prompt, completion):
        return None if prompt == "q0" else content(completion)

    assert spurious_shift_accuracy(partial, pairs_at, rho=[1.0], workers=0)[1.0].n == 299
    nothing = spurious_shift_accuracy(lambda prompt, completion: None, pairs_at, rho=[1.0], workers=0)[1.0]
    assert np.isnan(nothing.value)
    assert nothing.n == 0


def test_the_invariance_gap_is_the_mean_difference_in_standard_deviations():
    rows = [PreferenceRow("q", str(a), str(b)) for a, b in np.random.default_rng(0).normal(5, 2, (400, 2))]
    found = invariance_gap(causal, rows, workers=0)
    scores = np.array([[float(row.chosen), float(row.rejected)] for row in rows])
    assert found.value == pytest.approx(np.abs(np.diff(scores)).mean() / scores.std())
    assert found.low < 2 / np.pi**0.5 < found.high  # E|X − Y| of two unit Gaussians
    assert abs(found.signed) < 4 * 2**0.5 / 20
    same = invariance_gap(causal, [PreferenceRow("q", str(k), f"{k}!") for k in range(9)], workers=0)
    assert (same.value, same.n) == (0.0, 9)
    assert np.isnan(invariance_gap(flat, rows, workers=0).value)
    assert np.isnan(invariance_gap(lambda prompt, completion: None, rows, workers=0).value)


@pytest.mark.slow
def test_the_gap_is_that_of_the_accuracies_and_its_interval_scipy_s():
    generator = np.random.default_rng(3)
    a, b = generator.normal(1.0, 1.0, 200), generator.normal(0.5, 1.0, 200)
    found = accuracy_gap(a, b, n_resamples=4000)
    gains = (a > 0).astype(float) - (b > 0)
    theirs = bootstrap((gains,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0))
    assert found.gap == pytest.approx(gains.mean())
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)
    assert found == accuracy_gap(a, b, n_resamples=4000)


def test_clusters_are_resampled_whole():
    a, b = np.tile([1.0, -1.0, 1.0, 1.0], 10), np.tile([-1.0, -1.0, 1.0, 1.0], 10)
    alone, together = accuracy_gap(a, b), accuracy_gap(a, b, clusters=[k // 4 for k in range(40)])
    assert alone.low < together.low == together.gap == together.high  # every cluster has the same gain


def test_ties_count_half_and_what_either_left_unscored_counts_for_neither():
    found = accuracy_gap([1.0, 0.0, np.nan, 2.0], [-1.0, 1.0, 1.0, np.nan])
    assert found[:3] == (0.75, 0.5, 0.25)
    assert found.n == 2
    nothing = accuracy_gap([np.nan], [1.0])
    assert np.isnan(nothing.gap)
    assert nothing.n == 0


@pytest.mark.slow
def test_two_rewards_are_compared_split_by_split_and_one_with_itself_not_at_all():
    splits = {"iid": pairs_at(1.0), "shifted": pairs_at(-1.0)}
    found = generalization_gap(causal, cued, splits, workers=0)
    assert found["iid"].gap == 0.0
    assert found["shifted"][:5] == (1.0, 0.0, 1.0, 1.0, 1.0)
    assert all(gap[2:5] == (0.0, 0.0, 0.0) for gap in generalization_gap(cued, cued, splits, workers=0).values())


def test_margins_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match=r"accuracy_gap: margins of shapes \(1,\) and \(2,\) with no clusters.* Align"):
        accuracy_gap([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"accuracy_gap: n_resamples is 0, outside \[1, inf\]"):
        accuracy_gap([1.0], [1.0], n_resamples=0)
