"""Prompts of two kinds, answers that can be checked and answers that cannot, with a source of reward for each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rewardsmith._check import check_range
from rewardsmith.worlds.streams import Streams


@dataclass(frozen=True, slots=True)
class MixedPool:
    """P prompts with N candidate responses each, the first half verifiable and the rest open, for S seeds.

    What makes a response right on a verifiable prompt, and what makes it good on an open one, are two directions of
    its content. A policy linear in the features tells the kinds apart in the content, which it weighs by kind, and not
    in length and format: habits of form carry over from one kind to the other, knowledge does not.

    features: (S, P, N, D) the content in the columns of the prompt's kind, 0 in the other's, then length and format.
    gold: (S, P, N) 1 or 0 where verifiable, the true quality in (0, 1) elsewhere.
    rule: (S, P, N) the checker's verdict, 1 or 0 with some flipped; NaN on open prompts, which it cannot check.
    model: (S, P, N) the learned reward in (0, 1), which knows little of verifiable prompts and likes length on all.
    lengths: (S, P, N) z-scores of length.
    formatted: (S, P, N) 1 where the requested structure is respected, else 0.
    verifiable: (P,) True in the first half.
    """

    features: Tensor
    gold: Tensor
    rule: Tensor
    model: Tensor
    lengths: Tensor
    formatted: Tensor
    verifiable: Tensor

    @classmethod
    def sample(
        cls,
        n_prompts: int,
        n_responses: int,
        *,
        streams: Streams,
        n_content: int = 12,
        base_accuracy: float = 0.17,
        flip_rate: float = 0.05,
        quality_scale: float = 1.5,
        model_slopes: tuple[float, float] = (0.25, 0.8),
        model_noise: float = 1.5,
        length_bias: float = 0.8,
        format_rate: float = 0.5,
    ) -> MixedPool:
        """Draw a pool.

        Args:
            n_content: content features per response, at least 1.
            base_accuracy: share of right responses on verifiable prompts.
            flip_rate: share of the checker's verdicts that are wrong.
            quality_scale: logits of an open response's gold per standard deviation of its quality.
            model_slopes: logits of the learned reward per standard deviation of quality, on either kind of prompt.
            model_noise: spread in logits of its error, which is fixed per response.
            length_bias: logits that it adds per standard deviation of length.
            format_rate: share of responses that respect the format, whatever their quality.
        """
        check_range("MixedPool.sample", "n_prompts", n_prompts, 2, math.inf)
        check_range("MixedPool.sample", "n_content", n_content, 1, math.inf)
        verifiable = torch.arange(n_prompts) < n_prompts // 2
        content = streams.randn(n_prompts, n_responses, n_content)
        directions = torch.nn.functional.normalize(streams.randn(2, n_content), dim=-1)  # (S, 2, C)
        quality = (content * directions[:, (~verifiable).long(), None]).sum(-1)  # (S, P, N) standard normal
        lengths = streams.randn(n_prompts, n_responses)
        formatted = (streams.rand(n_prompts, n_responses) < format_rate).to(quality)
        flipped = streams.rand(n_prompts, n_responses) < flip_rate
        known = verifiable[:, None, None]  # over responses and features
        slope = torch.where(verifiable, *model_slopes).to(quality)[:, None]  # (P, 1)
        noise = model_noise * streams.randn(n_prompts, n_responses)
        threshold = math.sqrt(2) * torch.erfinv(torch.tensor(1 - 2 * base_accuracy, dtype=quality.dtype))
        right = quality > threshold
        return cls(
            features=torch.cat([content * known, content * ~known, lengths[..., None], formatted[..., None]], dim=-1),
            gold=torch.where(verifiable[:, None], right.to(quality), (quality_scale * quality).sigmoid()),
            rule=torch.where(verifiable[:, None], (right ^ flipped).to(quality), math.nan),
            model=(slope * quality + noise + length_bias * lengths).sigmoid(),
            lengths=lengths,
            formatted=formatted,
            verifiable=verifiable,
        )
