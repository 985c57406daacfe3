"""How often a verifier errs, against rows whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith.measures.intervals import read_column, share_right


class NoiseRates(NamedTuple):
    """A verifier's error rates on labeled rows, NaN with interval (0, 1) where no row tells.

    false_positive_rate: ρ₀ = P(verdict=1 | gold=0), over n_wrong rows.
    false_negative_rate: ρ₁ = P(verdict=0 | gold=1), over n_right rows.
    The intervals are Wilson's.
    """

    false_positive_rate: float
    false_positive_interval: tuple[float, float]
    false_negative_rate: float
    false_negative_interval: tuple[float, float]
    n_wrong: int
    n_right: int


def estimate_noise(
    verdicts: ArrayLike, gold: ArrayLike, keys: Sequence[str] | None = None, *, alpha: float = 0.05
) -> dict[str, NoiseRates]:
    """Measure a verifier's error rates on rows whose truth is known, by key.

        ρ̂₀ = #(r̃=1, r=0) / #(r=0),  ρ̂₁ = #(r̃=0, r=1) / #(r=1),  each with its Wilson interval

    Args:
        verdicts: (B,) r̃ ∈ {0, 1}, NaN where unscored; such rows are skipped.
        gold: (B,) r ∈ {0, 1}, NaN where unlabeled; such rows are skipped.
        keys: B keys, such as the response's format; None puts all rows under "all".

    Returns:
        The rates of each key, in the order in which keys appear.

    >>> rates = estimate_noise([1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0])["all"]
    >>> rates.false_positive_rate, rates.false_negative_rate, rates.n_right
    (0.5, 0.5, 2)
    """
    said, true = (read_column("estimate_noise", *given) for given in (("verdicts", verdicts), ("gold", gold)))
    if len(said) != len(true):
        raise ValueError(f"estimate_noise: got {len(said)} verdicts and {len(true)} gold. Pass one of each per row.")
    for name, column in (("verdicts", said), ("gold", true)):
        odd = column[~(np.isnan(column) | (column == 0) | (column == 1))]
        if len(odd):
            raise ValueError(
                f"estimate_noise: {name} holds {odd[0]}, but a verdict is 0, 1, or NaN where unscored. "
                "Threshold graded rewards first."
            )
    names = ["all"] * len(said) if keys is None else list(keys)
    if len(names) != len(said):
        raise ValueError(f"estimate_noise: {len(names)} keys for {len(said)} rows. Pass one key per row.")
    missed: dict[str, tuple[list[bool], list[bool]]] = {name: ([], []) for name in names}  # on wrong rows, on right
    for name, verdict, truth in zip(names, said.tolist(), true.tolist(), strict=True):
        if not np.isnan(verdict + truth):
            missed[name][int(truth)].append(verdict != truth)
    found = {name: [share_right(side, alpha=alpha) for side in sides] for name, sides in missed.items()}
    return {
        name: NoiseRates(wrong.value, wrong[1:3], right.value, right[1:3], wrong.n, right.n)
        for name, (wrong, right) in found.items()
    }
