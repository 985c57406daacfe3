"""Weighted sums and per-source normalization against slow loops."""

import math
import statistics
from itertools import product

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.transforms import normalize_sources, scale_sources, weighted_sum

NAN, INF = math.nan, math.inf


def slow_weighted_sum(row, weights):
    present = [k for k, value in enumerate(row) if not math.isnan(value) and weights[k] != 0]
    if not present:
        return NAN
    share = sum(abs(w) for w in weights) / sum(abs(weights[k]) for k in present)
    return share * sum(weights[k] * row[k] for k in present)


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [2.0, -1.0, 0.5], [0.0, 1.0, 3.0]])
def test_a_weighted_sum_hands_missing_weight_to_the_present_for_every_pattern(weights):
    values = (0.5, -2.0, 3.0)
    rows = [[v if keep else NAN for v, keep in zip(values, kept, strict=True)] for kept in product((0, 1), repeat=3)]
    got = weighted_sum(torch.tensor(rows, dtype=torch.float64), weights=weights)
    expected = torch.tensor([slow_weighted_sum(row, weights) for row in rows], dtype=torch.float64)
    assert_close(got, expected, rtol=1e-12, atol=1e-12, equal_nan=True)


def test_a_complete_row_is_the_plain_dot_product():
    sources = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    assert_close(weighted_sum(sources, weights=weights), sources @ weights)
    assert_close(weighted_sum(sources), sources.sum(dim=1))
    assert_close(weighted_sum(sources, normalize=True), sources.mean(dim=1))


def test_a_missing_source_is_not_a_zero():
    # nansum would pay ½ the reward of the row that both sources scored.
    got = weighted_sum(torch.tensor([[1.0, 1.0], [1.0, NAN]]), weights=[0.5, 0.5])
    assert_close(got, torch.tensor([1.0, 1.0]))


def test_missing_unscored_asks_only_for_sources_that_weigh():
    sources = torch.tensor([[1.0, NAN, 2.0], [NAN, 5.0, 2.0]])
    got = weighted_sum(sources, weights=[1.0, 0.0, 1.0], missing="unscored")
    assert_close(got, torch.tensor([3.0, NAN]), equal_nan=True)


def test_an_infinite_source_of_weight_zero_is_ignored():
    assert_close(weighted_sum(torch.tensor([[1.0, math.inf]]), weights=[1.0, 0.0]), torch.tensor([1.0]))


@pytest.mark.parametrize("missing", ["renormalize", "unscored"])
@pytest.mark.parametrize("normalize", [False, True])
def test_weights_by_row_are_each_rows_own_weighted_sum(missing, normalize):
    generator = torch.Generator().manual_seed(0)
    sources = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    sources[torch.rand(40, 3, generator=generator) < 0.3] = NAN
    weights = torch.randint(-1, 3, (40, 3), generator=generator).double()
    weights[:, 0] = 2.0  # never all 0
    got = weighted_sum(sources, weights=weights, missing=missing, normalize=normalize)
    one_by_one = [
        weighted_sum(row[None], weights=weight, missing=missing, normalize=normalize)
        for row, weight in zip(sources, weights, strict=True)
    ]
    assert_close(got, torch.cat(one_by_one), equal_nan=True)


def test_confidence_blends_two_sources_and_one_hot_weights_route():
    sources = torch.tensor([[1.0, 0.4], [1.0, 0.4], [1.0, NAN], [NAN, 0.4], [NAN, 0.4]])
    trust = torch.tensor([0.75, 0.0, 1.0, 1.0, NAN])
    got = weighted_sum(sources, weights=torch.stack([trust, 1 - trust], dim=1))
    # 0.75·1 + 0.25·0.4; model only; rule only; the routed rule is missing; trust unknown
    assert_close(got, torch.tensor([0.85, 0.4, 1.0, NAN, NAN]), equal_nan=True)


def test_a_row_that_nothing_weighs_is_unscored():
    assert weighted_sum(torch.ones(2, 2), weights=torch.tensor([[0.0, 0.0], [1.0, 0.0]])).isnan().tolist() == [
        True,
        False,
    ]


def test_ranges_bring_sources_of_any_unit_to_the_unit_interval():
    values, low, high = [-INF, -3.0, 0.0, 0.25, 1.0, 7.0, INF, NAN], [-1.0, 0.0], [1.0, 5.0]
    sources = torch.tensor([[value, value] for value in values], dtype=torch.float64)
    got = scale_sources(sources, low=low, high=high)
    for row, value in zip(got.tolist(), values, strict=True):
        for k in range(2):
            expected = NAN if math.isnan(value) else min(max((value - low[k]) / (high[k] - low[k]), 0.0), 1.0)
            assert row[k] == pytest.approx(expected, nan_ok=True)


def test_one_range_may_serve_all_sources():
    sources = torch.tensor([[0.0, 5.0], [10.0, 2.5]], dtype=torch.float16)
    assert_close(scale_sources(sources, low=0, high=10), torch.tensor([[0.0, 0.5], [1.0, 0.25]], dtype=torch.float16))


def slow_scores(column, eps):
    scored = [value for value in column if math.isfinite(value)]
    if len(scored) < 2 or len(set(scored)) == 1:
        return [0.0 if math.isfinite(value) else value for value in column]
    mean, std = statistics.mean(scored), statistics.stdev(scored)
    return [(value - mean) / (std + eps) if math.isfinite(value) else value for value in column]


def test_sources_are_normalized_by_group_over_their_scored_rows():
    sources = torch.randn(12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sources[:, 1] *= 100
    sources[1, 0] = sources[4:7, 1] = NAN
    sources[9, 0] = math.inf
    sources[8:, 1] = 0.1
    got = normalize_sources(sources, group_size=4, eps=1e-3)
    for start, k in product((0, 4, 8), (0, 1)):
        expected = slow_scores(sources[start : start + 4, k].tolist(), 1e-3)
        assert_close(
            got[start : start + 4, k],
            torch.tensor(expected, dtype=torch.float64),
            rtol=1e-10,
            atol=1e-12,
            equal_nan=True,
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: weighted_sum(s, weights=[1.0]), r"weighted_sum: weights must have shape \(2\)"),
        (lambda s: weighted_sum(s, weights=[0.0, 0.0]), r"weighted_sum: weights .* not all 0. Give at least one"),
        (lambda s: weighted_sum(s, weights=[NAN, 1.0]), r"weighted_sum: weights .* must be finite"),
        (lambda s: weighted_sum(s, missing="zero"), r"weighted_sum: missing is 'zero'"),
        (lambda s: weighted_sum(s[0]), r"weighted_sum: source_rewards must have shape \(any, any\)"),
        (lambda s: weighted_sum(s, weights=s[:2]), r"weighted_sum: weights must have shape \(4, 2\), got \(2, 2\)"),
        (lambda s: weighted_sum(s, weights=s + INF), r"weighted_sum: weights hold ±inf. Pass finite weights, and NaN"),
        (lambda s: scale_sources(s, low=1, high=1), r"scale_sources: low=.* must lie below high=.*Measure each source"),
        (lambda s: scale_sources(s, low=0, high=INF), r"scale_sources: low=.*, all finite"),
        (lambda s: scale_sources(s, low=[0.0], high=1), r"scale_sources: low must have shape \(2\), got \(1,\)"),
        (lambda s: scale_sources(s[0], low=0, high=1), r"scale_sources: source_rewards must have shape \(any, any\)"),
        (lambda s: normalize_sources(s, group_size=3), r"normalize_sources: 4 rows are not a whole number of groups"),
        (lambda s: normalize_sources(s[0], group_size=1), r"normalize_sources: source_rewards must have shape"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(4, 2))
