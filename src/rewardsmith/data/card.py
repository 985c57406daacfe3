"""A data card: what was read, what was dropped and why, and what a reward model could learn from it by mistake."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from rewardsmith.data.duplicates import near_duplicates
from rewardsmith.data.preferences import BenchmarkRow, PreferenceRow, RatedRow, StepRow
from rewardsmith.data.rows import text_of

AnyRow = PreferenceRow | RatedRow | StepRow | BenchmarkRow
SUSPICIOUS_LENGTH = 0.6  # the longer or the shorter answer is chosen this often: counting words is that accurate
MOST_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Spread:
    """How some numbers are distributed."""

    mean: float
    p5: float
    median: float
    p95: float
    largest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None where there are none."""
        if not values:
            return None
        low, middle, high = np.quantile(np.asarray(values, dtype=float), [0.05, 0.5, 0.95])
        return cls(float(np.mean(values)), float(low), float(middle), float(high), float(max(values)))


@dataclass(frozen=True, slots=True)
class DataCard:
    """What a data set holds.

    n_records, n_rows: read, and made of them; dropped: reason → how many records or rows; first_dropped: reason → the
        number of the first such record (of the last, of several that are read as one).
    n_prompts: different prompts.
    words: name of a text → its length in words.
    tie_share: of the pairs; longer_chosen: of the strict pairs whose answers differ in words, those whose longer one is
        chosen: the accuracy of a reward model that only counts words; contradicted: pairs that also occur with the
        labels swapped, under the same context; repeated: rows that occur before.
    strengths, ratings, labels: what annotators gave, as value → count, or attribute → mean.
    near_duplicates: pairs of prompts that nearly agree, counted; None where it was not looked for.
    warnings: what a reader of the card should look at before training.
    """

    name: str
    kind: str
    schema: str
    n_records: int
    n_rows: int
    dropped: Mapping[str, int]
    n_prompts: int
    words: Mapping[str, Spread]
    sources: Mapping[str, int]
    repeated: int = 0
    tie_share: float | None = None
    longer_chosen: float | None = None
    contradicted: int | None = None
    strengths: Mapping[str, int] = field(default_factory=dict)
    ratings: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    near_duplicates: int | None = None
    first_dropped: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def as_json(self) -> str:
        """The card as a JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)

    def as_text(self) -> str:
        """The card as lines of text."""
        lines = [f"{self.name}: {self.n_rows} {self.kind} from {self.n_records} records ({self.schema})"]
        lines += [f"  dropped {n}: {reason}{self._first(reason)}" for reason, n in self.dropped.items()]
        lines.append(f"  {self.n_prompts} different prompts, {self.repeated} repeated rows")
        lines += [
            f"  words of {name}: median {s.median:g}, 5 % {s.p5:g}, 95 % {s.p95:g}, most {s.largest:g}"
            for name, s in self.words.items()
        ]
        shares = {"ties": self.tie_share, "longer answer chosen": self.longer_chosen}
        lines += [f"  {name}: {share:.1%}" for name, share in shares.items() if share is not None]
        counts = {"pairs labeled both ways": self.contradicted, "near-duplicate prompts": self.near_duplicates}
        lines += [f"  {name}: {n}" for name, n in counts.items() if n is not None]
        tables = {"sources": self.sources, "strengths": self.strengths, "step labels": self.labels}
        lines += [f"  {name}: {_listed(table)}" for name, table in tables.items() if table]
        if self.ratings:
            lines.append("  mean ratings: " + ", ".join(f"{name} {mean:.2f}" for name, mean in self.ratings.items()))
        return "\n".join([*lines, *(f"  ! {warning}" for warning in self.warnings)])

    def _first(self, reason: str) -> str:
        return f" (first: record {self.first_dropped[reason]})" if reason in self.first_dropped else ""


def data_card(
    rows: Sequence[AnyRow],
    *,
    name: str = "rows",
    schema: str = "given",
    n_records: int | None = None,
    dropped: Mapping[str, int] | None = None,
    first_dropped: Mapping[str, int] | None = None,
    duplicates: bool = True,
) -> DataCard:
    """Describe rows of one kind.

    Args:
        duplicates: look for near-duplicate prompts, which takes a millisecond or so for each.
    """
    reasons = dict(Counter(dropped or {}).most_common())
    given = {
        "name": name,
        "kind": _kind(rows),
        "schema": schema,
        "n_records": len(rows) if n_records is None else n_records,
        "n_rows": len(rows),
        "dropped": reasons,
        "first_dropped": dict(first_dropped or {}),
        "n_prompts": len({text_of(row.prompt) for row in rows}),
        "words": {k: spread for k, v in _words(rows).items() if (spread := Spread.of(v)) is not None},
        "sources": dict(Counter(s for row in rows if (s := _source(row))).most_common()),
        "repeated": len(rows) - len({_identity(row) for row in rows}),
    }
    found: dict[str, Any] = given | _of_pairs(rows) | _of_ratings(rows) | _of_steps(rows)
    if duplicates:
        found["near_duplicates"] = len(near_duplicates(list({text_of(row.prompt) for row in rows})))
    return DataCard(**found, warnings=_warnings(found))


def _kind(rows: Sequence[AnyRow]) -> str:
    kinds = {PreferenceRow: "pairs", RatedRow: "rated answers", StepRow: "solutions in steps", BenchmarkRow: "items"}
    return kinds[type(rows[0])] if rows else "rows"


def _source(row: AnyRow) -> str | None:
    return row.subset if isinstance(row, BenchmarkRow) else row.source


def _identity(row: AnyRow) -> tuple[str, ...]:
    """What makes two rows one."""
    match row:
        case PreferenceRow():
            texts: Sequence[Any] = [row.chosen, row.rejected, row.context]
        case RatedRow():
            texts = [row.completion]
        case StepRow():
            texts = row.completions
        case _:
            texts = [*row.chosen, *row.rejected, row.item_id or ""]
    return (text_of(row.prompt), *map(text_of, texts))


def _words(rows: Sequence[AnyRow]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        texts: dict[str, list[Any]] = {"prompt": [row.prompt]}
        match row:
            case PreferenceRow():
                texts |= {"chosen": [row.chosen], "rejected": [row.rejected]}
            case RatedRow():
                texts["completion"] = [row.completion]
            case StepRow():
                texts["step"] = list(row.completions)
            case _:
                texts |= {"chosen": list(row.chosen), "rejected": list(row.rejected)}
        for name, values in texts.items():
            found[name] += [n_words(value) for value in values]
    return found


def n_words(text: Any) -> int:
    """Words between white space."""
    return len(text_of(text).split())


def _of_pairs(rows: Sequence[AnyRow]) -> dict[str, Any]:
    pairs = [row for row in rows if isinstance(row, PreferenceRow)]
    if not pairs:
        return {}
    strict = [row for row in pairs if not row.is_tie]
    gaps = [n_words(row.chosen) - n_words(row.rejected) for row in strict]
    told = [gap > 0 for gap in gaps if gap]
    known = {_identity(row) for row in strict}
    swapped = [(p, r, c, z) for p, c, r, z in (_identity(row) for row in strict)]
    strengths = Counter(round(row.strength, 2) for row in pairs if row.strength is not None)
    ratings: dict[str, list[float]] = defaultdict(list)
    for row in pairs:
        for name, both in row.ratings.items():
            ratings[name] += both
    return {
        "tie_share": 1 - len(strict) / len(pairs),
        "longer_chosen": sum(told) / len(told) if told else None,
        "contradicted": sum(identity in known for identity in swapped),
        "strengths": {f"{value:g}": strengths[value] for value in sorted(strengths)},
        "ratings": {name: math.fsum(values) / len(values) for name, values in ratings.items()},
    }


def _of_ratings(rows: Sequence[AnyRow]) -> dict[str, Any]:
    ratings: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if isinstance(row, RatedRow):
            for name, value in row.ratings.items():
                ratings[name].append(value)
    return {"ratings": {name: math.fsum(v) / len(v) for name, v in ratings.items()}} if ratings else {}


def _of_steps(rows: Sequence[AnyRow]) -> dict[str, Any]:
    labels = Counter(
        "none" if label is None else f"{float(label):g}" for r in rows if isinstance(r, StepRow) for label in r.labels
    )
    return {"labels": dict(sorted(labels.items()))} if labels else {}


def _warnings(card: Mapping[str, Any]) -> tuple[str, ...]:
    longer, n = card.get("longer_chosen"), card["n_rows"]
    found = []
    if longer is not None and max(longer, 1 - longer) > SUSPICIOUS_LENGTH and n >= 30:
        told, which = (longer, "longer") if longer > 0.5 else (1 - longer, "shorter")
        found.append(f"the {which} answer is the chosen one in {told:.0%} of pairs: audit for length bias")
    if card.get("contradicted"):
        found.append(f"{card['contradicted']} rows are labeled both ways: mark them as ties or drop them")
    if card["repeated"]:
        found.append(f"{card['repeated']} rows occur before: drop them, or they count twice")
    if card.get("near_duplicates"):
        found.append(f"{card['near_duplicates']} pairs of prompts nearly agree: keep such prompts in one split")
    lost = sum(card["dropped"].values())
    if lost > card["n_records"] / 10:
        found.append(f"{lost} drops from {card['n_records']} records: check that the schema is the right one")
    return tuple(found)


def _listed(table: Mapping[str, int]) -> str:
    shown = [f"{name} {n}" for name, n in list(table.items())[:MOST_SHOWN]]
    return ", ".join(shown) + (f", and {len(table) - MOST_SHOWN} more" if len(table) > MOST_SHOWN else "")
