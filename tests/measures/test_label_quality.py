"""Label quality by strength against counting, on data whose wrong labels are known."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from rewardsmith.measures import label_quality


def test_bins_hold_what_counting_finds():
    random = np.random.default_rng(0)
    mean, wrong, right = random.normal(0.5, 1.0, 47), random.random(47), (random.random(47) < 0.7).astype(float)
    mean[[3, 40]], right[::4] = math.nan, math.nan
    quality = label_quality(mean, share_negative=wrong, right=right, bins=5, examples=2)
    order = sorted((m, i) for i, m in enumerate(mean) if not math.isnan(m))
    start = 0
    for one in quality.bins:
        part = [i for _, i in order[start : start + one.n]]
        start += one.n
        known = [right[i] for i in part if not math.isnan(right[i])]
        interval = binomtest(int(sum(known)), len(known)).proportion_ci(method="wilson")
        assert (one.low, one.high) == (mean[part[0]], mean[part[-1]])
        assert one.strength == pytest.approx(np.mean(mean[part]))
        assert one.estimated_error == pytest.approx(np.mean(wrong[part]))
        assert one.right == pytest.approx((np.mean(known), interval.low, interval.high, len(known)))
        assert one.examples == tuple(part[:2])
    assert start == quality.n == 45
    assert [one.n for one in quality.bins] == [9] * 5
    assert quality.share_negative == np.mean([m < 0 for m, _ in order])
    assert quality.estimated_error == pytest.approx(np.mean([wrong[i] for _, i in order]))


def test_the_rank_correlation_is_one_where_strength_orders_the_labels():
    right = [0, 0, 1, 0, 1, 1]
    assert label_quality(np.arange(6.0), right=right, bins=3).rank_correlation == pytest.approx(1.0)
    assert label_quality(-np.arange(6.0), right=right, bins=3).rank_correlation == pytest.approx(-1.0)
    assert math.isnan(label_quality(np.arange(6.0), right=[1] * 6, bins=3).rank_correlation)


def test_what_is_not_known_is_nan_and_not_zero():
    quality = label_quality([1.0, -1.0], bins=2)
    assert math.isnan(quality.estimated_error)
    assert math.isnan(quality.rank_correlation)
    assert math.isnan(quality.bins[0].right.value)
    assert quality.bins[0].right.n == 0
    nothing = label_quality([math.nan, math.nan])
    assert (nothing.bins, nothing.n) == ((), 0)
    assert math.isnan(nothing.share_negative)
    assert len(label_quality([1.0, 2.0, 3.0]).bins) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 0}, r"label_quality: bins is 0, outside \[1, inf\]"),
        ({"right": [1.0]}, r"label_quality: strength, .* have 2, 2 and 1 entries. Give one number per pair"),
        ({"right": [0.0, 2.0]}, r"label_quality: right holds 2.0, outside \[0, 1.0\]. Rescale it, and write NaN"),
        ({"share_negative": [-1.0, 0.0]}, r"label_quality: share_negative holds -1.0, outside"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        label_quality([0.0, 1.0], **options)
    with pytest.raises(ValueError, match=r"label_quality: strength must have shape \(any\), got \(1, 2\)"):
        label_quality([[0.0, 1.0]])
