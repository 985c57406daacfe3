"""Where gold turns: found where it does, not found where it does not, and surely only at the stated level."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import ttest_rel

from rewardsmith.measures.best_of_n import best_of_n_curve, powers_of_two, tilted_curve
from rewardsmith.measures.members import BestOfN
from rewardsmith.measures.turning_points import advice, named, onset

N = powers_of_two(32)


def curve_of(gold):
    """A curve whose prompts have the given gold at 1, 2, 4, …"""
    n_points = gold.shape[1]
    plain = best_of_n_curve([np.arange(float(2 ** (n_points - 1)))], n=[2**k for k in range(n_points)])
    return plain._replace(gold_by_prompt=gold, gold_gain=plain.reward_gain, gold_std=1.0)


def sound(kind, rng, n_prompts=40, size=32):
    """Pools whose true curve of gold never falls."""
    gold = rng.normal(size=(n_prompts, size))
    noise = rng.normal(size=gold.shape)
    if kind == "unrelated":
        return noise, gold
    if kind == "binary":
        return noise, (gold > 1.0).astype(float)
    if kind == "saturating":
        return gold + 0.5 * noise, np.minimum(gold, 0.5)
    return gold + 0.5 * noise, gold


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unrelated", "binary", "saturating", "informative"])
def test_a_sound_proxy_is_rarely_said_to_decline(kind):
    """At most 5 % of 400 pools; a true share of α/2 = 2.5 % passes that 14 times in 10,000 trials."""
    wrongly = looked_so = 0
    for seed in range(400):
        rewards, gold = sound(kind, np.random.default_rng([seed, len(kind)]))
        found = onset(best_of_n_curve(rewards, gold, n=N, n_resamples=1), n_draws=1000)
        wrongly += found.declines
        looked_so += found.drop > 0
    assert wrongly <= 20
    if kind == "unrelated":
        assert looked_so > 200  # what comparing with the highest estimate alone would have said


@pytest.mark.slow
@pytest.mark.parametrize(("n_prompts", "cut"), [(12, 1.0), (60, 1.8)])
def test_a_few_zeros_that_happen_to_agree_are_no_decline(n_prompts, cut):
    """Where gold is rarely 1, often no pick of the best of all is right; its own spread is then 0."""
    wrongly = without = 0
    for seed in range(400):
        rewards, gold = np.random.default_rng(seed).normal(size=(2, n_prompts, 32))
        curve = best_of_n_curve(rewards, gold > cut, n=N, n_resamples=1)
        wrongly += onset(curve, n_draws=1000).declines
        without += onset(curve._replace(luck=None), n_draws=1000).declines
    assert wrongly <= 20 < without


def heavy(rng, n_prompts, size):
    """Catastrophic Goodhart: light-tailed gold under errors with heavy tails, which is all that the far end selects."""
    gold = rng.normal(size=(n_prompts, size))
    return gold + 0.3 * rng.standard_cauchy(size=gold.shape), gold


@pytest.mark.slow
def test_the_turn_of_a_proxy_with_heavy_tails_is_found():
    sizes = powers_of_two(256)
    population = best_of_n_curve(*heavy(np.random.default_rng(99), 4000, 256), n=sizes, n_resamples=1)
    true_peak = population.strength[population.gold.mean.argmax()]
    assert 2 < true_peak < 64
    found = [
        onset(best_of_n_curve(*heavy(np.random.default_rng(seed), 200, 256), n=sizes, n_resamples=1), n_draws=1000)
        for seed in range(20)
    ]
    assert sum(one.declines for one in found) >= 18
    assert sum(one.interval[0] <= true_peak <= one.interval[1] for one in found) >= 18
    assert sum(one.strength is not None and one.drop_interval[0] > 0 for one in found) >= 18


def test_a_proxy_that_is_gold_has_no_onset():
    gold = np.random.default_rng(0).normal(size=(100, 32))
    for curve in (best_of_n_curve(gold, gold, n=N), tilted_curve(gold, gold, kl=[0.0, 0.5, 1.0])):
        found = onset(curve)
        assert (found.strength, found.kl, found.declines) == (None, None, False)
        assert found.interval == (curve.strength[-1], curve.strength[-1])  # surely higher than everywhere before
        assert (found.drop, found.drop_interval[0]) == (0.0, 0.0)
        assert found.final_interval[0] > 0


def test_two_pressures_are_a_paired_t_test():
    gold = np.random.default_rng(4).normal([0.4, 0.0], 1.0, size=(30, 2))
    found = onset(curve_of(gold), n_draws=400_000)
    interval = ttest_rel(gold[:, 0], gold[:, 1]).confidence_interval(0.95)
    assert found.drop_interval[1] == pytest.approx(interval.high, abs=0.005)
    assert found.drop_interval[0] == pytest.approx(max(interval.low, 0.0), abs=0.005)
    assert found.drop == pytest.approx(np.mean(gold[:, 0] - gold[:, 1]))


@pytest.mark.slow
def test_many_pressures_pay_for_the_search_among_them():
    """Against a last column that never moves, seven independent ones: Šidák's quantile."""
    gold = np.random.default_rng(5).normal(size=(4000, 8))
    gold[:, -1] = 0.0
    found = onset(curve_of(gold), n_draws=200_000)
    quantile = NormalDist().inv_cdf((1 + 0.95 ** (1 / 7)) / 2)
    errors = gold[:, :-1].std(axis=0, ddof=1) / math.sqrt(4000)
    assert found.drop_interval[1] == pytest.approx((gold[:, :-1].mean(axis=0) + quantile * errors).max(), rel=0.02)


@pytest.mark.slow
def test_the_interval_holds_the_true_peak():
    means = np.array([0.0, 0.3, 0.5, 0.55, 0.4, 0.1])
    missed = 0
    for seed in range(300):
        steps = np.random.default_rng(seed).normal(means, 1.0, size=(60, 6)).cumsum(axis=1)  # correlated over pressures
        gold = steps - np.cumsum(means) + means
        low, high = onset(curve_of(gold), n_draws=1000).interval
        missed += not low <= 8 <= high
    assert missed <= 27  # 5 % of 300 are 15; binomial probability of more than 27: 1e-3


def test_gold_that_never_differs_is_no_decline_by_rounding():
    rng = np.random.default_rng(6)
    found = onset(best_of_n_curve(rng.normal(size=(20, 13)), np.full((20, 13), 0.1), n=[1, 3, 7, 13]))
    assert not found.declines
    assert found.interval == (1.0, 13.0)


def test_one_prompt_proves_nothing():
    found = onset(curve_of(np.array([[3.0, 2.0, 1.0]])))
    assert (found.declines, found.interval, found.drop_interval) == (False, (1.0, 4.0), (0.0, math.inf))


def test_the_draws_are_the_same_each_time():
    curve = best_of_n_curve(*sound("informative", np.random.default_rng(0)), n=N)
    assert onset(curve) == onset(curve)


@pytest.mark.slow
def test_advice_stops_where_the_interval_begins():
    turning = curve_of(np.random.default_rng(0).normal([0, 1, 2, 3, 1, 0], 0.3, size=(50, 6)))
    said = advice(onset(turning), turning)
    assert said.startswith("Stop at best of 8 (KL 1.20), hold a policy at that KL by its coefficient")
    assert "train an ensemble" in said
    apart = BestOfN(32, 0.4, 1.0, (0.6, 1.4))
    assert "the minimum over members, which disagree there" in advice(onset(turning), turning, members=apart)
    alike = apart._replace(interval=(-0.1, 0.2))
    assert "train an ensemble" in advice(onset(turning), turning, members=alike)


def test_advice_without_a_sure_turn_or_without_a_safe_start():
    rng = np.random.default_rng(0)
    rising, falling = (curve_of(rng.normal(means, 0.3, size=(50, 4))) for means in ([0, 1, 2, 3], [3, 2, 1, 0]))
    flat = curve_of(np.array([[0.0, 2.0, 0.0], [0.0, -1.0, 0.0], [1.0, 2.0, 1.0], [0.0, 0.0, 1.0]]))
    assert "up to best of 8 (KL 1.20), where gold is still rising" in advice(onset(rising), rising)
    assert advice(onset(falling), falling).startswith("No optimization by this reward is known to be safe")
    assert onset(flat).declines is False
    assert advice(onset(flat)._replace(strength=2.0), flat).count("is not clearly past its peak") == 1


def test_points_have_names():
    rewards = np.random.default_rng(0).normal(size=(50, 64))
    curve = tilted_curve(rewards, kl=[0.0, 0.5])
    assert named(curve, 0) == "KL 0.00 (β = ∞)"
    assert named(curve, 1) == f"KL 0.50 (β = {1 / curve.strength[1]:.3g})"


def test_errors_say_what_is_wrong():
    curve = best_of_n_curve([[0.0, 1.0]], n=[1, 2])
    with pytest.raises(ValueError, match=r"onset: the curve has no gold, .* Pass gold to it"):
        onset(curve)
    with pytest.raises(ValueError, match=r"onset: alpha is 0.0, outside"):
        onset(curve, alpha=0.0)
