"""A ranker that reads the principle follows unseen ones; Bradley-Terry with that input does so better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith.advantages import group_zscore
from rewardsmith.atlas.criteria import All, AtLeast, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.objectives import bt_loss
from rewardsmith.rewards import weighted_pair_order_reward
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    AtLeast("held_out/list_grpo", 0.85),
    PairedGain("seen/list_grpo", over="held_out/list_grpo", at_most=0.08),
    PairedGain("held_out/bt", over="held_out/list_grpo", at_least=0.0),  # the simple control
    PairedGain("held_out_100/bt", over="held_out_100/list_grpo", at_least=0.1),
)
EARLY, BATCH, GROUP, LEVELS, SCORES = 100, 32, 8, 5, 5  # steps; lists a step, outputs a list; levels; scores 1 to 5
ARMS: dict[str, tuple[str, bool]] = {  # the loss, and whether the principle is read
    "list_grpo": ("grpo", True),
    "bt": ("pairs", True),
    "bt_one_pair": ("pair", True),
    "bt_no_principle": ("pairs", False),
    "bins": ("bins", True),
}


@dataclass(frozen=True, slots=True)
class World:
    """Lists of answers with attributes of five levels, ranked by principles of a main and a second attribute."""

    n_attributes: int = 5  # of an answer
    n_answers: int = 4  # in a list
    n_trained: int = 40  # principles trained on, of 4·n·(n−1)
    noise: float = 0.0  # of the consensus in training
    width: int = 64  # of both encoders' two layers
    steps: int = 500  # of Adam
    learning_rate: float = 2e-3  # of Adam
    n_test: int = 1000  # fresh lists


class Lists(NamedTuple):
    """Lists of answers: principle (S, B, 4·attributes), answers (S, B, n, attributes), gold (S, B, n)."""

    principle: Tensor
    answers: Tensor
    gold: Tensor


class Ranker(torch.nn.Module):
    """Encode principle and answer by two layers each; five logits from [p, a, p·a], for all arms side by side."""

    def __init__(self, world: World, streams: Streams) -> None:
        super().__init__()
        lead, width = (len(streams), len(ARMS)), world.width
        sizes = (4 * world.n_attributes, width, width, 1), (world.n_attributes, width, width, 1)
        self.principle, self.answer = (BatchedMLP(own, lead=lead, streams=streams) for own in sizes)
        self.top = BatchedMLP((3 * width, SCORES), lead=lead, streams=streams)
        self.read = torch.tensor([float(read) for _, read in ARMS.values()], dtype=torch.float64)[:, None, None]

    def forward(self, lists: Lists) -> Tensor:
        """Return (S, arms, B, n, 5) logits of scores."""
        principle = (lists.principle[:, None] * self.read).expand(-1, len(ARMS), -1, -1)
        p = self.principle.hidden(principle)[..., None, :].expand(-1, -1, -1, lists.answers.shape[2], -1)
        a = self.answer.hidden(lists.answers.flatten(1, 2)[:, None]).view_as(p)
        logits: Tensor = self.top(torch.cat([p, a, p * a], dim=-1).flatten(2, 3))
        return logits.view(*p.shape[:-1], SCORES)


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure how each arm ranks fresh lists, under principles it was trained on and under others."""
    streams, every = Streams(seeds), principles(world.n_attributes)
    order = streams.randperm(len(every))
    parts = {"seen": order[:, : world.n_trained], "held_out": order[:, world.n_trained :]}
    test = {name: drawn(part, every, world.n_test, world, streams) for name, part in parts.items()}
    ranker = Ranker(world, streams)
    found: dict[str, dict[str, Tensor]] = {}
    for step in adam_steps(ranker.parameters(), world.steps, learning_rate=world.learning_rate):
        if step == EARLY:
            found |= {f"{name}_{EARLY}": accuracies(ranker, lists, world)[0] for name, lists in test.items()}
        lists = drawn(parts["seen"], every, BATCH, world, streams)
        consensus = lists.gold + world.noise * streams.randn(BATCH, world.n_answers)
        consensus = consensus.roll(1, dims=1) if broken else consensus  # of another list
        torch.autograd.backward(losses(ranker(lists), consensus, streams).mean(dim=-1).sum())
    for name, lists in test.items():
        found[name], found[f"top_1_{name}"] = accuracies(ranker, lists, world)
    return rows(found)


def principles(n_attributes: int) -> Tensor:
    """Return (N, 4n) in one-hot form: main attribute with its direction, then the second one with its own."""
    ways = torch.eye(2 * n_attributes, dtype=torch.float64)  # of attribute k, up is row k and down is row n + k
    pairs = [(i, j) for i, j in product(range(len(ways)), repeat=2) if (i - j) % n_attributes]
    return torch.stack([torch.cat([ways[i], ways[j]]) for i, j in pairs]) * math.sqrt(2 * n_attributes)  # mean square 1


def drawn(allowed: Tensor, every: Tensor, n: int, world: World, streams: Streams) -> Lists:
    """Draw lists of answers with levels −2…2, each under one of the allowed principles (S, N)."""
    picked = allowed.gather(1, streams.randint(allowed.shape[1], n))
    answers = (streams.randint(LEVELS, n, world.n_answers, world.n_attributes) - LEVELS // 2).double()
    principle = every[picked]
    main, other = ((half.view(*half.shape[:2], 2, -1) > 0).double() for half in principle.chunk(2, dim=-1))
    wanted = 2 * (main[..., 0, :] - main[..., 1, :]) + other[..., 0, :] - other[..., 1, :]  # (S, n, attributes)
    return Lists(principle, answers, (answers * wanted[:, :, None]).sum(dim=-1))


def losses(logits: Tensor, consensus: Tensor, streams: Streams) -> Tensor:
    """Return (S, arms, B) losses of logits (S, arms, B, n, 5) by consensus scores (S, B, n)."""
    logps, points = logits.log_softmax(dim=-1), scores(logits)
    first, second = torch.combinations(torch.arange(consensus.shape[-1])).unbind(dim=1)
    wins = (consensus[..., first] - consensus[..., second]).sign() / 2 + 0.5  # (S, B, pairs)
    found = []
    for m, (kind, _) in enumerate(ARMS.values()):
        if kind == "grpo":
            found.append(by_reward(logps[:, m], consensus, streams))
        elif kind == "bins":
            bins = ((consensus + 6) * SCORES / 12).long().clamp(0, SCORES - 1)
            found.append(-logps[:, m].gather(-1, bins[..., None])[..., 0].mean(dim=-1))
        else:
            own = points[:, m]
            each = bt_loss(own[..., first], own[..., second], soft_label=1 - wins)
            found.append(each[..., 0] if kind == "pair" else each.mean(dim=-1))
    return torch.stack(found, dim=1)


def by_reward(logps: Tensor, consensus: Tensor, streams: Streams) -> Tensor:
    """Return (S, B) policy-gradient losses of sampled lists of scores, by GRPO's advantages of their order."""
    with torch.no_grad():
        uniform = streams.rand(logps.shape[1], GROUP, logps.shape[2])
        sampled = sample_index(logps.exp()[:, :, None].expand(-1, -1, GROUP, -1, -1), uniform)  # (S, B, G, n)
        both = torch.stack([sampled, consensus[:, :, None].expand_as(sampled)]).flatten(1, 3)  # (2, S·B·G, n)
        different, place = torch.unique(both, dim=1, return_inverse=True)  # a sure ranker repeats itself
        rewards = torch.tensor(weighted_pair_order_reward(*different.tolist()), dtype=logps.dtype)[place]
        credit = group_zscore(rewards, group_size=GROUP).view(sampled.shape[:3])
    said = logps[:, :, None].expand(-1, -1, GROUP, -1, -1).gather(-1, sampled[..., None])[..., 0].sum(dim=-1)
    return -(credit * said).mean(dim=-1)


def scores(logits: Tensor) -> Tensor:
    """Return (..., n) one number per answer, the logits weighed by their place: the head of Bradley-Terry."""
    place = torch.arange(SCORES, dtype=logits.dtype) - (SCORES - 1) / 2
    return (logits * (place / place.square().sum().sqrt())).sum(dim=-1)


def accuracies(ranker: Ranker, lists: Lists, world: World) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return (S,) per arm: the share of pairs that differ in gold ranked right, and of lists whose best is found."""
    with torch.no_grad():
        logits = ranker(lists)
    expected = logits.softmax(dim=-1) @ torch.arange(SCORES, dtype=logits.dtype)
    first, second = torch.combinations(torch.arange(world.n_answers)).unbind(dim=1)
    differs = (lists.gold[..., first] - lists.gold[..., second]).sign()
    best = lists.gold.amax(dim=-1)
    pairs, tops = {}, {}
    for m, (arm, (kind, _)) in enumerate(ARMS.items()):
        own = scores(logits[:, m]) if kind in ("pair", "pairs") else expected[:, m]
        right = ((own[..., first] - own[..., second]).sign() == differs) & (differs != 0)
        pairs[arm] = right.sum(dim=(1, 2)) / (differs != 0).sum(dim=(1, 2))
        found = lists.gold.gather(-1, own.argmax(dim=-1, keepdim=True))[..., 0]
        tops[arm] = (found == best).double().mean(dim=1)
    return pairs, tops


figure = partial(
    dots,
    series={"principles trained on": "seen/{}", "unseen principles": "held_out/{}"},
    rows={
        "bt": "Bradley-Terry",
        "bt_one_pair": "… with one pair per list",
        "bins": "cross-entropy in five bins",
        "list_grpo": "GRPO on lists",
        "bt_no_principle": "Bradley-Terry, no principle",
    },
    label="share of pairs ranked right",
)
