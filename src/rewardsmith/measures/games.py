"""Treat preferences as a game: how much a policy can be beaten, and how much of the preferences is cyclic."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_shape

Array = NDArray[np.float64]


def exploitability(preferences: ArrayLike, policy: ArrayLike) -> Array:
    """Return by how much the best answer to a policy beats it.

        max_a Σ_b P(a ≻ b) π(b) − ½        0 at the Nash policy, the von Neumann winner

    Rosset et al. 2024, arXiv:2404.03715. For estimated preferences the maximum is too high by their noise.

    Args:
        preferences: (..., A, A) P(row ≻ column), with P + Pᵀ = 1.
        policy: (..., A) probabilities.

    Returns:
        (...) in [0, ½].

    >>> rock_paper_scissors = [[0.5, 0, 1], [1, 0.5, 0], [0, 1, 0.5]]
    >>> exploitability([rock_paper_scissors] * 2, [[1, 0, 0], [1 / 3] * 3]).round(9).tolist()
    [0.5, 0.0]
    """
    wins, mass = _square("exploitability", preferences, 1.0), np.array(policy, dtype=np.float64)
    check_shape("exploitability", "policy", mass, *([None] * (mass.ndim - 1)), wins.shape[-1])
    best: Array = (wins @ mass[..., None])[..., 0].max(axis=-1) - 0.5
    return best


def intransitivity(log_odds: ArrayLike) -> Array:
    """Return the share of the energy of preferences that is cyclic, which no score of single answers explains.

        Σ_ij (L_ij − (s_i − s_j))² / Σ_ij L_ij²,    s_i = mean_j L_ij

    The Hodge decomposition of Jiang et al. 2011, arXiv:0811.1067, on all pairs with equal weights. Noise in estimated
    log-odds counts as cyclic: compare with a resampled transitive fit.

    Args:
        log_odds: (..., A, A) L = logit P(row ≻ column), with L + Lᵀ = 0; NaN gives NaN.

    Returns:
        (...) in [0, 1]; 0 where all are ties.

    >>> intransitivity([[[0, 1, 2], [-1, 0, 1], [-2, -1, 0]], [[0, 1, -1], [-1, 0, 1], [1, -1, 0]]]).tolist()
    [0.0, 1.0]
    """
    table = _square("intransitivity", log_odds, 0.0)
    scores = table.mean(axis=-1)
    cyclic = ((table - (scores[..., :, None] - scores[..., None, :])) ** 2).sum(axis=(-2, -1))
    energy = (table**2).sum(axis=(-2, -1))
    share: Array = cyclic / np.where(energy == 0, 1.0, energy)
    return share


def transitive_fit_error(preferences: ArrayLike) -> Array:
    """Return the root mean square error of Bradley-Terry scores for the probabilities of all pairs.

        √ mean_{i≠j} (P_ij − σ(s_i − s_j))²,    s_i = mean_j logit P_ij, the least squares fit of the log-odds

    Rosset et al. 2024, arXiv:2404.03715. A reward of single answers has such an error even with unlimited data.

    Args:
        preferences: (..., A, A) P(row ≻ column), with P + Pᵀ = 1; probabilities are kept within 10⁻³ of 0 and 1.

    Returns:
        (...) in units of probability.

    >>> round(transitive_fit_error([[0.5, 0.8], [0.2, 0.5]]).item(), 6)
    0.0
    """
    wins = np.clip(_square("transitive_fit_error", preferences, 1.0), 1e-3, 1 - 1e-3)
    n, scores = wins.shape[-1], np.log(wins / (1 - wins)).mean(axis=-1)
    fit = 1 / (1 + np.exp(scores[..., None, :] - scores[..., :, None]))
    error: Array = np.sqrt(((wins - fit) ** 2).sum(axis=(-2, -1)) / max(n * (n - 1), 1))
    return error


def _square(caller: str, table: ArrayLike, total: float) -> Array:
    """Return (..., A, A) float64 whose two orders of a pair sum to `total`."""
    found = np.array(table, dtype=np.float64)
    check_shape(caller, "the table", found, *found.shape[:-2], found.shape[-1], found.shape[-1])
    apart = np.abs(found + np.swapaxes(found, -1, -2) - total)
    if (apart > 1e-6).any():
        raise ValueError(
            f"{caller}: the two orders of a pair sum to {total:g} ± {np.nanmax(apart):.3g}, not {total:g}. "
            "Average both orders of the judge, so that its position bias cancels."
        )
    return found
