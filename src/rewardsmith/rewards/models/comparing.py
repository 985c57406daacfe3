"""Compare two outputs of a model up to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Numbers = NDArray[np.float64]

FAR, FAR_IN_HALF = 1e-4, 5e-2
"""Allowed difference as a share of the spread between rows; half precision depends on the batch's shape."""
NOISE, NOISE_IN_HALF = 64, 8
"""Further allowed difference, in rounding errors of the largest number."""

Values = Sequence[Sequence[float]]


def near(left: Numbers, right: Numbers, most: Any) -> bool:
    """Return whether two outputs of one shape differ by at most `most`; NaN equals NaN, and infinity infinity."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        same = (left == right) | (np.isnan(left) & np.isnan(right)) | (abs(left - right) <= most)
    return bool(same.all())


def close(left: Tensor | None, right: Tensor, *, of: Tensor | None = None, far: float | None = None) -> bool:
    """Return whether outputs agree, relative to the largest number of `right`; None agrees with nothing.

    Args:
        of: other numbers whose largest sets the scale.
        far: the largest allowed difference; by default that of a pass of another shape.
    """
    if left is None or left.shape != right.shape:
        return False
    if far is None:
        far = FAR_IN_HALF if left.dtype.itemsize < 4 else FAR
    one, other, measure = (values.double().cpu().numpy() for values in (left, right, right if of is None else of))
    return near(one, other, far * _largest(measure))


@dataclass
class Spread:
    """The range of a model's numbers so far, one range for each number of a row if all rows have equally many."""

    ends: Values = field(default=(), init=False)

    def near(self, found: Values, right: Values, among: Values, dtype: Any, *, times: float = 1.0) -> bool:
        """Return whether `found` equals `right` up to rounding.

        Args:
            right: the same rows, read without padding or cache.
            among: all rows of the pass, which widen the spread.
            dtype: torch dtype of the model's weights.
            times: allowed difference as a multiple of rounding.
        """
        import numpy as np
        import torch

        rows = [*among, *right, *self.ends]
        width = len(rows[0]) if len({len(row) for row in rows}) == 1 else 1
        known, one, other = (
            np.asarray([value for row in part for value in row], dtype=np.float64).reshape(-1, width)
            for part in (rows, found, right)
        )
        finite = np.isfinite(known)
        low, high = np.where(finite, known, np.inf).min(axis=0), np.where(finite, known, -np.inf).max(axis=0)
        half = dtype.itemsize < 4
        noise = (NOISE_IN_HALF if half else NOISE) * torch.finfo(dtype).eps * _largest(known)
        most = (FAR_IN_HALF if half else FAR) * np.maximum(high - low, 0.0) + noise
        agree = near(one, other, times * most)
        if agree:
            self.ends = [low.tolist(), high.tolist()]
        return agree


def _largest(values: Numbers) -> float:
    import numpy as np

    return float(abs(values[np.isfinite(values)]).max(initial=0.0))
