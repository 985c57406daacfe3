"""Log-probabilities of completions under a language model, and the reward that a trained policy implies."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rewardsmith._check import check_same_shape, check_shape


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
    check_shape("sequence_logps", "logits", logits, *ids.shape, None)
    check_same_shape("sequence_logps", ids, mask)
    counted = mask[..., 1:].bool()
    if bool((mask[..., :1] != 0).any()):
        raise ValueError(
            "sequence_logps: the mask counts a first token, which no logits predict. Put the prompt, or a "
            "beginning-of-sequence token, before the completion."
        )
    wide = logits[..., :-1, :]
    wide = wide.float() if wide.dtype in (torch.float16, torch.bfloat16) else wide
    wide = wide.masked_fill(~counted[..., None], 0.0)
    targets = ids[..., 1:].masked_fill(~counted, 0)
    per_token = wide.gather(-1, targets[..., None]).squeeze(-1) - wide.logsumexp(dim=-1)
    return per_token.masked_fill(~counted, 0.0).sum(dim=-1)


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
