"""Games of preferences: their solutions by linear programming and by hand, and what holds of exact steps."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch.testing import assert_close

from rewardsmith.atlas.pages.dno import bradley_terry, counted, solved, value_of
from rewardsmith.worlds import Streams


def game(n=6, cycle=3.0):
    streams = Streams([3])
    quality, angle = streams.randn(1, n), 2 * math.pi * streams.rand(1, n)
    log_odds = quality[..., None] - quality[..., None, :]
    return torch.sigmoid(log_odds + cycle * torch.sin(angle[..., None] - angle[..., None, :])), streams


def test_win_counts_without_noise_give_the_solution_of_the_game():
    """The largest v with πᵀP ≥ v in every column is ½, reached by one strategy."""
    preferences, _ = game()
    table = preferences[0, 0].numpy()
    n = len(table)
    bound = np.hstack([-table.T, np.ones((n, 1))])
    program = linprog(
        [*[0.0] * n, -1.0],
        A_ub=bound,
        b_ub=np.zeros(n),
        A_eq=[[*[1.0] * n, 0.0]],
        b_eq=[1.0],
        bounds=[(0, 1)] * n + [(None, None)],
    )
    assert_close(program.x[-1], 0.5)
    assert float(value_of(preferences, torch.from_numpy(program.x[:-1]).view(1, 1, n))) < 1e-6
    assert float(value_of(preferences, solved(1e6 * preferences))) < 0.02


def test_an_exact_step_wins_against_its_predecessor():
    preferences, streams = game()
    policy = streams.randn(1, 6).softmax(-1)
    for eta in (0.1, 1.0, 10.0):
        rates = (preferences @ policy[..., None])[..., 0]
        following = (policy.log() + rates / eta).softmax(-1)
        assert float(following[0, 0] @ preferences[0, 0] @ policy[0, 0]) >= 0.5


@pytest.mark.slow
def test_scores_of_transitive_preferences_are_their_log_odds():
    preferences, _ = game(n=4, cycle=0.0)
    scores = bradley_terry(preferences, torch.full((1, 1, 4), 0.25, dtype=torch.float64))
    log_odds = torch.logit(preferences)
    assert_close(scores[..., None] - scores[..., None, :], log_odds, atol=1e-3, rtol=0)


def test_wins_are_counted_for_the_response_that_wins():
    preferences = torch.tensor([[[[0.5, 1.0], [0.0, 0.5]]]], dtype=torch.float64)
    first, second = torch.tensor([[[0, 1, 0]]]), torch.tensor([[[1, 0, 1]]])
    assert counted(preferences, first, second, Streams([0])).tolist() == [[[[0.0, 3.0], [0.0, 0.0]]]]
