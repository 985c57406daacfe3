"""Aspects on tokens against a slow loop."""

import math

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.advantages import Aspect, combine_aspects, step_returns

NAN = math.nan


def draw(seed, b=5, n=4, t=9):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(b, n, generator=generator, dtype=torch.float64)
    ends = torch.randint(t, (b, n), generator=generator).sort(dim=1).values
    mask = torch.rand(b, n, generator=generator) < 0.7
    values[0, n - 1], values[1, 0], values[2, 0] = NAN, math.inf, -math.inf
    return Aspect(values, ends, mask)


@pytest.mark.parametrize("mean", [False, True])
def test_rewards_add_up_where_segments_of_any_aspect_end(mean):
    aspects = {"a": draw(0), "b": draw(1, n=2), "c": draw(2, n=1)}
    weights = {"a": 0.5, "c": -2.0}
    expected = torch.zeros(5, 9, dtype=torch.float64)
    for name, aspect in aspects.items():
        for row in range(5):
            scored = [
                j for j in range(aspect.values.shape[1]) if aspect.mask[row, j] and math.isfinite(aspect.values[row, j])
            ]
            for j in scored:
                share = 1 / len(scored) if mean else 1.0
                expected[row, aspect.ends[row, j]] += weights.get(name, 1.0) * share * aspect.values[row, j]
    assert_close(combine_aspects(aspects, n_tokens=9, weights=weights, per_segment_mean=mean), expected)


def test_returns_of_the_tokens_are_what_is_still_to_come():
    clauses = Aspect(torch.tensor([[0.3, -0.3]]), torch.tensor([[1, 3]]), torch.tensor([[True, True]]))
    whole = Aspect(torch.tensor([[1.0]]), torch.tensor([[3]]), torch.tensor([[True]]))
    tokens = combine_aspects({"clauses": clauses, "whole": whole}, n_tokens=5)
    returns = step_returns(tokens, torch.tensor([[True] * 4 + [False]]))
    assert_close(returns[:, :4], torch.tensor([[1.0, 1.0, 0.7, 0.7]]))
    assert returns[:, 4].isnan().all()


def test_more_segments_pay_more_unless_their_mean_is_taken():
    def total(n, **options):
        aspect = Aspect(torch.full((1, n), 0.3), torch.arange(n)[None], torch.ones(1, n).bool())
        return float(combine_aspects({"a": aspect}, n_tokens=8, **options).sum())

    assert [total(n) for n in (1, 8)] == pytest.approx([0.3, 2.4])
    assert [total(n, per_segment_mean=True) for n in (1, 8)] == pytest.approx([0.3, 0.3])


def test_dtypes_mix_to_the_widest_and_gradients_reach_the_scored_values():
    values = torch.tensor([[1.0, NAN]], requires_grad=True)
    low = Aspect(values, torch.tensor([[0, 1]]), torch.tensor([[True, True]]))
    high = Aspect(torch.ones(1, 1, dtype=torch.float64), torch.tensor([[1]]), torch.tensor([[True]]))
    tokens = combine_aspects({"low": low, "high": high}, n_tokens=2)
    assert tokens.dtype == torch.float64
    tokens.sum().backward()
    assert values.grad.tolist() == [[1.0, 0.0]]


def test_refusals():
    aspect = draw(0)
    with pytest.raises(ValueError, match=r"combine_aspects: no aspects given"):
        combine_aspects({}, n_tokens=3)
    with pytest.raises(ValueError, match=r"combine_aspects: weights name d, but the aspects are a. Rename one"):
        combine_aspects({"a": aspect}, n_tokens=9, weights={"d": 1.0})
    with pytest.raises(ValueError, match=r"combine_aspects: b.values must have shape \(5, any\), got \(4, 4\)"):
        combine_aspects({"a": aspect, "b": draw(1, b=4)}, n_tokens=9)
    with pytest.raises(ValueError, match=r"scatter_steps: step_ends reach from 0 to .*, outside the 2 tokens"):
        combine_aspects({"a": aspect}, n_tokens=2)
