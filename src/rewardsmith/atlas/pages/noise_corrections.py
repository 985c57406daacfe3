"""A verifier's error rates can be undone, but only where they differ within a group does training notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rewardsmith.advantages import group_centered, group_zscore
from rewardsmith.atlas.criteria import All, AtMost, Equal, PairedGain, Within
from rewardsmith.atlas.figures import dots
from rewardsmith.transforms import AppealsEstimator, backward_correction, forward_weights
from rewardsmith.worlds.training import adam_steps, logit_gradient

CRITERION = All(
    PairedGain("auc_plain/backward", over="auc_plain/naive", at_least=0.12, p_value=0.01),
    Equal("final_zscore/backward", to="final_zscore/naive", tol=1e-3),
    Equal("final_zscore/forward", to="final_zscore/naive", tol=1e-3),
    PairedGain("styles_centered/backward_by_style", over="styles_centered/naive", at_least=0.25, p_value=0.01),
    PairedGain("styles_zscore/backward_by_style", over="styles_zscore/naive", at_least=0.25, p_value=0.01),
    PairedGain("styles_centered/backward_global", over="styles_centered/naive", at_most=0.02),
    PairedGain("styles_zscore/backward_global", over="styles_zscore/naive", at_most=0.02),
    AtMost("styles_centered_shortfall/appeals", 0.05),  # of the better style's 0.9
    AtMost("styles_zscore_shortfall/appeals", 0.05),
    Within("equal_styles_centered/backward_by_style", 0.35, 0.65),
    AtMost("equal_styles_zscore/backward_by_style", 0.2),
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
    updates: int = 200  # gradient steps
    group_size: int = 16  # G, responses sampled per prompt and step
    learning_rate: float = 0.6  # of SGD, logits per unit of advantage
    adam_learning_rate: float = 0.05  # of Adam, logits per step


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
        """G choices per prompt, their truth, and what the verifier says of them."""
        uniform = torch.rand(3, len(policy), group_size, generator=generator, dtype=policy.dtype)
        choice = torch.searchsorted(policy.cumsum(-1), uniform[0]).clamp_max(policy.shape[1] - 1)
        right = uniform[1] < self.p_right.gather(1, choice)
        p_accept = torch.where(right, 1 - self.false_negative_rate[choice], self.false_positive_rate[choice])
        return Draws(choice.flatten(), (uniform[2] < p_accept).double().flatten(), right.double().flatten())

    def accuracy(self, policy: Tensor) -> Tensor:
        """Probability that a sampled choice is truly right, averaged over prompts."""
        return (policy * self.p_right).sum(-1).mean()


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Gold accuracy of what each correction trains: constant rates, rates by style, and styles of equal worth."""
    results: dict[str, float] = {}
    # One rate for all: plain SGD is where inverting it shows, a group z-score or Adam is where it cancels.
    key = torch.randint(world.n_answers, (world.n_prompts,), generator=torch.Generator().manual_seed(seed))
    p_right, ones = torch.nn.functional.one_hot(key, world.n_answers).double(), torch.ones(world.n_answers).double()
    constant = Channel(p_right, world.false_positive_rate * ones, world.false_negative_rate * ones)
    for name, correct in corrections(constant, broken).items():
        for label, kind in (("plain", None), ("zscore", "zscore"), ("adam", "centered")):
            curve, _ = train(seed, world, constant, correct, kind, adam=label == "adam")
            results |= {f"auc_{label}/{name}": float(curve.mean()), f"final_{label}/{name}": float(curve[-1])}
    # Style B is the better one, and the verifier misses most of its right answers.
    channel = styles(world, world.gold_a, world.gold_b)
    missed = channel.p_right[0] * channel.false_negative_rate
    pooled = torch.full_like(missed, float(missed.sum() / channel.p_right[0].sum()))
    overall = corrections(channel._replace(false_negative_rate=pooled), broken)
    by_style = corrections(channel, broken, suffix="_by_style")
    for kind in GROUP:
        arms = {name: by_style[name] for name in ("clean", "naive")} | {"backward_global": overall["backward"]}
        arms |= by_style | {"appeals": appealed(seed, world.appeal_rate, broken=broken)}
        arms["appeals_flip_only"] = appealed(seed, world.appeal_rate, flip_only=True)
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
    """Two styles to choose from, whose right answers the verifier misses at different rates."""
    p_right = torch.tensor([[gold_a, gold_b]], dtype=torch.float64).expand(world.n_prompts, 2)
    missed = torch.tensor([world.missed_a, world.missed_b], dtype=torch.float64)
    return Channel(p_right, torch.zeros_like(missed), missed)


def corrections(channel: Channel, broken: bool, *, suffix: str = "") -> dict[str, Correction]:
    """The truth, the verdict as it comes, and both corrections with the channel's rates; swapped if broken."""
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


def appealed(seed: int, rate: float, *, broken: bool = False, flip_only: bool = False) -> Correction:
    """Send a share of the rejected to a judge that knows the truth; learn each style's rate from it and correct by it.

    With `flip_only`, the overturned verdicts are set right and nothing else is done.
    """
    estimator, generator = AppealsEstimator(q=rate), torch.Generator().manual_seed(seed)

    def correct(draws: Draws) -> Tensor:
        chosen = estimator.select(draws.verdict, generator=generator)
        if flip_only:
            return torch.where(chosen, draws.right, draws.verdict)
        keys = [str(choice) for choice in draws.choice.tolist()]
        estimator.update(keys, draws.verdict, chosen, draws.right)
        missed = estimator.false_negative_rate(keys)
        passed, missed = (missed, 0 * missed) if broken else (0 * missed, missed)
        return backward_correction(draws.verdict, false_positive_rate=passed, false_negative_rate=missed)

    return correct


def train(
    seed: int, world: World, channel: Channel, correct: Correction, kind: str | None, *, adam: bool = False
) -> tuple[Tensor, Tensor]:
    """Policy gradient by sampling; arms of one seed share their random numbers, so that equal signals end equal.

    Returns:
        (updates + 1,) gold accuracy, and the final (P, K) policy.
    """
    generator = torch.Generator().manual_seed(seed)
    logits, curve = torch.zeros_like(channel.p_right), []
    schedule: dict[str, Any] = {"learning_rate": world.adam_learning_rate, "maximize": True, "fused": False}
    for _ in adam_steps([logits], world.updates, **schedule) if adam else range(world.updates):
        policy = logits.softmax(-1)
        curve.append(channel.accuracy(policy))
        draws = channel.sample(policy, world.group_size, generator)
        rewards = correct(draws)
        advantages = GROUP[kind](rewards, group_size=world.group_size) if kind else rewards
        shape = (world.n_prompts, world.group_size)
        logits.grad = logit_gradient(policy, draws.choice.view(shape), advantages.view(shape)) / world.group_size
        if not adam:
            logits.add_(logits.grad, alpha=world.learning_rate)
    policy = logits.softmax(-1)
    return torch.stack([*curve, channel.accuracy(policy)]), policy


figure = partial(
    dots,
    series={"centered": "styles_centered/{}", "group z-score": "styles_zscore/{}"},
    label="gold accuracy under a biased verifier",
)
