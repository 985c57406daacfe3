"""Whether two readings of the same rows agree, measured by how much the numbers differ from row to row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAR, FAR_IN_HALF = 1e-4, 5e-2
"""Share of the spread between rows by which two readings may differ; half precision depends on the batch's shape."""
NOISE, NOISE_IN_HALF = 64, 8
"""Rounding errors of the largest number by which they may differ besides."""

Values = Sequence[Sequence[float]]


@dataclass
class Spread:
    """The least and the largest of a model's numbers so far, for each number of a row where all rows have as many."""

    low: NDArray[Any] | None = field(default=None, init=False)
    high: NDArray[Any] | None = field(default=None, init=False)

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

        half = dtype.itemsize < 4
        low, high = self._with([*among, *right])
        pooled = len({len(row) for row in [*among, *right]}) != 1 or len(low) == 1
        a, b = (_table(rows, pooled) for rows in (found, right))
        size = max(0.0, *(abs(end[np.isfinite(end)]).max(initial=0.0) for end in (low, high)))
        spread = np.where(np.isfinite(high - low), high - low, 0.0)
        most = (FAR_IN_HALF if half else FAR) * spread
        most = most + (NOISE_IN_HALF if half else NOISE) * torch.finfo(dtype).eps * size
        with np.errstate(invalid="ignore"):
            same = (a == b) | (np.isnan(a) & np.isnan(b)) | (abs(a - b) <= times * most)
        if same.all():
            self.low, self.high = low, high
        return bool(same.all())

    def _with(self, rows: Values) -> tuple[NDArray[Any], NDArray[Any]]:
        import numpy as np

        lengths = {len(row) for row in rows} | (set() if self.low is None else {len(self.low)})
        table = _table(rows, len(lengths) != 1)
        table = np.where(np.isfinite(table), table, np.nan)
        low, high = np.fmin.reduce(table, initial=np.inf), np.fmax.reduce(table, initial=-np.inf)
        if self.low is None or self.high is None:
            return low, high
        if len(lengths) != 1:
            return np.fmin(low, self.low.min(initial=np.inf)), np.fmax(high, self.high.max(initial=-np.inf))
        return np.fmin(low, self.low), np.fmax(high, self.high)


def _table(rows: Values, pooled: bool) -> NDArray[Any]:
    import numpy as np

    flat = np.asarray([value for row in rows for value in row], dtype=np.float64)
    return flat.reshape(-1, 1) if pooled else flat.reshape(len(rows), -1)
