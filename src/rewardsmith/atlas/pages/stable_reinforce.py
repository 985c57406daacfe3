"""Bounded ratios, trimmed outliers and a bonus for verdicts that match their reasons keep a judge's training stable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith.advantages import advantage_filter
from rewardsmith.atlas.criteria import All, AtLeast, PairedGain
from rewardsmith.atlas.figures import plane
from rewardsmith.atlas.page import rows
from rewardsmith.transforms import gated_bonus
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    PairedGain("accuracy/stable", over="accuracy/reinforce", at_least=0.04),
    AtLeast("agreement/stable", 0.85),
    PairedGain("agreement/stable", over="agreement/filter", at_least=0.2),
    PairedGain("accuracy/clip_small_step", over="accuracy/stable_small_step", at_least=-0.015, at_most=0.015),
)
CLAMP = math.log(1e3)


class Arm(NamedTuple):
    """How an arm learns: the weight of the consistency bonus, what it does about outliers, and its step size."""

    bonus: float = 0.5
    robust: str = "none"
    rate: float = 1.0


ARMS = {
    "reinforce": Arm(bonus=0.0),
    "consistency": Arm(),
    "filter": Arm(bonus=0.0, robust="zero"),
    "stable": Arm(robust="zero"),
    "reward_clip": Arm(robust="clip"),
    "winsor": Arm(robust="winsor"),
    "mad": Arm(robust="mad"),
    "ranks": Arm(robust="ranks"),
    "rewhiten": Arm(robust="rewhiten"),
    "consistency_small_step": Arm(rate=0.1),
    "stable_small_step": Arm(robust="zero", rate=0.1),
    "clip_small_step": Arm(robust="clip", rate=0.1),
}  # arms of one rate stand together
FILTERS: dict[str, Callable[[Tensor], Tensor]] = {
    "zero": advantage_filter,
    "winsor": partial(advantage_filter, mode="winsor"),
    "mad": partial(advantage_filter, stats="median_mad"),
    "rewhiten": partial(advantage_filter, mode="drop"),
}


@dataclass(frozen=True, slots=True)
class World:
    """A judge that writes a conclusion, a verdict after it, and a format, rewarded by rules with some wild errors.

    The better of two answers is sign(w·x), with x the difference of their features. Verdict and conclusion agree only
    if the judge learns to.
    """

    n_judges: int = 2  # averaged per seed, each with a w of its own
    n_features: int = 16  # of x
    width: int = 32  # of the judge's two hidden layers
    outlier_rate: float = 0.02  # share of rewards that are wrong
    outlier_size: float = 50.0  # and then plus or minus this
    iterations: int = 40  # batches
    batch: int = 128  # samples a batch, one per prompt
    epochs: int = 8  # passes over a batch
    minibatch: int = 64  # samples per step
    clip: float = 0.2  # of the ratio
    learning_rate: float = 0.02  # of Adam, for an arm of rate 1
    n_test: int = 500  # prompts to test on


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure greedy accuracy in a valid format, and how often verdict and conclusion agree."""
    streams = Streams([seed * world.n_judges + k for seed in seeds for k in range(world.n_judges)])
    arms = list(ARMS.values())
    truth = streams.randn(1, world.n_features, 1)
    sizes = (world.n_features, world.width, world.width, 8)
    first = BatchedMLP(sizes, lead=(len(streams), 1), streams=streams, activation=torch.tanh)
    judges = {rate: first.take([0] * sum(arm.rate == rate for arm in arms)) for rate in {arm.rate: 0 for arm in arms}}

    def judged(x: Tensor) -> Tensor:
        return torch.cat([judge(x) for judge in judges.values()], dim=1)  # (S, A, B, 8)

    bonus = torch.tensor([0.0 if broken else arm.bonus for arm in arms], dtype=torch.float64)[:, None]
    passes = [start for _ in range(world.epochs) for start in range(0, world.batch, world.minibatch)]
    groups = [{"params": list(judge.parameters()), "lr": world.learning_rate * r} for r, judge in judges.items()]
    for step in adam_steps(groups, world.iterations * len(passes), learning_rate=world.learning_rate, fused=False):
        start = passes[step % len(passes)]
        if step % len(passes) == 0:
            x = streams.randn(1, world.batch, world.n_features)
            right = (x @ truth > 0).squeeze(-1).long()
            with torch.no_grad():
                logits = judged(x)
                written = spoken(logits, streams.rand(3, 1, world.batch))
                old = token_logps(logits, written)
            wild = streams.rand(1, world.batch) < world.outlier_rate
            error = world.outlier_size * (2.0 * streams.randint(2, 1, world.batch) - 1)
            weight = credit(torch.where(wild, error, reward_of(written, right, bonus)))
        if start == 0:
            order = streams.randperm(world.batch)
        some = order[:, start : start + world.minibatch]
        by_arm = some[:, None].expand(-1, len(arms), -1)
        inputs = x.gather(2, some[:, None, :, None].expand(-1, -1, -1, world.n_features))
        tokens = by_arm[..., None].expand(-1, -1, -1, 3)
        now = token_logps(judged(inputs), written.gather(2, tokens))
        loss = surrogate(now - old.gather(2, tokens), weight.gather(2, by_arm)[..., None], world.clip)
        torch.autograd.backward(loss.mean(dim=(-1, -2)).sum())
    x = streams.randn(1, world.n_test, world.n_features)
    right = (x @ truth > 0).squeeze(-1).long()
    with torch.no_grad():
        conclusion, verdict, valid = spoken(judged(x), None).unbind(-1)
    accuracy = ((verdict == right) & (valid == 1)).double().mean(dim=-1)
    agreement = (verdict == conclusion).double().mean(dim=-1)
    tables = {"accuracy": accuracy, "agreement": agreement}
    by_seed = {name: values.view(len(seeds), world.n_judges, -1).mean(dim=1) for name, values in tables.items()}
    return rows({name: dict(zip(ARMS, values.unbind(1), strict=True)) for name, values in by_seed.items()})


def heads(logits: Tensor, conclusion: Tensor) -> list[Tensor]:
    """Return (..., 2) log-probabilities of conclusion, verdict after it, and format, from (..., 8) logits."""
    table = torch.stack([logits[..., 2:4], logits[..., 4:6]], dim=-2)  # by conclusion
    verdict = table.gather(-2, conclusion[..., None, None].expand(*conclusion.shape, 1, 2)).squeeze(-2)
    return [part.log_softmax(dim=-1) for part in (logits[..., :2], verdict, logits[..., 6:])]


def spoken(logits: Tensor, uniform: Tensor | None) -> Tensor:
    """Return (..., 3) tokens drawn with uniform numbers (S, 3, 1, B), or the likeliest where there are none."""
    tokens: list[Tensor] = []
    for place in range(3):
        logps = heads(logits, tokens[0] if tokens else torch.zeros(logits.shape[:-1], dtype=torch.int64))[place]
        tokens.append(logps.argmax(-1) if uniform is None else sample_index(logps.exp(), uniform[:, place]))
    return torch.stack(tokens, dim=-1)


def token_logps(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return (..., 3) log-probabilities of the tokens."""
    parts = zip(heads(logits, tokens[..., 0]), torch.split(tokens, 1, dim=-1), strict=True)
    return torch.cat([part.gather(-1, token) for part, token in parts], dim=-1)


def reward_of(tokens: Tensor, right: Tensor, bonus: Tensor) -> Tensor:
    """Return (S, A, B) rewards a(1 + w·c) + ½ f, c = ±1 as verdict and conclusion agree or not."""
    conclusion, verdict, valid = tokens.unbind(-1)
    agree = torch.where(verdict == conclusion, 1.0, -1.0).double()
    return gated_bonus((verdict == right).double(), 2 * bonus * agree) + 0.5 * valid  # w is ½ by default


def whitened(values: Tensor) -> Tensor:
    """Return the z-scores of (B,) values, NaN left out."""
    known = values[~values.isnan()]
    return (values - known.mean()) / known.std(correction=0).clamp_min(1e-8)


def credit(rewards: Tensor) -> Tensor:
    """Return (S, A, B) advantages by each arm's rule, one batch at a time."""
    found = torch.empty_like(rewards)
    for place, arm in enumerate(ARMS.values()):
        for seed, own in enumerate(prepared(rewards[:, place], arm.robust)):
            z = whitened(own)
            z = FILTERS[arm.robust](z) if arm.robust in FILTERS else z
            found[seed, place] = whitened(z).nan_to_num(0.0) if arm.robust == "rewhiten" else z
    return found


def prepared(rewards: Tensor, robust: str) -> Tensor:
    """Return (S, B) rewards clipped to their range, or their ranks, ties at their mean; else as they are."""
    if robust == "ranks":
        return (rewards[..., None] - rewards[..., None, :]).sign().sum(dim=-1)
    return rewards.clamp(0.0, 2.0) if robust == "clip" else rewards


def surrogate(log_ratio: Tensor, weight: Tensor, clip: float) -> Tensor:
    """Return the clipped loss of each token, with the log-ratio clamped before the exponential."""
    ratio = log_ratio.clamp(-CLAMP, CLAMP).exp()
    return -torch.minimum(ratio * weight, ratio.clamp(1 - clip, 1 + clip) * weight)


figure = partial(
    plane,
    x=("accuracy", "accuracy in a valid format"),
    y=("agreement", "verdict agrees with the conclusion"),
    arms={
        "reinforce": "Reinforce++", "consistency": "with consistency bonus", "stable": "StableReinforce",
        "reward_clip": "rewards clipped", "mad": "median and MAD", "consistency_small_step": "a tenth of the step",
    },
    level=None,
)  # fmt: skip
