"""The fitted law against planted coefficients and against least squares done elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import curve_fit, minimize_scalar
from scipy.stats import t

from rewardsmith.measures.power_laws import scaling_law

KL = np.array([0.2, 0.64, 1.2, 1.84, 2.5, 3.17, 3.85, 4.6])


def law_of(kind, alpha, beta, kl=KL):
    d = np.sqrt(kl)
    return d * (alpha - beta * (d if kind == "best_of_n" else np.log(d)))


@pytest.mark.parametrize("kind", ["best_of_n", "rl"])
def test_planted_coefficients_and_their_peak_come_back(kind):
    law = scaling_law(KL, law_of(kind, 1.2, 0.7), kind=kind)
    assert (law.alpha, law.beta) == (pytest.approx(1.2), pytest.approx(0.7))
    assert law.residual == pytest.approx(0.0, abs=1e-12)
    peak = minimize_scalar(lambda x: -law_of(kind, 1.2, 0.7, x), bounds=(0.01, 20), method="bounded").x
    assert law.overoptimizes
    assert law.peak_kl == pytest.approx(peak, rel=1e-4)


@pytest.mark.parametrize("kind", ["best_of_n", "rl"])
@pytest.mark.parametrize("weighted", [False, True])
def test_coefficients_and_intervals_agree_with_another_fit(kind, weighted):
    rng = np.random.default_rng(0)
    gold = law_of(kind, 1.0, 0.4) + 0.05 * rng.normal(size=len(KL))
    weights = rng.uniform(0.5, 2.0, size=len(KL)) if weighted else None
    law = scaling_law(KL, gold, kind=kind, weights=weights, n_resamples=40_000)
    sigma = None if weights is None else 1 / np.sqrt(weights)
    best, covariance = curve_fit(lambda x, a, b: law_of(kind, a, b, x), KL, gold, p0=[1, 1], sigma=sigma)
    np.testing.assert_allclose([law.alpha, law.beta], best, rtol=1e-5)
    half = t.ppf(0.975, len(KL) - 2) * np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(law.alpha_interval, best[0] + np.array([-1, 1]) * half[0], atol=0.05 * half[0])
    np.testing.assert_allclose(law.beta_interval, best[1] + np.array([-1, 1]) * half[1], atol=0.05 * half[1])


@pytest.mark.slow
def test_prompts_give_intervals_that_cover_at_their_level():
    missed = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        alphas, betas = rng.normal(1.0, 0.5, size=(60, 1)), rng.normal(0.3, 0.3, size=(60, 1))
        d = np.sqrt(KL)
        gold = d * (alphas - betas * d) + 0.2 * rng.normal(size=(60, len(KL)))
        low, high = scaling_law(KL, gold, kind="best_of_n", n_resamples=400).beta_interval
        missed += not low <= 0.3 <= high
    assert missed <= 22  # 5 % of 200 are 10; binomial probability of more than 22: 2e-4


@pytest.mark.parametrize("kind", ["best_of_n", "rl"])
def test_gold_that_only_rises_has_no_peak(kind):
    gold = law_of(kind, 1.0, 0.0) + 0.3 * np.random.default_rng(1).normal(size=(40, len(KL)))
    law = scaling_law(KL, gold, kind=kind)
    assert law.beta_interval[0] < 0 < law.beta_interval[1]
    assert not law.overoptimizes
    assert all(math.isnan(value) for value in (law.peak_kl, *law.peak_interval))


def test_gold_that_falls_from_the_start_has_its_peak_there():
    law = scaling_law(KL, law_of("best_of_n", -0.2, 0.5), kind="best_of_n")
    assert (law.peak_kl, law.overoptimizes) == (0.0, True)


def test_a_point_without_weight_does_not_count():
    gold = law_of("rl", 1.0, 0.5)
    gold[2] = 99.0
    law = scaling_law(KL, gold, kind="rl", weights=[1, 1, 0, 1, 1, 1, 1, 1])
    assert (law.alpha, law.beta) == (pytest.approx(1.0), pytest.approx(0.5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "ppo"}, "scaling_law: kind is 'ppo', which is not one of 'best_of_n', 'rl'"),
        ({"level": 0.0}, "level is 0.0, outside"),
        ({"gold": [1.0, 2.0]}, r"shapes \(8,\), \(2,\) and \(8,\). Pass \(K,\)"),
        ({"kl": -KL}, "a kl or weight is negative, or a value is not finite. Leave such points out"),
        ({"kl": np.repeat([0.0, 1.0], 4)}, "two coefficients need three points above 0. Measure at more"),
    ],
)
def test_what_cannot_be_fitted_is_refused(changes, message):
    call = {"kl": KL, "gold": law_of("rl", 1.0, 0.5), "kind": "rl", **changes}
    with pytest.raises(ValueError, match=message):
        scaling_law(call.pop("kl"), call.pop("gold"), **call)
