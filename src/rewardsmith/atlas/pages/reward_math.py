"""Match the style of right and wrong answers in a benchmark: one wrong answer then foretells as well as nine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewardsmith.atlas.criteria import All, AtLeast, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.measures import mrr, one_to_many_accuracy
from rewardsmith.measures.associations import correlation
from rewardsmith.measures.downstream import optimized_gold
from rewardsmith.worlds import Streams
from rewardsmith.worlds.reward_zoo import RewardZoo, recipes, scored

CRITERION = All(
    AtLeast("r2_best_of_n/one_to_nine", 0.65),
    PairedGain("r2_best_of_n/one_to_nine", over="r2_best_of_n/mismatched", at_least=0.25),
    PairedGain("r2_tilted/one_to_nine", over="r2_tilted/mismatched", at_least=0.25),
)
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class World:
    """Reward models of unequal quality and taste in style, and three designs of a benchmark for them."""

    n_models: int = 40  # reward models
    least_pairs: float = 1.5  # log10 of their training pairs, at least
    most_pairs: float = 3.3  # at most
    most_flips: float = 0.25  # of their labels; the others have none or 0.4 of that
    style_sd: float = 1.5  # standard deviation of their annotators' weight of style
    style_shift: float = -1.5  # of right answers in the mismatched benchmark
    n_items: int = 400  # per benchmark of one right and nine wrong answers
    n_prompts: int = 200  # of best-of-n
    n_candidates: int = 64  # per prompt
    n: int = 16  # of best-of-n
    kl: float = 1.0  # nats, of the tilted policy


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Correlate each benchmark with what policies reach that optimize the models."""
    streams = Streams([seed])
    zoo = RewardZoo(streams)
    flips = (0.0, 0.4 * world.most_flips, world.most_flips)
    span = (world.least_pairs, world.most_pairs)
    own = recipes(streams, world.n_models, log_pairs=span, flips=flips, style_sd=world.style_sd)
    models = zoo.trained(own)

    def items(n: int, n_wrong: int, style: float = 0.0) -> Tensor:
        right, wrong = zoo.responses(n, 1, correct=1, style=style), zoo.responses(n, n_wrong, correct=0)
        return torch.cat([scored(models, right), scored(models, wrong)], dim=-1)

    shift = 0.0 if broken else world.style_shift
    many = items(world.n_items, 9)
    old, mirror = items(world.n_items, 1, shift), items(world.n_items, 1, -shift)
    found = {
        "one_to_nine": accuracy(many),
        "mrr_of_nine": np.array([mrr(scores).value for scores in many.numpy()]),
        "mismatched": accuracy(old),
        "same_style_pairs": accuracy(items(5 * world.n_items, 1)),  # as many judged responses
        "one_to_three": accuracy(items(5 * world.n_items // 2, 3)),
        "mirrored": (accuracy(old) + accuracy(mirror)) / 2,
    }
    pool = zoo.responses(world.n_prompts, world.n_candidates)
    scores = scored(models, pool).numpy()
    flat = scores.reshape(len(scores), -1)
    units = (flat - flat.mean(axis=1, keepdims=True)) / flat.std(axis=1, keepdims=True)
    found["no_label"] = correlation(units, units.mean(axis=0)[None])
    reached = optimized_gold(scores, pool.correct.numpy(), n=world.n, kl=world.kl)
    results = {
        f"r2_{name}": {arm: [float(correlation(values, gold) ** 2)] for arm, values in found.items()}
        for name, gold in reached._asdict().items()
    }
    results["mean"] = {arm: [float(values.mean())] for arm, values in found.items()}
    results["gold"] = {name: [float(gold.mean())] for name, gold in reached._asdict().items()}
    weights = own.style_weight.numpy()
    results["r_style_weight"] = {
        arm: [float(correlation(found[arm], weights))] for arm in ("one_to_nine", "mismatched")
    }
    return rows(results)[0]


def accuracy(scores: Tensor) -> Array:
    """Return (M,) accuracy of scores (M, B, 1 + m), the right answer's first."""
    return np.array([one_to_many_accuracy(own).value for own in scores.numpy()])


figure = partial(
    dots,
    series={"best of 16": "r2_best_of_n/{}", "KL of 1 nat": "r2_tilted/{}"},
    rows={
        "one_to_nine": "one right, nine wrong",
        "mrr_of_nine": "its reciprocal rank",
        "one_to_three": "one right, three wrong",
        "same_style_pairs": "pairs of one style",
        "mirrored": "both mismatched tests",
        "mismatched": "mismatched pairs",
        "no_label": "agreement, no label",
    },
    label="r² with correctness after optimization, over 40 reward models",
)
