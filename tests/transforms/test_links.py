"""Links and reference links against slow loops, limits and gradcheck."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.testing import assert_close

from rewardsmith.transforms import log_sigmoid_shaping, par
from rewardsmith.transforms.links import pure_link, reference_link
from rewardsmith.types import traits_of

NAN = math.nan
LINKS = ["sigmoid", "tanh", "poly", "identity", "logsigmoid"]


def slow_link(name, x):
    if name == "sigmoid":
        return 1 / (1 + math.exp(-x))
    if name == "tanh":
        return math.tanh(x)
    if name == "poly":
        return 0.0 if x <= -3 else 1.0 if x >= 3 else 0.5 + x / 4 - x**3 / 108
    if name == "logsigmoid":
        return -math.log1p(math.exp(-x))
    return x


def some_rewards(*shape, seed=0):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("link", LINKS)
def test_a_reference_link_is_the_mean_of_links_over_the_references_present(link):
    rewards, references = some_rewards(6), some_rewards(6, 4, seed=1)
    references[0, 1] = references[3, :3] = NAN
    expected = []
    for reward, row in zip(rewards.tolist(), references.tolist(), strict=True):
        terms = [slow_link(link, 1.5 * (reward - other - 0.25)) for other in row if not math.isnan(other)]
        expected.append(sum(terms) / len(terms))
    got = reference_link(rewards, references, link=link, k=1.5, shift=0.25)
    assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_par_averages_sigmoids_and_does_not_squash_the_average():
    # r = 0 against (0, −100): ½(σ(0) + σ(100)) = ¾, where σ of the mean gap 50 would be 1.
    assert_close(par(torch.tensor([0.0]), torch.tensor([[0.0, -100.0]])), torch.tensor([0.75]))


def test_par_is_reference_link_with_a_sigmoid():
    rewards, references = some_rewards(5), some_rewards(5, 3, seed=1)
    assert_close(par(rewards, references, k=2.0), reference_link(rewards, references, link="sigmoid", k=2.0))


@pytest.mark.parametrize("n_references", [1, 10])
def test_log_sigmoid_shaping_matches_the_normal_quantile_of_numpy_and_scipy(n_references):
    rewards, references = some_rewards(5), some_rewards(5, n_references, seed=1)
    level = references.numpy().mean(axis=1) + norm.ppf(0.85) * np.std(references.numpy(), axis=1)
    expected = -np.log1p(np.exp(-(rewards.numpy() - level)))
    assert_close(log_sigmoid_shaping(rewards, references), torch.from_numpy(expected), rtol=1e-12, atol=1e-12)


def test_the_empirical_quantile_is_that_of_numpy_without_the_missing():
    rewards, references = some_rewards(4), some_rewards(4, 7, seed=1)
    references[0, 2] = NAN
    level = np.nanquantile(references.numpy(), 0.6, axis=1)
    got = reference_link(
        rewards, references, link="identity", aggregate="quantile", quantile=0.6, estimator="empirical"
    )
    assert_close(got, rewards - torch.from_numpy(level), rtol=1e-12, atol=1e-12)


def test_a_row_without_references_is_unscored():
    references = torch.tensor([[NAN, NAN], [NAN, 0.0]])
    for aggregate in ("mean", "quantile"):
        got = reference_link(torch.tensor([1.0, 0.0]), references, aggregate=aggregate)
        assert_close(got, torch.tensor([NAN, 0.5]), equal_nan=True)


@pytest.mark.parametrize(("link", "at_minus", "at_plus"), [("sigmoid", 0, 1), ("tanh", -1, 1), ("poly", 0, 1)])
def test_infinite_rewards_take_the_limit_of_the_link(link, at_minus, at_plus):
    got = pure_link(torch.tensor([-math.inf, math.inf]), link=link)
    assert_close(got, torch.tensor([float(at_minus), float(at_plus)]))


def test_inf_against_an_infinite_reference_is_unscored():
    assert par(torch.tensor([math.inf]), torch.tensor([[math.inf]])).isnan().all()


def test_the_cubic_meets_the_sigmoid_at_zero_and_ends_flat():
    x = torch.tensor([-3.0, 0.0, 3.0], dtype=torch.float64, requires_grad=True)
    y = pure_link(x, link="poly")
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert_close(y.detach(), torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))
    assert_close(slope, torch.tensor([0.0, 0.25, 0.0], dtype=torch.float64))  # σ'(0) = ¼


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("aggregate", ["mean", "quantile"])
def test_gradients_of_reference_links_agree_with_finite_differences(link, aggregate):
    rewards = some_rewards(4).requires_grad_()
    references = some_rewards(4, 3, seed=1)
    assert torch.autograd.gradcheck(partial(reference_link, ref_rewards=references, link=link), (rewards,))
    references.requires_grad_()
    assert not reference_link(rewards.detach(), references, aggregate=aggregate).requires_grad


def test_log_sigmoid_does_not_underflow():
    # log σ(−1000) = −1000 to double precision, where log(σ(−1000)) = log 0.
    assert_close(pure_link(torch.tensor([-1000.0]), link="logsigmoid"), torch.tensor([-1000.0]))


def test_only_the_identity_with_a_positive_slope_declares_itself_affine():
    assert traits_of(partial(reference_link, link="identity")).affine
    assert not traits_of(partial(reference_link, link="identity", k=-1.0)).affine
    assert not traits_of(reference_link).affine
    assert traits_of(partial(pure_link, link="tanh")).bounded == (-1.0, 1.0)
    assert traits_of(par).bounded == (0.0, 1.0)
    assert traits_of(log_sigmoid_shaping).bounded is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: pure_link(r, link="step"), r"pure_link: link is 'step', .* Choose one of those"),
        (lambda r: reference_link(r, r[:, None], link="step"), r"reference_link: link is 'step'"),
        (lambda r: reference_link(r, r[:, None], aggregate="max"), r"reference_link: aggregate is 'max'"),
        (lambda r: reference_link(r, r[:, None], estimator="kde"), r"reference_link: estimator is 'kde'"),
        (lambda r: reference_link(r, r[:, None], quantile=1.0), r"reference_link: quantile is 1.0, outside"),
        (lambda r: reference_link(r, r), r"reference_link: ref_rewards must have shape \(3, any\), got \(3,\)"),
        (lambda r: reference_link(r[:, None], r), r"reference_link: rewards must have shape \(any\)"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(3))
