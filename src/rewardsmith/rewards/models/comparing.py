"""Whether two readings of a model agree, up to rounding."""

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
"""Share of the spread between rows by which two readings may differ; half precision depends on the batch's shape."""
NOISE, NOISE_IN_HALF = 64, 8
"""Rounding errors of the largest number by which they may differ besides."""

Values = Sequence[Sequence[float]]


def near(left: Numbers, right: Numbers, most: Any) -> bool:
    """Return whether two outputs of one shape differ by at most `most`; NaN and infinity are equal to themselves."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        same = (left == right) | (np.isnan(left) & np.isnan(right)) | (abs(left - right) <= most)
    return bool(same.all())


def close(left: Tensor | None, right: Tensor, *, of: Tensor | None = None, far: float | None = None) -> bool:
    """Return whether outputs agree, measured by the largest number in the second; None agrees with nothing.

    Args:
        of: other numbers whose largest is the measure.
        far: the largest difference; by default what passes of another shape may differ by.
    """
    if left is None or left.shape != right.shape:
        return False
    if far is None:
        far = FAR_IN_HALF if left.dtype.itemsize < 4 else FAR
    one, other, measure = (values.double().cpu().numpy() for values in (left, right, right if of is None else of))
    return near(one, other, far * _largest(measure))


@dataclass
class Spread:
    """The least and the largest of a model's numbers so far, for each number of a row where all rows have as many."""

    ends: Values = field(default=(), init=False)

    def near(self, found: Values, right: Values, among: Values, dtype: Any, *, times: float = 1.0) -> bool:
        """Return whether `found` is `right` up to rounding.

        Args:
            right: the same rows, read safely.
            among: all rows of the pass, whose spread counts too.
            dtype: torch's, of the model's weights.
            times: how much more than rounding they may differ by.
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
