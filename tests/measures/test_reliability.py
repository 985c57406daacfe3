"""How much of the gold a reward explains, against scipy's regression, numpy's weighted fit and slow loops."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rewardsmith.advantages import drop_unscored, rank_filter
from rewardsmith.advantages.filters import middle_filter
from rewardsmith.measures import choose_filter, reward_reliability

NAN, INF = math.nan, math.inf


def rows(n: int = 300, *, noise: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    rewards = random.normal(size=n)
    return rewards, 2.0 + 0.5 * rewards + noise * random.normal(size=n)


@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (-1e-8, 0.0), (1e8, -5e9), (1e200, 0.0)])
def test_r2_and_slope_are_those_of_scipys_regression(noise: float, scale: float, shift: float) -> None:
    rewards, gold = rows(noise=noise)
    theirs = stats.linregress(rewards, gold)
    ours = reward_reliability(scale * rewards + shift, gold, n_resamples=2)
    assert ours.r2 == pytest.approx(theirs.rvalue**2, abs=1e-9)
    assert ours.slope == pytest.approx(theirs.slope / scale, rel=1e-6)
    assert ours.n == 300


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 4)), min_size=4, max_size=12))
def test_a_weight_of_k_counts_as_k_copies_and_a_weight_of_zero_as_none(table: list[tuple[float, float, int]]) -> None:
    copies = [(round(r, 2), round(g, 2)) for r, g, k in table for _ in range(k)]
    ours = reward_reliability(
        [round(r, 2) for r, _, _ in table],
        [round(g, 2) for _, g, _ in table],
        weights=[0.5 * k for _, _, k in table],
        n_resamples=2,
    )
    if len({r for r, _ in copies}) < 2 or len({g for _, g in copies}) < 2:
        assert math.isnan(ours.r2)
        return
    theirs = stats.linregress([r for r, _ in copies], [g for _, g in copies])
    assert ours.r2 == pytest.approx(theirs.rvalue**2, abs=1e-9)
    assert ours.slope == pytest.approx(theirs.slope, abs=1e-6)


def test_r2_is_the_share_of_the_squares_that_a_weighted_line_removes() -> None:
    rewards, gold = rows()
    weights = np.random.default_rng(5).uniform(size=300)
    line = np.polyval(np.polyfit(rewards, gold, 1, w=np.sqrt(weights)), rewards)
    left = sum(w * (g - fit) ** 2 for w, g, fit in zip(weights, gold, line, strict=True))
    mean = sum(weights * gold) / sum(weights)
    whole = sum(w * (g - mean) ** 2 for w, g in zip(weights, gold, strict=True))
    assert reward_reliability(rewards, gold, weights=weights).r2 == pytest.approx(1 - left / whole)


@pytest.mark.parametrize("unscored", [None, NAN, INF, -INF])
def test_unscored_rows_on_either_side_are_left_out(unscored: float | None) -> None:
    rewards, gold = rows(40)
    alone = reward_reliability(rewards[2:], gold[2:], n_resamples=2)
    with_none = reward_reliability([unscored, 100.0, *rewards[2:]], [100.0, unscored, *gold[2:]], n_resamples=2)
    assert with_none.r2 == pytest.approx(alone.r2)
    assert with_none.by_bin == alone.by_bin
    assert with_none.n == 38


@pytest.mark.parametrize(
    ("rewards", "gold"),
    [([], []), ([NAN], [1.0]), ([1.0], [1.0]), ([0.1, 0.1, 0.1], [1.0, 2.0, 3.0]), ([1.0, 2.0, 3.0], [0.1, 0.1, 0.1])],
)
def test_without_variation_nothing_can_be_said(rewards: list[float], gold: list[float]) -> None:
    got = reward_reliability(rewards, gold)
    assert math.isnan(got.r2)
    assert all(math.isnan(bound) for bound in got.interval)


def test_bins_hold_equally_many_rows_and_their_means_are_those_of_a_slow_loop() -> None:
    rewards, gold = rows(100)
    bins = reward_reliability(rewards, gold, bins=5).by_bin
    pairs = sorted(zip(rewards, gold, strict=True))
    for found, start in zip(bins, range(0, 100, 20), strict=True):
        chunk = pairs[start : start + 20]
        assert found.n == 20
        assert (found.low, found.high) == (chunk[0][0], chunk[-1][0])
        assert found.rewards == pytest.approx(sum(r for r, _ in chunk) / 20)
        assert found.gold == pytest.approx(sum(g for _, g in chunk) / 20)
        assert found.gold_std == pytest.approx(np.std([g for _, g in chunk]))


def test_equal_rewards_share_a_bin_and_the_binned_fit_passes_through_the_means() -> None:
    got = reward_reliability([0.0] * 30 + [1.0] * 10, [0.0, 1.0] * 15 + [1.0] * 10)
    assert [(b.n, b.low, b.high, b.gold) for b in got.by_bin] == [(30, 0.0, 0.0, 0.5), (10, 1.0, 1.0, 1.0)]
    assert got.binned_r2 == pytest.approx(1.0)  # two points lie on a line
    assert got.r2 == pytest.approx(np.corrcoef([0.0] * 30 + [1.0] * 10, [0.0, 1.0] * 15 + [1.0] * 10)[0, 1] ** 2)


def test_the_binned_fit_is_scipys_through_the_bin_means() -> None:
    rewards, gold = rows(noise=2.0)
    got = reward_reliability(rewards, gold, bins=6)
    theirs = stats.linregress([b.rewards for b in got.by_bin], [b.gold for b in got.by_bin])
    assert got.binned_r2 == pytest.approx(theirs.rvalue**2)
    assert got.binned_r2 > got.r2


@pytest.mark.slow
def test_the_interval_is_that_of_a_slow_bootstrap_over_groups() -> None:
    rewards, gold = rows(60)
    weights = rank_filter(torch.from_numpy(rewards), group_size=5).numpy()
    got = reward_reliability(
        rewards, gold, weights=weights, group_size=5, n_resamples=200, generator=np.random.default_rng(8)
    )
    random, draws = np.random.default_rng(8), []
    for _ in range(200):
        chosen = [5 * g + i for g in random.integers(12, size=12) for i in range(5) if weights[5 * g + i] > 0]
        draws.append(stats.linregress(rewards[chosen], gold[chosen]).rvalue ** 2)
    assert got.interval == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))


@pytest.mark.slow
def test_the_interval_covers_the_true_r2_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(100):
        rewards, gold = rows(150, seed=seed)  # Var(½r) = ¼ of 1¼: R² = 0.2
        low, high = reward_reliability(rewards, gold, n_resamples=300).interval
        covered += low <= 0.2 <= high
    assert covered >= 85  # 0.95 less 4.6 standard errors of a binomial over 100


def test_prompts_that_move_together_widen_the_interval() -> None:
    random = np.random.default_rng(2)
    offset = np.repeat(random.normal(size=40), 8)
    rewards = offset + 0.1 * random.normal(size=320)
    gold = np.repeat(random.normal(size=40), 8) + offset
    low, high = reward_reliability(rewards, gold, group_size=8).interval
    low_rows, high_rows = reward_reliability(rewards, gold).interval
    assert high - low > 1.5 * (high_rows - low_rows)


def test_the_same_rows_give_the_same_interval() -> None:
    rewards, gold = rows(50)
    assert reward_reliability(rewards, gold) == reward_reliability(rewards, gold)


def heteroscedastic(n_groups: int = 400, group_size: int = 5, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A reward whose extremes are the gold's and whose middle is noise."""
    random = np.random.default_rng(seed)
    gold = random.uniform(size=n_groups * group_size)
    noise = random.uniform(0.3, 0.7, size=gold.shape)
    return np.where(np.abs(gold - 0.5) < 0.2, noise, gold), gold


RULES = {"all": drop_unscored, "middle": partial(middle_filter, group_size=5), "bw": partial(rank_filter, group_size=5)}


def test_filters_are_ranked_by_what_they_keep_and_the_middle_comes_last() -> None:
    rewards, gold = heteroscedastic()
    ranked = choose_filter(rewards, gold, RULES, group_size=5)
    assert [choice.name for choice in ranked] == ["bw", "all", "middle"]
    for choice in ranked:
        weights = RULES[choice.name](torch.from_numpy(rewards)).numpy()
        kept = weights > 0
        assert choice.reliability.r2 == pytest.approx(stats.linregress(rewards[kept], gold[kept]).rvalue ** 2)
        assert choice.behind == pytest.approx(ranked[0].reliability.r2 - choice.reliability.r2)
    assert ranked[0].behind_interval == (0.0, 0.0)
    assert ranked[1].behind_interval[0] > 0


def test_where_noise_is_alike_everywhere_filters_that_keep_alike_are_not_told_apart() -> None:
    random = np.random.default_rng(3)
    gold = random.normal(size=2000)
    rewards = gold + random.normal(size=2000)
    filters = {
        "odd": lambda rewards: (torch.arange(2000) % 2).double(),
        "even": lambda rewards: 1 - (torch.arange(2000) % 2).double(),
    }
    _, second = choose_filter(rewards, gold, filters, group_size=2)
    assert second.behind_interval[0] < 0 < second.behind_interval[1]


def test_a_filter_that_keeps_too_little_comes_last() -> None:
    rewards, gold = rows(10)
    filters = {"nothing": lambda rewards: torch.zeros(10), "all": lambda rewards: torch.ones(10)}
    first, last = choose_filter(rewards, gold, filters, group_size=5, n_resamples=5)
    assert (first.name, last.name) == ("all", "nothing")
    assert last.reliability.n == 0
    assert math.isnan(last.reliability.r2)
    assert math.isnan(last.behind)


def needs_more(rewards: torch.Tensor, temperature: float) -> torch.Tensor:
    return rewards * temperature


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: reward_reliability([1.0], [1.0, 2.0]), ValueError, "rewards, gold and weights have 1, 2 and 1 rows"),
        (lambda: reward_reliability([[1.0]], [1.0]), ValueError, r"rewards must have shape \(any\), got \(1, 1\)"),
        (lambda: reward_reliability([1.0], [1.0], weights=[-1.0]), ValueError, "weights are negative or not finite"),
        (lambda: reward_reliability([1.0], [1.0], weights=[NAN]), ValueError, "weights are negative or not finite"),
        (lambda: reward_reliability([1.0], [1.0], bins=0), ValueError, "reward_reliability: bins is 0, outside"),
        (lambda: reward_reliability([1.0], [1.0], n_resamples=0), ValueError, "n_resamples is 0, outside"),
        (lambda: reward_reliability([1.0], [1.0], group_size=2), ValueError, "1 rows are not a whole number of groups"),
        (lambda: choose_filter([1.0], [1.0], {}, group_size=1), ValueError, "choose_filter: no filters given"),
        (lambda: choose_filter([1.0], [1.0], RULES, group_size=1, bins=0), ValueError, "choose_filter: bins is 0"),
        (
            lambda: choose_filter([1.0], [1.0], {"x": needs_more}, group_size=1),
            TypeError,
            "filter 'x': needs_more needs temperature, and is offered group_size",
        ),
        (
            lambda: choose_filter([1.0], [1.0], {"x": lambda rewards: torch.ones(3)}, group_size=1),
            ValueError,
            "filter 'x' returned 3 weights for 1 rows",
        ),
        (
            lambda: choose_filter([1.0], [1.0], {"x": lambda rewards: -rewards}, group_size=1),
            ValueError,
            "choose_filter: filter 'x': weights are negative or not finite",
        ),
    ],
)
def test_wrong_arguments_are_refused(call, error, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        call()
