"""Treat preferences as a graph: the uncertainty of reward differences, and the next pair to label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_choice, check_range

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Design = Literal["D", "A"]


class NextPair(NamedTuple):
    """The pair to label next.

    first, second: its responses; place: its index among the candidates.
    uncertainty: the variance of its reward difference before the label.
    gain: reduction by the label: for "A" of the mean variance over all pairs, for "D" of the log determinant of the
        rewards' covariance; inf if it joins two components.
    """

    first: int
    second: int
    place: int
    uncertainty: float
    gain: float


class PreferenceGraph:
    """Graph of responses; its edges are known reward differences (the paper's induced Bayesian network).

        Var[r_i − r_j] = (e_i − e_j)ᵀ L⁺ (e_i − e_j),    L = Σ_edges (1/v) (e_i − e_j)(e_i − e_j)ᵀ

    Qiu et al. 2024, arXiv:2402.10184. With Gaussian edges the posterior variance of a difference is the effective
    resistance between two nodes of a network whose resistors are the edges' variances v: in series they add, in
    parallel their inverses do. An edge is a prior on the difference of similar responses, or a label. A logistic label
    on a pair of equal responses counts like v ≈ 4 (the inverse of its information ¼), on a clear pair more.

    The paper's advice to label pairs from trees of responses rests on bounds of this quantity, not on the quantity
    itself: with tree-shaped priors independent pairs left less uncertainty, not more.

    >>> graph = PreferenceGraph(3)
    >>> graph.add_edges(0, 1, 1.0)
    >>> graph.add_edges(1, 2, 3.0)
    >>> float(graph.uncertainty(0, 2)), graph.path_bound(0, 2)
    (4.0, 4.0)
    """

    def __init__(self, n_responses: int) -> None:
        check_range("PreferenceGraph", "n_responses", n_responses, 1, np.inf)
        self._conductance = np.zeros((n_responses, n_responses))
        self._pinv: Array | None = None
        self._component: Indices | None = None

    def __len__(self) -> int:
        return len(self._conductance)

    def add_edges(self, first: ArrayLike, second: ArrayLike, variance: ArrayLike) -> None:
        """Add edges of known reward difference with noise N(0, variance): one pair, or arrays.

        Priors on similar responses and labels on pairs are both such edges.
        """
        i, j = self._nodes("add_edges", first, second)
        v = np.broadcast_to(np.asarray(variance, dtype=np.float64), i.shape)
        if not (v > 0).all():
            raise ValueError(
                f"PreferenceGraph.add_edges: a variance is {v[~(v > 0)].flat[0]}, which must be above 0. "
                "Merge responses of equal reward."
            )
        if (i == j).any():
            raise ValueError(
                f"PreferenceGraph.add_edges: response {i[i == j].flat[0]} has an edge to itself. Drop that edge."
            )
        np.add.at(self._conductance, (i, j), 1 / v)
        np.add.at(self._conductance, (j, i), 1 / v)
        self._pinv = self._component = None

    def _nodes(self, caller: str, first: ArrayLike, second: ArrayLike) -> tuple[Indices, Indices]:
        i, j = np.broadcast_arrays(np.asarray(first, dtype=np.intp), np.asarray(second, dtype=np.intp))
        for nodes in (i, j):
            if nodes.size and not (nodes.min() >= 0 and nodes.max() < len(self)):
                raise ValueError(
                    f"PreferenceGraph.{caller}: nodes reach from {nodes.min()} to {nodes.max()}, outside the "
                    f"{len(self)} responses. Count from 0."
                )
        return i, j

    def _solved(self) -> tuple[Array, Indices]:
        """Return the pseudo-inverse of the Laplacian, block by block, and each node's component."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import connected_components

        if self._pinv is None or self._component is None:
            edges: Any = csr_array(self._conductance > 0)
            _, labels = connected_components(edges, directed=False)
            self._component = labels.astype(np.intp)
            self._pinv = np.zeros_like(self._conductance)
            for label in range(int(labels.max()) + 1):
                nodes = np.flatnonzero(labels == label)
                weights = self._conductance[np.ix_(nodes, nodes)]
                laplacian = np.diag(weights.sum(axis=1)) - weights
                mean = np.full_like(laplacian, 1 / len(nodes))
                scale = max(float(np.trace(laplacian)) / len(nodes), 1e-300)  # L + s·11ᵀ/n is invertible, well scaled
                self._pinv[np.ix_(nodes, nodes)] = np.linalg.inv(laplacian + scale * mean) - mean / scale
        return self._pinv, self._component

    def uncertainty(self, first: ArrayLike, second: ArrayLike) -> Array:
        """Return the posterior variance of r_first − r_second; inf if no path joins them.

        A pseudo-inverse of the whole Laplacian would wrongly give a finite number there.
        """
        i, j = self._nodes("uncertainty", first, second)
        pinv, component = self._solved()
        variance = np.maximum(pinv[i, i] + pinv[j, j] - 2 * pinv[i, j], 0.0)
        joined: Array = np.where(component[i] == component[j], variance, np.inf)
        return joined

    def path_bound(self, first: int, second: int) -> float:
        """Return the variance along the best single path, an upper bound; inf without a path."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import dijkstra

        i, j = self._nodes("path_bound", first, second)
        rows, columns = np.nonzero(self._conductance)  # sparse, as a dense graph reads small numbers as no edge
        lengths: Any = csr_array((1 / self._conductance[rows, columns], (rows, columns)), shape=self._conductance.shape)
        return float(dijkstra(lengths, directed=False, indices=[int(i)])[0, int(j)])

    def mean_uncertainty(self) -> float:
        """Return the mean variance over all pairs, 2/(n − 1) · tr L⁺; inf if the graph is disconnected."""
        pinv, component = self._solved()
        if len(self) < 2:
            return 0.0
        return float(2 * np.trace(pinv) / (len(self) - 1)) if not component.any() else float("inf")

    def next_pair(
        self, candidates: Sequence[tuple[int, int]] | NDArray[np.intp], *, variance: float, design: Design = "A"
    ) -> NextPair:
        """Return the candidate whose label is most informative, by a rank-one update per candidate.

            A:  Δ mean variance = 2/(n−1) · ‖L⁺b‖² / (v + bᵀL⁺b)        D:  Δ log det = log(1 + bᵀL⁺b / v)

        with b = e_i − e_j. "D" picks the most uncertain pair, "A" the one whose label helps all pairs most. A pair that
        joins two components comes first, the largest product of their sizes before others.

        Args:
            candidates: (C, 2) pairs that could be labeled.
            variance: v of a label.
        """
        check_choice("PreferenceGraph.next_pair", "design", design, ("D", "A"))
        pairs = np.asarray(candidates, dtype=np.intp)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
            raise ValueError(
                f"PreferenceGraph.next_pair: candidates have shape {pairs.shape}. Pass at least one, as (C, 2)."
            )
        if not variance > 0:
            raise ValueError(f"PreferenceGraph.next_pair: variance is {variance}, which must be above 0.")
        i, j = self._nodes("next_pair", pairs[:, 0], pairs[:, 1])
        now = self.uncertainty(i, j)
        pinv, component = self._solved()
        if design == "D":
            gain = np.log1p(now / variance)
        else:
            moved = ((pinv[:, i] - pinv[:, j]) ** 2).sum(axis=0)
            joined = np.isfinite(now)
            falls = 2 / max(len(self) - 1, 1) * moved / (variance + np.where(joined, now, 0.0))
            gain = np.where(joined, falls, np.inf)
        size = np.bincount(component)[component].astype(np.float64)
        joins = np.where(np.isinf(now), size[i] * size[j], 0.0)
        best = int(np.lexsort((-gain, -joins))[0])
        return NextPair(int(i[best]), int(j[best]), best, float(now[best]), float(gain[best]))


def structural_function(distances: ArrayLike, n_clusters: Sequence[int]) -> Array:
    """Return the typical variance within a cluster of M clusters of responses, for each M.

        F(M): mean of d_ij over pairs that share a cluster, in the better of average and complete linkage

    Qiu et al. 2024, arXiv:2402.10184. A fast fall of F with M means that labels on some responses inform on others.

    Differs: the paper takes the best of all partitions, which is intractable; this is an upper bound.

    Args:
        distances: (n, n) variances of reward differences known beforehand, symmetric.
        n_clusters: M, each in 1…n.

    Returns:
        (len(n_clusters),); 0 if every response is its own cluster.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    table = np.asarray(distances, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not np.allclose(table, table.T) or (table < 0).any():
        raise ValueError(
            f"structural_function: distances have shape {table.shape}; pass a square, symmetric table of variances ≥ 0."
        )
    for count in n_clusters:
        check_range("structural_function", "n_clusters", count, 1, len(table))
    flat = squareform(table, checks=False)
    trees = [linkage(flat, method=method) for method in ("average", "complete")] if len(table) > 1 else []
    found = []
    for count in n_clusters:
        means = []
        for tree in trees:
            label = fcluster(tree, count, criterion="maxclust")
            same = squareform(label[:, None] == label[None, :], checks=False)
            means.append(float(flat[same].mean()) if same.any() else 0.0)
        found.append(min(means, default=0.0))
    return np.array(found)
