"""The curve of labels on score differences: maxima against other optimizers, intervals against simulated data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq, differential_evolution
from scipy.special import expit
from scipy.stats import binom
from tests.auditing.pair_worlds import noise, outcome_of, pairs, quality, sound, worst_of

from rewardsmith.auditing import pair_calibration
from rewardsmith.auditing.probes.labels import calibration, label_noise
from rewardsmith.data import PreferenceRow
from rewardsmith.measures import fit_label_noise


def drawn(n, noise, slope, spread, generator):
    """Margins of which a share follows the label as σ(slope · Δ), the rest against it."""
    size = np.abs(generator.normal(0.0, spread, n))
    agrees = generator.random(n) < noise + (1 - 2 * noise) * expit(slope * size)
    return np.where(agrees, size, -size)


def test_without_a_lapse_it_is_logistic_regression_through_the_origin():
    margins = drawn(300, 0.0, 0.7, 2.0, np.random.default_rng(3))
    slope = brentq(lambda k: (margins * expit(-k * margins)).sum(), 1e-3, 1e2)  # the derivative of the likelihood
    information = (margins**2 * expit(slope * margins) * expit(-slope * margins)).sum()
    fit = fit_label_noise(margins, most_noise=0.0)
    assert fit.slope == pytest.approx(slope, rel=1e-4)
    assert fit.loglik == pytest.approx(np.log(expit(slope * margins)).sum(), rel=1e-8)
    # Wald's interval, near the profile's where the likelihood is near a parabola
    assert fit.slope_interval == pytest.approx(
        (slope - 1.96 / information**0.5, slope + 1.96 / information**0.5), rel=0.08
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_maximum_is_that_of_a_global_search(seed):
    margins = drawn(250, 0.15, 1.2, 3.0, np.random.default_rng(seed))

    def loss(parameters):
        noise, log_slope = parameters
        return -np.log(noise + (1 - 2 * noise) * expit(math.exp(log_slope) * margins)).sum()

    found = differential_evolution(loss, [(1e-9, 0.5), (-7, 5)], seed=seed, tol=1e-10, popsize=30)
    fit = fit_label_noise(margins)
    assert fit.loglik == pytest.approx(-found.fun, abs=1e-4)
    assert fit.noise == pytest.approx(found.x[0], abs=1e-3)


def test_scores_in_another_unit_scale_the_slope_alone():
    margins = drawn(200, 0.1, 1.0, 3.0, np.random.default_rng(5))
    one, other = fit_label_noise(margins), fit_label_noise(100 * margins)
    assert other.noise == pytest.approx(one.noise, abs=1e-6)
    assert other.slope == pytest.approx(one.slope / 100, rel=1e-5)


def test_copies_of_every_pair_leave_the_interval_as_it_was():
    margins = drawn(150, 0.1, 1.0, 4.0, np.random.default_rng(7))
    once = fit_label_noise(margins)
    thrice = fit_label_noise(np.tile(margins, 3), clusters=list(range(150)) * 3)
    assert thrice.noise_interval == pytest.approx(once.noise_interval, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "slope", "spread"), [(0.0, 1.0, 2.0), (0.2, 1.0, 5.0), (0.3, 0.3, 15.0), (0.0, 0.2, 8.0)]
)
def test_intervals_cover_what_the_data_were_drawn_with(noise, slope, spread):
    generator, n_sets = np.random.default_rng(0), 150
    fits = [fit_label_noise(drawn(400, noise, slope, spread, generator), alpha=0.1) for _ in range(n_sets)]
    least = binom.ppf(0.001, n_sets, 0.9)
    assert sum(fit.noise_interval[0] - 1e-9 <= noise <= fit.noise_interval[1] for fit in fits) >= least
    assert sum(fit.slope_interval[0] <= slope <= fit.slope_interval[1] for fit in fits) >= least
    assert np.median([fit.slope for fit in fits]) == pytest.approx(slope, rel=0.15)
    assert np.mean([fit.noise for fit in fits]) == pytest.approx(noise, abs=0.03)


def test_small_margins_leave_the_lapse_open():
    low, high = fit_label_noise(drawn(300, 0.2, 1.0, 0.3, np.random.default_rng(1))).noise_interval
    assert low < 0.05
    assert high > 0.4


def test_a_fit_without_margins_knows_nothing():
    fit = fit_label_noise([0.0, math.nan])
    assert fit.n == 0
    assert math.isnan(fit.slope)
    assert fit.slope_interval == (0.0, math.inf)


def test_fits_refuse_what_does_not_belong_together():
    with pytest.raises(
        ValueError, match=r"fit_label_noise: margins have shape \(2,\) and there are 1 clusters. Pass one"
    ):
        fit_label_noise([1.0, 2.0], clusters=["a"])
    with pytest.raises(ValueError, match=r"pair_calibration: margins have shape \(2,\) and there are 1 clusters"):
        pair_calibration([1.0, 2.0], clusters=["a"])
    with pytest.raises(ValueError, match="most_noise"):
        fit_label_noise([1.0], most_noise=0.7)


def test_calibration_by_hand():
    found = pair_calibration([math.log(3)] * 4 + [-math.log(3), 0.0])
    # σ(log 3) = 3/4 five times and 1/2 once; right: four, and half of the tie
    assert found.stated == pytest.approx((5 * 0.75 + 0.5) / 6)
    assert found.right == pytest.approx(4.5 / 6)
    assert found.ece == pytest.approx(5 / 6 * (0.8 - 0.75))  # the tie's bin agrees with itself
    assert found.gap_interval[0] < found.gap < found.gap_interval[1]


def scaled(factor):
    def reward(prompt, completion):
        return factor * sound(prompt, completion)

    return reward


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "severity"), [(1.0, "info"), (10.0, "high"), (0.3, "low")])
def test_a_slope_is_told_from_a_calibrated_reward(factor, severity):
    finding = worst_of(outcome_of(calibration, scaled(factor), pairs(400, spread=2.0)))
    assert finding.severity == severity
    assert finding.interval[0] <= 1 / factor <= finding.interval[1]


def test_a_reward_that_is_no_model_is_never_called_overconfident():
    def asked(baseline):
        return calibration(baseline, logits=False)

    assert worst_of(outcome_of(asked, scaled(10.0), pairs(400, spread=2.0))).severity == "info"


@pytest.mark.slow
def test_the_picture_holds_how_often_pairs_of_like_sureness_are_right():
    rows = pairs(400, spread=2.0)
    outcome = outcome_of(calibration, scaled(3.0), rows)
    said = [expit(abs(3 * (quality(row.chosen) - quality(row.rejected)))) for row in rows]
    wins = [quality(row.chosen) > quality(row.rejected) for row in rows]
    expected = []
    for low in range(10, 20):
        own = [k for k, share in enumerate(said) if min(int(share * 20), 19) == low]
        if len(own) >= 10:
            expected.append((np.mean([said[k] for k in own]), np.mean([wins[k] for k in own]), len(own)))
    assert len(expected) >= 5
    assert [(b.stated, b.right, b.n) for b in outcome.reliability] == [pytest.approx(e) for e in expected]
    assert all(b.low <= b.right <= b.high for b in outcome.reliability)
    assert outcome.reliability[-1].high < outcome.reliability[-1].stated  # three times as sure as is right

    def asked(baseline):
        return calibration(baseline, logits=False)

    assert outcome_of(asked, scaled(3.0), rows).reliability == ()


def test_calibration_is_not_asked_of_few_pairs_or_of_a_turned_sign():
    assert "fewer than 100 pairs" in outcome_of(calibration, sound, pairs(50)).not_run
    assert "fewer than half" in outcome_of(calibration, scaled(-1.0), pairs(200)).not_run


@pytest.mark.parametrize(("flipped", "severities"), [(0.0, {"info"}), (0.3, {"medium", "high"})])
def test_wrong_labels_are_counted(flipped, severities):
    finding = worst_of(outcome_of(label_noise, sound, pairs(400, flipped=flipped, spread=8.0)))
    assert finding.severity in severities
    assert finding.interval[0] <= flipped <= finding.interval[1]
    assert len(finding.examples) == 3


@pytest.mark.slow
def test_wrong_labels_are_no_overconfidence():
    outcome = outcome_of(calibration, sound, pairs(400, flipped=0.25, spread=8.0))
    assert outcome.findings[0].interval[1] > 0.67
    assert "It is overconfident, or some labels are wrong" in outcome.findings[0].message


def test_margins_that_say_nothing_leave_label_noise_unasked():
    assert "the share of wrong labels is between" in outcome_of(label_noise, noise, pairs(200)).not_run


@pytest.mark.slow
def test_repeated_pairs_with_opposite_labels_are_counted_exactly():
    rows = pairs(60, spread=8.0)
    turned = [PreferenceRow(row.prompt, row.rejected, row.chosen) for row in rows[:32]]
    outcome = outcome_of(label_noise, sound, rows + turned + rows[32:])
    repeats = next(finding for finding in outcome.findings if "repeated pairs" in finding.message)
    assert repeats.n == 60
    # 32 of 60 contradict each other, more than labels drawn at random would: ε = ½
    assert repeats.value == pytest.approx(0.5)
    rows = pairs(120, spread=8.0)
    turned = [PreferenceRow(row.prompt, row.rejected, row.chosen) for row in rows[:24]]
    outcome = outcome_of(label_noise, sound, rows + turned + rows[24:])
    repeats = next(finding for finding in outcome.findings if "repeated pairs" in finding.message)
    assert 2 * repeats.value * (1 - repeats.value) == pytest.approx(0.2)
