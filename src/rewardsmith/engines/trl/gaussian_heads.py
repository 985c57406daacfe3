"""Gaussian heads, which give a score and its uncertainty, fit on the features of a reward model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast, get_args

import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from rewardsmith._check import check_choice, check_range
from rewardsmith.data import PreferenceRow
from rewardsmith.engines.trl.fit import RewardFit, written
from rewardsmith.objectives import thurstone_loss
from rewardsmith.objectives.pairwise import sampled_preference_loss
from rewardsmith.rewards import GaussianReward, SequenceReward

Likelihood = Literal["thurstone", "mse_prob", "gaussian_nll"]


@dataclass(frozen=True)
class HeadsFit:
    """Settings of the fit of Gaussian heads.

    likelihood: "thurstone" (`thurstone_loss`), "mse_prob" (`sampled_preference_loss`), or "gaussian_nll" of the scores
        that the model's own head gives.
    subset: share of the pairs that each head sees, drawn per head; with all pairs the heads become copies.
    steps, batch_size, learning_rate: of AdamW, pairs per update.
    """

    likelihood: Likelihood = "thurstone"
    subset: float = 0.6
    steps: int = 500
    batch_size: int = 64
    learning_rate: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("HeadsFit", "likelihood", self.likelihood, get_args(Likelihood))
        check_range("HeadsFit", "subset", self.subset, 0.01, 1.0)


class FittedHeads(NamedTuple):
    """Figures of the fitted heads, on the pairs that they were fit on.

    n_pairs: number of pairs that could be read.
    accuracy: (K,) share of them that a head's μ ranks right.
    correlation: between the μ of two heads, averaged; near 1 the heads are copies, and their spread says nothing.
    std: mean σ in units of the spread of μ; where all are at the floor, the choice of the surest head is arbitrary.
    """

    n_pairs: int
    accuracy: list[float]
    correlation: float
    std: float


def fit_gaussian_heads(
    reward: GaussianReward, rows: Sequence[PreferenceRow], fit: HeadsFit | None = None
) -> FittedHeads:
    """Fit the heads of a `GaussianReward` to pairs, in place, with the trunk frozen.

    The second stage of Yan et al. 2024, arXiv:2409.15360, after an ordinary reward model (`fit_reward_model`). Their
    target could not be read; the options are `HeadsFit.likelihood`. Features are computed once. All heads read the same
    batches, and each learns from its own subset. Ties and pairs that are too long are left out.

        heads = GaussianHeads(width, n_heads=5)
        reward = GaussianReward(model, heads, tokenizer, aggregate=partial(robust_mix, coef=0.3))
        fit_gaussian_heads(reward, rows)
        reward.save(folder)  # for load_reward_model

    Raises:
        ValueError: no pair can be read, or "gaussian_nll" of a model without one score.
    """
    fit = fit or HeadsFit()
    chat = bool(reward.tokenizer.chat_template) if reward.chat is None else reward.chat
    pairs = [cast("PreferenceRow", written(row, RewardFit(), chat=chat)) for row in rows if not row.is_tie]
    prompts = [row.prompt for row in pairs] * 2
    answers = [row.chosen for row in pairs] + [row.rejected for row in pairs]
    features = torch.stack(reward.features(prompts, answers).float().chunk(2))  # (2, N, d)
    targets = torch.zeros(2, len(pairs))
    if fit.likelihood == "gaussian_nll":  # targets are the standardized scores of the model's own head
        if getattr(reward.model.config, "num_labels", 0) != 1:
            raise ValueError(
                "fit_gaussian_heads: gaussian_nll needs a model with one score. Train it by fit_reward_model."
            )
        own = SequenceReward(
            reward.model, reward.tokenizer, max_length=reward.max_length, chat=reward.chat, eos=reward.eos,
            batching=reward.batching,
        )  # fmt: skip
        found = torch.tensor([math.nan if s is None else s for s in own.score(prompts, answers)])
        known = found[found.isfinite()]
        targets = torch.stack(((found - known.mean()) / known.std().clamp_min(1e-6)).chunk(2))
    read = (features.isfinite().all(dim=-1) & targets.isfinite()).all(dim=0)
    if not bool(read.any()):
        raise ValueError(f"fit_gaussian_heads: none of {len(rows)} rows can be read. Pass pairs that are not too long.")
    features, targets = features[:, read], targets[:, read]
    heads, n = reward.heads, features.shape[1]
    device, n_heads = heads.weights[0].device, len(heads.weights[0])
    generator = torch.Generator().manual_seed(fit.seed)
    kept = torch.rand(n_heads, n, generator=generator).argsort(dim=1).argsort(dim=1) < max(1, round(fit.subset * n))
    optimizer = torch.optim.AdamW(heads.parameters(), lr=fit.learning_rate)
    for _ in track(range(fit.steps), description="Gaussian heads", transient=True):
        picks = torch.randint(n, (fit.batch_size,), generator=generator)
        scores = heads(features[:, picks].flatten(0, 1).to(device))
        mean, std = (torch.stack(s.chunk(2)) for s in scores)  # (2, b, K)
        if fit.likelihood == "thurstone":
            losses = thurstone_loss(mean[0], mean[1], std[0], std[1])
        elif fit.likelihood == "mse_prob":
            noise = torch.randn(mean.shape[1:], generator=generator).to(device)
            losses = sampled_preference_loss(mean[0], mean[1], std[0], std[1], noise)
        else:
            goal = targets[:, picks, None].to(device).expand_as(mean)
            losses = F.gaussian_nll_loss(mean, goal, std.square(), reduction="none").mean(dim=0)
        mine = kept[:, picks].T.to(device)
        loss = (losses.where(mine, 0.0).sum(dim=0) / mine.sum(dim=0).clamp_min(1)).sum()  # a head's mean over its pairs
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    reward.fit_reference(prompts, answers)
    return _summary(reward, features)


@torch.no_grad()
def _summary(reward: GaussianReward, features: Tensor) -> FittedHeads:
    mean, std = (s.double().cpu() for s in reward.heads(features.flatten(0, 1).to(reward.heads.weights[0].device)))
    chosen, rejected = mean.chunk(2)  # (N, K)
    correlations = torch.corrcoef(mean.T).reshape(mean.shape[1], -1)
    apart = ~torch.eye(mean.shape[1], dtype=torch.bool)
    return FittedHeads(
        n_pairs=len(chosen),
        accuracy=(chosen > rejected).double().mean(dim=0).tolist(),
        correlation=float(correlations[apart].mean()),
        std=float((std / mean.std(dim=0)).mean()),
    )
