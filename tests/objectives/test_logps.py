"""Sequence log-probabilities against a loop over tokens and TRL's own; the implicit reward by its definition."""

import math

import pytest
import torch
from tests.installed import part_of
from torch.testing import assert_close

from rewardsmith.objectives import implicit_reward, sequence_logps


def slow(logits, ids, mask):
    """Token by token in Python floats."""
    found = []
    for b in range(len(ids)):
        total = 0.0
        for t in range(1, ids.shape[1]):
            if mask[b, t]:
                row = logits[b, t - 1].tolist()
                top = max(row)
                total += row[ids[b, t]] - top - math.log(sum(math.exp(x - top) for x in row))
        found.append(total)
    return torch.tensor(found, dtype=torch.float64)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(5, 7, 11, generator=generator, dtype=torch.float64)
    ids = torch.randint(11, (5, 7), generator=generator)
    mask = torch.rand(5, 7, generator=generator) < 0.6
    mask[:, 0] = False
    mask[3] = False
    return logits, ids, mask


def test_it_is_the_sum_over_the_completion_s_tokens_each_read_from_the_position_before(batch):
    logits, ids, mask = batch
    assert_close(sequence_logps(logits, ids, mask), slow(logits, ids, mask))
    assert sequence_logps(logits, ids, mask)[3] == 0.0  # an empty completion is certain
    assert_close(sequence_logps(logits, ids, mask.long()), slow(logits, ids, mask))


def test_it_is_what_trl_computes(batch):
    utils = part_of("trl", "trl.trainer.utils")
    logits, ids, mask = batch
    theirs = utils.selective_log_softmax(logits[:, :-1], ids[:, 1:])
    assert_close(sequence_logps(logits, ids, mask), (theirs * mask[:, 1:]).sum(1))


def test_probabilities_of_all_sequences_sum_to_one():
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(3, 3, generator=generator, dtype=torch.float64)  # a first-order chain over three tokens
    ids = torch.cartesian_prod(torch.tensor([0]), *[torch.arange(3)] * 3)
    logps = sequence_logps(table[ids], ids, torch.arange(4).expand_as(ids) > 0)
    assert_close(logps.exp().sum(), torch.tensor(1.0, dtype=torch.float64))


def test_what_is_masked_changes_nothing_and_gets_no_gradient(batch):
    logits, ids, mask = batch
    unread = ~torch.cat([mask[:, 1:], torch.zeros(5, 1, dtype=torch.bool)], dim=1)
    for junk in (math.nan, math.inf, -math.inf):
        dirty = logits.masked_fill(unread[..., None], junk).requires_grad_()
        logps = sequence_logps(dirty, ids.masked_fill(~mask, -100), mask)
        assert_close(logps, slow(logits, ids, mask))
        (gradient,) = torch.autograd.grad(logps.sum(), dirty)
        assert gradient.isfinite().all()
        assert (gradient[unread] == 0).all()


def test_the_gradient_is_the_numerical_one(batch):
    logits, ids, mask = batch
    assert torch.autograd.gradcheck(lambda x: sequence_logps(x, ids[:2], mask[:2]), logits[:2].clone().requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(batch, dtype):
    logits, ids, mask = batch
    logps = sequence_logps(logits.to(dtype), ids, mask)
    assert logps.dtype == torch.float32
    assert_close(logps.double(), slow(logits.to(dtype).double(), ids, mask), atol=1e-4, rtol=1e-5)


def test_a_token_that_is_ruled_out_is_impossible_and_a_nan_is_seen():
    logits = torch.tensor([[[0.0, -math.inf], [0.0, 0.0]], [[math.nan, 0.0], [0.0, 0.0]]])
    ids, mask = torch.tensor([[0, 1], [0, 1]]), torch.tensor([[False, True]] * 2)
    found = sequence_logps(logits, ids, mask)
    assert found[0] == -math.inf
    assert found[1].isnan()


def test_sequence_logps_refuses_what_it_cannot_read(batch):
    logits, ids, mask = batch
    with pytest.raises(ValueError, match=r"sequence_logps: logits must have shape \(5, 7, any\), got \(5, 6, 11\)"):
        sequence_logps(logits[:, :6], ids, mask)
    with pytest.raises(ValueError, match="sequence_logps: arguments must share one shape"):
        sequence_logps(logits, ids, mask[:, :6])
    with pytest.raises(ValueError, match=r"counts a first token, which no logits predict. Put the prompt"):
        sequence_logps(logits, ids, torch.ones_like(mask))


def test_the_implicit_reward_is_the_scaled_log_ratio():
    logps, ref = torch.tensor([-1.0, -5.0, math.nan]), torch.tensor([-2.0, -3.0, -1.0])
    assert_close(implicit_reward(logps, ref, beta=0.1), torch.tensor([0.1, -0.2, math.nan]), equal_nan=True)
    per_token = implicit_reward(logps[:2], ref[:2], beta=0.1, lengths=torch.tensor([4, 0]))
    assert_close(per_token, torch.tensor([0.025, math.nan]), equal_nan=True)


def test_it_recovers_the_reward_of_the_optimal_policy_up_to_a_constant():
    """π* ∝ π_ref e^{r/β} is the optimum of E[r] − β KL, so β log π*/π_ref = r − β log Z."""
    generator = torch.Generator().manual_seed(2)
    rewards, ref = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    best = (ref.log_softmax(0) + rewards / 0.3).log_softmax(0)
    implied = implicit_reward(best, ref.log_softmax(0), beta=0.3)
    assert_close(implied - implied[0], rewards - rewards[0])


def test_a_beta_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"implicit_reward: beta=0 must be above 0. Pass the β"):
        implicit_reward(torch.zeros(1), torch.zeros(1), beta=0)
    with pytest.raises(ValueError, match="implicit_reward: arguments must share one shape"):
        implicit_reward(torch.zeros(1), torch.zeros(2))
