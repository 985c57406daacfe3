"""Two reward models that choose each other's pairs leave most of the wrong labels out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, AtLeast, LowerBound, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import parameters
from rewardsmith.objectives import bt_loss, keep_schedule, peer_review_masks, weighted_loss
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.preference_world import Pairs, PreferenceWorld, margins, pair_accuracy
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    LowerBound("accuracy_40/peer", over="accuracy_40/standard", above=0.10),
    LowerBound("accuracy_20/peer", over="accuracy_20/standard", above=0.05),
    AtLeast("clean_40/peer", 0.75),
    # What must fail: selections that do not find the clean pairs, on the gain.
    PairedGain("accuracy_40/worst", over="accuracy_40/standard", at_most=0.10),
    PairedGain("accuracy_40/random", over="accuracy_40/standard", at_most=0.10),
    PairedGain("accuracy_40/peer_sorted", over="accuracy_40/standard", at_most=0.10),
    PairedGain("accuracy_20/worst", over="accuracy_20/standard", at_most=0.05),
)
FEW = ("standard", "self", "peer", "worst")
MANY = (*FEW, "random", "peer_sorted", "peer_global", "peer_global_sorted")


@dataclass(frozen=True, slots=True)
class World:
    """Preferences with many labels turned around, and pairs of perceptrons that learn from them."""

    n_pairs: int = 1500  # labeled pairs
    n_test: int = 4000  # clean pairs that accuracy is measured on
    much: float = 0.4  # share of labels turned around, and ε, in the first setting
    little: float = 0.2  # the same in the second
    warmup: int = 6  # epochs until only 1 − ε is kept
    epochs: int = 20  # passes over the pairs
    batch_size: int = 64  # pairs per update
    width: int = 96  # units in each of two hidden layers
    learning_rate: float = 2e-3  # of AdamW
    weight_decay: float = 1e-2  # of AdamW


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Measure accuracy by each way of choosing pairs, under much and under little noise."""
    results: dict[str, float] = {}
    for name, noise, arms in (("40", world.much, MANY), ("20", world.little, FEW)):
        streams = Streams([seed], dtype=torch.float32)
        place = PreferenceWorld.sample(streams)
        pairs = place.pairs(world.n_pairs, streams=streams, slope=math.inf, flip=noise)
        test = place.pairs(world.n_test, streams=streams, slope=math.inf)
        models, clean = train(pairs, arms, noise, world, streams, broken=broken)
        accuracy = pair_accuracy(models, test).view(len(arms), 2).mean(dim=1)
        for arm, right, kept in zip(arms, accuracy.tolist(), clean.tolist(), strict=True):
            results |= {f"accuracy_{name}/{arm}": right, f"clean_{name}/{arm}": kept}
    return results


def train(
    pairs: Pairs, arms: Sequence[str], noise: float, world: World, streams: Streams, *, broken: bool
) -> tuple[BatchedMLP, Tensor]:
    """Train two models per arm, from one start and, unless sorted, on the same batches.

    Returns:
        The models, and (arms,) the share of right labels among those kept in the last epoch.
    """
    start = BatchedMLP((16, world.width, world.width, 1), lead=(1, 2), streams=streams)
    models = start.take([0, 1] * len(arms))
    both = torch.stack([pairs.chosen[0], pairs.rejected[0]], dim=1)  # (n, 2, d)
    per_epoch = world.n_pairs // world.batch_size  # whole batches only
    schedule = parameters(world, adam_steps)
    for step in adam_steps(models.parameters(), world.epochs * per_epoch, **schedule):
        epoch, place = divmod(step, per_epoch)
        if place == 0:
            keep = keep_schedule(epoch + 1, noise=noise, warmup=world.warmup)
            everything = whole_margins(models, pairs, arms)
            batches = torch.split(batch_order(everything, arms, streams), world.batch_size, dim=1)
            kept, right = torch.zeros(len(arms)), torch.zeros(len(arms))
        picks = batches[place]  # (arms, b)
        rows = both[picks].flatten(1, 2).repeat_interleave(2, dim=0)[None]  # (1, models, 2b, d)
        chosen, rejected = models(rows).view(len(arms), 2, -1, 2).unbind(-1)
        lots = streams.rand(2, world.batch_size)[0]
        batch = (chosen - rejected).detach()
        mask = choose(batch, everything, picks, arms=arms, keep=keep, lots=lots, broken=broken)
        losses = weighted_loss(bt_loss(chosen, rejected), mask / keep)
        torch.autograd.backward(losses.mean(dim=-1).sum())
        kept += mask.sum(dim=(1, 2))
        right += (mask * pairs.right[0][picks][:, None]).sum(dim=(1, 2))
    return models, right / kept


def whole_margins(models: BatchedMLP, pairs: Pairs, arms: Sequence[str]) -> Tensor:
    """Return (arms, 2, n) margins on all pairs, 0 for arms that do not use them."""
    found = torch.zeros(len(arms), 2, pairs.right.shape[-1])
    look = [k for k, arm in enumerate(arms) if arm.startswith("peer_")]
    if look:
        lookers = models.take([2 * k + side for k in look for side in (0, 1)])
        found[look] = margins(lookers, pairs).view(len(look), 2, -1)
    return found


def batch_order(everything: Tensor, arms: Sequence[str], streams: Streams) -> Tensor:
    """Return (arms, n) a shuffle, or easy to hard by both models' margins."""
    shuffled = streams.randperm(everything.shape[-1])[0].expand(len(arms), -1)
    easy_first = everything.mean(dim=1).argsort(dim=-1, descending=True)
    ordered = torch.tensor(["sorted" in arm for arm in arms])[:, None]
    return torch.where(ordered, easy_first, shuffled)


def choose(
    batch: Tensor, everything: Tensor, picks: Tensor, *, arms: Sequence[str], keep: float, lots: Tensor, broken: bool
) -> Tensor:
    """Return (arms, 2, b): 1 where a model of the arm trains, else 0."""
    sign = -1 if broken else 1
    judged = sign * batch
    for k, arm in enumerate(arms):
        if arm == "random":
            judged[k] = lots
        elif arm == "worst":
            judged[k] = -judged[k]
        elif arm == "self":
            judged[k] = judged[k].flip(0)  # each model's peer is then itself
    masks = torch.stack(peer_review_masks(judged[:, 0], judged[:, 1], keep=keep), dim=1)
    masks[arms.index("standard")] = True
    look = [k for k, arm in enumerate(arms) if arm.startswith("peer_global")]
    if look:
        known = sign * everything[look]  # (global arms, 2, n)
        (a, b), (all_a, all_b) = known.gather(-1, picks[look, None].expand(-1, 2, -1)).unbind(1), known.unbind(1)
        found = peer_review_masks(a, b, keep=keep, all_margins_a=all_a, all_margins_b=all_b)
        masks[look] = torch.stack(found, dim=1)
    return masks.to(batch.dtype)


figure = partial(
    dots,
    series={"accuracy on clean pairs": "accuracy_40/{}", "right labels kept": "clean_40/{}"},
    label="share, where 40 % of the labels are wrong",
)
