"""Best-of-n and tilted curves against enumeration, direct sums and closed forms."""

from __future__ import annotations

import math
from functools import partial
from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import bootstrap, entropy

from rewardsmith.measures.best_of_n import best_of_n_curve, powers_of_two, resampled_means, tilted_curve

NAN = float("nan")
POOLS = {
    "distinct": ([0.3, -1.0, 2.0, 0.7, 0.1, 5.0], [1.0, 0.0, 4.0, -2.0, 0.5, 3.0]),
    "ties": ([1.0, 0.0, 1.0, 1.0, 0.0, 2.0], [1.0, 0.0, 4.0, -2.0, 0.5, 3.0]),
    "all tied": ([7.0] * 5, [1.0, 0.0, 4.0, -2.0, 0.5]),
    "unscored": ([0.3, NAN, 2.0, 0.7, math.inf, 5.0, 0.7], [1.0, 9.0, 4.0, -2.0, 9.0, 3.0, 8.0]),
    "gold unknown": ([0.3, 1.0, 2.0, 0.7, 4.0, 5.0], [1.0, NAN, 4.0, -2.0, 9.0, 3.0]),
}


def enumerated(rewards, gold, n):
    """Mean reward and gold of the best of n, over every subset; those that tie for best count equally."""
    known = [(r, g) for r, g in zip(rewards, gold, strict=True) if math.isfinite(r) and math.isfinite(g)]
    paid, worth = [], []
    for subset in combinations(known, n):
        top = max(r for r, _ in subset)
        paid.append(top)
        best = [g for r, g in subset if r == top]
        worth.append(sum(best) / len(best))
    return math.fsum(paid) / len(paid), math.fsum(worth) / len(worth)


def drawn(n_prompts, size, *, seed=0):
    rng = np.random.default_rng(seed)
    gold = rng.normal(size=(n_prompts, size))
    return gold + 0.5 * rng.normal(size=gold.shape), gold


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_best_of_n_is_the_mean_over_all_subsets(name, n):
    rewards, gold = POOLS[name]
    curve = best_of_n_curve([rewards], [gold], n=[n])
    paid, worth = enumerated(rewards, gold, n)
    assert curve.rewards_by_prompt[0, 0] == pytest.approx(paid, abs=1e-12)
    assert curve.gold_by_prompt[0, 0] == pytest.approx(worth, abs=1e-12)


def test_prompts_with_different_numbers_of_completions_keep_their_own_weights():
    rewards, gold = (np.full((3, 7), NAN) for _ in range(2))
    for row, name in enumerate(["distinct", "all tied", "unscored"]):
        for table, column in zip((rewards, gold), POOLS[name], strict=True):
            table[row, : len(column)] = column
    curve = best_of_n_curve(rewards, gold, n=[2, 5])
    expected = [[enumerated(*POOLS[name], n)[1] for n in (2, 5)] for name in ["distinct", "all tied", "unscored"]]
    np.testing.assert_allclose(curve.gold_by_prompt, expected, atol=1e-12)
    assert best_of_n_curve(rewards, gold, n=[6]).n_left_out == 2
    np.testing.assert_allclose(curve.gold.mean, np.mean(expected, axis=0))


def test_of_uniform_ranks_the_best_of_n_is_known():
    size = 200
    curve = best_of_n_curve([np.arange(1.0, size + 1)], n=[1, 2, 17, 200])
    expected = [n * (size + 1) / (n + 1) for n in (1, 2, 17, 200)]  # the mean maximum of n out of 1…M
    np.testing.assert_allclose(curve.rewards.mean, expected, rtol=1e-12)


def test_weights_neither_overflow_nor_vanish_with_many_completions():
    size = 12_600
    curve = best_of_n_curve([np.arange(1.0, size + 1)], n=[6300, 12_500])
    np.testing.assert_allclose(curve.rewards.mean, [n * (size + 1) / (n + 1) for n in (6300, 12_500)], rtol=1e-12)


@pytest.mark.slow
def test_a_proxy_that_is_gold_gains_what_the_maximum_does():
    _, gold = drawn(2000, 4)
    curve = best_of_n_curve(gold, gold, n=[1, 2, 4])
    np.testing.assert_array_equal(curve.gold_by_prompt, curve.rewards_by_prompt)
    expected = [quad(lambda x, n=n: n * x * _phi(x) * _cdf(x) ** (n - 1), -9, 9)[0] for n in (1, 2, 4)]
    error = gold.std() / math.sqrt(2000)
    np.testing.assert_allclose(curve.gold.mean, expected, atol=4 * error)


def _phi(x):
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _cdf(x):
    return (1 + math.erf(x / math.sqrt(2))) / 2


def test_gold_that_has_nothing_to_do_with_the_proxy_stays_flat():
    rng = np.random.default_rng(3)
    rewards, gold = rng.normal(size=(2, 400, 16))
    curve = best_of_n_curve(rewards, gold, n=[1, 4, 16], alpha=0.001)
    assert (curve.gold_gain.low <= 0).all()
    assert (curve.gold_gain.high >= 0).all()
    assert (curve.reward_gain.low[1:] > 0.9).all()


def test_scale_and_level_of_the_reward_leave_gold_and_kl_as_they_are():
    rewards, gold = drawn(20, 16)
    level = 8.0 * np.arange(20)[:, None]
    plain, moved = (best_of_n_curve(r, gold, n=[1, 4, 16]) for r in (rewards, 4 * rewards + level))
    np.testing.assert_array_equal(plain.gold_by_prompt, moved.gold_by_prompt)
    np.testing.assert_array_equal(plain.kl, moved.kl)
    units = [curve.reward_gain.mean / curve.reward_std for curve in (plain, moved)]
    np.testing.assert_allclose(units[0], units[1], atol=1e-12)
    tilts = [tilted_curve(r, gold, kl=[0.0, 0.3, 1.0]) for r in (rewards, 4 * rewards + level)]
    np.testing.assert_allclose(tilts[0].gold_by_prompt, tilts[1].gold_by_prompt, atol=1e-12)
    np.testing.assert_allclose(tilts[0].strength, 4 * tilts[1].strength, rtol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 7, 32])
def test_without_ties_the_kl_of_best_of_n_is_the_formula(n):
    rewards, _ = drawn(3, 32)
    assert best_of_n_curve(rewards, n=[n]).kl[0] == pytest.approx(math.log(n) - (n - 1) / n, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_tied_rewards_are_atoms_of_the_policy(n):
    """Verdicts 0 and 1: the best of n is 1 unless all are 0, and within a verdict nothing is preferred."""
    rewards = [1.0] * 3 + [0.0] * 7
    none = 0.7**n
    assert best_of_n_curve([rewards], n=[n]).kl[0] == pytest.approx(entropy([none, 1 - none], [0.7, 0.3]), abs=1e-12)
    assert best_of_n_curve([[2.0] * 10], n=[n]).kl[0] == 0.0


def test_kl_with_some_ties_is_the_integral_over_the_rest():
    n, rewards = 3, [0.0, 0.0, 1.0, 2.0]

    def density(u):
        return n * u ** (n - 1) * math.log(n * u ** (n - 1))

    expected = 0.5**n * math.log(0.5**n / 0.5) + quad(density, 0.5, 1.0)[0]
    found = best_of_n_curve([rewards], n=[n]).kl[0]
    assert found == pytest.approx(expected, abs=1e-9)
    assert found < math.log(n) - (n - 1) / n  # which only bounds it


def test_the_tilted_policy_is_the_direct_sum():
    rewards, gold = drawn(6, 12)
    rewards[0, 3], gold[2, 5] = NAN, NAN
    curve = tilted_curve(rewards, gold, kl=[0.0, 0.2, 0.6], least_effective=1.0)
    for k, inverse in enumerate(curve.strength):
        nats = []
        for p in range(6):
            known = [(r, g) for r, g in zip(rewards[p], gold[p], strict=True) if not math.isnan(r + g)]
            raw = [math.exp(inverse * r) for r, _ in known]
            w = [x / sum(raw) for x in raw]
            nats.append(entropy(w, np.full(len(w), 1 / len(w))))
            assert curve.gold_by_prompt[p, k] == pytest.approx(sum(a * g for a, (_, g) in zip(w, known, strict=True)))
            assert curve.rewards_by_prompt[p, k] == pytest.approx(
                sum(a * r for a, (r, _) in zip(w, known, strict=True))
            )
        assert curve.kl[k] == pytest.approx(np.mean(nats), abs=1e-12)
    np.testing.assert_allclose(curve.kl, [0.0, 0.2, 0.6], atol=1e-9)
    assert (curve.stopped, curve.n_left_out) == ("", 0)


@pytest.mark.slow
def test_of_normal_rewards_the_tilt_gains_what_theory_says():
    """exp(r/β) moves a standard normal by 1/β, at KL 1/(2β²)."""
    rewards = np.random.default_rng(0).normal(size=(200, 2000))
    curve = tilted_curve(rewards, kl=[0.125, 0.5])
    np.testing.assert_allclose(curve.strength, [0.5, 1.0], rtol=0.02)
    np.testing.assert_allclose(curve.reward_gain.mean, [0.5, 1.0], rtol=0.02)


def test_the_tilted_curve_stops_where_too_few_completions_count():
    rewards, gold = drawn(30, 16)
    curve = tilted_curve(rewards, gold, kl=[0.0, 0.5, 1.0, 2.0, 2.5], least_effective=4.0)
    assert len(curve.strength) == 3
    assert curve.stopped.startswith("at KL 2 the median prompt has ")
    assert curve.stopped.endswith(" completions in effect, below 4.")
    greedy = tilted_curve([[0.0, 0.0, 1.0, 1.0]], kl=[0.0, 0.5, 0.7], least_effective=1.0)
    assert len(greedy.strength) == 2  # the two best share all weight at KL log 2 = 0.693
    assert greedy.stopped == "no β brings the mean KL to 0.7 on these completions."


@pytest.mark.slow
def test_luck_is_the_covariance_over_all_ways_to_deal_gold_out():
    """Two prompts of 4, one with ties: every permutation of each prompt's gold, independently."""
    rewards, gold = np.array([[0.1, 0.2, 0.3, 0.4], [1.0, 1.0, 0.0, 0.0]]), np.array([[1.0, 0, 5, 2], [0.0, 1, 1, 0]])
    for curve_of in (partial(best_of_n_curve, n=[1, 2, 4]), partial(tilted_curve, kl=[0.0, 0.3], least_effective=1.0)):
        covariance = 0.0
        for p in range(2):
            dealt = [curve_of(rewards, np.array([g, g])).gold_by_prompt[p] for g in permutations(gold[p])]
            covariance += np.cov(np.array(dealt), rowvar=False, ddof=0) / 4  # of a mean over two
        np.testing.assert_allclose(curve_of(rewards, gold).luck, covariance, atol=1e-12)
    assert best_of_n_curve(rewards, n=[1]).luck is None


@pytest.mark.slow
def test_bands_agree_with_another_bootstrap():
    rewards, gold = drawn(60, 8)
    curve = best_of_n_curve(rewards, gold, n=[1, 4], n_resamples=20_000)
    other = bootstrap(
        (curve.gold_by_prompt[:, 1],), np.mean, n_resamples=20_000, method="percentile", random_state=1
    ).confidence_interval
    assert curve.gold.low[1] == pytest.approx(other.low, abs=0.01)
    assert curve.gold.high[1] == pytest.approx(other.high, abs=0.01)
    gain = curve.gold_by_prompt[:, 1] - gold.mean(axis=1)
    other = bootstrap((gain,), np.mean, n_resamples=20_000, method="percentile", random_state=1).confidence_interval
    assert curve.gold_gain.high[1] == pytest.approx(other.high, abs=0.01)
    np.testing.assert_allclose(curve.gold_gain.mean, [0.0, gain.mean()], atol=1e-12)


def test_the_unit_is_the_spread_within_prompts():
    rewards, gold = drawn(40, 8)
    curve = best_of_n_curve(rewards + 100 * np.arange(40)[:, None], gold, n=[2])
    assert curve.gold_std == pytest.approx(math.sqrt(gold.var(axis=1, ddof=1).mean()))
    assert curve.reward_std == pytest.approx(math.sqrt(rewards.var(axis=1, ddof=1).mean()))
    assert best_of_n_curve([[0.1] * 5], n=[2]).reward_std == 1.0


def test_without_gold_only_the_reward_is_there():
    for curve in (best_of_n_curve([[0.0, 1.0]], n=[1, 2]), tilted_curve([[0.0, 1.0]], kl=[0.0], least_effective=1.0)):
        assert (curve.gold, curve.gold_by_prompt, curve.gold_gain) == (None, None, None)
        assert math.isnan(curve.gold_std)


def test_what_is_given_is_not_changed_and_the_same_comes_out_again():
    rewards, gold = drawn(9, 8)
    rewards[0, 0] = NAN
    before = rewards.copy(), gold.copy()
    first, second = (best_of_n_curve(rewards, gold, n=powers_of_two(7)) for _ in range(2))
    np.testing.assert_array_equal(first.gold.low, second.gold.low)
    np.testing.assert_array_equal((rewards, gold), before)
    other = best_of_n_curve(rewards, gold, n=[1], generator=np.random.default_rng(9))
    assert other.gold.low[0] != first.gold.low[0]


def test_resampled_means_are_means_of_what_was_drawn():
    table = np.eye(4)
    draws = resampled_means(table, 1200)
    assert draws.shape == (1200, 4)
    np.testing.assert_allclose(draws.sum(axis=1), 1.0)
    np.testing.assert_allclose(draws * 4, np.round(draws * 4))
    np.testing.assert_allclose(draws.mean(axis=0), 0.25, atol=4 * math.sqrt(0.25 * 0.75 / 4 / 1200))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: best_of_n_curve([1.0, 2.0], n=[1]), r"best_of_n_curve: rewards have shape \(2,\).*Pass \(prompts"),
        (lambda: best_of_n_curve([[1.0, 2.0]], [[1.0]], n=[1]), r"gold has shape \(1, 1\), rewards \(1, 2\)"),
        (lambda: best_of_n_curve([[1.0, 2.0]], n=[2, 1]), r"n is \[2, 1\]. Pass one or more numbers, each above"),
        (lambda: best_of_n_curve([[1.0, 2.0]], n=[]), r"n is \[\]"),
        (lambda: best_of_n_curve([[1.0, 2.0]], n=[1, 3]), r"n is 3.0, outside \[1, 2\]"),
        (lambda: best_of_n_curve([[1.0, NAN]], n=[2]), "none of 1 prompts has 2 completions that are scored"),
        (lambda: best_of_n_curve([[1.0, 2.0]], n=[1], n_resamples=0), "n_resamples is 0, outside"),
        (lambda: best_of_n_curve([[1.0, 2.0]], n=[1], alpha=2.0), "alpha is 2.0, outside"),
        (lambda: tilted_curve([[1.0, 2.0]], kl=[-1.0]), r"tilted_curve: kl is -1.0, outside \[0, inf\]"),
        (lambda: tilted_curve([[1.0, 2.0]], kl=[0.0]), "the first KL, 0, cannot be reached: at KL 0 .*Begin with kl 0"),
        (lambda: tilted_curve([[1.0, NAN]], kl=[0.0]), "tilted_curve: none of 1 prompts has 2 completions"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
