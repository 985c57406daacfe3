"""Labels on responses that share a prefix teach a reward model to rank near-identical responses."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import curves
from rewardsmith.atlas.page import rows
from rewardsmith.data import sample_tree_pairs
from rewardsmith.data.preference_trees import leaf_paths
from rewardsmith.measures.preference_graph import PreferenceGraph
from rewardsmith.measures.rankings import sibling_accuracy
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.heavy_tails import score_pool
from rewardsmith.worlds.preference_world import Pairs, margins, train_pairs

CRITERION = All(
    LowerBound("bon_prefix/tree", over="bon_prefix/chain", above=0.25),
    PairedGain("sibling/tree", over="sibling/chain", at_least=0.02),
    PairedGain("bon_64/tree", over="bon_64/chain", at_least=-0.1, at_most=0.1),
    # What must fail: pairs that reuse responses without shared prefixes, on both gains.
    PairedGain("bon_prefix/reuse", over="bon_prefix/chain", at_most=0.25),
    PairedGain("sibling/reuse", over="sibling/chain", at_most=0.02),
)
ARMS = ("chain", "reuse", "tree", "chain_equal_segments")
PAIRS_PER_TREE, SEGMENTS_PER_TREE, SEGMENTS_PER_PAIR = 8, 14, 6
D, N_UNITS = 6, 8  # of a segment and its soft steps
REFERENCE = 4096  # draws on which gold is standardized


@dataclass(frozen=True, slots=True)
class World:
    """Responses of three segments, and the labels a reward model is trained on. Gold has standard deviation 1."""

    n_pairs: int = 600  # labels per arm
    importance_1: float = 1.0  # weight of the first segment in gold
    importance_2: float = 0.3  # of the second
    importance_3: float = 0.1  # of the third
    steepness: float = 2.0  # spread of what enters gold's tanh
    flip: float = 0.0  # share of labels turned around
    width: int = 64  # of the two hidden layers
    steps: int = 400  # of AdamW
    n_worlds: int = 6  # worlds averaged per seed
    n_test: int = 1000  # unrelated pairs per world
    n_test_trees: int = 75  # trees per world, all of whose 28 pairs are tested
    n_best_of: int = 200  # best-of-n draws per world


class Truth:
    """Responses of L segments in R^d, drawn from N(0, I), and their gold, a sum of soft steps in each.

        gold = Σ_l λ_l Σ_i tanh(W_l s_l)_i / std        W ~ N(0, steepness²/d), a seed's own

    directions: (S, L, h, d) W. importance: (L,) λ. std: (S,) that of the sum.
    """

    def __init__(self, world: World, streams: Streams) -> None:
        importance = (world.importance_1, world.importance_2, world.importance_3)
        self.importance = torch.tensor(importance, dtype=streams.dtype)
        self.directions = streams.randn(len(importance), N_UNITS, D) * (world.steepness / math.sqrt(D))
        self.std = torch.ones(len(streams), dtype=streams.dtype)
        self.std = self.gold(streams.randn(REFERENCE, len(importance), D)).std(dim=-1)

    def gold(self, responses: Tensor) -> Tensor:
        """Return (S, ...) gold of responses (S, ..., L, d)."""
        steps = torch.einsum("snld,slhd->snlh", responses.flatten(1, -3), self.directions).tanh().sum(dim=-1)
        return ((steps @ self.importance) / self.std[:, None]).view(responses.shape[:-2])

    def pairs(self, n: int, shape: str, *, streams: Streams, flip: float = 0.0) -> Pairs:
        """Draw n pairs per seed, labeled by gold, of which a share `flip` flipped.

        chain: every response in one pair. reuse: eight independent ones per prompt, and eight pairs among them. tree:
        eight leaves of a binary tree of three levels, and eight pairs among them, by `data.sample_tree_pairs`.
        """
        n_segments, n_groups = len(self.importance), -(-n // PAIRS_PER_TREE)
        if shape == "chain":
            x = streams.randn(n, 2, n_segments, D)
        else:
            paths = leaf_paths(depth=n_segments)
            leaves = self.trees(n_groups, streams) if shape == "tree" else streams.randn(n_groups, 8, n_segments, D)
            picks = []  # (S, groups, 8, 2)
            for own in streams.generators:
                generator = random.Random(own.initial_seed())
                drawn = [sample_tree_pairs(paths, len(paths), generator=generator) for _ in range(n_groups)]
                picks.append([[(pair.first, pair.second) for pair in group] for group in drawn])
            seed, group = torch.arange(len(streams))[:, None, None, None], torch.arange(n_groups)[:, None, None]
            x = leaves[seed, group, torch.tensor(picks)].flatten(1, 2)[:, :n]  # (S, n, 2, L, d)
        gold, flipped = self.gold(x), streams.rand(n) < flip
        return Pairs.labeled(x.flatten(-2), gold, (gold[..., 0] > gold[..., 1]) ^ flipped, flipped)

    def trees(self, n: int, streams: Streams) -> Tensor:
        """Draw (S, n, 2^L, L, d) leaves of n binary trees, ordered as `leaf_paths`; siblings share segments."""
        depth = len(self.importance)
        nodes = [streams.randn(n, 2**k, D).repeat_interleave(2 ** (depth - k), dim=2) for k in range(1, depth + 1)]
        return torch.stack(nodes, dim=3)

    def best_of(
        self, models: BatchedMLP, *, streams: Streams, n_prompts: int, n: int = 64, n_prefix: int = 16
    ) -> tuple[Tensor, Tensor]:
        """Return (S, M) gold of best-of-n by M models, and of best-of-n_prefix in one prefix, standardized in it."""
        n_segments = len(self.importance)
        wide = streams.randn(n_prompts, n, n_segments, D)
        prefix = streams.randn(n_prompts, 1, n_segments - 1, D).expand(-1, -1, n_prefix, -1, -1)
        narrow = torch.cat([prefix, streams.randn(n_prompts, n_prefix, 1, D)], dim=3)
        picked = []
        for candidates in (wide, narrow):
            scores = score_pool(models, candidates.flatten(-2))  # (S, M, P, n)
            gold = self.gold(candidates)[:, None]
            picked.append(gold.expand_as(scores).gather(-1, scores.argmax(dim=-1, keepdim=True)).squeeze(-1))
        return picked[0].mean(-1), ((picked[1] - gold.mean(dim=-1)) / gold.std(dim=-1)).mean(-1)


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure accuracy and best-of-n of reward models by how pairs are drawn, and a graph's uncertainty."""
    streams = Streams([seed * world.n_worlds + k for seed in seeds for k in range(world.n_worlds)])
    truth, n = Truth(world, streams), world.n_pairs
    chain, reuse, tree = (truth.pairs(n, shape, streams=streams, flip=world.flip) for shape in ARMS[:3])
    n_segments = -(-n // PAIRS_PER_TREE) * SEGMENTS_PER_TREE  # that the trees cost
    equal = Pairs(*(column[:, : n_segments // SEGMENTS_PER_PAIR] for column in chain))
    sets = [chain, reuse, reuse if broken else tree, equal]  # of ARMS
    every = Pairs(*(torch.cat(columns, dim=1) for columns in zip(*sets, strict=True)))
    owner = torch.cat([torch.full((pairs.right.shape[1],), arm) for arm, pairs in enumerate(sets)])
    mask = (owner == torch.arange(len(ARMS))[:, None]).expand(len(streams), -1, -1)  # (S, M, n)
    start = BatchedMLP((every.chosen.shape[-1], world.width, world.width, 1), lead=(len(streams), 1), streams=streams)
    models = train_pairs(start.take([0] * len(ARMS)), every, streams=streams, steps=world.steps, mask=mask)

    cost = torch.tensor([n * 6.0, n_segments / 14 * 24, n_segments, n_segments])  # of ARMS
    right = margins(models, truth.pairs(world.n_test, "chain", streams=streams)) > 0
    found = {"segments": cost.expand(len(streams), -1), "unrelated": right.to(streams.dtype).mean(dim=-1)}  # (S, M)
    leaves = truth.trees(world.n_test_trees, streams)  # (S, trees, 8, L, d)
    pairs = sample_tree_pairs(leaf_paths(), 28, generator=random.Random(0))  # all of them
    first, second = [pair.first for pair in pairs], [pair.second for pair in pairs]
    gold, scores = truth.gold(leaves)[:, None], score_pool(models, leaves.flatten(-2))
    better = gold[..., first] > gold[..., second]  # (S, 1, trees, 28)
    gaps = torch.where(better, 1.0, -1.0) * (scores[..., first] - scores[..., second])
    shared = [pair.shared for pair in pairs] * world.n_test_trees
    tables = np.stack([gaps.flatten(2).numpy(), np.zeros(gaps.flatten(2).shape)], axis=-1)  # (S, M, trees · 28, 2)
    by_depth = [[sibling_accuracy(table, shared) for table in arms] for arms in tables]
    one, two = (torch.tensor([[of[k].value for of in arms] for arms in by_depth], dtype=streams.dtype) for k in (1, 2))
    n_one, n_two = shared.count(1), shared.count(2)
    found |= {"sibling": (one * n_one + two * n_two) / (n_one + n_two), "sibling_1": one, "sibling_2": two}
    found["bon_64"], found["bon_prefix"] = truth.best_of(models, streams=streams, n_prompts=world.n_best_of)
    means = {name: value.view(len(seeds), world.n_worlds, -1).mean(dim=1) for name, value in found.items()}
    results = rows({name: dict(zip(ARMS, value.T, strict=True)) for name, value in means.items()})
    return [row | uncertainty(seed, world) for row, seed in zip(results, seeds, strict=True)]


def uncertainty(seed: int, world: World) -> dict[str, float]:
    """Return mean variances over 216 leaves of a tree prior after labels on independent pairs, or on 12 small trees."""
    paths = [path for depth in range(4) for path in leaf_paths(depth=depth, branching=6)]
    place = {path: index for index, path in enumerate(paths)}
    leaves, generator = leaf_paths(depth=3, branching=6), random.Random(seed)
    graphs = {name: PreferenceGraph(len(paths)) for name in ("chain", "tree")}
    importance = (world.importance_1, world.importance_2, world.importance_3)
    for path, graph in product(paths[1:], graphs.values()):
        graph.add_edges(place[path[:-1]], place[path], importance[len(path) - 1] ** 2)
    for _ in range(12):
        for a, b in [generator.sample(leaves, 2) for _ in range(PAIRS_PER_TREE)]:
            graphs["chain"].add_edges(place[a], place[b], 0.05)
        grown: list[tuple[int, ...]] = [()]
        for _ in range(3):
            grown = [(*path, child) for path in grown for child in generator.sample(range(6), 2)]
        for pair in sample_tree_pairs(leaf_paths(), PAIRS_PER_TREE, generator=generator):
            graphs["tree"].add_edges(place[grown[pair.first]], place[grown[pair.second]], 0.05)
    ends = np.array([place[leaf] for leaf in leaves])
    tables = {name: graph.uncertainty(ends[:, None], ends[None, :]) for name, graph in graphs.items()}
    return {f"uncertainty/{name}": float(v.sum() / (len(ends) * (len(ends) - 1))) for name, v in tables.items()}


figure = partial(
    curves,
    at={"unrelated": "none", "sibling_1": "one segment", "sibling_2": "two segments"},
    lines={
        "tree": "{0}/tree − {0}/chain",
        "reuse, no shared prefix": "{0}/reuse − {0}/chain",
        "chain, as few segments": "{0}/chain_equal_segments − {0}/chain",
    },
    label=("what the two responses of a test pair share", "accuracy gained over independent pairs"),
)
