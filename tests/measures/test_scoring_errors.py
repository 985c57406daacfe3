"""Over- against under-scoring: a two-armed policy worked out by hand, and limits of pressure."""

import math

import numpy as np
import pytest

from rewardsmith.measures.scoring_errors import over_vs_under_scoring


def test_two_arms_are_worked_out_by_hand():
    # Either arm is wrong in half of the draws in the long run; ΔE of raising one equals that of lowering the other.
    r, delta, beta = np.array([0.0, 1.0]), 2.0, 0.5

    def worth(gap):
        return 1 / (1 + math.exp(-gap / beta))

    found = over_vs_under_scoring(r, frac=0.5, delta=delta, beta=beta, n_draws=20_000)
    assert found.clean == pytest.approx(worth(1.0))
    expected = (worth(1.0 + delta) + worth(1.0 - delta)) / 2
    assert found.over == pytest.approx(expected, abs=0.01)
    assert found.under == pytest.approx(expected, abs=0.01)
    assert found.over_loss == pytest.approx(found.clean - found.over)
    assert found.under_loss == pytest.approx(found.clean - found.under)


def test_an_error_on_every_response_is_no_error():
    found = over_vs_under_scoring(np.random.default_rng(0).normal(size=(3, 50)), frac=1.0)
    assert found.over_loss == pytest.approx(0.0, abs=1e-12)
    assert found.under_loss == pytest.approx(0.0, abs=1e-12)


def test_among_many_responses_over_scoring_costs_more_and_only_under_pressure():
    rewards = np.random.default_rng(1).normal(size=(50, 500))
    strong = over_vs_under_scoring(rewards, frac=0.02, beta=0.2)
    weak = over_vs_under_scoring(rewards, frac=0.02, beta=2.0)
    assert strong.over_loss > 5 * strong.under_loss
    assert strong.over_loss > 0.5
    assert abs(weak.over_loss) < 0.02
    # In the limit of no pressure every policy is the reference policy, whose value is the mean.
    assert over_vs_under_scoring(rewards, beta=1e9).over == pytest.approx(rewards.mean())


def test_a_greedy_policy_pays_the_whole_price():
    # 99 responses of 0 and one of 1: raising a wrong one by 2 takes all; lowering costs only where it hits the best.
    rewards = np.zeros(100)
    rewards[7] = 1.0
    found = over_vs_under_scoring(rewards, frac=0.01, delta=2.0, beta=0.01, n_draws=5000)
    assert found.clean == pytest.approx(1.0)
    assert found.over == pytest.approx(0.01, abs=0.01)  # only where the best itself is raised
    assert found.under == pytest.approx(0.99, abs=0.01)


def test_unscored_responses_are_left_out_and_numbers_repeat():
    rewards = np.random.default_rng(2).normal(size=(2, 40))
    holes = np.concatenate([rewards, np.full((2, 3), math.nan)], axis=1)
    holes[:, -1] = math.inf
    assert over_vs_under_scoring(holes) == over_vs_under_scoring(rewards) == over_vs_under_scoring(rewards)
    alone = over_vs_under_scoring([rewards[0].tolist(), [None] * 40])
    assert alone == over_vs_under_scoring(rewards[0])


@pytest.mark.parametrize(
    ("rewards", "options", "message"),
    [
        (np.ones((2, 2, 2)), {}, r"rewards must be \(P, N\) or \(N,\), got \(2, 2, 2\)"),
        ([1.0, 2.0], {"frac": 1.5}, r"frac is 1.5, outside \[0.0, 1.0\]"),
        ([1.0, 2.0], {"n_draws": 0}, "n_draws is 0, outside"),
        ([1.0, 2.0], {"beta": 0.0}, "beta is 0.0, which must be above 0"),
        ([1.0, 2.0], {"delta": -1.0}, "delta is -1.0, which must be above 0"),
        ([1.0, math.nan], {}, "no prompt has two scored responses"),
    ],
)
def test_it_refuses_what_it_cannot_read(rewards, options, message):
    with pytest.raises(ValueError, match=f"over_vs_under_scoring: {message}"):
        over_vs_under_scoring(rewards, **options)
