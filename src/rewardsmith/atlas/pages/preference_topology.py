"""Labels on responses that share a beginning teach a reward model to tell near-identical ones apart."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from rewardsmith.atlas.criteria import All, AtMost, LowerBound, PairedGain, Results
from rewardsmith.data import leaf_paths, sample_tree_pairs
from rewardsmith.measures import sibling_accuracy
from rewardsmith.measures.preference_graph import PreferenceGraph
from rewardsmith.worlds import BatchedMLP, Pairs, SegmentedResponses, Streams, margins, train_pairs

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


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Accuracy and best-of-n of reward models trained on differently drawn pairs, and checks of the graph."""
    inner = [seed * world.n_worlds + k for seed in seeds for k in range(world.n_worlds)]
    streams = Streams(inner)
    importance = (world.importance_1, world.importance_2, world.importance_3)
    truth = SegmentedResponses.sample(streams, importance=importance, scale=world.steepness)
    models = trained(truth, world, streams, inner, broken)
    n = -(-world.n_pairs // PAIRS_PER_TREE) * SEGMENTS_PER_TREE  # segments that the trees cost
    columns = {"segments": torch.tensor([[world.n_pairs * 6.0, n / 14 * 24, n, n]]).expand(len(inner), -1)}
    columns |= accuracies(truth, models, world, streams, inner)
    best = truth.best_of(models, streams=streams, n_prompts=world.n_best_of)
    columns |= {"bon_64": best.unrelated, "bon_prefix": best.prefix}
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


def trained(
    truth: SegmentedResponses, world: World, streams: Streams, seeds: Sequence[int], broken: bool
) -> BatchedMLP:
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
    size = truth.shape[0] * truth.shape[1]
    start = BatchedMLP((size, world.width, world.width, 1), lead=(len(seeds), 1), streams=streams)
    return train_pairs(start.take([0] * len(ARMS)), every, streams=streams, steps=world.steps, mask=mask)


def accuracies(
    truth: SegmentedResponses, models: BatchedMLP, world: World, streams: Streams, seeds: Sequence[int]
) -> dict[str, torch.Tensor]:
    """(S, M) accuracy on unrelated pairs, and on pairs of fresh trees that share one segment, two, or any."""
    unrelated = truth.pairs(world.n_test, "chain", streams=streams, seeds=seeds)
    right = (margins(models, unrelated) > 0).to(streams.dtype).mean(dim=-1)
    leaves = truth.trees(world.n_test_trees, streams=streams)  # (S, trees, 8, L, d)
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
        graph.add_comparison(edges[:, 0], edges[:, 1], variances)
        i, j = generator.choice(n, 2, replace=False).tolist()
        before = float(graph.uncertainty(i, j))
        design = (np.eye(n)[edges[:, 0]] - np.eye(n)[edges[:, 1]])[:, 1:]  # r_0 = 0: only differences are known
        covariance = np.linalg.inv(design.T @ (design / variances[:, None]))
        contrast = (np.eye(n)[i] - np.eye(n)[j])[1:]
        error = max(error, abs(before - float(contrast @ covariance @ contrast)))
        excess = max(excess, before - graph.path_bound(i, j))
        a, b = generator.choice(n, 2, replace=False).tolist()
        graph.add_comparison(a, b, 0.5)
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
            graph.add_similarity(place[path[:-1]], place[path], spread[len(path)])
        for a, b in labeled:
            graph.add_comparison(place[a], place[b], 0.05)
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
