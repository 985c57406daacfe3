"""Rank filters against sorting by hand, and their random choices against the chances they should have."""

import math
import pickle
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rewardsmith.advantages import rank_filter

NAN = math.nan
INF = math.inf
RULES = ["bw", "br", "bon", "wr", "random", "middle", "pow", "all"]
MUST_KEEP = {"bw": (0, -1), "br": (-1,), "wr": (0,), "bon": (-1,)}
SIZE = {"bw": 2, "br": 2, "wr": 2, "bon": 1, "random": 2, "middle": 2}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def slow_kept(group, rule, weights):
    """Whether `weights` is a choice that the rule allows for this group, by sorting Python lists."""
    scored = [i for i, r in enumerate(group) if math.isfinite(r)]
    kept = [i for i, w in enumerate(weights) if w > 0]
    values = sorted(group[i] for i in scored)
    if not set(kept) <= set(scored) or len(kept) != min(SIZE.get(rule, len(scored)), len(scored)):
        return False
    held = sorted(group[i] for i in kept)
    if rule == "middle" and scored:
        # The kept are the two whose ranks lie nearest the median rank: consecutive, as even around it as can be.
        starts = {math.floor((len(values) - len(held)) / 2), math.ceil((len(values) - len(held)) / 2)}
        return any(held == values[start : start + len(held)] for start in starts)
    needed = sorted(values[end] for end in MUST_KEEP.get(rule, ()) if values)
    return all(held.count(v) >= min(needed.count(v), values.count(v)) for v in needed)


rewards_of_a_batch = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0, NAN, INF, -INF]), st.floats(-5, 5).map(lambda x: round(x, 1))),
    min_size=12,
    max_size=12,
)


@settings(deadline=None, max_examples=80)
@given(rewards=rewards_of_a_batch, group_size=st.sampled_from([1, 2, 3, 4, 6, 12]), seed=st.integers(0, 10))
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "pow"])
def test_what_is_kept_is_what_sorting_by_hand_allows(rule, rewards, group_size, seed):
    tensor = torch.tensor(rewards, dtype=torch.float64)
    weights = rank_filter(tensor, group_size=group_size, rule=rule, generator=generator(seed)).tolist()
    assert set(weights) <= {0.0, 1.0}
    for start in range(0, 12, group_size):
        group, held = rewards[start : start + group_size], weights[start : start + group_size]
        assert slow_kept(group, rule, held), (group, held)


@settings(deadline=None, max_examples=60)
@given(
    rewards=rewards_of_a_batch, group_size=st.sampled_from([1, 3, 4, 12]), power=st.sampled_from([0.5, 1.0, 2.0, 5.0])
)
def test_powers_are_those_of_a_slow_loop(rewards, group_size, power):
    expected = []
    for start in range(0, 12, group_size):
        raw = [abs(r) ** power if math.isfinite(r) else 0.0 for r in rewards[start : start + group_size]]
        kept = [w for w in raw if w > 0]
        expected += [w * len(kept) / sum(kept) if kept else 0.0 for w in raw]
    tensor = torch.tensor(rewards, dtype=torch.float64)
    got = rank_filter(tensor, group_size=group_size, rule="pow", power=power)
    assert_close(got, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_weights_have_mean_one_over_the_kept_of_every_group_and_the_dtype_of_the_rewards(rule, dtype):
    rewards = torch.randn(40, generator=generator(), dtype=torch.float64).to(dtype)
    rewards[::7] = NAN
    weights = rank_filter(rewards, group_size=5, rule=rule, generator=generator(1))
    assert weights.dtype == dtype
    for group in weights.double().view(8, 5):
        assert_close(group[group > 0].mean(), torch.tensor(1.0).double(), rtol=0, atol=2e-3)
    assert (weights[::7] == 0).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_group_without_a_scored_row_gets_zero_and_a_single_scored_row_is_kept(rule, dtype):
    rewards = torch.tensor([NAN, INF, -INF, NAN, -2.0, INF], dtype=dtype)
    weights = rank_filter(rewards, group_size=3, rule=rule, generator=generator())
    assert_close(weights, torch.tensor([0, 0, 0, 0, 1, 0], dtype=dtype))


@pytest.mark.parametrize("rule", RULES)
def test_an_empty_batch_stays_empty(rule):
    assert rank_filter(torch.zeros(0), group_size=4, rule=rule).shape == (0,)


@pytest.mark.parametrize("rule", ["bw", "br", "wr", "bon", "random", "middle"])
def test_where_all_rows_tie_each_is_kept_equally_often(rule):
    n_groups, size = 4000, 5
    weights = rank_filter(torch.ones(n_groups * size), group_size=size, rule=rule, generator=generator(3))
    share = SIZE[rule] / size
    error = math.sqrt(share * (1 - share) / n_groups)
    rate = weights.view(n_groups, size).mean(dim=0)
    assert ((rate - share).abs() < 4.5 * error).all(), rate  # 5 rows, 4.5 standard errors of a binomial


@pytest.mark.parametrize(("rule", "always"), [("br", 3), ("wr", 1)])
def test_the_random_other_is_any_other_row_equally_often(rule, always):
    rewards = torch.tensor([0.3, -1.0, 0.5, 2.0, 0.4]).repeat(4000)
    rate = rank_filter(rewards, group_size=5, rule=rule, generator=generator(4)).view(4000, 5).mean(dim=0)
    others = torch.tensor([i != always for i in range(5)])
    assert rate[always] == 1
    assert ((rate[others] - 0.25).abs() < 4.5 * math.sqrt(0.25 * 0.75 / 4000)).all()


def test_the_middle_of_an_odd_group_is_the_median_and_one_neighbour_at_random():
    rewards = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]).repeat(4000)
    rate = rank_filter(rewards, group_size=5, rule="middle", generator=generator(5)).view(4000, 5).mean(dim=0)
    assert rate[[0, 2, 4]].tolist() == [0.0, 1.0, 0.0]
    assert abs(rate[1] - 0.5) < 4.5 * math.sqrt(0.25 / 4000)


def test_three_in_the_middle_or_at_random_are_three():
    rewards = torch.tensor([5.0, 1.0, 3.0, 2.0, 4.0])
    assert_close(rank_filter(rewards, group_size=5, rule="middle", n_keep=3), torch.tensor([0.0, 0, 1, 1, 1]))
    assert rank_filter(rewards, group_size=5, rule="random", n_keep=3).sum() == 3


def test_a_power_leaves_the_range_of_no_dtype():
    huge = torch.tensor([3e38, -3e38, 1e-30, 0.0])
    assert_close(rank_filter(huge, group_size=4, rule="pow", power=8.0), torch.tensor([1.0, 1.0, 0.0, 0.0]))
    tiny = torch.tensor([1e-30, 2e-30], dtype=torch.float32)
    # 1 : 4 over a mean of 2.5
    assert_close(rank_filter(tiny, group_size=2, rule="pow"), torch.tensor([0.4, 1.6]))


def test_without_a_generator_it_has_no_state_and_with_one_it_moves_on():
    rewards = torch.zeros(200)
    alone = partial(rank_filter, group_size=10, rule="random")
    assert torch.equal(alone(rewards), alone(rewards))
    assert torch.equal(pickle.loads(pickle.dumps(alone))(rewards), alone(rewards))
    moving = partial(alone, generator=generator(1))
    first = moving(rewards)
    assert not torch.equal(first, moving(rewards))
    assert torch.equal(first, alone(rewards, generator=generator(1)))


def test_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    rank_filter(torch.zeros(8), group_size=4, rule="br")
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("rewards", "options", "message"),
    [
        (torch.zeros(4, 1), {}, r"rank_filter: rewards must have shape \(any\), got \(4, 1\)"),
        (torch.zeros(5), {}, r"rank_filter: 5 rows are not a whole number of groups of 2.* num_generations"),
        (torch.zeros(4), {"rule": "best"}, r"rank_filter: rule is 'best', which is not one of 'bw', 'br'"),
        (torch.zeros(4), {"n_keep": 0}, r"rank_filter: n_keep is 0, outside \[1, inf\]"),
        (torch.zeros(4), {"power": 0.0}, r"rank_filter: power is 0.0, outside"),
    ],
)
def test_wrong_arguments_are_refused(rewards, options, message):
    with pytest.raises(ValueError, match=message):
        rank_filter(rewards, group_size=2, **options)
