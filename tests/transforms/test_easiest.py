"""The batch gate of GRPO-lambda against known rankings, frequencies of ties, and a second process."""

import math
import pickle
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.transforms import GRPOLambda, chain, clip_rewards, length_shaped
from rewardsmith.transforms.easiest import easiest_prompts, grpo_lambda
from rewardsmith.types import traits_of

NAN = math.nan
GROUP = 5


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(prompts=12):
    """(B,) correctness and lengths, with some rows and one prompt unscored."""
    source = generator()
    rewards = (torch.rand(prompts * GROUP, generator=source) < 0.6).double()
    rewards[[0, 7]] = rewards[2 * GROUP : 3 * GROUP] = NAN
    return rewards, torch.randint(10, 400, (prompts * GROUP,), generator=source)


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.07, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("min_ratio", [0.0, 0.6])
def test_the_most_often_solved_prompts_are_chosen(fraction, min_ratio):
    # 100 prompts of 100 completions with k right ones, k = 0…99 shuffled: no ties
    order = torch.randperm(100, generator=generator(1))
    rewards = (torch.arange(100)[None] < order[:, None]).double().flatten()
    got = easiest_prompts(
        rewards, group_size=100, fraction=fraction, min_ratio=min_ratio, generator=generator()
    ).reshape(100, 100)
    n_chosen = {0.0: 0, 0.01: 1, 0.07: 7, 0.2: 20, 0.5: 50, 1.0: 100}[fraction]
    expected = (order >= 100 - n_chosen) & (order >= 100 * min_ratio)
    assert torch.equal(got, expected[:, None].expand(100, 100))


def test_a_share_of_a_prompt_rounds_up_and_unscored_prompts_are_not_counted():
    rewards = torch.tensor([1.0, 1.0, 1.0, NAN, 1.0, 0.0, NAN, NAN, 0.0, 0.0])
    choose = partial(easiest_prompts, rewards, group_size=2, generator=generator())
    # of 4 scored prompts 0.3 is 1.2, so 2: those solved always, the second over its one scored row
    assert choose(fraction=0.3)[::2].tolist() == [True, True, False, False, False]
    assert choose(fraction=1.0)[::2].tolist() == [True, True, True, False, True]


def test_truncated_completions_count_as_wrong():
    rewards, cut = torch.ones(4), torch.tensor([True, False, False, False])
    got = easiest_prompts(rewards, group_size=2, fraction=0.5, generator=generator(), truncated=cut)
    assert got.tolist() == [False, False, True, True]


@pytest.mark.slow
def test_ties_are_broken_evenly():
    # 10 prompts always solved, 2 chosen: each with chance 1/5. Over 2000 draws the standard deviation is 0.009.
    source = generator(0)
    chosen = sum(easiest_prompts(torch.ones(10), group_size=1, generator=source).double() for _ in range(2000)) / 2000
    assert_close(chosen, torch.full((10,), 0.2).double(), atol=5 * 0.009, rtol=0)


def test_grpo_lambda_shapes_the_chosen_and_leaves_the_rest():
    rewards, lengths = batch()
    options = {"group_size": GROUP, "alpha": 0.6}
    easy = easiest_prompts(rewards, group_size=GROUP, fraction=0.3, generator=generator(3))
    got = grpo_lambda(rewards, lengths, fraction=0.3, generator=generator(3), **options)
    assert 0 < easy.sum() < len(easy)
    assert_close(got[easy], length_shaped(rewards, lengths, **options)[easy], equal_nan=True)
    assert_close(got[~easy], rewards[~easy], equal_nan=True)


def test_fraction_zero_is_the_plain_reward_and_one_the_penalty_for_all():
    rewards, lengths = batch()
    none = grpo_lambda(rewards, lengths, group_size=GROUP, fraction=0.0, generator=generator())
    every = grpo_lambda(rewards, lengths, group_size=GROUP, fraction=1.0, generator=generator())
    assert_close(none, rewards, equal_nan=True)
    assert_close(every, length_shaped(rewards, lengths, group_size=GROUP), equal_nan=True)


def test_truncated_rows_earn_nothing_whether_their_prompt_is_chosen_or_not():
    cut = torch.tensor([True, False] * 3)
    for fraction in (0.0, 1.0):
        got = grpo_lambda(
            torch.ones(6), torch.arange(6), group_size=2, fraction=fraction, generator=generator(), truncated=cut
        )
        assert not got[cut].any()
        assert got[~cut].all()


def test_the_module_draws_anew_at_every_call_and_alike_after_a_pickle_or_a_restart():
    rewards, lengths = torch.ones(40), torch.arange(40)
    module = GRPOLambda(fraction=0.3, alpha=1.0, seed=4)
    draws = [module(rewards, lengths, group_size=2) for _ in range(6)]
    assert len({tuple(draw.tolist()) for draw in draws}) > 1
    assert all(torch.equal(draw, again) for draw, again in zip(draws, replay(GRPOLambda, 0, 6), strict=True))
    half = GRPOLambda(fraction=0.3, alpha=1.0, seed=4)
    for _ in range(3):
        half(rewards, lengths, group_size=2)
    resumed = GRPOLambda(fraction=0.3, alpha=1.0, seed=4)
    resumed.load_state_dict(half.state_dict())
    copied = pickle.loads(pickle.dumps(half))
    for later in (resumed, copied):
        assert torch.equal(later(rewards, lengths, group_size=2), draws[3])
    other = GRPOLambda(fraction=0.3, alpha=1.0, seed=5)
    assert any(not torch.equal(other(rewards, lengths, group_size=2), draw) for draw in draws)


def replay(kind, start, stop):
    module = kind(fraction=0.3, alpha=1.0, seed=4)
    module.calls += start
    return [module(torch.ones(40), torch.arange(40), group_size=2) for _ in range(stop - start)]


def test_a_chain_fills_it_by_name_and_saves_its_state():
    composed = chain(GRPOLambda(fraction=0.3, alpha=1.0, seed=4), partial(clip_rewards, low=0.2, high=1.0))
    got = composed(torch.ones(40), lengths=torch.arange(40), group_size=2, other=0)
    assert_close(got, replay(GRPOLambda, 0, 1)[0].clamp(0.2, 1.0))
    assert traits_of(composed).scope == "batch"
    assert composed.state_dict()["part0.calls"] == 1


def test_in_eval_mode_the_module_stands_still():
    module = GRPOLambda(fraction=0.3, alpha=1.0).eval()
    first = module(torch.ones(40), torch.arange(40), group_size=2)
    assert torch.equal(module(torch.ones(40), torch.arange(40), group_size=2), first)
    assert module.calls == 0


@pytest.mark.slow
def test_two_processes_choose_alike():
    code = (
        "import torch; from rewardsmith.transforms import GRPOLambda\n"
        "module = GRPOLambda(fraction=0.3, alpha=1.0, seed=4)\n"
        "print([module(torch.ones(40), torch.arange(40), group_size=2).tolist() for _ in range(3)])"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str([draw.tolist() for draw in replay(GRPOLambda, 0, 3)])


def test_the_gate_declares_that_it_needs_the_whole_batch():
    assert {traits_of(part).scope for part in (easiest_prompts, grpo_lambda, GRPOLambda())} == {"batch"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda r: easiest_prompts(r, group_size=2, fraction=2.0, generator=generator()),
            r"easiest_prompts: fraction is 2.0, outside \[0.0, 1.0\]",
        ),
        (
            lambda r: easiest_prompts(r - 1, group_size=2, generator=generator()),
            r"easiest_prompts: rewards holds -1.0, but a verdict is 0, 1",
        ),
        (lambda r: GRPOLambda(alpha=-1.0), r"GRPOLambda: alpha is -1.0, outside \[0.0, 1.0\]"),
        (lambda r: GRPOLambda(fraction=NAN), r"GRPOLambda: fraction is nan, outside"),
        (
            lambda r: grpo_lambda(r, r, group_size=3, generator=generator()),
            r"length_shaped: 4 rows are not a whole number of groups of 3",
        ),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(4))
