"""Compare undoing a verifier's error rates, one for all or one per style, with a larger step size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith.advantages import group_centered, group_zscore
from rewardsmith.atlas.criteria import All, AtMost, PairedGain, Within
from rewardsmith.atlas.figures import dots
from rewardsmith.transforms import AppealsEstimator, backward_correction, forward_weights
from rewardsmith.worlds.training import logit_gradient

CRITERION = All(
    # Rates by style repair the bias against a style; one rate for all, which is a step size, does not.
    PairedGain("styles_centered/backward_by_style", over="styles_centered/naive", at_least=0.25, p_value=0.01),
    PairedGain("styles_zscore/backward_by_style", over="styles_zscore/naive", at_least=0.25, p_value=0.01),
    PairedGain("styles_centered/backward_global", over="styles_centered/naive", at_most=0.02),
    AtMost("styles_centered_shortfall/appeals", 0.05),  # of the better style's 0.9
    AtMost("styles_zscore_shortfall/appeals", 0.05),
    Within("equal_styles_centered/backward_by_style", 0.35, 0.65),
    AtMost("equal_styles_zscore/backward_by_style", 0.2),
    # The control at one constant rate: a step size of 1/(1 − ρ₀ − ρ₁) without any correction.
    PairedGain("auc_plain/naive_larger_step", over="auc_plain/naive", at_least=0.12, p_value=0.01),
    PairedGain("auc_plain/backward", over="auc_plain/naive_larger_step", at_most=0.02),
)
Correction = Callable[["Draws"], Tensor]
GROUP = {"zscore": group_zscore, "centered": group_centered}


@dataclass(frozen=True, slots=True)
class World:
    """A verifier that errs, in front of a tabular policy."""

    n_prompts: int = 32  # prompts
    n_answers: int = 10  # answers per prompt, one of them right
    false_positive_rate: float = 0.3  # ρ₀ of the answers world, probability
    false_negative_rate: float = 0.4  # ρ₁ of the answers world, probability
    gold_a: float = 0.5  # probability that an answer in style A is right
    gold_b: float = 0.9  # the same for style B
    equal_gold: float = 0.5  # the same for both styles, where they are equally good
    missed_a: float = 0.05  # ρ₁ of style A, probability
    missed_b: float = 0.6  # ρ₁ of style B, probability
    appeal_rate: float = 0.25  # q, share of the rejected that are checked again
    appeal_error: float = 0.0  # probability that the second look is wrong, unknown to the estimator
    updates: int = 200  # gradient steps
    group_size: int = 16  # G, responses sampled per prompt and step
    learning_rate: float = 0.6  # of SGD, logits per unit of advantage


class Draws(NamedTuple):
    """One step's samples, (B,) each: the choice, what the verifier says of it, and the truth."""

    choice: Tensor
    verdict: Tensor
    right: Tensor


class Channel(NamedTuple):
    """What a prompt's choices are worth and how the verifier errs on them.

    p_right: (P, K) probability that a choice is truly right.
    false_positive_rate, false_negative_rate: (K,) of the verifier, by choice.
    """

    p_right: Tensor
    false_positive_rate: Tensor
    false_negative_rate: Tensor

    def sample(self, policy: Tensor, group_size: int, generator: torch.Generator) -> Draws:
        """Draw G choices per prompt, their truth, and what the verifier says of them."""
        uniform = torch.rand(3, len(policy), group_size, generator=generator, dtype=policy.dtype)
        choice = torch.searchsorted(policy.cumsum(-1), uniform[0]).clamp_max(policy.shape[1] - 1)
        right = uniform[1] < self.p_right.gather(1, choice)
        p_accept = torch.where(right, 1 - self.false_negative_rate[choice], self.false_positive_rate[choice])
        return Draws(choice.flatten(), (uniform[2] < p_accept).double().flatten(), right.double().flatten())

    def accuracy(self, policy: Tensor) -> Tensor:
        """Return the probability that a sampled choice is truly right, averaged over prompts."""
        return (policy * self.p_right).sum(-1).mean()


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Measure the gold accuracy that each correction trains: constant rates, rates by style, equally good styles."""
    results: dict[str, float] = {}
    # One rate for all, under plain SGD: a group z-score and Adam cancel what is then a step size.
    key = torch.randint(world.n_answers, (world.n_prompts,), generator=torch.Generator().manual_seed(seed))
    p_right, ones = torch.nn.functional.one_hot(key, world.n_answers).double(), torch.ones(world.n_answers).double()
    constant = Channel(p_right, world.false_positive_rate * ones, world.false_negative_rate * ones)
    plain = {name: (correct, 1.0) for name, correct in corrections(constant, broken).items()}
    plain["naive_larger_step"] = plain["naive"][0], 1 / (1 - world.false_positive_rate - world.false_negative_rate)
    for name, (correct, factor) in plain.items():
        curve, _ = train(seed, world, constant, correct, None, factor=factor)
        results |= {f"auc_plain/{name}": float(curve.mean()), f"final_plain/{name}": float(curve[-1])}
    # Style B is the better one, and the verifier misses most of its right answers.
    channel = styles(world, world.gold_a, world.gold_b)
    missed = channel.p_right[0] * channel.false_negative_rate
    pooled = torch.full_like(missed, float(missed.sum() / channel.p_right[0].sum()))
    overall = corrections(channel._replace(false_negative_rate=pooled), broken)
    by_style = corrections(channel, broken, suffix="_by_style")
    for kind in GROUP:
        arms = {name: by_style[name] for name in ("clean", "naive")} | {"backward_global": overall["backward"]}
        arms |= by_style | {"appeals": appealed(seed, world, broken=broken)}
        arms["appeals_flip_only"] = appealed(seed, world, flip_only=True)
        for name, correct in arms.items():
            curve, _ = train(seed, world, channel, correct, kind)
            results[f"styles_{kind}/{name}"] = float(curve[-1])
            results[f"styles_{kind}_shortfall/{name}"] = float(channel.p_right.max() - curve[-1])
    # Both styles are equally good, so a fair signal leaves style B about half of the mass.
    equal = styles(world, world.equal_gold, world.equal_gold)
    for kind, (name, correct) in product(GROUP, corrections(equal, broken, suffix="_by_style").items()):
        _, policy = train(seed, world, equal, correct, kind)
        results[f"equal_styles_{kind}/{name}"] = float(policy[:, 1].mean())
    return results


def styles(world: World, gold_a: float, gold_b: float) -> Channel:
    """Return two styles to choose from, whose right answers the verifier misses at different rates."""
    p_right = torch.tensor([[gold_a, gold_b]], dtype=torch.float64).expand(world.n_prompts, 2)
    missed = torch.tensor([world.missed_a, world.missed_b], dtype=torch.float64)
    return Channel(p_right, torch.zeros_like(missed), missed)


def corrections(channel: Channel, broken: bool, *, suffix: str = "") -> dict[str, Correction]:
    """Return the truth, the verdict as it comes, and both corrections with the channel's rates; swapped if broken."""
    _, positives, negatives = channel
    if broken:
        positives, negatives = negatives, positives
    return {
        "clean": lambda draws: draws.right,
        "naive": lambda draws: draws.verdict,
        f"backward{suffix}": lambda draws: backward_correction(
            draws.verdict, false_positive_rate=positives[draws.choice], false_negative_rate=negatives[draws.choice]
        ),
        f"forward{suffix}": lambda draws: forward_weights(draws.verdict, false_negative_rate=negatives[draws.choice]),
    }


def appealed(seed: int, world: World, *, broken: bool = False, flip_only: bool = False) -> Correction:
    """Return a correction by rates that are learned from a judge's second look at a share of the rejected.

    With `flip_only`, the overturned verdicts are set right and nothing else is done.
    """
    estimator, generator = AppealsEstimator(q=world.appeal_rate), torch.Generator().manual_seed(seed)

    def correct(draws: Draws) -> Tensor:
        chosen = estimator.select(draws.verdict, generator=generator)
        errs = torch.rand(draws.right.shape, generator=generator) < world.appeal_error
        judged = torch.where(errs, 1 - draws.right, draws.right)
        if flip_only:
            return torch.where(chosen, judged, draws.verdict)
        keys = [str(choice) for choice in draws.choice.tolist()]
        estimator.update(keys, draws.verdict, chosen, judged)
        missed = estimator.false_negative_rate(keys)
        accepted, missed = (missed, 0 * missed) if broken else (0 * missed, missed)
        return backward_correction(draws.verdict, false_positive_rate=accepted, false_negative_rate=missed)

    return correct


def train(
    seed: int, world: World, channel: Channel, correct: Correction, kind: str | None, *, factor: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Train by policy gradient; arms of one seed share their random numbers, so that equal signals end equal.

    Returns:
        (updates + 1,) gold accuracy, and the final (P, K) policy.
    """
    generator = torch.Generator().manual_seed(seed)
    logits, curve = torch.zeros_like(channel.p_right), []
    shape = (world.n_prompts, world.group_size)
    for _ in range(world.updates):
        policy = logits.softmax(-1)
        curve.append(channel.accuracy(policy))
        draws = channel.sample(policy, world.group_size, generator)
        rewards = correct(draws)
        advantages = GROUP[kind](rewards, group_size=world.group_size) if kind else rewards
        pull = logit_gradient(policy, draws.choice.view(shape), advantages.view(shape)) / world.group_size
        logits.add_(pull, alpha=world.learning_rate * factor)
    policy = logits.softmax(-1)
    return torch.stack([*curve, channel.accuracy(policy)]), policy


figure = partial(
    dots,
    series={"centered": "styles_centered/{}", "group z-score": "styles_zscore/{}"},
    label="gold accuracy under a biased verifier",
)
