"""A length penalty on the prompts that are solved most often, and the plain reward on all others."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from rewardsmith._check import check_range
from rewardsmith.transforms.lengths import LengthLink, Stats, _solved, length_shaped
from rewardsmith.types import Traits, declares


@declares(Traits(scope="batch", affine=False))
def easiest_prompts(
    rewards: Tensor,
    *,
    group_size: int,
    fraction: float = 0.2,
    min_ratio: float = 0.0,
    generator: torch.Generator,
    truncated: Tensor | None = None,
) -> Tensor:
    """Mark the prompts of a batch that are solved most often.

        S = the ⌈λP⌉ prompts of largest a_k = mean_i z_ki, of those with a_k ≥ min_ratio

    Dai et al. 2025, arXiv:2505.18086 (step 1). P counts the prompts with a scored completion. The choice is relative to
    the batch: if accuracy falls everywhere, a share is still chosen, except below `min_ratio`. Ties, common at a_k = 1,
    are broken at random, or prompts early in the batch would always be chosen.

    Args:
        rewards: (B,) correctness z ∈ {0, 1} of the whole batch, gathered over processes; NaN leaves a_k.
        fraction: λ; 0 chooses none, 1 all.
        min_ratio: the solve rate below which a prompt is never chosen.
        generator: breaks ties. Every process must use the same seed and call equally often, to make the same choice.
        truncated: (B,) True where the completion was cut off, which counts as wrong.

    Returns:
        (B,) bool, True for all rows of a chosen prompt.

    >>> easiest_prompts(
    ...     torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0, 0.0]), group_size=2, fraction=0.3, generator=torch.Generator()
    ... )
    tensor([False, False,  True,  True, False, False])
    """
    check_range("easiest_prompts", "fraction", fraction, 0.0, 1.0)
    check_range("easiest_prompts", "min_ratio", min_ratio, 0.0, 1.0)
    right, _ = _solved("easiest_prompts", rewards, group_size, truncated)
    ratio = right.double().nanmean(dim=1)  # (P,) NaN where nothing is scored
    known = ~ratio.isnan()
    shuffled = torch.randperm(len(ratio), generator=generator, device=generator.device).to(ratio.device)
    order = shuffled[ratio.nan_to_num(nan=-1.0)[shuffled].argsort(descending=True, stable=True)]
    n_chosen = math.ceil(fraction * int(known.sum()) - 1e-9)  # 0.07 · 100 is 7, whatever the rounding
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    chosen = known & (rank < n_chosen) & (ratio >= min_ratio)
    return chosen.repeat_interleave(group_size)


@declares(Traits(scope="batch", affine=False, bounded=(0.0, 1.0)))
def grpo_lambda(
    rewards: Tensor,
    lengths: Tensor,
    *,
    group_size: int,
    generator: torch.Generator,
    fraction: float = 0.2,
    min_ratio: float = 0.0,
    alpha: float = 0.2,
    link: LengthLink = "sigmoid_z",
    stats: Stats = "correct",
    eps: float = 1.0,
    truncated: Tensor | None = None,
) -> Tensor:
    """Penalize length only where the prompt is already solved: `length_shaped` on `easiest_prompts`, z elsewhere.

        u = z · (1 − α f(|y|)) for prompts in S,  z elsewhere

    Dai et al. 2025, arXiv:2505.18086 (GRPO-λ). fraction=0 is the plain reward, fraction=1 the penalty for all, which
    loses accuracy. The paper's α is not known to us. The ranking needs the gathered batch, and a reward function in TRL
    sees its own process only: pass this as a trainer's `transform`. As in `length_shaped`, a group z-score after it
    makes α irrelevant on prompts that are always solved; use `group_centered`.

    Args:
        rewards, lengths, group_size, alpha, link, stats, eps, truncated: as in `length_shaped`.
        fraction, min_ratio, generator: as in `easiest_prompts`. In a run use the module `GRPOLambda`, whose state is
            saved with it.

    Returns:
        (B,) rewards in [0, 1].
    """
    shaped = length_shaped(
        rewards, lengths, group_size=group_size, alpha=alpha, link=link, stats=stats, eps=eps, truncated=truncated
    )
    chosen = {"fraction": fraction, "min_ratio": min_ratio}
    easy = easiest_prompts(rewards, group_size=group_size, generator=generator, truncated=truncated, **chosen)
    plain = _solved("grpo_lambda", rewards, group_size, truncated)[0].flatten().to(shaped)
    return torch.where(easy, shaped, plain)


class GRPOLambda(nn.Module):
    """`grpo_lambda` for a run, with its own random tie breaks: new at every call, the same on every process.

    The draw of call number n depends on (`seed`, n) alone. n is in the `state_dict`, so a resumed run continues. In
    eval mode n stands still.

    Args:
        seed: the same on every process.
        fraction, min_ratio, alpha, link, stats, eps: as in `grpo_lambda`.

    Call it with `rewards`, `lengths`, `group_size` and `truncated` as in `grpo_lambda`.
    """

    calls: Tensor

    def __init__(
        self,
        *,
        seed: int = 0,
        fraction: float = 0.2,
        min_ratio: float = 0.0,
        alpha: float = 0.2,
        link: LengthLink = "sigmoid_z",
        stats: Stats = "correct",
        eps: float = 1.0,
    ) -> None:
        super().__init__()
        check_range("GRPOLambda", "fraction", fraction, 0.0, 1.0)
        check_range("GRPOLambda", "min_ratio", min_ratio, 0.0, 1.0)
        check_range("GRPOLambda", "alpha", alpha, 0.0, 1.0)
        check_range("GRPOLambda", "eps", eps, 1e-6, math.inf)
        self.seed, self.fraction, self.min_ratio, self.alpha = seed, fraction, min_ratio, alpha
        self._shape = partial(
            grpo_lambda, fraction=fraction, min_ratio=min_ratio, alpha=alpha, link=link, stats=stats, eps=eps
        )
        self.register_buffer("calls", torch.tensor(0))

    @property
    def __traits__(self) -> Traits:
        return Traits(scope="batch", affine=False, bounded=(0.0, 1.0))

    def forward(self, rewards: Tensor, lengths: Tensor, *, group_size: int, truncated: Tensor | None = None) -> Tensor:
        # torch's CPU generator reads 32 bits of a seed
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + int(self.calls)) % 2**32)
        if self.training:
            self.calls += 1
        return self._shape(rewards, lengths, group_size=group_size, generator=generator, truncated=truncated)

    def extra_repr(self) -> str:
        return f"fraction={self.fraction}, min_ratio={self.min_ratio}, alpha={self.alpha}, seed={self.seed}"
