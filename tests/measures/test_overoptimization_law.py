"""Laws of gold against √KL, early peaks and proxy-gold monotonicity: least squares, simulations and SciPy."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import spearmanr
from scipy.stats import t as student

from rewardsmith.measures import early_peak, overoptimization_law, proxy_gold_monotonicity

NAN = math.nan
LAWS = {
    "gao": lambda d, a, b: d * (a - b * np.log(d)),
    "quadratic": lambda d, a, b: d * (a - b * d),
    "linear": lambda d, a, b: d * a,
}


def drawn(form, *, n_seeds=8, b=0.3, spread=0.05, noise=0.02, seed=0):
    """Runs whose coefficients vary between seeds, with d of their own."""
    rng = np.random.default_rng(seed)
    d = np.sort(rng.uniform(0.1, 4, size=(n_seeds, 9)), axis=1)
    a, bend = 1 + spread * rng.normal(size=(2, n_seeds, 1)) * np.array([1.0, 1.0])[:, None, None]
    return d, LAWS[form](d, a, b * bend) + noise * rng.normal(size=d.shape)


@pytest.mark.parametrize("form", LAWS)
def test_the_fit_is_least_squares_over_all_points_and_errors_come_from_leaving_out_seeds(form):
    d, gain = drawn(form)
    gain[2, 3] = NAN
    law = overoptimization_law(d, gain, form)

    def slow(rows):
        x, y = d[rows].ravel(), gain[rows].ravel()
        x, y = x[~np.isnan(y)], y[~np.isnan(y)]
        bends = {"gao": x * np.log(x), "quadratic": x**2}
        table = np.stack([x, -bends[form]], axis=1) if form in bends else x[:, None]
        return np.linalg.lstsq(table, y, rcond=None)[0], table, y

    found, table, y = slow(range(8))
    assert law.coefficients == pytest.approx(found)
    assert law.rmse == pytest.approx(np.sqrt(np.mean((y - table @ found) ** 2)))
    left = np.array([slow([s for s in range(8) if s != out])[0] for out in range(8)])
    errors = np.sqrt(7 / 8 * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    assert law.errors == pytest.approx(errors)
    for end, center, error in zip(law.intervals, found, errors, strict=True):
        assert end == pytest.approx((center - student.ppf(0.975, 7) * error, center + student.ppf(0.975, 7) * error))
    if form == "linear":
        assert (law.overoptimizes, math.isnan(law.peak)) == (False, True)
    else:
        top = minimize_scalar(lambda x: -LAWS[form](x, *found), bounds=(1e-3, 60), method="bounded")
        assert law.peak == pytest.approx(top.x, rel=1e-4)


@pytest.mark.parametrize("form", ["gao", "quadratic"])
def test_the_peak_s_interval_holds_every_ratio_that_the_fit_does_not_rule_out(form):
    d, gain = drawn(form, spread=0.3)
    law = overoptimization_law(d, gain, form)
    ratios = np.linspace(0, 20, 400_001)
    left = [overoptimization_law(np.delete(d, s, 0), np.delete(gain, s, 0), form).coefficients for s in range(8)]
    apart = np.array(left) - np.mean(left, axis=0)
    (aa, ab), (_, bb) = 7 / 8 * apart.T @ apart
    a, b = law.coefficients
    kept = ratios[(a - ratios * b) ** 2 <= student.ppf(0.975, 7) ** 2 * (aa - 2 * ratios * ab + ratios**2 * bb)]
    ends = np.exp(kept[[0, -1]] - 1) if form == "gao" else kept[[0, -1]] / 2
    assert law.peak_interval == pytest.approx(ends, rel=1e-3)


@pytest.mark.slow
def test_intervals_hold_as_often_as_they_say_and_gold_that_never_falls_has_no_peak():
    covered = flat = 0
    for seed in range(200):
        d, gain = drawn("gao", spread=0.3, seed=seed)
        low, high = overoptimization_law(d, gain).intervals[1]
        covered += low <= 0.3 <= high
        flat += overoptimization_law(*drawn("gao", b=0.0, noise=0.2, seed=seed)).overoptimizes
    assert covered >= 180  # 190 expected
    assert flat <= 15  # 5 expected: one side of 95 %


def test_points_without_divergence_do_not_count_and_d_may_be_shared():
    d, gain = drawn("gao")
    shared = overoptimization_law(d[0], gain)
    assert shared == overoptimization_law(np.tile(d[0], (8, 1)), gain)
    start = overoptimization_law(np.insert(d, 0, 0.0, axis=1), np.insert(gain, 0, 5.0, axis=1))
    assert start.coefficients == pytest.approx(overoptimization_law(d, gain).coefficients)


def test_the_law_refuses_what_it_cannot_fit():
    d, gain = drawn("gao")
    with pytest.raises(ValueError, match="overoptimization_law: form is 'cubic', which is not one of 'gao', 'quad"):
        overoptimization_law(d, gain, "cubic")
    with pytest.raises(ValueError, match="overoptimization_law: seeds is 2, outside"):
        overoptimization_law(d[:2], gain[:2])
    with pytest.raises(ValueError, match=r"overoptimization_law: gain must have shape \(any, any\)"):
        overoptimization_law(d[0], gain[0])
    with pytest.raises(ValueError, match=r"too few different d. Measure at more checkpoints"):
        overoptimization_law(d[:, :1] * 0 + 1.5, gain[:, :1])


def test_the_fall_is_measured_from_a_step_that_other_seeds_choose():
    rng = np.random.default_rng(0)
    gold, steps = rng.normal(size=(6, 5)) + np.array([0, 2, 3, 1, 0.5]), np.array([5, 10, 20, 40, 80])
    falls = []
    for s in range(6):
        rest = [gold[r] for r in range(6) if r != s]
        falls.append(gold[s, np.mean(rest, axis=0).argmax()] - gold[s, -1])
    found = early_peak(gold, steps)
    assert (found.step, found.share) == (20, 0.25)
    assert found.fall.value == pytest.approx(np.mean(falls))
    half = student.ppf(0.975, 5) * np.std(falls, ddof=1) / math.sqrt(6)
    assert (found.fall.low, found.fall.high) == pytest.approx((np.mean(falls) - half, np.mean(falls) + half))


def test_noise_alone_has_no_fall_though_each_seed_s_own_maximum_lies_above_its_end():
    rng = np.random.default_rng(1)
    runs = rng.normal(size=(400, 10, 12))
    falls = [early_peak(gold, range(12)).fall.value for gold in runs]
    own = (runs.max(axis=2) - runs[:, :, -1]).mean()
    assert abs(np.mean(falls)) < 4 * np.std(falls) / 20
    assert own > 1.5
    with pytest.raises(ValueError, match=r"early_peak: gold must have shape \(any, 3\), got \(10, 12\)"):
        early_peak(runs[0], range(3))
    with pytest.raises(ValueError, match="early_peak: seeds is 1, outside"):
        early_peak(runs[0, :1], range(12))


def hump(n_prompts=60, noise=1.0, seed=0):
    """A proxy that rises over nine checkpoints, and a gold that falls after the fifth."""
    rng = np.random.default_rng(seed)
    prompts = rng.normal(size=n_prompts)
    rise = np.arange(9.0)[:, None]
    both = [rise + prompts, 4 - abs(rise - 4) + prompts]
    return [table + noise * rng.normal(size=table.shape) for table in both]


def test_monotonicity_is_spearman_s_correlation_of_the_means():
    proxy, gold = hump()
    found = proxy_gold_monotonicity(proxy, gold)
    assert found.rho.value == pytest.approx(spearmanr(proxy.mean(axis=1), gold.mean(axis=1)).statistic)
    assert found.rho.low <= found.rho.value <= found.rho.high
    assert found.rho.n == 60
    assert found.sign_changes == 1
    assert found.first_divergence in (5, 6)  # gold is highest at 4
    proxy[3, 7] = NAN
    left_out = proxy_gold_monotonicity(proxy, gold)
    kept = np.arange(60) != 7
    assert left_out == proxy_gold_monotonicity(proxy[:, kept], gold[:, kept])
    assert proxy_gold_monotonicity(proxy, proxy)[1:] == (0, None)
    assert proxy_gold_monotonicity(proxy, -proxy)[1:] == (0, 1)


@pytest.mark.slow
def test_a_divergence_by_chance_is_as_rare_as_alpha():
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(100):
        prompts, up = rng.normal(size=40), np.arange(6.0)[:, None]
        proxy, gold = up + prompts + rng.normal(size=(6, 40)), prompts + rng.normal(size=(6, 40))
        alarms += proxy_gold_monotonicity(proxy, gold).first_divergence is not None
    assert alarms <= 11  # 5 at most expected


def test_monotonicity_of_too_little_is_unknown():
    nothing = proxy_gold_monotonicity(np.full((3, 2), NAN), np.ones((3, 2)))
    assert math.isnan(nothing.rho.value)
    assert nothing[1:] == (0, None)
    with pytest.raises(ValueError, match="proxy_gold_monotonicity: arguments must share one shape"):
        proxy_gold_monotonicity(np.ones((3, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"proxy_gold_monotonicity: proxy must have shape \(any, any\)"):
        proxy_gold_monotonicity(np.ones(3), np.ones(3))


def test_the_interval_of_a_correlation_stays_within_its_range():
    """One prompt of four disagrees: Student's interval with few degrees of freedom is wider than the range."""
    proxy = [[0.0] * 4, [1.0] * 4, [2.0] * 4]
    found = proxy_gold_monotonicity(proxy, [[0.0] * 4, [1.0, 1.0, 1.0, -5.0], [2.0, 2.0, 2.0, -9.0]]).rho
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 1
