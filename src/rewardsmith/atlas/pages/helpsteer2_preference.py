"""Train on ratings first, then on comparisons weighted by their strength: the reward model gets better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.objectives import bt_loss, normalized_weights, rating_loss, weighted_loss
from rewardsmith.rewards import extrapolate
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.preference_world import PreferenceWorld, pair_accuracy
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    LowerBound("accuracy/scaled", over="accuracy/bt", above=0.005),
    PairedGain("accuracy/ratings_then_scaled", over="accuracy/best_alone", at_least=0.008),
    PairedGain("accuracy/inverse", over="accuracy/bt", at_most=0.0),
    # What must fail: strengths shuffled over the pairs, on the gain.
    LowerBound("accuracy/scaled", over="accuracy/scaled_shuffled", above=0.0),
)
FIRST = ("bt", "scaled", "margin", "inverse", "scaled_shuffled", "ratings")
SECOND = ("ratings_then_bt", "ratings_then_scaled", "ratings_then_margin", "ratings_longer")


@dataclass(frozen=True, slots=True)
class World:
    """Answers that are rated and compared independently, and perceptrons that learn from either."""

    n_pairs: int = 1000  # compared pairs; each of their answers is rated too
    n_test: int = 6000  # clean pairs that accuracy is measured on
    rating_noise: float = 0.7  # spread of a rating around 2 + gold, before rounding to 0…4
    comparison_noise: float = 1.0  # spread of the observed difference of a pair around that of gold
    slightly: float = 0.6  # observed differences below this have strength 1
    better: float = 1.4  # and below this 2; above, 3
    margin_scale: float = 1.0  # margin per unit of strength
    steps: int = 400  # updates of the first stage
    second_steps: int = 133  # updates of the second stage, at half the rate
    batch_size: int = 64  # pairs per update
    width: int = 64  # units in each of two hidden layers
    learning_rate: float = 2e-3  # of AdamW
    weight_decay: float = 1e-2  # of AdamW
    n_fresh: int = 2  # models per arm, whose accuracies are averaged
    alpha: float = 0.5  # how far ExPO goes on; half and twice as far are reported too


class Data(NamedTuple):
    """The preferred answer first.

    features: (n, 2, d). ratings: (n, 2). strength: (n,) 1, 2 or 3.
    scaled, inverse, scaled_shuffled: (n,) weights of mean 1: strength, 1 / strength, and another pair's strength.
    """

    features: Tensor
    ratings: Tensor
    strength: Tensor
    scaled: Tensor
    inverse: Tensor
    scaled_shuffled: Tensor


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Measure accuracy on clean pairs by each loss and each order of two losses."""
    streams = Streams([seed], dtype=torch.float32)
    place = PreferenceWorld.sample(streams)
    data = draw(place, world, streams, broken=broken)
    test = place.pairs(world.n_test, streams=streams, slope=math.inf)
    start = BatchedMLP((place.d, world.width, world.width, 1), lead=(1, world.n_fresh), streams=streams)
    fresh = list(range(world.n_fresh))
    first = start.take(fresh * len(FIRST))
    train(first, FIRST, data, world, streams, steps=world.steps, learning_rate=world.learning_rate)
    rated = first.take([FIRST.index("ratings") * world.n_fresh + k for k in fresh])
    second = rated.take(fresh * len(SECOND))
    train(second, SECOND, data, world, streams, steps=world.second_steps, learning_rate=world.learning_rate / 2)
    best = second.take([SECOND.index("ratings_then_scaled") * world.n_fresh + k for k in fresh])
    results: dict[str, float] = {}
    for names, models in ((FIRST, first), (SECOND, second)):
        accuracy = pair_accuracy(models, test).view(len(names), world.n_fresh).mean(dim=1).tolist()
        results |= {f"accuracy/{name}": value for name, value in zip(names, accuracy, strict=True)}
    for name, alpha in (("half", world.alpha / 2), ("one", world.alpha), ("twice", 2 * world.alpha)):
        further = best.take(fresh)
        further.load_state_dict(extrapolate(best.state_dict(), rated.state_dict(), alpha))
        results[f"accuracy/expo_{name}"] = float(pair_accuracy(further, test).mean())
    return results | {"accuracy/best_alone": max(results["accuracy/ratings"], results["accuracy/scaled"])}


def draw(place: PreferenceWorld, world: World, streams: Streams, *, broken: bool) -> Data:
    """Draw ratings and comparisons of the same answers, each with its noise."""
    x = streams.randn(world.n_pairs, 2, place.d)
    gold = place.gold(x)
    ratings = (2 + gold + world.rating_noise * streams.randn(world.n_pairs, 2)).round().clamp(0, 4)
    observed = gold[..., 0] - gold[..., 1] + world.comparison_noise * streams.randn(world.n_pairs)
    order = torch.where(observed[0, :, None] > 0, torch.tensor([0, 1]), torch.tensor([1, 0]))  # (n, 2)
    size = observed[0].abs()
    strength = 1.0 + (size >= world.slightly).float() + (size >= world.better).float()
    shuffled = strength[streams.randperm(world.n_pairs)[0]]
    features = x[0].gather(1, order[..., None].expand_as(x[0]))
    strength = 4 - strength if broken else strength
    weights = [normalized_weights(column) for column in (strength, 1 / strength, shuffled)]
    return Data(features, ratings[0].gather(1, order), strength, *weights)


def train(
    models: BatchedMLP,
    arms: Sequence[str],
    data: Data,
    world: World,
    streams: Streams,
    *,
    steps: int,
    learning_rate: float,
) -> None:
    """Train all arms, each on its own loss, from the same starts and on the same batches."""
    for _ in adam_steps(models.parameters(), steps, learning_rate=learning_rate, weight_decay=world.weight_decay):
        picks = streams.randint(world.n_pairs, world.batch_size)[0]
        batch = Data(*(column[picks] for column in data))
        scores = models(batch.features.flatten(0, 1)[None, None]).view(len(arms), world.n_fresh, -1, 2)
        total = torch.stack([loss(arm, one, batch, world) for arm, one in zip(arms, scores, strict=True)]).sum()
        torch.autograd.backward(total)


def loss(arm: str, scores: Tensor, batch: Data, world: World) -> Tensor:
    """Sum an arm's mean batch loss over its models; scores (models, b, 2)."""
    n_models, size = scores.shape[:2]
    if arm in ("ratings", "ratings_longer"):
        ratings = batch.ratings.expand(n_models, size, 2)
        return n_models * rating_loss(scores.flatten(0, 1), ratings.flatten(0, 1)).mean()
    kind = arm.removeprefix("ratings_then_")
    weight = getattr(batch, kind).expand(n_models, -1) if kind not in ("bt", "margin") else None
    margin = (world.margin_scale * batch.strength).expand(n_models, -1) if kind == "margin" else None
    losses = bt_loss(scores[..., 0], scores[..., 1], margin=margin)
    return n_models * (losses if weight is None else weighted_loss(losses, weight)).mean()


figure = partial(dots, series={"accuracy": "accuracy/{}"}, label="accuracy on clean pairs")
