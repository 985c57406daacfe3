"""Outliers are told by their distance in standard deviations, and malformed rows stay out of the statistics."""

from functools import partial

import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from rewardsmith.advantages import advantage_filter, batch_scaled, filtered, gated_format, group_centered

NAN = float("nan")
F64 = {"dtype": torch.float64}


def drawn(mean=0.0, n=200):
    """Normal advantages, of which the last is an outlier on any scale."""
    rows = torch.randn(n, generator=torch.Generator().manual_seed(0), **F64)
    rows[-1] = 60.0
    return rows + mean


@pytest.mark.parametrize("mean", [0.0, 5.0, -40.0])
def test_it_drops_the_outlier_alone_whatever_the_mean(mean):
    """The released code compares z with mean(A) ± 3, and so would drop nearly every row where that mean is 5."""
    rows = drawn(mean)
    z = torch.from_numpy(stats.zscore(rows.numpy()))
    released = (z >= rows.mean() - 3) & (z <= rows.mean() + 3)
    kept = advantage_filter(rows) == rows
    assert torch.equal(kept, z.abs() <= 3)
    assert not kept[-1]
    assert int(kept.sum()) == 199
    assert int(released.sum()) < 10 or mean == 0.0


def test_median_and_mad_find_what_outliers_hide_from_mean_and_std():
    """Six of 30 rows at 50: μ = 10, σ = 20, so z = 2; median 0 and MAD of the 24 others see them at once."""
    rows = torch.cat([torch.linspace(-1, 1, 24, **F64), torch.full((6,), 50.0, **F64)])
    assert torch.equal(advantage_filter(rows), rows)
    robust = advantage_filter(rows, stats="median_mad")
    z = (rows - rows.quantile(0.5)) / stats.median_abs_deviation(rows.numpy(), scale="normal")
    assert torch.equal(robust == 0, z.abs() > 3)
    assert robust[-6:].tolist() == [0.0] * 6


@pytest.mark.slow
def test_the_median_of_a_long_batch_is_found_where_quantile_takes_no_more():
    rows = torch.zeros(2**24 + 2)
    rows[0], rows[1::2] = 50.0, 1.0  # the middle two are 0 and 1, and all others are ½ from their mean
    assert advantage_filter(rows, stats="median_mad")[:3].tolist() == [0.0, 1.0, 0.0]


def test_each_mode_does_what_it_is_called():
    rows = drawn()
    mu, sigma = rows.mean(), rows.std(correction=0)
    assert advantage_filter(rows, mode="zero")[-1] == 0
    assert advantage_filter(rows, mode="drop")[-1].isnan()
    assert_close(advantage_filter(rows, mode="winsor")[-1], mu + 3 * sigma)
    for mode in ("zero", "drop", "winsor"):
        assert torch.equal(advantage_filter(rows, mode=mode)[:-1], rows[:-1])


def test_masked_and_unscored_entries_neither_count_nor_change():
    """Tokens behind the mask hold 1000; with them the outlier would be none."""
    rows = drawn().reshape(20, 10)
    padded = torch.cat([rows, torch.full((20, 3), 1000.0, **F64)], dim=1)
    padded[0, 0] = NAN
    mask = torch.ones_like(padded).bool()
    mask[:, 10:] = False
    got = advantage_filter(padded, mask=mask)
    assert got[-1, 9] == 0
    assert got[0, 0].isnan()
    assert torch.equal(got[:, 10:], padded[:, 10:])
    assert torch.equal(advantage_filter(torch.ones(4)), torch.ones(4))
    assert advantage_filter(torch.tensor([NAN, NAN])).isnan().all()


def test_the_filter_around_an_estimator_is_the_filter_of_its_advantages():
    rewards = drawn()
    plain = batch_scaled(rewards, group_size=4)
    got = filtered(rewards, estimator=batch_scaled, group_size=4)
    assert torch.equal(got, advantage_filter(plain))
    rewards[:8] = NAN  # unscored rows have advantage 0, which would shrink σ
    plain = batch_scaled(rewards, group_size=4)
    got = filtered(rewards, estimator=batch_scaled, group_size=4, columns={})
    assert torch.equal(got[8:], advantage_filter(plain[8:]))


def test_the_filter_of_tokens_reads_their_mask():
    rewards, mask = drawn(n=20), torch.ones(20, 3).bool()
    mask[:, 2] = False

    def per_token(rewards, completion_mask):
        return torch.where(completion_mask, rewards[:, None], 1e6)

    got = filtered(rewards, estimator=per_token, completion_mask=mask)
    assert got[-1].tolist() == [0.0, 0.0, 1e6]
    assert torch.equal(got[:-1, 0], rewards[:-1])
    assert filtered(rewards, estimator=lambda rewards: rewards[:, None].expand(20, 3))[-1].tolist() == [0.0] * 3


def test_a_malformed_row_does_not_move_the_others():
    """0, 0, 0, −1, −1, −1, −1, −100: by the z-score a wrong verdict would earn +0.34 (hand calculation of the note)."""
    rewards = torch.tensor([0.0, 0, 0, -1, -1, -1, -1, -100], **F64)
    z = torch.from_numpy(stats.zscore(rewards.numpy(), ddof=0))
    assert z[3] > 0.3  # the fault
    got = gated_format(rewards, malformed=-100.0, credit=-0.5, group_size=8)
    expected = torch.from_numpy(stats.zscore(rewards[:7].numpy(), ddof=1))
    assert_close(got[:7], expected, atol=1e-3, rtol=0)
    assert got[7] == -0.5
    tokens = gated_format(rewards, malformed=-100.0, estimator=lambda rewards: rewards[:, None].expand(8, 2))
    assert tokens[7].tolist() == [-1.0, -1.0]
    unscored = torch.tensor([0.0, -1.0, NAN, -2.0])
    assert gated_format(unscored, group_size=4, estimator=group_centered).tolist() == [0.5, -0.5, 0.0, -1.0]


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match=r"advantage_filter: k is -1.*outside"):
        advantage_filter(torch.ones(2), k=-1.0)
    with pytest.raises(ValueError, match=r"advantage_filter: mode is 'cut'"):
        advantage_filter(torch.ones(2), mode="cut")
    with pytest.raises(ValueError, match=r"advantage_filter: stats is 'iqr'"):
        advantage_filter(torch.ones(2), stats="iqr")
    with pytest.raises(ValueError, match=r"advantage_filter: arguments must share one shape"):
        advantage_filter(torch.ones(2), mask=torch.ones(3))
    with pytest.raises(ValueError, match=r"gated_format: credit is 1.*outside"):
        gated_format(torch.ones(2), credit=1.0, group_size=2)
    for function in (filtered, gated_format):
        with pytest.raises(TypeError, match=r"group_centered needs group_size, and is offered nothing. Bind it"):
            partial(function, estimator=group_centered)(torch.ones(2))
