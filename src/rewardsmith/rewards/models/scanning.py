"""Forward passes over batches of rows: padded tightly, in eval mode, each prompt's cache shared by its completions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rewardsmith.rewards.models.batching import MOST_ROWS, TOKEN_BUDGET, Batch, cut, plan_batches
from rewardsmith.rewards.models.behavior import (
    Cache,
    evaluating,
    fields_of,
    read_on,
    shared_cache,
    taken,
)
from rewardsmith.rewards.models.encoding import Encoded

if TYPE_CHECKING:
    from torch import Tensor

    from rewardsmith.rewards.models.encoding import Ids

logger = logging.getLogger(__name__)

Side = Literal["left", "right"]
Read = Callable[["Tensor", Sequence[Encoded]], list[list[float]]]
"""(R, d) outputs at the positions that the rows read, row after row, and the rows, to one list of numbers a row."""


@dataclass
class Scanner:
    """Runs `body` over rows and hands its outputs at the rows' `reads` to whoever asks.

    Padding must not reach a score. Whether it does is tried on the row with most padding: alone, and beside the
    longest. A side that changes its score is left for the other, and where both do, rows are read one at a time.

    Args:
        model: put in eval mode while it runs.
        body: the model's inputs by keyword to (n, t, d) outputs per position; n × 1 where it pools by itself.
        trunk: the module under `body` that makes the cache of what it has read.
        causal: outputs depend on nothing to the right. Then padding on the right needs no mask, and a prompt can be
            read once for all its completions, where the model's cache allows it.
        pad_id: any token id; what stands in padding is never read.
        side: where padding goes.
        max_rows: rows per pass.
    """

    model: Any
    body: Callable[..., Tensor]
    trunk: Any
    causal: bool
    pad_id: int = 0
    side: Side = "right"
    budget: int = TOKEN_BUDGET
    max_rows: int = MOST_ROWS
    share: bool = True
    masked: bool = field(init=False)
    _cache: Cache | None = field(default=None, init=False, repr=False)
    _positions: bool = field(init=False, repr=False)
    _maskable: bool = field(init=False, repr=False)
    _mask_always: bool = field(init=False, repr=False)
    _uncached: dict[str, bool] = field(default_factory=dict, init=False, repr=False)
    _padding_tried: int = field(default=0, init=False, repr=False)
    _prefix_tried: set[bool] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        tried = {"position_ids": _places, "attention_mask": _ones, **({"use_cache": _no} if self.causal else {})}
        found = taken(self.body, self.model, tried)
        self._positions = found.get("position_ids", False)
        self._maskable = "attention_mask" in found
        self._mask_always = found.get("attention_mask") is False
        self._uncached = {"use_cache": False} if found.get("use_cache") else {}
        self.masked = not self.causal or self.side == "left"
        if self.share and not self.masked:
            self._cache = shared_cache(self.body, self.trunk, self.model)
        self.share = self._cache is not None

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
        import torch

        device = self.trunk.device
        lengths = [len(row.ids) for row in rows]
        width = max(lengths)
        padded = min(lengths) < width
        given = {"input_ids": _rectangle([row.ids for row in rows], width, self.pad_id, self.side).to(device)}
        if (padded and self.masked and self._maskable) or self._mask_always:
            ones = [torch.ones(length, dtype=torch.int64).numpy() for length in lengths]
            given["attention_mask"] = _rectangle(ones, width, 0, self.side).to(device)
        if padded and self.side == "left" and self._positions and self._maskable:
            given["position_ids"] = (given["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        types = [row.types for row in rows if row.types is not None]
        if len(types) == len(rows):
            given["token_type_ids"] = _rectangle(types, width, 0, self.side).to(device)
        starts = [width - length if self.side == "left" else 0 for length in lengths]
        return read_at(self.body(**given, **self._uncached), rows, starts)

    def settle(self, rows: Sequence[Encoded], read: Read) -> None:
        """Find a padding that does not reach scores, if these rows need more of it than has been tried."""
        import torch

        longest, shortest = (choose(rows, key=lambda row: len(row.ids)) for choose in (max, min))
        padding = len(longest.ids) - len(shortest.ids)
        if self.max_rows == 1 or padding <= 2 * self._padding_tried:
            return
        before = self.side, self.masked
        with torch.inference_mode(), evaluating(self.model):
            verdict = self._padding_that_fits(longest, shortest, read)
        if verdict is True:
            self._padding_tried = padding
        else:
            self.side, self.masked = before
        if verdict is False:
            self.max_rows = 1
            logger.warning("Scanner: padding reaches this model's scores, so its rows are read one at a time.")
        if (self.side, self.masked) != before:
            self.share = False
            logger.info("Scanner: padding reaches this model's scores, so it is masked and on the %s.", self.side)

    def _padding_that_fits(self, longest: Encoded, shortest: Encoded, read: Read) -> bool | None:
        """Set the first way of padding that leaves the shorter row's score; False if none does, None if unknown."""
        alone = read(self.outputs([shortest]), [shortest])
        verdict: bool | None = False
        for side, masked in _ways(self.side, self.masked):
            self.side, self.masked = side, masked
            try:
                found = read(self.outputs([longest, shortest]), [longest, shortest])[1:]
            except ValueError:  # nothing is learned of padding from rows that cannot be together, whatever it is
                verdict = None
                continue
            if self._near(found, alone):
                return True
        return verdict

    def _batch(self, batch: Batch, encoded: Sequence[Encoded], read: Read) -> list[list[float]]:
        rows = [encoded[row] for row in batch.rows]
        if batch.prefix and self.share and self._cache is not None:
            shared = self._trusted_prefix(self._cache, batch, encoded, rows, read)
            if shared is not None:
                return shared
        self.settle(rows, read)
        results: list[list[float]] = []
        for start, stop in cut([len(row.ids) for row in rows], budget=self.budget, most_rows=self.max_rows):
            results += self._plain(rows[start:stop], read)
        return results

    def _plain(self, rows: Sequence[Encoded], read: Read) -> list[list[float]]:
        try:
            return read(self.outputs(rows), rows)
        except ValueError:  # encoder-decoders want equally many end tokens in all rows of a pass
            if len(rows) == 1:
                raise
            return [values for row in rows for values in self._plain([row], read)]

    def _trusted_prefix(
        self, cache: Cache, batch: Batch, encoded: Sequence[Encoded], rows: Sequence[Encoded], read: Read
    ) -> list[list[float]] | None:
        """The rows read behind their prompts' cache, or None, for ever, where that does not give the plain scores."""
        ragged = len(rows[0].ids) > len(rows[-1].ids)
        try:
            values = self._behind_prefix(cache, batch, encoded, rows, read)
        except Exception as error:
            if self._prefix_tried:
                raise
            logger.info("Scanner: this model's cache cannot be shared (%s: %s).", type(error).__name__, error)
            self.share = False
            return None
        if ragged not in self._prefix_tried:
            self._prefix_tried.add(ragged)
            ends = (0, len(rows) - 1)
            if not all(self._near([values[place]], self._plain([rows[place]], read)) for place in ends):
                logger.warning("Scanner: scores behind a shared prompt differ from plain ones: prompts are not shared.")
                self.share = False
                return None
        return values

    def _behind_prefix(
        self, cache: Cache, batch: Batch, encoded: Sequence[Encoded], rows: Sequence[Encoded], read: Read
    ) -> list[list[float]]:

        device, prefix = self.trunk.device, batch.prefix
        heads = [encoded[row].ids[:prefix] for row in batch.leaders]
        ids = _rectangle(heads, prefix, self.pad_id, "right").to(device)
        kept = fields_of(self.trunk(input_ids=ids, use_cache=True))[cache.field]
        lengths = [len(row.ids) - prefix for row in rows]
        results: list[list[float]] = []
        for start, stop in cut(lengths, budget=self.budget, most_rows=self.max_rows, extra=prefix):
            part, width = rows[start:stop], max(lengths[start:stop])
            tails = [row.ids[prefix:] for row in part]
            ids = _rectangle(tails, width, self.pad_id, "right").to(device)
            inputs = {"position_ids": prefix + _places(ids)} if self._positions else {}
            owner = list(batch.owner[start:stop])
            outputs = read_on(self.body, ids, cache.keyword, kept, owner, **inputs)
            results += read(read_at(outputs, part, [-prefix] * len(part)), part)
        return results

    def _near(self, left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> bool:
        import numpy as np

        far = 5e-2 if self.trunk.dtype.itemsize < 4 else 1e-3  # half precision depends on the shape of the batch
        a, b = (np.asarray([value for row in rows for value in row]) for rows in (left, right))
        return bool(np.allclose(a, b, rtol=far, atol=far, equal_nan=True))


def _places(ids: Tensor) -> Tensor:
    import torch

    return torch.arange(ids.shape[1], device=ids.device)[None].expand(len(ids), -1)


def _ones(ids: Tensor) -> Tensor:
    return ids.new_ones(ids.shape)


def _no(ids: Tensor) -> bool:
    return False


def _ways(side: Side, masked: bool) -> list[tuple[Side, bool]]:
    """A side and whether padding is masked, and what may be tried after them."""
    other: Side = "left" if side == "right" else "right"
    return list(dict.fromkeys([(side, masked), (side, True), (other, True)]))


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


def read_at(outputs: Tensor, rows: Sequence[Encoded], starts: Sequence[int]) -> Tensor:
    """(R, d): the outputs at each row's reads; a row's own position 0 stands at `starts` of the rectangle."""
    import torch

    if outputs.shape[1] == 1:
        return outputs[:, 0]
    line = [number for number, row in enumerate(rows) for _ in row.reads]
    place = [position + start for row, start in zip(rows, starts, strict=True) for position in row.reads]
    return outputs[torch.tensor(line, device=outputs.device), torch.tensor(place, device=outputs.device)]


__all__ = ["Read", "Scanner", "read_at"]
