"""Rank filters against sorting by hand, and their random choices against the chances they should have."""

import math
import pickle
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rewardsmith.advantages import drop_unscored, power_filter, rank_filter
from rewardsmith.advantages.filters import middle_filter

NAN = math.nan
INF = math.inf
FILTERS = {
    "bw": rank_filter,
    "br": partial(rank_filter, n_worst=0, n_random=1),
    "bon": partial(rank_filter, n_worst=0),
    "wr": partial(rank_filter, n_best=0, n_random=1),
    "random": partial(rank_filter, n_best=0, n_worst=0, n_random=2),
    "middle": middle_filter,
    "pow": power_filter,
    "two best": partial(rank_filter, n_best=2, n_worst=0),
    "three and one": partial(rank_filter, n_best=1, n_worst=2, n_random=1),
}
DRAWS = [rule for rule in FILTERS if rule != "pow"]
MUST_KEEP = {"bw": (0, -1), "br": (-1,), "wr": (0,), "bon": (-1,), "two best": (-1, -2), "three and one": (0, 1, -1)}
SIZE = {"bw": 2, "br": 2, "wr": 2, "bon": 1, "random": 2, "middle": 2, "two best": 2, "three and one": 4}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(rule, rewards, *, group_size, seed=0):
    options = {} if rule == "pow" else {"generator": generator(seed)}
    return FILTERS[rule](rewards, group_size=group_size, **options)


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
    needed = (
        sorted(
            {end % len(values): values[end] for end in MUST_KEEP[rule] if -len(values) <= end < len(values)}.values()
        )
        if rule in MUST_KEEP and values
        else []
    )
    return all(held.count(v) >= min(needed.count(v), values.count(v)) for v in needed)


rewards_of_a_batch = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0, NAN, INF, -INF]), st.floats(-5, 5).map(lambda x: round(x, 1))),
    min_size=12,
    max_size=12,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=80)
@given(rewards=rewards_of_a_batch, group_size=st.sampled_from([1, 2, 3, 4, 6, 12]), seed=st.integers(0, 10))
@pytest.mark.parametrize("rule", DRAWS)
def test_what_is_kept_is_what_sorting_by_hand_allows(rule, rewards, group_size, seed):
    tensor = torch.tensor(rewards, dtype=torch.float64)
    weights = FILTERS[rule](tensor, group_size=group_size, generator=generator(seed)).tolist()
    assert set(weights) <= {0.0, 1.0}
    for start in range(0, 12, group_size):
        group, held = rewards[start : start + group_size], weights[start : start + group_size]
        assert slow_kept(group, rule, held), (group, held)


@pytest.mark.slow
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
    got = power_filter(tensor, group_size=group_size, power=power)
    assert_close(got, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("rule", FILTERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_weights_have_mean_one_over_the_kept_of_every_group_and_the_dtype_of_the_rewards(rule, dtype):
    rewards = torch.randn(40, generator=generator(), dtype=torch.float64).to(dtype)
    rewards[::7] = NAN
    weights = drawn(rule, rewards, group_size=5, seed=1)
    assert weights.dtype == dtype
    for group in weights.double().view(8, 5):
        assert_close(group[group > 0].mean(), torch.tensor(1.0).double(), rtol=0, atol=2e-3)
    assert (weights[::7] == 0).all()


@pytest.mark.parametrize("rule", FILTERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_group_without_a_scored_row_gets_zero_and_a_single_scored_row_is_kept(rule, dtype):
    rewards = torch.tensor([NAN, INF, -INF, NAN, -2.0, INF], dtype=dtype)
    weights = drawn(rule, rewards, group_size=3)
    assert_close(weights, torch.tensor([0, 0, 0, 0, 1, 0], dtype=dtype))


@pytest.mark.parametrize("rule", FILTERS)
def test_an_empty_batch_stays_empty(rule):
    assert drawn(rule, torch.zeros(0), group_size=4).shape == (0,)


@pytest.mark.parametrize("rule", ["bw", "br", "wr", "bon", "random", "middle"])
def test_where_all_rows_tie_each_is_kept_equally_often(rule):
    n_groups, size = 4000, 5
    weights = drawn(rule, torch.ones(n_groups * size), group_size=size, seed=3)
    share = SIZE[rule] / size
    error = math.sqrt(share * (1 - share) / n_groups)
    rate = weights.view(n_groups, size).mean(dim=0)
    assert ((rate - share).abs() < 4.5 * error).all(), rate  # 5 rows, 4.5 standard errors of a binomial


@pytest.mark.parametrize(("rule", "always"), [("br", 3), ("wr", 1)])
def test_the_random_other_is_any_other_row_equally_often(rule, always):
    rewards = torch.tensor([0.3, -1.0, 0.5, 2.0, 0.4]).repeat(4000)
    rate = drawn(rule, rewards, group_size=5, seed=4).view(4000, 5).mean(dim=0)
    others = torch.tensor([i != always for i in range(5)])
    assert rate[always] == 1
    assert ((rate[others] - 0.25).abs() < 4.5 * math.sqrt(0.25 * 0.75 / 4000)).all()


def test_the_middle_of_an_odd_group_is_the_median_and_one_neighbour_at_random():
    rewards = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]).repeat(4000)
    rate = drawn("middle", rewards, group_size=5, seed=5).view(4000, 5).mean(dim=0)
    assert rate[[0, 2, 4]].tolist() == [0.0, 1.0, 0.0]
    assert abs(rate[1] - 0.5) < 4.5 * math.sqrt(0.25 / 4000)


def test_three_in_the_middle_or_at_random_are_three():
    rewards = torch.tensor([5.0, 1.0, 3.0, 2.0, 4.0])
    assert_close(middle_filter(rewards, group_size=5, n_keep=3), torch.tensor([0.0, 0, 1, 1, 1]))
    assert rank_filter(rewards, group_size=5, n_best=0, n_worst=0, n_random=3).sum() == 3


def test_a_power_leaves_the_range_of_no_dtype():
    huge = torch.tensor([3e38, -3e38, 1e-30, 0.0])
    assert_close(power_filter(huge, group_size=4, power=8.0), torch.tensor([1.0, 1.0, 0.0, 0.0]))
    tiny = torch.tensor([1e-30, 2e-30], dtype=torch.float32)
    # 1 : 4 over a mean of 2.5
    assert_close(power_filter(tiny, group_size=2), torch.tensor([0.4, 1.6]))


def test_without_a_generator_it_has_no_state_and_with_one_it_moves_on():
    rewards = torch.zeros(200)
    alone = partial(FILTERS["random"], group_size=10)
    assert torch.equal(alone(rewards), alone(rewards))
    assert torch.equal(pickle.loads(pickle.dumps(alone))(rewards), alone(rewards))
    moving = partial(alone, generator=generator(1))
    first = moving(rewards)
    assert not torch.equal(first, moving(rewards))
    assert torch.equal(first, alone(rewards, generator=generator(1)))


def test_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    FILTERS["br"](torch.zeros(8), group_size=4)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(rank_filter, torch.zeros(4, 1)), r"rank_filter: rewards must have shape \(any\), got \(4, 1\)"),
        (
            partial(rank_filter, torch.zeros(5)),
            r"rank_filter: 5 rows are not a whole number of groups of 2.* num_gener",
        ),
        (partial(rank_filter, torch.zeros(4), n_best=-1), r"rank_filter: n_best is -1, outside \[0, inf\]"),
        (partial(rank_filter, torch.zeros(4), n_random=-1), r"rank_filter: n_random is -1, outside \[0, inf\]"),
        (partial(rank_filter, torch.zeros(4), n_best=0, n_worst=0), "rank_filter: .* are 0, so nothing is kept. Set"),
        (partial(middle_filter, torch.zeros(5)), "middle_filter: 5 rows are not a whole number of groups of 2"),
        (partial(middle_filter, torch.zeros(4), n_keep=0), r"middle_filter: n_keep is 0, outside \[1, inf\]"),
        (partial(power_filter, torch.zeros(4, 1)), r"power_filter: rewards must have shape \(any\), got \(4, 1\)"),
        (partial(power_filter, torch.zeros(4), power=0.0), r"power_filter: power is 0.0, outside"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(group_size=2)


def test_all_rows_that_are_scored_are_kept_by_drop_unscored_alone():
    rewards = torch.tensor([0.0, NAN, 2.0, INF])
    everything = partial(rank_filter, n_best=0, n_worst=0, n_random=4)
    assert torch.equal(everything(rewards, group_size=2), drop_unscored(rewards))
