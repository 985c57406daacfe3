"""Log-probabilities of completions under a language model, and the reward that a trained policy implies."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from rewardsmith._check import check_range, check_same_shape, check_shape


def sequence_logps(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Sum the log-probabilities of each completion's tokens.

        log π(y|x) = Σ_{t: mask_t} log softmax(logits_{t−1})[ids_t]

    The logits at a position predict the *next* token, so those of t − 1 are read for token t, and a first token is
    never scored. The mask marks the completion's tokens: no prompt, no padding, and the end-of-sequence token included,
    on both sides of a pair. Evaluate without dropout, and use the same text format for every model in a comparison.

    Args:
        logits: (B, T, V) of the model on `ids`; half precision is summed in float32.
        ids: (B, T) int64 tokens; any value where masked, such as −100.
        mask: (B, T) True (or 1) at the completion's tokens.

    Returns:
        (B,) in nats; 0 for an empty completion, whose probability is 1. Masked positions neither count nor get a
        gradient, even where their logits are not finite.

    >>> logits = torch.log(torch.tensor([[[0.25, 0.75], [0.5, 0.5]]]))
    >>> sequence_logps(logits, torch.tensor([[0, 1]]), torch.tensor([[False, True]])).exp()
    tensor([0.7500])
    """
    return _per_token("sequence_logps", logits, ids, mask).sum(dim=-1)


def per_token_logps(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Return the log-probability of each completion token, the terms of `sequence_logps`.

        log π(y_t | x, y_<t) = log softmax(logits_{t−1})[ids_t]

    Arguments as in `sequence_logps`; (B, T) in nats, at the token's own position, 0 where masked. For a large
    vocabulary `chunked_token_logps` needs less memory.

    >>> logits = torch.log(torch.tensor([[[0.25, 0.75], [0.5, 0.5]]]))
    >>> per_token_logps(logits, torch.tensor([[0, 1]]), torch.tensor([[False, True]])).exp()
    tensor([[1.0000, 0.7500]])
    """
    return _per_token("per_token_logps", logits, ids, mask)


def chunked_token_logps(
    hidden: Tensor, weight: Tensor, ids: Tensor, mask: Tensor, *, chunk: int = 256, bias: Tensor | None = None
) -> Tensor:
    """Return `per_token_logps` of the logits `hidden @ weight.T + bias` without holding those of all tokens.

    The logits of `chunk` tokens exist at a time, in the forward pass and again in the backward pass, and none of masked
    tokens. Values and gradients are those of the plain formula up to rounding; half precision is normalized in float32.

    Args:
        hidden: (B, T, d) last hidden states. weight: (V, d) of the output layer. bias: (V,) or None.
        ids, mask: (B, T) as in `sequence_logps`.
        chunk: tokens at a time; V · chunk numbers are held a few times.

    >>> hidden, weight = torch.zeros(1, 2, 3), torch.zeros(4, 3)
    >>> chunked_token_logps(hidden, weight, torch.tensor([[0, 1]]), torch.tensor([[False, True]])).exp()
    tensor([[1.0000, 0.2500]])
    """
    check_shape("chunked_token_logps", "hidden", hidden, *ids.shape, None)
    check_shape("chunked_token_logps", "weight", weight, None, hidden.shape[-1])
    check_range("chunked_token_logps", "chunk", chunk, 1, math.inf)
    counted = _counted("chunked_token_logps", ids, mask)
    states, targets = hidden[..., :-1, :][counted], ids[..., 1:][counted]  # (n, d), (n,)
    parts = [
        checkpoint(_chosen_logps, h, weight, bias, target, use_reentrant=False, preserve_rng_state=False)
        for h, target in zip(torch.split(states, chunk), torch.split(targets, chunk), strict=True)
    ]
    found = torch.cat(parts)
    return F.pad(found.new_zeros(counted.shape).masked_scatter(counted, found), (1, 0))


def implicit_reward(logps: Tensor, ref_logps: Tensor, *, beta: float = 0.1, lengths: Tensor | None = None) -> Tensor:
    """Return the reward that a policy trained by DPO implies, its log-ratio to the reference times β.

        r(x, y) = β [ log π(y|x) − log π_ref(y|x) ]              with `lengths`: divided by |y|

    Rafailov et al. 2023, arXiv:2305.18290, Eq. 5, up to a constant of the prompt: it ranks completions of one prompt
    only. Lin et al. 2024, arXiv:2409.03650: it fits its data as a reward head does and ranks less well on other data.
    The sum spreads more for longer completions. Division by |y| gives another reward, so report which one is used.

    Args:
        logps: (B,) of the policy, as `sequence_logps` gives them.
        ref_logps: (B,) of the reference that it was trained against.
        beta: β > 0; it scales the reward and never changes the order.
        lengths: (B,) completion tokens, or None for the sum.

    Returns:
        (B,) rewards; NaN where a log-probability is NaN, or the length is 0.

    >>> implicit_reward(torch.tensor([-2.0]), torch.tensor([-3.0]), beta=0.5)
    tensor([0.5000])
    """
    check_same_shape("implicit_reward", logps, ref_logps)
    if not beta > 0:
        raise ValueError(f"implicit_reward: beta={beta} must be above 0. Pass the β that the policy was trained with.")
    rewards = beta * (logps - ref_logps)
    if lengths is None:
        return rewards
    check_same_shape("implicit_reward", logps, lengths)
    return rewards / lengths.to(rewards.dtype).masked_fill(lengths <= 0, math.nan)


def wide(values: Tensor) -> Tensor:
    """Return half precision as float32 and anything else as it is."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _counted(caller: str, ids: Tensor, mask: Tensor) -> Tensor:
    """Return (B, T − 1) True where the next token counts."""
    check_same_shape(caller, ids, mask)
    if bool((mask[..., :1] != 0).any()):
        raise ValueError(
            f"{caller}: the mask counts a first token, which no logits predict. Put the prompt, or a "
            "beginning-of-sequence token, before the completion."
        )
    return mask[..., 1:].bool()


def _per_token(caller: str, logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    check_shape(caller, "logits", logits, *ids.shape, None)
    counted = _counted(caller, ids, mask)
    held = wide(logits[..., :-1, :]).masked_fill(~counted[..., None], 0.0)
    per_token = _chosen(held, ids[..., 1:].masked_fill(~counted, 0)).masked_fill(~counted, 0.0)
    return F.pad(per_token, (1, 0))


def _chosen(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.gather(-1, targets[..., None]).squeeze(-1) - logits.logsumexp(dim=-1)


def _chosen_logps(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    return _chosen(wide(F.linear(hidden, weight, bias)), targets)
