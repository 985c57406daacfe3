"""Reward models that did not train on a pair detect its wrong label, and flipping such labels helps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rewardsmith.atlas.criteria import All, AtLeast, LowerBound, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import parameters
from rewardsmith.data import cross_fit_masks, relabel, strength_of_votes
from rewardsmith.data.relabeling import Relabeled
from rewardsmith.measures import label_quality
from rewardsmith.objectives import normalized_weights
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.preference_world import Pairs, PreferenceWorld, margins, pair_accuracy, train_pairs

CRITERION = All(
    AtLeast("spearman/cross_fit", 0.95),
    LowerBound("accuracy/flip20", over="accuracy/base", above=0.03),
    PairedGain("accuracy/sign", over="accuracy/base", at_least=0.02),
    PairedGain("accuracy/sign_in_sample", over="accuracy/base", at_most=0.02),
    PairedGain("accuracy/flip_top", over="accuracy/base", at_most=0.0),
    PairedGain("accuracy/flip20_shuffled", over="accuracy/base", at_most=0.0),
)


@dataclass(frozen=True, slots=True)
class World:
    """Noisy preferences over vectors, and perceptrons that vote on them or learn from them."""

    n_pairs: int = 600  # labeled pairs
    n_test: int = 4000  # clean pairs that accuracy is measured on
    slope: float = 3.0  # log-odds of the better answer per standard deviation of gold
    flip: float = 0.2  # share of labels turned around by accident, beyond the unlikely choices
    n_voters: int = 5  # votes per pair
    folds: int = 5  # parts of the data, each judged by voters that trained on the others
    steps: int = 250  # updates per model
    batch_size: int = 64  # pairs per update
    width: int = 64  # units in each of two hidden layers
    learning_rate: float = 3e-3  # of AdamW
    n_fresh: int = 2  # models trained per arm, whose accuracies are averaged
    correct: float = 0.2  # share of the labels turned around or left out
    soft: float = 0.2  # chance of being wrong that softened labels are given
    margin_scale: float = 0.5  # margin per unit of strength


class Votes(NamedTuple):
    """(n,) mean margins of voters that trained on other pairs, and of voters that trained on these."""

    cross_fit: NDArray[np.float64]
    in_sample: NDArray[np.float64]


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Measure right labels in each tenth of strength, and the accuracy on clean pairs that each correction gains."""
    streams = Streams([seed], dtype=torch.float32)
    place = PreferenceWorld.sample(streams)
    pairs = place.pairs(world.n_pairs, streams=streams, slope=world.slope, flip=world.flip)
    test = place.pairs(world.n_test, streams=streams, slope=math.inf)
    votes, ensemble = vote(pairs, test, world, streams)
    shuffled = streams.randperm(world.n_pairs)[0].numpy()
    if broken:
        votes = Votes(*(column[shuffled] for column in votes))
    labels = pairs.right[0].numpy().astype(float)
    quality, seen = (label_quality(strength, right=labels) for strength in votes)
    results = {f"right/tenth_{k}": one.right.value for k, one in enumerate(quality.bins, start=1)}
    results |= {"spearman/cross_fit": quality.rank_correlation, "spearman/in_sample": seen.rank_correlation}
    results |= {"wrong/labels": 1 - labels.mean(), "wrong/found_by_sign": quality.share_negative}
    results |= {"wrong/found_by_sign_in_sample": seen.share_negative, "accuracy/ensemble": ensemble}
    arms = corrections(votes, shuffled, world)
    accuracy = train_arms(pairs, test, list(arms.values()), world, streams)
    return results | {f"accuracy/{name}": value for name, value in zip(arms, accuracy, strict=True)}


def vote(pairs: Pairs, test: Pairs, world: World, streams: Streams) -> tuple[Votes, float]:
    """Train all voters, some on all pairs; return votes, and the accuracy of the mean of those."""
    held_out = cross_fit_masks(
        world.n_pairs, n_voters=world.n_voters, folds=world.folds, generator=streams.generators[0]
    )
    masks = np.concatenate([held_out, np.ones((world.n_voters, world.n_pairs), dtype=bool)])
    voters = fresh(len(masks), world, streams)
    seen, schedule = torch.from_numpy(masks)[None], parameters(world, train_pairs)
    train_pairs(voters, pairs, streams=streams, order=range(len(masks)), mask=seen, **schedule)
    given = margins(voters, pairs)[0].double().numpy()
    n = len(held_out)
    cross_fit = strength_of_votes(np.where(held_out, np.nan, given[:n])).mean
    in_sample = voters.take(range(n, len(masks)))
    together = (margins(in_sample, test).mean(dim=1) > 0) == test.right
    return Votes(cross_fit, strength_of_votes(given[n:]).mean), float(together.float().mean())


def corrections(votes: Votes, shuffled: NDArray[np.int64], world: World) -> dict[str, Relabeled]:
    """Return the labels of each arm."""
    strength, share = votes.cross_fit, world.correct
    doubtful = (share, min(2 * share, 1.0))
    return {
        "base": relabel(strength, flip=0.0, smooth=None),
        "flip20": relabel(strength, flip=share, smooth=None),
        "flip20_in_sample": relabel(votes.in_sample, flip=share, smooth=None),
        "drop20": relabel(strength, flip=0.0, smooth=None, drop=share),
        "sign": relabel(strength, flip="sign", smooth=None),
        "sign_in_sample": relabel(votes.in_sample, flip="sign", smooth=None),
        "smooth": relabel(strength, flip=0.0, smooth=(0.0, doubtful[1]), soft=world.soft),
        "margin": relabel(strength, flip=0.0, smooth=None, margin_scale=world.margin_scale),
        "all": relabel(strength, flip=share, smooth=doubtful, soft=world.soft, margin_scale=world.margin_scale),
        "flip_top": relabel(-strength, flip=share, smooth=None),
        "flip20_shuffled": relabel(strength[shuffled], flip=share, smooth=None),
    }


def train_arms(pairs: Pairs, test: Pairs, arms: list[Relabeled], world: World, streams: Streams) -> list[float]:
    """Train on each arm's labels, from the same starts and in the same orders; return accuracies."""
    copies = list(range(world.n_fresh)) * len(arms)
    models = fresh(world.n_fresh, world, streams).take(copies)
    flipped, soft, margin, weight = (
        torch.from_numpy(np.stack([arm[k] for arm in arms])).repeat_interleave(world.n_fresh, dim=0)[None]
        for k in range(4)
    )
    train_pairs(
        models, pairs, streams=streams, order=copies, weight=normalized_weights(weight),
        soft_label=torch.where(flipped, 1 - soft, soft), margin=torch.where(flipped, -margin, margin),
        **parameters(world, train_pairs),
    )  # fmt: skip
    return pair_accuracy(models, test).view(len(arms), world.n_fresh).mean(dim=1).tolist()


def fresh(n: int, world: World, streams: Streams) -> BatchedMLP:
    """Build n untrained models."""
    return BatchedMLP((16, world.width, world.width, 1), lead=(1, n), streams=streams)


figure = partial(dots, series={"accuracy": "accuracy/{}"}, label="accuracy on clean pairs")
