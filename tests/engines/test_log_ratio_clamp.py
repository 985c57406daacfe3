"""The clamp of log-ratios acts before the exponential, and is TRL's own loss where nothing is beyond it."""

import math
from functools import partial

import pytest
import torch
import trl
from torch.testing import assert_close

from rewardsmith.advantages import batch_scaled, filtered
from rewardsmith.engines.trl import GRPOTrainer
from tests.engines.helpers import logged, make, parameters

pytestmark = pytest.mark.slow

C = math.log(1e3)
RATIOS, CREDIT = (100.0, 0.0, -100.0), (-1.0, 1.0, 1.0)


def brevity(completions, **columns):
    """A dense reward, so that no group is dead."""
    return [-len(text) / 10 - (sum(map(ord, text)) % 7) / 100 for text in completions]


def loss_of(monkeypatch, trainer, *, beta=0.0, ref=None):
    """The loss of three completions of one token with the given log-ratios, and its gradient by log-probability."""
    logps = torch.tensor(RATIOS)[:, None].requires_grad_()
    given = (logps, torch.zeros_like(logps), None)
    monkeypatch.setattr(trl.GRPOTrainer, "_get_per_token_logps_and_entropies", lambda *args, **keywords: given)
    monkeypatch.setattr(trainer, "current_gradient_accumulation_steps", 1, raising=False)
    monkeypatch.setattr(trainer, "beta", beta)
    one = torch.ones(3, 1, dtype=torch.long)
    inputs = dict.fromkeys(("prompt_ids", "prompt_mask", "completion_ids", "completion_mask"), one)
    inputs |= {"advantages": torch.tensor(CREDIT), "old_per_token_logps": torch.zeros(3, 1)}
    inputs |= {} if ref is None else {"ref_per_token_logps": torch.tensor(ref)[:, None]}
    kept = dict(inputs)
    loss = trainer._compute_loss(None, inputs)
    loss.backward()
    assert inputs.keys() == kept.keys()
    assert all(inputs[name] is kept[name] for name in kept)
    return loss.detach(), logps.grad[:, 0]


def test_extreme_ratios_cost_a_finite_loss_and_teach_nothing(monkeypatch, world):
    """−min(ρA, clip(ρ)A) is 1000, −1 and −0.001, with mean 332.9997; TRL's own loss is infinite."""
    config = {"loss_type": "grpo"}
    loss, gradient = loss_of(monkeypatch, make(trl.GRPOTrainer, world, brevity, config=config))
    assert loss.isinf()
    assert not gradient.isfinite().all()
    trainer = make(GRPOTrainer, world, brevity, config=config, log_ratio_clamp=C)
    loss, gradient = loss_of(monkeypatch, trainer)
    assert_close(loss, torch.tensor((1000 - 1 - 0.001) / 3))
    assert_close(gradient, torch.tensor([0.0, -1 / 3, 0.0]))
    assert trainer._metrics["eval"]["rewardsmith/clamped_rate"] == [pytest.approx(2 / 3)]


def test_the_kl_term_keeps_its_value_and_gradient_on_a_clamped_token(monkeypatch, world):
    """KL is e^d − d − 1 with d = log π_ref − log π, whose gradient is 1 − e^d; d is −2, 0 and 3."""
    config = {"loss_type": "grpo", "beta": 0.3, "use_bias_correction_kl": False}
    trainer = make(GRPOTrainer, world, brevity, config=config, log_ratio_clamp=C)
    loss, gradient = loss_of(monkeypatch, trainer, beta=0.3, ref=(98.0, 0.0, -97.0))
    d = torch.tensor([-2.0, 0.0, 3.0])
    assert_close(loss, (torch.tensor([1000, -1, -0.001]) + 0.3 * (d.exp() - d - 1)).mean())
    assert_close(gradient, torch.tensor([0.0, -1 / 3, 0.0]) + 0.1 * (1 - d.exp()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_a_clamp_that_nothing_reaches_changes_nothing(beta, world):
    config = {"beta": beta, "num_iterations": 2}
    theirs = make(trl.GRPOTrainer, world, brevity, config=config)
    theirs.train()
    mine = make(GRPOTrainer, world, brevity, config=config, log_ratio_clamp=50.0)
    start = parameters(mine)
    mine.train()
    assert float((parameters(mine) - start).abs().max()) > 1e-4
    assert_close(parameters(mine), parameters(theirs), rtol=0, atol=0 if beta == 0 else 1e-6)
    assert set(logged(mine, "rewardsmith/clamped_rate")) == {0.0}


def test_the_clamp_works_with_a_filter_of_advantages(world):
    """At a bound of 1e-6 every token that moved is clamped in the second pass over a batch, so it teaches nothing."""
    advantage = partial(filtered, estimator=batch_scaled, k=2.0)
    config = {"num_iterations": 2, "beta": 0.0}
    moved = {}
    for bound in (1e-6, 10.0):
        trainer = make(GRPOTrainer, world, brevity, config=config, steps=2, log_ratio_clamp=bound, advantage=advantage)
        start = parameters(trainer)
        trainer.train()
        moved[bound] = parameters(trainer) - start
        rates = logged(trainer, "rewardsmith/clamped_rate")
        assert rates[0] == 0.0
        assert rates[1] > 0.9 if bound < 1 else rates[1] == 0.0
    assert not torch.equal(moved[1e-6], moved[10.0])


@pytest.mark.parametrize("bound", [0.0, -1.0, math.inf, math.nan])
def test_a_bound_that_bounds_nothing_is_refused(bound, world):
    with pytest.raises(ValueError, match=r"GRPOTrainer: log_ratio_clamp is .*above 0 and finite. Pass math.log\(1e3\)"):
        make(GRPOTrainer, world, brevity, log_ratio_clamp=bound)
