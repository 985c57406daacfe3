"""Effective resistance against Bayesian regression, SciPy and physics; next pairs against inverses computed anew."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rewardsmith.measures import structural_function
from rewardsmith.measures.preference_graph import PreferenceGraph


def random_graph(generator, n, extra):
    tree = [(int(generator.integers(k)), k) for k in range(1, n)]
    more = [tuple(generator.choice(n, 2, replace=False).tolist()) for _ in range(extra)] if n > 1 else []
    edges = np.array(tree + more)
    return edges, generator.uniform(0.05, 5.0, size=len(edges))


def built(n, edges, variances):
    graph = PreferenceGraph(n)
    graph.add_edges(edges[: n - 1, 0], edges[: n - 1, 1], variances[: n - 1])
    graph.add_edges(edges[n - 1 :, 0], edges[n - 1 :, 1], variances[n - 1 :])
    return graph


def posterior(n, edges, variances):
    """The covariance of r_1 … r_{n−1} given r_0 = 0 and Gaussian differences, by regression on the edges."""
    design = np.eye(n)[edges[:, 0]] - np.eye(n)[edges[:, 1]]
    covariance = np.zeros((n, n))
    covariance[1:, 1:] = np.linalg.inv(design[:, 1:].T @ np.diag(1 / variances) @ design[:, 1:])
    return covariance


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 12))])
def test_uncertainty_is_the_posterior_variance_and_at_most_the_shortest_path(seed):
    generator = np.random.default_rng(seed)
    n = int(generator.integers(2, 41))
    edges, variances = random_graph(generator, n, int(generator.integers(0, 2 * n)))
    graph = built(n, edges, variances)
    covariance = posterior(n, edges, variances)
    i, j = np.meshgrid(range(n), range(n), indexing="ij")
    expected = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]
    found = graph.uncertainty(i, j)
    assert_allclose(found, expected, rtol=0, atol=1e-8)
    paths = np.array([[graph.path_bound(a, b) for b in range(n)] for a in range(n)])
    assert (found <= paths + 1e-9).all()
    assert graph.mean_uncertainty() == pytest.approx(expected.sum() / (n * (n - 1)), rel=1e-9)
    if n > 2:  # Rayleigh: a further edge never raises an uncertainty
        graph.add_edges(*generator.choice(n, 2, replace=False).tolist(), 0.5)
        assert (graph.uncertainty(i, j) <= found + 1e-9).all()


def test_series_add_and_parallels_combine():
    graph = PreferenceGraph(3)
    graph.add_edges([0, 1], [1, 2], [1.0, 2.0])
    assert_allclose(graph.uncertainty(0, 2), 3.0)
    graph.add_edges(0, 2, 6.0)
    assert_allclose(graph.uncertainty(0, 2), 2.0)  # 1/(1/3 + 1/6)
    graph.add_edges(0, 2, 2.0)
    assert_allclose(graph.uncertainty(0, 2), 1.0)  # repeated labels on a pair are parallel
    assert graph.path_bound(0, 2) == pytest.approx(1.5)  # as are the two direct edges of a path


def test_what_no_chain_joins_is_infinitely_uncertain():
    graph = PreferenceGraph(4)
    graph.add_edges(0, 1, 1.0)
    assert graph.uncertainty(0, 2) == math.inf
    assert graph.path_bound(0, 2) == math.inf
    assert graph.mean_uncertainty() == math.inf
    assert graph.uncertainty([0, 2], [1, 2]).tolist() == pytest.approx([1.0, 0.0])
    assert PreferenceGraph(1).mean_uncertainty() == 0.0


def test_variances_of_any_unit_scale_the_answer():
    generator = np.random.default_rng(0)
    edges, variances = random_graph(generator, 20, 20)
    base = built(20, edges, variances).uncertainty(0, 19)
    for unit in (1e-9, 1e9):
        assert_allclose(built(20, edges, unit * variances).uncertainty(0, 19), unit * base, rtol=1e-6)


@pytest.mark.parametrize("design", ["A", "D"])
def test_the_next_pair_is_the_one_that_an_inverse_computed_anew_likes_best(design):
    generator = np.random.default_rng(5)
    edges, variances = random_graph(generator, 12, 6)
    graph = built(12, edges, variances)
    candidates = [(i, j) for i in range(12) for j in range(i)]

    def worth(pair):
        more, known = np.vstack([edges, pair]), np.append(variances, 0.8)
        if design == "D":
            after, before = (
                np.linalg.slogdet(posterior(12, *given)[1:, 1:])[1] for given in ((more, known), (edges, variances))
            )
            return before - after
        return graph.mean_uncertainty() - built(12, more, known).mean_uncertainty()

    gains = [worth(pair) for pair in candidates]
    best = graph.next_pair(candidates, variance=0.8, design=design)
    assert best.place == int(np.argmax(gains))
    assert (best.first, best.second) == candidates[best.place]
    assert best.gain == pytest.approx(max(gains), rel=1e-9)
    assert best.uncertainty == pytest.approx(float(graph.uncertainty(best.first, best.second)))


def test_a_pair_that_joins_the_largest_parts_comes_first():
    graph = PreferenceGraph(6)
    graph.add_edges([0, 1, 3], [1, 2, 4], 1.0)  # parts {0, 1, 2}, {3, 4}, {5}
    for design in ("A", "D"):
        found = graph.next_pair([(0, 1), (0, 5), (2, 3), (4, 5)], variance=1.0, design=design)
        assert (found.first, found.second, found.gain) == (2, 3, math.inf)


def test_structural_function_of_two_tight_clusters():
    points = np.array([0.0, 0.1, 0.2, 5.0, 5.1])
    distances = np.abs(points[:, None] - points)
    found = structural_function(distances, [1, 2, 5])
    every = distances[np.triu_indices(5, 1)]
    assert_allclose(found, [every.mean(), (0.1 + 0.1 + 0.2 + 0.1) / 4, 0.0])
    assert structural_function([[0.0]], [1]).tolist() == [0.0]


def test_refusals():
    graph = PreferenceGraph(3)
    with pytest.raises(ValueError, match=r"PreferenceGraph.add_edges: a variance is 0.0, which must be above 0. Merge"):
        graph.add_edges(0, 1, 0.0)
    with pytest.raises(ValueError, match=r"add_edges: response 2 has an edge to itself. Drop that edge"):
        graph.add_edges(2, 2, 1.0)
    with pytest.raises(
        ValueError, match=r"uncertainty: nodes reach from 3 to 3, outside the 3 responses. Count from 0"
    ):
        graph.uncertainty(0, 3)
    with pytest.raises(ValueError, match=r"next_pair: candidates have shape \(0,\). Pass at least one, as \(C, 2\)"):
        graph.next_pair([], variance=1.0)
    with pytest.raises(ValueError, match=r"next_pair: variance is -1.0, which must be above 0"):
        graph.next_pair([(0, 1)], variance=-1.0)
    with pytest.raises(ValueError, match=r"next_pair: design is 'E', which is not one of 'D', 'A'"):
        graph.next_pair([(0, 1)], variance=1.0, design="E")
    with pytest.raises(ValueError, match=r"PreferenceGraph: n_responses is 0, outside"):
        PreferenceGraph(0)
    with pytest.raises(ValueError, match=r"structural_function: distances have shape .* square, symmetric table"):
        structural_function([[0.0, 1.0], [2.0, 0.0]], [1])
    with pytest.raises(ValueError, match=r"structural_function: n_clusters is 3, outside"):
        structural_function([[0.0, 1.0], [1.0, 0.0]], [3])
