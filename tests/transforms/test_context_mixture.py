"""Mixtures over contexts and the posterior over users, against slow loops in float64."""

import math

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.objectives import bt_loss
from rewardsmith.transforms import gated_sum, mixture_score, reference_statistics, scale_sources
from rewardsmith.transforms.contexts import profile_posterior

NAN = math.nan


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_the_mixture_of_standardized_scores_equals_a_slow_loop():
    scores, weights = drawn(6, 3), drawn(6, 3, seed=1).abs()
    scores[1, 0] = NAN
    scores[2] = NAN
    center, scale = [0.5, -1.0, 0.0], [1.0, 2.0, 0.5]
    got = mixture_score(scores, weights=weights, center=center, scale=scale)
    for row in range(6):
        known = [k for k in range(3) if not math.isnan(scores[row, k])]
        terms = [float(weights[row, k]) * sigmoid((float(scores[row, k]) - center[k]) / scale[k]) for k in known]
        expected = sum(terms) / sum(float(weights[row, k]) for k in known) if known else NAN
        assert_close(got[row], torch.tensor(expected, dtype=torch.float64), equal_nan=True)
    strict = mixture_score(scores, weights=weights, missing="unscored")
    assert strict.isnan().tolist() == [False, True, True, False, False, False]


def test_of_differences_it_is_the_two_step_probability():
    first, second, weights = drawn(4, 5), drawn(4, 5, seed=1), drawn(4, 5, seed=2).softmax(dim=1)
    got = mixture_score(first - second, weights=weights)
    for row in range(4):
        p = sum(float(weights[row, z]) * sigmoid(float(first[row, z] - second[row, z])) for z in range(5))
        assert float(got[row]) == pytest.approx(p)
    assert_close(mixture_score(second - first, weights=weights), 1 - got)  # one of the two is preferred


def test_plain_numbers_keep_the_precision_of_the_scores():
    scores, numbers = drawn(2, 2), [0.1, 0.7]  # neither is a float32
    got = mixture_score(scores, weights=[0.3, 0.7], center=numbers, scale=numbers, link="identity")
    by_hand = [sum(w * (float(r) - c) / c for w, r, c in zip([0.3, 0.7], row, numbers, strict=True)) for row in scores]
    assert_close(got, torch.tensor(by_hand, dtype=torch.float64), rtol=1e-14, atol=1e-14)
    ends = scale_sources(torch.tensor([[0.1, 0.7]], dtype=torch.float64), low=numbers, high=[1.1, 1.7])
    assert ends.tolist() == [[0.0, 0.0]]
    at = torch.tensor([[0.1, 0.7, 0.0]], dtype=torch.float64)  # each level just at its threshold
    assert gated_sum(at, thresholds=[0.1, 0.7, 0.0], strict=False).item() == pytest.approx(0.8, abs=1e-15)
    posterior = profile_posterior(torch.zeros(1, 2, dtype=torch.float64), [[0.1, 0.9], [0.7, 0.3]], prior=numbers)
    assert_close(posterior, torch.tensor([0.125, 0.875], dtype=torch.float64), rtol=1e-14, atol=0)  # .1 and .7 of .8
    margin = bt_loss(torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64), margin=0.1)
    assert float(margin) == pytest.approx(math.log1p(math.exp(0.1)), rel=1e-14)


def test_one_known_context_is_its_own_score():
    scores = drawn(4, 3)
    one_hot = torch.eye(3, dtype=torch.float64)[[0, 2, 1, 1]]
    assert_close(mixture_score(scores, weights=one_hot, link="identity"), scores[range(4), [0, 2, 1, 1]])


def test_scales_are_those_of_the_scored_references():
    scores = drawn(50, 2) * torch.tensor([2.0, 0.5]) + torch.tensor([1.0, -3.0])
    spoiled = torch.cat([scores, torch.tensor([[NAN, math.inf]], dtype=torch.float64)])
    found = reference_statistics(spoiled)
    assert_close(found.mean, scores.mean(dim=0))
    assert_close(found.std, scores.std(dim=0, correction=0))
    mixed = mixture_score(scores, center=found.mean, scale=found.std, link="identity")
    assert_close(mixed.mean(), torch.tensor(0.0, dtype=torch.float64), atol=1e-12, rtol=0)


def test_the_posterior_equals_bayes_by_hand():
    margins, profiles = 2 * drawn(2, 4, 3), drawn(5, 3, seed=1).softmax(dim=1)
    margins[0, 2, 1] = NAN  # that pair says nothing
    prior = torch.tensor([0.4, 0.3, 0.1, 0.1, 0.1], dtype=torch.float64)
    got = profile_posterior(margins, profiles, prior=prior)
    for batch in range(2):
        joint = []
        for user in range(5):
            p = float(prior[user])
            for pair in range(4):
                row = margins[batch, pair].tolist()
                if not any(map(math.isnan, row)):
                    p *= sum(float(profiles[user, z]) * sigmoid(row[z]) for z in range(3))
            joint.append(p)
        expected = torch.tensor(joint, dtype=torch.float64) / sum(joint)
        assert_close(got[batch], expected)


def test_without_labels_the_posterior_is_the_prior_and_sure_ones_overflow_nothing():
    profiles = torch.eye(2, dtype=torch.float64)
    nothing = profile_posterior(torch.full((3, 2), NAN), profiles, prior=[0.3, 0.7])
    assert_close(nothing, torch.tensor([0.3, 0.7]))
    sure = profile_posterior(torch.tensor([[1e4, -1e4]] * 50), profiles)
    assert sure.tolist() == [1.0, 0.0]
    assert_close(profile_posterior(torch.zeros(0, 2), profiles), torch.tensor([0.5, 0.5]))


def test_refusals():
    scores = drawn(2, 3)
    with pytest.raises(ValueError, match=r"mixture_score: scale is \[1.0, 0.0, 1.0\], which must be above 0. Measure"):
        mixture_score(scores, scale=[1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match=r"mixture_score: center must have shape \(3\), got \(2,\)"):
        mixture_score(scores, center=[0.0, 1.0])
    with pytest.raises(ValueError, match=r"mixture_score: weights hold one below 0, which is no probability"):
        mixture_score(scores, weights=[1.0, -1.0, 1.0])
    with pytest.raises(ValueError, match=r"reference_statistics: columns \[0, 1\] give all of 3 .* more varied"):
        reference_statistics(torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"profile_posterior: margins must have shape \(..., n, K\), got \(3,\)"):
        profile_posterior(torch.zeros(3), torch.eye(3))
    with pytest.raises(ValueError, match=r"profile_posterior: profiles must be probabilities"):
        profile_posterior(torch.zeros(2, 2), [[1.0, -1.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match=r"profile_posterior: prior must have shape \(2\), got \(1,\)"):
        profile_posterior(torch.zeros(2, 2), torch.eye(2), prior=[1.0])
