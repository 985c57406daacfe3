"""Log-probabilities of tokens and sequences against a loop and TRL's own; the implicit reward by its definition."""

import math

import pytest
import torch
from tests.installed import part_of
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rewardsmith.objectives import chunked_token_logps, implicit_reward, per_token_logps, sequence_logps


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


def test_each_token_s_term_stands_at_the_token_s_place(batch):
    logits, ids, mask = batch
    terms = per_token_logps(logits, ids, mask)
    for t in range(1, 7):
        alone = torch.zeros_like(mask)
        alone[:, t] = mask[:, t]
        assert_close(terms[:, t], slow(logits, ids, alone))
    assert (terms[~mask] == 0).all()
    with pytest.raises(ValueError, match="per_token_logps: the mask counts a first token"):
        per_token_logps(logits, ids, torch.ones_like(mask))


@pytest.fixture
def head():
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(5, 7, 4, generator=generator, dtype=torch.float64)
    return hidden, torch.randn(11, 4, generator=generator, dtype=torch.float64), torch.randn(11, dtype=torch.float64)


@pytest.mark.parametrize("chunk", [1, 4, 1000])
@pytest.mark.parametrize("with_bias", [True, False])
def test_in_chunks_it_has_the_values_and_gradients_of_the_plain_formula(batch, head, chunk, with_bias):
    _, ids, mask = batch
    ours, plain = ([tensor.clone().requires_grad_() for tensor in head] for _ in range(2))
    bias = ours[2] if with_bias else None
    found = chunked_token_logps(*ours[:2], ids.masked_fill(~mask, -100), mask, chunk=chunk, bias=bias)
    expected = torch.zeros_like(found)
    table = (plain[0] @ plain[1].T + (plain[2] if with_bias else 0)).log_softmax(-1)
    for b, t in mask.nonzero().tolist():
        expected[b, t] = table[b, t - 1, ids[b, t]]
    assert_close(found, expected)
    weights = torch.linspace(-1, 2, found.numel(), dtype=torch.float64).view_as(found)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for ours_one, plain_one in zip(ours[: 2 + with_bias], plain, strict=False):
        assert_close(ours_one.grad, plain_one.grad)


@pytest.mark.slow
def test_in_chunks_gradients_are_numerical_ones_and_nothing_counted_is_zero(batch, head):
    _, ids, mask = batch
    rows = [tensor.clone().requires_grad_() for tensor in head]
    assert torch.autograd.gradcheck(
        lambda h, w, b: chunked_token_logps(h[:2], w, ids[:2], mask[:2], chunk=3, bias=b), rows
    )
    nothing = chunked_token_logps(rows[0], rows[1], ids, torch.zeros_like(mask))
    assert nothing.shape == mask.shape
    assert (nothing == 0).all()
    nothing.sum().backward()
    assert (rows[1].grad == 0).all()


class Largest(TorchDispatchMode):
    """Records the number of elements of the largest tensor that any operation makes."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.size = max([self.size, *sizes])
        return result


def test_the_logits_of_no_more_than_a_chunk_exist_forward_or_backward():
    hidden, weight = torch.randn(4, 33, 8), torch.randn(1000, 8)
    ids, mask = torch.randint(1000, (4, 33)), torch.arange(33).expand(4, 33) > 0
    rows = [hidden.requires_grad_(), weight.requires_grad_()]
    with Largest() as ours:
        chunked_token_logps(*rows, ids, mask, chunk=16).sum().backward()
    assert ours.size == 16 * 1000
    with Largest() as plain:
        per_token_logps(rows[0] @ rows[1].T, ids, mask).sum().backward()
    assert plain.size == 4 * 33 * 1000


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_chunks_half_precision_is_normalized_in_single(batch, head, dtype):
    _, ids, mask = batch
    hidden, weight, _ = (tensor.to(dtype) for tensor in head)
    found = chunked_token_logps(hidden, weight, ids, mask)
    assert found.dtype == torch.float32
    assert_close(found, per_token_logps(hidden @ weight.T, ids, mask), atol=1e-5, rtol=0)


def test_in_chunks_what_is_masked_is_not_read_and_shapes_are_checked(batch, head):
    _, ids, mask = batch
    hidden, weight, _ = head
    unread = ~torch.cat([mask[:, 1:], torch.zeros(5, 1, dtype=torch.bool)], dim=1)
    clean = chunked_token_logps(hidden, weight, ids, mask)
    assert_close(chunked_token_logps(hidden.masked_fill(unread[..., None], math.nan), weight, ids, mask), clean)
    with pytest.raises(ValueError, match=r"chunked_token_logps: weight must have shape \(any, 4\), got \(11, 3\)"):
        chunked_token_logps(hidden, weight[:, :3], ids, mask)
    with pytest.raises(ValueError, match="chunked_token_logps: chunk is 0, outside"):
        chunked_token_logps(hidden, weight, ids, mask, chunk=0)


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
