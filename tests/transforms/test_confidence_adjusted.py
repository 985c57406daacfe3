"""The confidence-adjusted reward against a slow replay of its running mean."""

import math
import pickle

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.transforms import ConfidenceAdjusted
from rewardsmith.types import traits_of

NAN, INF = math.nan, math.inf


def slow_replay(batches, *, weight, decay, form, clip, initial):
    """Batches of (reward, confidence) pairs, row by row: first Δ, then the adjustment."""
    delta, out = initial, []
    for batch in batches:
        seen = [min(max(r, -clip), clip) for r, _ in batch if math.isfinite(r)]
        if seen:
            mean = sum(seen) / len(seen)
            delta = mean if delta is None else (1 - decay) * delta + decay * mean
        rows = []
        for r, c in batch:
            held = r if math.isnan(r) else min(max(r, -clip), clip)
            lean = 0.0 if math.isnan(c) else c - 0.5
            if form == "difference":
                rows.append(held + weight * (held - delta) * lean)
            else:
                sign = 1.0 if held >= delta else -1.0
                rows.append(held + sign * weight * abs(held) * lean)
        out.append(rows)
    return out


BATCHES = [
    [(1.0, 0.9), (-2.0, 0.1), (NAN, 0.5), (0.3, NAN)],
    [(30.0, 1.0), (-40.0, 0.0), (INF, 0.7), (-INF, 0.2)],
    [(NAN, 0.3), (NAN, NAN)],
    [(0.5, 0.5)],
    [(-1.0, 1.0), (4.0, 0.0), (0.25, 0.75)],
]


def columns(batch):
    return torch.tensor(batch, dtype=torch.float64).unbind(dim=1)


@pytest.mark.parametrize("form", ["difference", "threshold"])
@pytest.mark.parametrize("initial", [None, 0.7])
@pytest.mark.parametrize("weight", [2.0, 0.5, 0.0, -2.0])
def test_batches_match_a_slow_replay(form, initial, weight):
    module = ConfidenceAdjusted(weight=weight, decay=0.1, form=form, clip=10.0, initial_mean=initial)
    expected = slow_replay(BATCHES, weight=weight, decay=0.1, form=form, clip=10.0, initial=initial)
    for batch, rows in zip(BATCHES, expected, strict=True):
        assert_close(module(*columns(batch)), torch.tensor(rows, dtype=torch.float64), equal_nan=True)


def test_weight_zero_is_the_clipped_reward_whatever_was_stated():
    rewards = torch.tensor([1.0, -20.0, 3.0])
    assert_close(ConfidenceAdjusted(weight=0.0)(rewards, torch.rand(3)), torch.tensor([1.0, -10.0, 3.0]))


def test_confidence_pays_above_the_reference_and_costs_below_it():
    rewards = torch.tensor([1.0, 1.0, -1.0, -1.0])  # mean 0
    got = ConfidenceAdjusted()(rewards, torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert got[0] > got[1]
    assert got[2] < got[3]


def test_the_best_confidence_is_zero_or_one_so_it_is_no_proper_scoring_rule():
    grid = torch.linspace(0, 1, 11)
    module = ConfidenceAdjusted(initial_mean=0.0, decay=0.0)
    for reward, best in ((0.3, 10), (-0.3, 0)):
        assert int(module(torch.full((11,), reward), grid).argmax()) == best


def test_a_reference_by_prompt_is_the_mean_of_its_own_responses():
    module = ConfidenceAdjusted(reference="prompt")
    rewards, confidence = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 1.0])
    references = torch.tensor([[0.0, 1.0], [2.0, NAN], [NAN, NAN]])
    # 1 + 2 (1 − ½) ½ = 1.5;  1 + 2 (1 − 2) ½ = 0;  no reference
    assert_close(module(rewards, confidence, references), torch.tensor([1.5, 0.0, NAN]), equal_nan=True)
    assert module.count == 0


def test_eval_mode_freezes_the_reference():
    module = ConfidenceAdjusted()
    module(torch.tensor([1.0, 3.0]), torch.tensor([0.5, 0.5]))
    module.eval()
    module(torch.tensor([100.0]), torch.tensor([0.5]))
    assert module.mean == 2.0


def test_state_survives_a_state_dict_and_a_pickle():
    module = ConfidenceAdjusted()
    module(*columns(BATCHES[0]))
    fresh = ConfidenceAdjusted()
    fresh.load_state_dict(module.state_dict())
    copied = pickle.loads(pickle.dumps(module))
    expected = module(*columns(BATCHES[1]))
    assert_close(fresh(*columns(BATCHES[1])), expected)
    assert_close(copied(*columns(BATCHES[1])), expected)


def test_the_gradient_is_that_of_finite_differences_where_the_reward_is_not_clipped():
    module = ConfidenceAdjusted(initial_mean=0.2).eval()
    confidence = torch.tensor([0.9, 0.1, 0.5], dtype=torch.float64)
    rewards = torch.tensor([1.0, -2.0, 0.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: module(r, confidence), (rewards,))


def test_scope_follows_the_reference():
    assert traits_of(ConfidenceAdjusted()).scope == "run"
    assert traits_of(ConfidenceAdjusted(reference="prompt")).scope == "row"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: ConfidenceAdjusted(form="proper"), r"ConfidenceAdjusted: form is 'proper'"),
        (lambda r: ConfidenceAdjusted(reference="batch"), r"ConfidenceAdjusted: reference is 'batch'"),
        (lambda r: ConfidenceAdjusted(decay=1.5), r"ConfidenceAdjusted: decay is 1.5, outside \[0.0, 1.0\]"),
        (lambda r: ConfidenceAdjusted(clip=0.0), r"ConfidenceAdjusted: clip is 0.0, outside"),
        (lambda r: ConfidenceAdjusted()(r, 9 * r), r"ConfidenceAdjusted: confidence holds 9.0, but a confidence lies"),
        (lambda r: ConfidenceAdjusted()(r, r[:1]), r"ConfidenceAdjusted: arguments must share one shape"),
        (lambda r: ConfidenceAdjusted()(r[None], r[None]), r"ConfidenceAdjusted: rewards must have shape \(any\)"),
        (
            lambda r: ConfidenceAdjusted(reference="prompt")(r, r),
            r"ConfidenceAdjusted: reference='prompt' got no ref_rewards. Pass \(B, M\) rewards",
        ),
        (
            lambda r: ConfidenceAdjusted(reference="prompt")(r, r, r),
            r"ConfidenceAdjusted: ref_rewards must have shape \(2, any\)",
        ),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(2))
