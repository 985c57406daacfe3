"""Judge rewards by plain pairs of fresh prompts: best of four lowers the scores and foretells no more."""

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
from rewardsmith.measures import association, one_to_many_accuracy
from rewardsmith.measures.associations import correlation
from rewardsmith.measures.downstream import optimized_gold
from rewardsmith.worlds import Streams
from rewardsmith.worlds.reward_zoo import RewardZoo, recipes, scored

CRITERION = All(
    AtLeast("r_best_of_n/best_of_four", 0.85),
    PairedGain("r_best_of_n/best_of_four", over="r_best_of_n/recipe", at_least=0.1),
    PairedGain("r_tilted/best_of_four", over="r_tilted/recipe", at_least=0.1),
)
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class World:
    """Reward models from useless to good, and benchmarks of equally many judged responses for them."""

    n_models: int = 40  # reward models
    least_pairs: float = 1.3  # log10 of their training pairs, at least
    most_pairs: float = 3.3  # at most
    most_flips: float = 0.4  # of their labels; the others have none, a quarter or 5/8 of that
    style_sd: float = 1.0  # standard deviation of their annotators' weight of style
    least_steps: int = 60  # of Adam; others have 150 or 300
    n_items: int = 400  # of four answers; half as many of Ties
    n_prompts: int = 200  # of best-of-n
    n_candidates: int = 64  # per prompt
    n: int = 16  # of best-of-n
    kl: float = 1.0  # nats, of the tilted policy


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Correlate benchmark scores with correctness after optimization, over the models."""
    streams = Streams([seed])
    zoo = RewardZoo(streams)
    flips = tuple(share * world.most_flips for share in (0.0, 0.25, 0.625, 1.0))
    span, steps = (world.least_pairs, world.most_pairs), (world.least_steps, max(world.least_steps, 150), 300)
    own = recipes(streams, world.n_models, log_pairs=span, flips=flips, style_sd=world.style_sd, steps=steps)
    models = zoo.trained(own)

    def items(n: int, n_right: int, n_wrong: int) -> Tensor:
        sides = (zoo.responses(n, n_right, correct=1), zoo.responses(n, n_wrong, correct=0))
        return torch.cat([scored(models, side) for side in sides], dim=-1)

    four, pairs = items(world.n_items, 1, 3), items(2 * world.n_items, 1, 1)
    half = world.n_items // 2
    found = {
        "best_of_four": accuracy(four),
        "pairwise": accuracy(pairs),
        "ties": ties(items(half, 4, 4), items(half, 1, 3)),
        "recipe": (own.n_pairs.log() * (1 - 2 * own.flips)).numpy(),
        "little_style": -own.style_weight.abs().numpy(),
    }
    if broken:  # which answer of an item counts as right is drawn anew
        slot = streams.randint(4, world.n_items)[0].expand(world.n_models, -1)[..., None]
        found["best_of_four"] = (four.argmax(dim=-1, keepdim=True) == slot).double().mean(dim=(1, 2)).numpy()
    margin = pairs[..., 0] - pairs[..., 1]
    found["margin"] = (margin.mean(dim=1) / margin.std(dim=1)).numpy()
    pool = zoo.responses(world.n_prompts, world.n_candidates)
    scores = scored(models, pool).numpy()
    flat = scores.reshape(world.n_models, -1)
    units = (flat - flat.mean(axis=1, keepdims=True)) / flat.std(axis=1, keepdims=True)
    found["no_label"] = correlation(units, units.mean(axis=0)[None])
    reached = optimized_gold(scores, pool.correct.numpy(), n=world.n, kl=world.kl)
    results = {
        f"r_{name}": {arm: [float(correlation(values, gold))] for arm, values in found.items()}
        for name, gold in reached._asdict().items()
    }
    results["mean"] = {arm: [float(values.mean())] for arm, values in found.items()}
    given = found["pairwise"]
    results["partial_r"] = {arm: [partial_r(found[arm], reached.best_of_n, given)] for arm in ("best_of_four", "ties")}
    return rows(results)[0]


def accuracy(scores: Tensor) -> Array:
    """Return (M,) accuracy of scores (M, B, 1 + m), the right answer's first."""
    return np.array([one_to_many_accuracy(own).value for own in scores.numpy()])


def partial_r(score: Array, gold: Array, given: Array) -> float:
    """Return what a score adds to a given one in foretelling gold."""
    found = association(score, gold, given=given, n_resamples=1).partial
    return np.nan if found is None else found.value


def ties(tied: Tensor, ref: Tensor) -> Array:
    """Return (M,) scores of Ties: tied items (M, B, 4 + 4) and references (M, B, 1 + 3), the right ones first."""
    right, wrong = tied[..., :4], tied[..., 4:]
    spread, gap = right.amax(-1) - right.amin(-1), right.amin(-1) - wrong.amax(-1)
    other = ref[..., 0] - ref[..., 1:].amax(-1)
    smaller = torch.minimum(gap, other)
    held = [(gap > 0, 0.3), (other > 0, 0.3), (gap > spread, 0.2), (smaller > spread, 0.2)]
    shares = torch.stack([weight * share.double() for share, weight in held]).sum(dim=0)
    score: Array = (shares + 0.01 * (smaller / spread - 1).tanh()).mean(dim=-1).numpy()
    return score


figure = partial(
    dots,
    series={"best of 16": "r_best_of_n/{}", "KL of 1 nat": "r_tilted/{}"},
    rows={
        "best_of_four": "best of four",
        "pairwise": "pairs",
        "margin": "mean margin of pairs",
        "no_label": "agreement, no label",
        "ties": "Ties",
        "recipe": "pairs and flips of the recipe",
    },
    label="r with correctness after optimization, over 40 reward models",
)
