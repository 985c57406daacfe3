"""Products and branches of sources against a loop over rows."""

import math

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.transforms import branched, product, rescale


def test_a_product_is_that_of_each_row_with_factors_of_at_least_the_least():
    rewards = torch.randn(64, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rewards[5, 1], rewards[6, 0] = math.nan, 0.0
    rewards.requires_grad_()
    for least in (0.0, 0.25, -math.inf):
        want = [math.prod(max(value, least) for value in row) for row in rewards.tolist()]
        want[5] = math.nan
        assert_close(product(rewards, least=least), torch.tensor(want, dtype=torch.float64), equal_nan=True)
    assert torch.autograd.gradcheck(product, (rewards[:5],))
    with pytest.raises(ValueError, match="product: source_rewards must have shape"):
        product(torch.ones(3))


def test_each_row_is_combined_by_its_kind():
    rewards = torch.tensor([[2.0, 0.5, 0.9], [2.0, 0.5, 1.75], [2.0, 0.5, 0.1], [math.nan, 1.0, 3.5]])
    closed = lambda sources: rescale(sources[:, 2], scale=5.12 / 3.5)  # noqa: E731
    kinds = {"open": lambda sources: product(sources[:, :2]), "closed": closed, "never": product}
    found = branched(rewards, branch=["open", "closed", "odd", "closed"], branches=kinds)
    assert_close(found, torch.tensor([1.0, 2.56, math.nan, 5.12]), equal_nan=True)  # 1.75 · 5.12/3.5, 3.5 · 5.12/3.5
    flipped = branched(rewards.flip(0), branch=["closed", "odd", "closed", "open"], branches=kinds)
    assert_close(flipped, found.flip(0), equal_nan=True)
    assert branched(rewards.int().half(), branch=["open"] * 4, branches=kinds).dtype == torch.float16
    with pytest.raises(ValueError, match=r"branched: source_rewards must have shape \(2, any\)"):
        branched(rewards, branch=["open", "closed"], branches=kinds)
