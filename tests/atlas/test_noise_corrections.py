"""The page of noisy verifiers: its judge of appeals errs as often as it is told to."""

import torch

from rewardsmith.atlas.pages.noise_corrections import Draws, World, appealed


def flipped(appeal_error):
    """Return (accepted of the truly right, accepted of the truly wrong) after appeals of all that was rejected."""
    right = torch.arange(8000).remainder(2).double()
    draws = Draws(torch.zeros(8000, dtype=torch.int64), torch.zeros(8000, dtype=torch.float64), right)
    world = World(appeal_rate=1.0, appeal_error=appeal_error)
    verdicts = appealed(3, world, flip_only=True)(draws)
    return float(verdicts[right == 1].mean()), float(verdicts[right == 0].mean())


def test_a_judge_without_error_overturns_what_was_wrongly_rejected_and_nothing_else():
    assert flipped(0.0) == (1.0, 0.0)


def test_a_judge_errs_both_ways_at_its_rate():
    of_right, of_wrong = flipped(0.1)
    assert abs(of_right - 0.9) < 0.02  # 4 standard errors of 4000 draws
    assert abs(of_wrong - 0.1) < 0.02
