"""Labels on responses that share a beginning teach a reward model to tell near-identical ones apart."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, AtMost, LowerBound, PairedGain, Results
from rewardsmith.data import sample_tree_pairs
from rewardsmith.data.preference_trees import leaf_paths
from rewardsmith.measures.preference_graph import PreferenceGraph
from rewardsmith.measures.rankings import sibling_accuracy
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.preference_world import Pairs, margins, train_pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CRITERION = All(
    LowerBound("bon_prefix/tree", over="bon_prefix/chain", above=0.25),
    PairedGain("sibling/tree", over="sibling/chain", at_least=0.02),
    PairedGain("bon_64/tree", over="bon_64/chain", at_least=-0.1, at_most=0.1),
    # What must fail: pairs that reuse responses without shared prefixes, on both gains.
    PairedGain("bon_prefix/reuse", over="bon_prefix/chain", at_most=0.25),
    PairedGain("sibling/reuse", over="sibling/chain", at_most=0.02),
    # The uncertainty calculator on random graphs: exact, below the best chain of edges, never raised by an edge.
    AtMost("error/regression", 1e-8),
    AtMost("excess/path", 1e-9),
    AtMost("rise/edge", 1e-9),
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
    n_graphs: int = 5  # random graphs per seed
    n_nodes: int = 40  # most nodes of a graph

    def truth(self, streams: Streams) -> Truth:
        """A world per seed: its own W ~ N(0, steepness²/d)."""
        importance = torch.tensor([self.importance_1, self.importance_2, self.importance_3], dtype=streams.dtype)
        directions = streams.randn(len(importance), N_UNITS, D) * (self.steepness / math.sqrt(D))
        unit = Truth(directions, importance, torch.ones(len(streams), dtype=streams.dtype))
        return unit._replace(std=unit.gold(streams.randn(REFERENCE, len(importance), D)).std(dim=-1))


class Truth(NamedTuple):
    """A response is L segments in R^d, drawn from N(0, I), and gold is a sum of soft steps in each.

        gold = Σ_l λ_l Σ_i tanh(W_l s_l)_i / std

    directions: (S, L, h, d) W. importance: (L,) λ. std: (S,) that of the sum.
    """

    directions: Tensor
    importance: Tensor
    std: Tensor

    def gold(self, responses: Tensor) -> Tensor:
        """(S, n) true value of responses (S, n, L, d)."""
        steps = torch.einsum("snld,slhd->snlh", responses, self.directions).tanh().sum(dim=-1)
        return (steps @ self.importance) / self.std[:, None]

    def pairs(self, n: int, shape: str, *, streams: Streams, seeds: Sequence[int], flip: float = 0.0) -> Pairs:
        """n labeled pairs per seed, the label by gold but for a share of `flip`.

        chain: every response in one pair. reuse: eight independent ones per prompt, and eight pairs among them. tree:
        eight leaves of a binary tree of three levels, and eight pairs among them, by `data.sample_tree_pairs`.

        Args:
            seeds: the streams' seeds, from which the pairs of leaves are drawn.
        """
        _, n_segments, _, d = self.directions.shape
        if shape == "chain":
            x = streams.randn(n, 2, n_segments, d)
        else:
            n_groups, paths = -(-n // PAIRS_PER_TREE), leaf_paths(depth=n_segments)
            leaves = self.trees(n_groups, streams) if shape == "tree" else streams.randn(n_groups, 8, n_segments, d)
            picks = []  # (S, groups, 8, 2)
            for generator in map(random.Random, seeds):
                drawn = [sample_tree_pairs(paths, len(paths), generator=generator) for _ in range(n_groups)]
                picks.append([[(pair.first, pair.second) for pair in group] for group in drawn])
            seed, group = torch.arange(len(streams))[:, None, None, None], torch.arange(n_groups)[:, None, None]
            x = leaves[seed, group, torch.tensor(picks)].flatten(1, 2)[:, :n]  # (S, n, 2, L, d)
        gold = self.gold(x.flatten(1, 2)).view(len(streams), n, 2)
        flipped = streams.rand(n) < flip
        first = (gold[..., 0] > gold[..., 1]) ^ flipped
        order = torch.where(first[..., None], torch.tensor([0, 1]), torch.tensor([1, 0]))
        flat = x.flatten(-2).gather(2, order[..., None].expand(-1, -1, -1, n_segments * d))
        gold = gold.gather(2, order)
        return Pairs(flat[:, :, 0], flat[:, :, 1], gold[..., 0], gold[..., 1], flipped)

    def trees(self, n: int, streams: Streams) -> Tensor:
        """(S, n, 2^L, L, d) the leaves of n binary trees in the order of `data.leaf_paths`; siblings share segments."""
        _, n_segments, _, d = self.directions.shape
        levels = []
        for level in range(n_segments):
            nodes = streams.randn(n, 2 ** (level + 1), d)
            levels.append(nodes.repeat_interleave(2 ** (n_segments - level - 1), dim=2))
        return torch.stack(levels, dim=3)

    @torch.no_grad()
    def best_of(
        self, models: BatchedMLP, *, streams: Streams, n_prompts: int, n: int = 64, n_prefix: int = 16
    ) -> tuple[Tensor, Tensor]:
        """(S, M) gold of best-of-n by each model: of independent responses, and of such with one prefix.

        The latter is in standard deviations of gold among those above their mean.
        """
        _, n_segments, _, d = self.directions.shape
        wide, _ = self._picked(models, streams.randn(n_prompts, n, n_segments, d))
        shared = streams.randn(n_prompts, 1, n_segments - 1, d).expand(-1, -1, n_prefix, -1, -1)
        last = streams.randn(n_prompts, n_prefix, 1, d)
        picked, gold = self._picked(models, torch.cat([shared, last], dim=3))
        return wide.mean(-1), ((picked - gold.mean(dim=-1)) / gold.std(dim=-1)).mean(-1)

    def _picked(self, models: BatchedMLP, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """(S, M, P) gold of the picks, and (S, 1, P, n) of all candidates (S, P, n, L, d)."""
        flat = candidates.flatten(1, 2)
        gold = self.gold(flat).view(len(flat), 1, *candidates.shape[1:3])
        scores = models(flat.flatten(-2)[:, None]).view(len(flat), -1, *candidates.shape[1:3])
        picks = scores.argmax(dim=-1, keepdim=True)
        return gold.expand(*scores.shape).gather(-1, picks).squeeze(-1), gold


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Accuracy and best-of-n of reward models trained on differently drawn pairs, and checks of the graph."""
    inner = [seed * world.n_worlds + k for seed in seeds for k in range(world.n_worlds)]
    streams = Streams(inner)
    truth = world.truth(streams)
    models = trained(truth, world, streams, inner, broken)
    n = -(-world.n_pairs // PAIRS_PER_TREE) * SEGMENTS_PER_TREE  # segments that the trees cost
    columns = {"segments": torch.tensor([[world.n_pairs * 6.0, n / 14 * 24, n, n]]).expand(len(inner), -1)}
    columns |= accuracies(truth, models, world, streams, inner)
    best = truth.best_of(models, streams=streams, n_prompts=world.n_best_of)
    columns |= dict(zip(("bon_64", "bon_prefix"), best, strict=True))
    means = {name: value.view(len(seeds), world.n_worlds, -1).mean(dim=1) for name, value in columns.items()}
    rows = [
        {
            f"{name}/{arm}": float(value)
            for name, table in means.items()
            for arm, value in zip(ARMS, table[k], strict=True)
        }
        for k in range(len(seeds))
    ]
    for row, seed in zip(rows, seeds, strict=True):
        row.update(graph_checks(seed, world) | population_uncertainty(seed, world))
    return rows


def trained(truth: Truth, world: World, streams: Streams, seeds: Sequence[int], broken: bool) -> BatchedMLP:
    """One reward model per arm, all of a world from one start, each on its own arm's pairs."""
    n = world.n_pairs
    chain, reuse, tree = (
        truth.pairs(n, shape, streams=streams, seeds=seeds, flip=world.flip) for shape in ("chain", "reuse", "tree")
    )
    sets = [chain, reuse, reuse if broken else tree]
    n_equal = -(-n // PAIRS_PER_TREE) * SEGMENTS_PER_TREE // SEGMENTS_PER_PAIR
    sets.append(Pairs(*(column[:, :n_equal] for column in sets[0])))
    every = Pairs(*(torch.cat(columns, dim=1) for columns in zip(*sets, strict=True)))
    owner = torch.cat([torch.full((pairs.right.shape[1],), arm) for arm, pairs in enumerate(sets)])
    mask = (owner == torch.arange(len(ARMS))[:, None]).expand(len(seeds), -1, -1)  # (S, M, n)
    start = BatchedMLP((every.chosen.shape[-1], world.width, world.width, 1), lead=(len(seeds), 1), streams=streams)
    return train_pairs(start.take([0] * len(ARMS)), every, streams=streams, steps=world.steps, mask=mask)


def accuracies(
    truth: Truth, models: BatchedMLP, world: World, streams: Streams, seeds: Sequence[int]
) -> dict[str, Tensor]:
    """(S, M) accuracy on unrelated pairs, and on pairs of fresh trees that share one segment, two, or any."""
    unrelated = truth.pairs(world.n_test, "chain", streams=streams, seeds=seeds)
    right = (margins(models, unrelated) > 0).to(streams.dtype).mean(dim=-1)
    leaves = truth.trees(world.n_test_trees, streams)  # (S, trees, 8, L, d)
    pairs = sample_tree_pairs(leaf_paths(), 28, generator=random.Random(0))  # all of them
    gold = truth.gold(leaves.flatten(1, 2)).view(leaves.shape[:3])
    with torch.no_grad():
        scores = models(leaves.flatten(1, 2).flatten(-2)[:, None]).view(len(seeds), len(ARMS), *leaves.shape[1:3])
    first, second = [pair.first for pair in pairs], [pair.second for pair in pairs]
    better = (gold[..., first] > gold[..., second])[:, None]  # (S, 1, trees, 28)
    gaps = torch.where(better, 1.0, -1.0) * (scores[..., first] - scores[..., second])
    shared = [pair.shared for pair in pairs] * world.n_test_trees
    found: dict[str, list[list[float]]] = {"sibling": [], "sibling_1": [], "sibling_2": []}
    for per_arm in gaps.flatten(-2).numpy():  # (M, trees · 28)
        by_depth = [sibling_accuracy(np.stack([gap, np.zeros_like(gap)], axis=1), shared) for gap in per_arm]
        found["sibling_1"].append([accuracy[1].value for accuracy in by_depth])
        found["sibling_2"].append([accuracy[2].value for accuracy in by_depth])
        found["sibling"].append(
            [float(np.average([a[1].value, a[2].value], weights=[a[1].n, a[2].n])) for a in by_depth]
        )
    return {"unrelated": right} | {name: torch.tensor(value, dtype=streams.dtype) for name, value in found.items()}


def graph_checks(seed: int, world: World) -> dict[str, float]:
    """The calculator against Bayesian linear regression, the shortest path, and a further edge, at their worst."""
    generator = np.random.default_rng(seed)
    error = excess = rise = 0.0
    for _ in range(world.n_graphs):
        n = int(generator.integers(3, world.n_nodes + 1))
        tree = [(int(generator.integers(k)), k) for k in range(1, n)]
        extra = [tuple(generator.choice(n, 2, replace=False).tolist()) for _ in range(n)]
        edges, variances = np.array(tree + extra), generator.uniform(0.1, 4.0, size=2 * n - 1)
        graph = PreferenceGraph(n)
        graph.add_edges(edges[:, 0], edges[:, 1], variances)
        i, j = generator.choice(n, 2, replace=False).tolist()
        before = float(graph.uncertainty(i, j))
        design = (np.eye(n)[edges[:, 0]] - np.eye(n)[edges[:, 1]])[:, 1:]  # r_0 = 0: only differences are known
        covariance = np.linalg.inv(design.T @ (design / variances[:, None]))
        contrast = (np.eye(n)[i] - np.eye(n)[j])[1:]
        error = max(error, abs(before - float(contrast @ covariance @ contrast)))
        excess = max(excess, before - graph.path_bound(i, j))
        a, b = generator.choice(n, 2, replace=False).tolist()
        graph.add_edges(a, b, 0.5)
        rise = max(rise, float(graph.uncertainty(i, j)) - before)
    return {"error/regression": error, "excess/path": excess, "rise/edge": rise}


def population_uncertainty(seed: int, world: World) -> dict[str, float]:
    """Mean variance over 216 leaves of a tree-shaped prior after labels on independent pairs, or on small trees."""
    paths = [path for depth in range(4) for path in leaf_paths(depth=depth, branching=6)]
    place = {path: index for index, path in enumerate(paths)}
    leaves = leaf_paths(depth=3, branching=6)
    spread = {1: world.importance_1**2, 2: world.importance_2**2, 3: world.importance_3**2}
    generator = random.Random(seed)
    n_trees = 12
    drawn: dict[str, list[tuple[tuple[int, ...], tuple[int, ...]]]] = {"chain": [], "tree": []}
    for _ in range(n_trees):
        drawn["chain"] += [tuple(generator.sample(leaves, 2)) for _ in range(PAIRS_PER_TREE)]  # type: ignore[misc]
        tree: list[tuple[int, ...]] = [()]
        for _ in range(3):
            tree = [(*path, child) for path in tree for child in generator.sample(range(6), 2)]
        pairs = sample_tree_pairs(leaf_paths(), PAIRS_PER_TREE, generator=generator)
        drawn["tree"] += [(tree[pair.first], tree[pair.second]) for pair in pairs]
    found = {}
    ends = np.array([place[leaf] for leaf in leaves])
    for name, labeled in drawn.items():
        graph = PreferenceGraph(len(paths))
        for path in paths[1:]:
            graph.add_edges(place[path[:-1]], place[path], spread[len(path)])
        for a, b in labeled:
            graph.add_edges(place[a], place[b], 0.05)
        table = graph.uncertainty(ends[:, None], ends[None, :])
        found[f"uncertainty/{name}"] = float(table.sum() / (len(ends) * (len(ends) - 1)))
    return found


def figure(results: Results, axes: Axes) -> None:
    """Gain over independent pairs, by how much the candidates share."""
    shown = {"tree": "tree", "reuse": "reuse, no shared prefix", "chain_equal_segments": "chain, as few segments"}
    metrics = {"unrelated": "none", "sibling_1": "one segment", "sibling_2": "two segments"}
    for arm, label in shown.items():
        gains = [np.subtract(results[f"{name}/{arm}"], results[f"{name}/chain"]).mean() for name in metrics]
        axes.plot(list(metrics.values()), gains, marker="o", label=label)
    axes.axhline(0.0, color="gray", linewidth=0.8)
    axes.set_xlabel("what the two responses of a test pair share")
    axes.set_ylabel("accuracy gained over independent pairs")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.45, -0.16))
