"""Forward passes over batches of rows: padded tightly, in eval mode, each prompt's cache shared by its completions."""

from __future__ import annotations

import contextlib
import copy
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rewardsmith.rewards.models.batching import MOST_ROWS, TOKEN_BUDGET, Batch, cut, plan_batches
from rewardsmith.rewards.models.encoding import Encoded

if TYPE_CHECKING:
    from torch import Tensor

    from rewardsmith.rewards.models.encoding import Ids

logger = logging.getLogger(__name__)

Read = Callable[["Tensor", Sequence[Encoded]], list[list[float]]]
"""(R, d) outputs at the positions that the rows read, row after row, and the rows, to one list of numbers a row."""


@dataclass
class Scanner:
    """Runs `body` over rows and hands its outputs at the rows' `reads` to whoever asks.

    Args:
        model: put in eval mode while it runs.
        body: the model's inputs by keyword to (n, t, d) outputs per position; n × 1 where it pools by itself.
        trunk: the module under `body` that takes and gives `past_key_values`.
        causal: outputs depend on nothing to the right. Then padding on the right needs no mask, and a prompt can be
            read once for all its completions. Tested on the first batch that would use it, and left where it fails.
        pad_id: any token id; what stands in padding is never read.
        side: where padding goes.
        max_rows: rows per pass.
    """

    model: Any
    body: Callable[..., Tensor]
    trunk: Any
    causal: bool
    pad_id: int = 0
    side: Literal["left", "right"] = "right"
    budget: int = TOKEN_BUDGET
    max_rows: int = MOST_ROWS
    share: bool = True
    _takes_positions: bool = field(init=False, repr=False)
    _tested: set[str] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        parameters = inspect.signature(self.trunk.forward).parameters
        self._takes_positions = "position_ids" in parameters
        if "past_key_values" not in parameters or self.side == "left":
            self.share = False
        self.share = self.share and self.causal

    def plan(self, encoded: Sequence[Encoded]) -> list[Batch]:
        """The batches in which `run` reads these rows."""
        return plan_batches(encoded, share=self.share, budget=self.budget, most_rows=self.max_rows)

    def run(self, encoded: Sequence[Encoded], read: Read) -> list[list[float]]:
        """What `read` makes of each row, in order."""
        import torch

        results: list[list[float]] = [[]] * len(encoded)
        with torch.inference_mode(), evaluating(self.model):
            for batch in self.plan(encoded):
                for row, values in zip(batch.rows, self._batch(batch, encoded, read), strict=True):
                    results[row] = values
        return results

    def outputs(self, rows: Sequence[Encoded]) -> Tensor:
        """(R, d): what `body` gives at the rows' reads, in one pass, with the caller's mode and gradients."""
        return self._padded(rows, masked=True)

    def _batch(self, batch: Batch, encoded: Sequence[Encoded], read: Read) -> list[list[float]]:
        rows = [encoded[row] for row in batch.rows]
        if batch.prefix and self.share:
            shared = self._trusted_prefix(batch, encoded, rows, read)
            if shared is not None:
                return shared
        results: list[list[float]] = []
        for start, stop in cut([len(row.ids) for row in rows], budget=self.budget, most_rows=self.max_rows):
            results += self._plain(rows[start:stop], read)
        return results

    def _plain(self, rows: Sequence[Encoded], read: Read) -> list[list[float]]:
        values = read(self._padded(rows, masked=not self.causal or self.side == "left"), rows)
        ragged = len({len(row.ids) for row in rows}) > 1
        if self.causal and self.side == "right" and ragged and "mask" not in self._tested:
            self._tested.add("mask")  # the row with most padding, alone: padding on its right must not have counted
            if not self._near(values[-1:], read(self._padded(rows[-1:], masked=False), rows[-1:])):
                logger.warning("Scanner: padding reaches this model's scores, so every pass is masked from here on.")
                self.causal = self.share = False
                return read(self._padded(rows, masked=True), rows)
        return values

    def _padded(self, rows: Sequence[Encoded], *, masked: bool) -> Tensor:
        import torch

        device = self.trunk.device
        lengths = [len(row.ids) for row in rows]
        width = max(lengths)
        given = {"input_ids": _rectangle([row.ids for row in rows], width, self.pad_id, self.side).to(device)}
        if masked:
            ones = [torch.ones(length, dtype=torch.int64).numpy() for length in lengths]
            given["attention_mask"] = _rectangle(ones, width, 0, self.side).to(device)
        if self.side == "left" and self._takes_positions and self.causal:
            given["position_ids"] = (given["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        types = [row.types for row in rows if row.types is not None]
        if len(types) == len(rows):
            given["token_type_ids"] = _rectangle(types, width, 0, self.side).to(device)
        starts = [width - length if self.side == "left" else 0 for length in lengths]
        caching = {"use_cache": False} if self.causal else {}
        return _read_at(self.body(**given, **caching), rows, starts)

    def _trusted_prefix(
        self, batch: Batch, encoded: Sequence[Encoded], rows: Sequence[Encoded], read: Read
    ) -> list[list[float]] | None:
        """The rows read behind their prompts' cache, or None, for ever, where that does not give the plain scores."""
        try:
            values = self._behind_prefix(batch, encoded, rows, read)
        except Exception as error:
            if "prefix" in self._tested:
                raise
            logger.warning("Scanner: this model's cache cannot be shared (%s: %s).", type(error).__name__, error)
            self.share = False
            return None
        if "prefix" not in self._tested:
            self._tested.add("prefix")
            ends = (0, len(rows) - 1)
            if not all(self._near([values[place]], self._plain([rows[place]], read)) for place in ends):
                logger.warning("Scanner: scores behind a shared prompt differ from plain ones: prompts are not shared.")
                self.share = False
                return None
        return values

    def _behind_prefix(
        self, batch: Batch, encoded: Sequence[Encoded], rows: Sequence[Encoded], read: Read
    ) -> list[list[float]]:
        import torch

        device, prefix = self.trunk.device, batch.prefix
        heads = [encoded[row].ids[:prefix] for row in batch.leaders]
        ids = _rectangle(heads, prefix, self.pad_id, "right").to(device)
        cache = self.trunk(input_ids=ids, use_cache=True).past_key_values
        lengths = [len(row.ids) - prefix for row in rows]
        results: list[list[float]] = []
        for start, stop in cut(lengths, budget=self.budget, most_rows=self.max_rows, extra=prefix):
            part, width = rows[start:stop], max(lengths[start:stop])
            own = copy.deepcopy(cache)
            own.batch_select_indices(torch.tensor(batch.owner[start:stop], device=device))
            tails = [row.ids[prefix:] for row in part]
            given = {"input_ids": _rectangle(tails, width, self.pad_id, "right").to(device)}
            if self._takes_positions:
                given["position_ids"] = torch.arange(prefix, prefix + width, device=device)[None].expand(len(part), -1)
            outputs = self.body(**given, past_key_values=own, use_cache=True)
            results += read(_read_at(outputs, part, [-prefix] * len(part)), part)
        return results

    def _near(self, left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> bool:
        import numpy as np

        far = 5e-2 if self.trunk.dtype.itemsize < 4 else 1e-3  # half precision depends on the shape of the batch
        a, b = (np.asarray([value for row in rows for value in row]) for rows in (left, right))
        return bool(np.allclose(a, b, rtol=far, atol=far, equal_nan=True))


def _rectangle(rows: Sequence[Ids | Any], width: int, fill: int, side: str) -> Tensor:
    """(n, width) int64, the rows padded on one side."""
    import numpy as np
    import torch

    table = np.full((len(rows), width), fill, dtype=np.int64)
    for line, row in zip(table, rows, strict=True):
        if side == "left":
            line[width - len(row) :] = row
        else:
            line[: len(row)] = row
    return torch.from_numpy(table)


def _read_at(outputs: Tensor, rows: Sequence[Encoded], starts: Sequence[int]) -> Tensor:
    """(R, d): the outputs at each row's reads; a row's own position 0 stands at `starts` of the rectangle."""
    import torch

    if outputs.shape[1] == 1:
        return outputs[:, 0]
    line = [number for number, row in enumerate(rows) for _ in row.reads]
    place = [position + start for row, start in zip(rows, starts, strict=True) for position in row.reads]
    return outputs[torch.tensor(line, device=outputs.device), torch.tensor(place, device=outputs.device)]


def close(left: Tensor, right: Tensor) -> bool:
    """Whether two outputs agree as far as the order of sums lets them."""
    import torch

    far = 2e-2 if left.dtype.itemsize < 4 else 1e-4
    return left.shape == right.shape and bool(torch.allclose(left, right, rtol=far, atol=far, equal_nan=True))


@contextlib.contextmanager
def evaluating(*modules: Any) -> Iterator[None]:
    """Dropout off, and each module as it was afterwards."""
    were = [module.training for module in modules]
    try:
        for module in modules:
            module.eval()
        yield
    finally:
        for module, training in zip(modules, were, strict=True):
            module.train(training)


__all__ = ["Read", "Scanner", "close", "evaluating"]
