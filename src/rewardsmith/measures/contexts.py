"""Bound the error of a preference by errors of the context and of the judgment within it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class ContextBound(NamedTuple):
    """Bounds of both errors, (...) each; error ≤ centered ≤ bound.

    error: |p̂ − p| of the mixed preference.
    bound: context_term + preference_term.
    context_term: Σ_z |p̂(z) − p(z)| p̂(y₁ ≻ y₂ | z), from a wrong context.
    preference_term: Σ_z p(z) |p̂(·|z) − p(·|z)|, from a wrong judgment within it.
    centered: the bound with p̂(·|z) centered on the middle of its range in the first term, if smaller; at most the
        total variation of the contexts, and 0 if the preference does not depend on them.
    """

    error: Array
    bound: Array
    context_term: Array
    preference_term: Array
    centered: Array


def context_error_bound(
    p_context_hat: ArrayLike, p_context: ArrayLike, p_preferred_hat: ArrayLike, p_preferred: ArrayLike
) -> ContextBound:
    """Bound the error of a two-step preference, and split it into the parts of both steps.

        |Σ_z p̂(z) p̂_z − Σ_z p(z) p_z|  ≤  Σ_z |p̂(z) − p(z)| p̂_z  +  Σ_z p(z) |p̂_z − p_z|

    Pitis et al. 2024, arXiv:2407.14916. It holds for probabilities: pass scores through the sigmoid first.

    Args:
        p_context_hat, p_context: (..., Z) believed and true p(z|x), each summing to 1.
        p_preferred_hat, p_preferred: (..., Z) believed and true p(y₁ ≻ y₂ | x, z) in [0, 1].

    >>> bound = context_error_bound([1.0, 0.0], [0.5, 0.5], [0.9, 0.1], [0.9, 0.1])
    >>> round(float(bound.error), 3), round(float(bound.bound), 3), round(float(bound.centered), 3)
    (0.4, 0.5, 0.4)
    """
    given = {
        "p_context_hat": p_context_hat,
        "p_context": p_context,
        "p_preferred_hat": p_preferred_hat,
        "p_preferred": p_preferred,
    }
    tables = {name: np.asarray(value, dtype=np.float64) for name, value in given.items()}
    for name, table in tables.items():
        if table.ndim < 1 or (table < 0).any() or (table > 1).any():
            raise ValueError(
                f"context_error_bound: {name} must be (..., Z) probabilities in [0, 1], and spans "
                f"[{table.min():.3g}, {table.max():.3g}]. Pass scores through the sigmoid first."
            )
        if name.startswith("p_context") and (np.abs(table.sum(axis=-1) - 1) > 1e-6).any():
            raise ValueError(f"context_error_bound: {name} does not sum to 1 over the contexts. Normalize it.")
    z_hat, z, p_hat, p = np.broadcast_arrays(*tables.values())
    error = np.abs((z_hat * p_hat).sum(axis=-1) - (z * p).sum(axis=-1))
    context_term = (np.abs(z_hat - z) * p_hat).sum(axis=-1)
    preference_term = (z * np.abs(p_hat - p)).sum(axis=-1)
    middle = (p_hat.max(axis=-1, keepdims=True) + p_hat.min(axis=-1, keepdims=True)) / 2
    centered_term = np.minimum((np.abs(z_hat - z) * np.abs(p_hat - middle)).sum(axis=-1), context_term)
    return ContextBound(
        error, context_term + preference_term, context_term, preference_term, centered_term + preference_term
    )
