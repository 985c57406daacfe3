"""Forward passes over batches of rows: padded tightly, in eval mode, with prompt caches shared by completions."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from rewardsmith.rewards.models.batching import (
    MOST_ROWS,
    TOKEN_BUDGET,
    Batch,
    cut,
    padding_saves,
    plan_batches,
    witnesses,
)
from rewardsmith.rewards.models.behavior import Behavior, Cache, behavior_of, evaluating, fields_of, read_on
from rewardsmith.rewards.models.comparing import Spread
from rewardsmith.rewards.models.encoding import Encoded

if TYPE_CHECKING:
    from torch import Tensor

    from rewardsmith.rewards.models.encoding import Ids

logger = logging.getLogger(__name__)

Side = Literal["left", "right"]
Read = Callable[["Tensor", Sequence[Encoded]], list[list[float]]]
"""(R, d) outputs at the rows' read positions, row after row, and the rows, to one list of numbers per row."""


@dataclass(frozen=True)
class Output:
    """One field of a model's output: (n, t, d), or (n, 1, d) if the model pools."""

    model: Any
    field: str = "last_hidden_state"

    def __call__(self, **inputs: Any) -> Tensor:
        found: Tensor = getattr(self.model(**inputs), self.field)
        return found if found.dim() == 3 else found[:, None]


@dataclass
class Scanner:
    """Run `body` over rows and read its outputs at the rows' `reads`.

    Padding must not change a score. In every pass of rows of unequal length, the row with most padding is also read
    alone, and in large passes a second row. If a side of padding changes a score, the other side is used; if both do,
    rows are read one at a time. Rows of two or three lengths are read length by length, without padding, if that takes
    no more passes. Rows after a shared prompt are also read alone when their lengths are new, and otherwise as long as
    that costs at most a quarter of all tokens.

    Padding on the right of a causal model needs no mask, and its cache may allow to read a prompt once for all rows.

    Args:
        model: the model; it is in eval mode while it runs.
        body: keyword inputs of the model to (n, t, d) outputs per position, or (n, 1, d) if it pools.
        trunk: the module inside `body` that builds the cache.
        pad_id: any token id; outputs at padding are never used.
        side: the side of the padding.
        max_rows: rows per pass.
    """

    model: Any
    body: Callable[..., Tensor]
    trunk: Any
    pad_id: int = 0
    side: Side = "right"
    budget: int = TOKEN_BUDGET
    max_rows: int = MOST_ROWS
    share: bool = True
    behavior: Behavior = field(init=False)
    masked: bool = field(init=False)
    _spread: Spread = field(default_factory=Spread, init=False, repr=False)
    _put_back: Callable[[], None] | None = field(default=None, init=False, repr=False)
    _tried: bool = field(default=False, init=False, repr=False)
    _kinds: set[tuple[bool, int, int]] = field(default_factory=set, init=False, repr=False)
    _read: int = field(default=0, init=False, repr=False)
    _reread: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        self.behavior = behavior_of(self.body, self.trunk, self.model)
        self.masked = not self.causal or self.side == "left"
        self.share = self.share and not self.masked and self.behavior.cache is not None

    @property
    def causal(self) -> bool:
        """Whether an output depends on nothing to its right."""
        return self.behavior.causal

    def plan(self, encoded: Sequence[Encoded]) -> list[Batch]:
        """Return the batches in which `run` reads these rows."""
        return plan_batches(encoded, share=self.share, budget=self.budget, most_rows=self.max_rows)

    def run(self, encoded: Sequence[Encoded], read: Read) -> list[list[float]]:
        """Return the result of `read` for each row, in order."""
        import torch

        results: list[list[float]] = [[]] * len(encoded)
        with torch.inference_mode(), self.reading():
            for batch in self.plan(encoded):
                rows = [encoded[row] for row in batch.rows]
                cache = self.behavior.cache if batch.prefix and self.share else None
                found = None if cache is None else self._trusted_prefix(cache, batch, encoded, rows, read)
                if found is None:
                    cuts = cut([len(row.ids) for row in rows], budget=self.budget, most_rows=self.max_rows)
                    found = [values for start, stop in cuts for values in self._pass(rows[start:stop], read)]
                for row, values in zip(batch.rows, found, strict=True):
                    results[row] = values
        return results

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Put the model in eval mode until the block ends, across passes."""
        with evaluating(self.model) as self._put_back:
            yield

    def _ask(self, module: Callable[..., Any], **inputs: Any) -> Any:
        try:
            return module(**inputs)
        finally:
            if self._put_back is not None:
                self._put_back()

    def outputs(self, rows: Sequence[Encoded]) -> Tensor:
        """Return `body`'s (R, d) outputs at the read positions, in one pass, with gradients; call within `reading`."""
        import torch

        device = self.trunk.device
        lengths = [len(row.ids) for row in rows]
        width = max(lengths)
        padded = min(lengths) < width
        given = {"input_ids": _rectangle([row.ids for row in rows], width, self.pad_id, self.side).to(device)}
        takes = self.behavior
        if takes.mask == "must" or (takes.mask == "may" and padded and self.masked):
            ones = [torch.ones(length, dtype=torch.int64).numpy() for length in lengths]
            given["attention_mask"] = _rectangle(ones, width, 0, self.side).to(device)
        if padded and self.side == "left" and takes.positions and takes.mask != "never":
            given["position_ids"] = (given["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        types = [row.types for row in rows if row.types is not None]
        if len(types) == len(rows):
            given["token_type_ids"] = _rectangle(types, width, 0, self.side).to(device)
        starts = [width - length if self.side == "left" else 0 for length in lengths]
        return read_at(self._ask(self.body, **given, **({"use_cache": False} if takes.uncached else {})), rows, starts)

    def settle(self, rows: Sequence[Encoded], read: Read) -> None:
        """Find a padding that leaves the score of the shortest row unchanged in a pass with the longest."""
        import torch

        longest, shortest = (choose(rows, key=lambda row: len(row.ids)) for choose in (max, min))
        if self.max_rows > 1 and len(longest.ids) > len(shortest.ids):
            with torch.inference_mode(), self.reading():
                self._checked([longest, shortest], read)

    def read_alone(self) -> None:
        """Read rows one at a time from now on, because padding or other rows change their scores."""
        self.max_rows, self.share = 1, False
        logger.warning("Scanner: padding or other rows change this model's scores, so rows are read one at a time.")

    def _pass(self, rows: Sequence[Encoded], read: Read) -> list[list[float]]:
        if len(rows) == 1 or self.max_rows == 1:
            return self._alone(rows, read)
        lengths = [len(row.ids) for row in rows]
        ragged = min(lengths) < max(lengths)
        if padding_saves(lengths) or not (ragged or self._tried):
            return self._checked(rows, read)
        if ragged:
            by_length = [list(alike) for _, alike in itertools.groupby(rows, key=lambda row: len(row.ids))]
            return [values for alike in by_length for values in self._pass(alike, read)]
        with contextlib.suppress(ValueError):  # encoder-decoders need equally many end tokens in all rows of a pass
            return read(self.outputs(rows), rows)
        return self._alone(rows, read)

    def _alone(self, rows: Sequence[Encoded], read: Read) -> list[list[float]]:
        return [values for row in rows for values in read(self.outputs([row]), [row])]

    def _checked(self, rows: Sequence[Encoded], read: Read) -> list[list[float]]:
        """Read the rows in one pass with the first padding that passes the check; otherwise one by one."""
        order = sorted(range(len(rows)), key=lambda place: len(rows[place].ids))
        places = [order[0], order[len(order) // 2]][: witnesses(len(rows))]  # most padding, and the middle
        alone = self._alone([rows[place] for place in places], read)
        before, raised = (self.side, self.masked), False
        other: Side = "left" if self.side == "right" else "right"
        for side, masked in dict.fromkeys([before, (self.side, True), (other, True)]):
            self.side, self.masked = side, masked
            try:
                found = read(self.outputs(rows), rows)
            except ValueError:  # these rows cannot share any pass, which says nothing about padding
                raised = True
                continue
            if self._spread.near([found[place] for place in places], alone, found, self.trunk.dtype):
                self._tried = True
                if (side, masked) != before:
                    self.share = False
                    logger.info("Scanner: padding changes this model's scores, so it is masked and on the %s.", side)
                return found
        self.side, self.masked = before
        if not raised:
            self.read_alone()
        return self._alone(rows, read)

    def _trusted_prefix(
        self, cache: Cache, batch: Batch, encoded: Sequence[Encoded], rows: Sequence[Encoded], read: Read
    ) -> list[list[float]] | None:
        """Read rows after their prompts' cache; where that changes scores, return None and stop sharing.

        For new lengths both ends of the batch are checked alone, else one row, within a quarter of all tokens.
        """
        try:
            values = self._behind_prefix(cache, batch, encoded, rows, read)
        except Exception as error:
            if self._kinds:
                raise
            logger.info("Scanner: this model's cache cannot be shared (%s: %s).", type(error).__name__, error)
            self.share = False
            return None
        lengths = [len(row.ids) - batch.prefix for row in rows]
        kind = (len(rows[0].ids) > len(rows[-1].ids), _octave(batch.prefix), _octave(len(rows[0].ids)))
        padded = cut(lengths, budget=self.budget, most_rows=self.max_rows, extra=batch.prefix)[0][1] - 1
        self._read += len(batch.leaders) * batch.prefix + sum(lengths)
        if kind not in self._kinds:
            places = sorted({0, padded, len(rows) - 1})
        else:
            places = [padded] if 4 * (self._reread + len(rows[padded].ids)) <= self._read else []
        self._kinds.add(kind)
        self._reread += sum(len(rows[place].ids) for place in places)
        alone = self._alone([rows[place] for place in places], read)
        if places and not self._spread.near([values[place] for place in places], alone, values, self.trunk.dtype):
            logger.warning("Scanner: shared prompts change this model's scores, so prompts are not shared.")
            self.share = False
            return None
        return values

    def _behind_prefix(
        self, cache: Cache, batch: Batch, encoded: Sequence[Encoded], rows: Sequence[Encoded], read: Read
    ) -> list[list[float]]:
        import torch

        device, prefix = self.trunk.device, batch.prefix
        heads = [encoded[row].ids[:prefix] for row in batch.leaders]
        ids = _rectangle(heads, prefix, self.pad_id, "right").to(device)
        kept = fields_of(self._ask(self.trunk, input_ids=ids, use_cache=True))[cache.field]
        lengths = [len(row.ids) - prefix for row in rows]
        results: list[list[float]] = []
        for start, stop in cut(lengths, budget=self.budget, most_rows=self.max_rows, extra=prefix):
            part, width = rows[start:stop], max(lengths[start:stop])
            tails = [row.ids[prefix:] for row in part]
            ids = _rectangle(tails, width, self.pad_id, "right").to(device)
            places = torch.arange(prefix, prefix + width, device=device)[None].expand(len(ids), -1)
            inputs = {"position_ids": places} if self.behavior.positions else {}
            owner = list(batch.owner[start:stop])
            outputs = read_on(partial(self._ask, self.body), ids, cache.keyword, kept, owner, **inputs)
            results += read(read_at(outputs, part, [-prefix] * len(part)), part)
        return results


def _octave(length: int) -> int:
    """Return a length's quarter octave; a rule that a model applies above 2^n tokens starts in a new one."""
    return int(4 * math.log2(max(1, length - 1)))


def _rectangle(rows: Sequence[Ids | Any], width: int, fill: int, side: str) -> Tensor:
    """Return an (n, width) int64 tensor of the rows, padded on one side."""
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
    """Return (R, d) outputs at each row's reads; `starts` are the columns of the rows' position 0."""
    import torch

    if outputs.shape[1] == 1:
        return outputs[:, 0]
    line = [number for number, row in enumerate(rows) for _ in row.reads]
    place = [position + start for row, start in zip(rows, starts, strict=True) for position in row.reads]
    return outputs[torch.tensor(line, device=outputs.device), torch.tensor(place, device=outputs.device)]
