"""A data card: the rows that were read and dropped, and the errors that a reward model could learn from them."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from rewardsmith.data.duplicates import near_duplicates
from rewardsmith.data.preferences import BenchmarkRow, OutcomeRow, PreferenceRow, RatedRow, StepRow
from rewardsmith.data.rows import text_of

AnyRow = PreferenceRow | RatedRow | OutcomeRow | StepRow | BenchmarkRow
SUSPICIOUS_LENGTH = 0.6  # the accuracy of choosing by length from which a card warns
MOST_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Spread:
    """The distribution of some numbers."""

    mean: float
    p5: float
    median: float
    p95: float
    largest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Return the distribution of `values`; None if there are none."""
        if not values:
            return None
        low, middle, high = np.quantile(np.asarray(values, dtype=float), [0.05, 0.5, 0.95])
        return cls(float(np.mean(values)), float(low), float(middle), float(high), float(max(values)))


@dataclass(frozen=True, slots=True)
class DataCard:
    """A summary of a data set.

    n_records, n_rows: records read, and rows made of them. dropped: reason → number of records or rows. first_dropped:
        reason → number of the first such record (if several records are read as one, of the last of them).
    n_prompts: different prompts.
    words: name of a text → distribution of its length in words.
    tie_share: of the pairs. longer_chosen: share of the strict pairs with answers of different length whose longer one
        is chosen, which is the accuracy of a reward model that only counts words. contradicted: pairs that also occur
        with swapped labels, under the same context. repeated: rows that occurred before.
    strengths, ratings, labels: the annotators' values, as value → count, or attribute → mean.
    near_duplicates: number of nearly equal pairs of prompts; None if they were not counted.
    warnings: what to check before training.
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
        """Return the card as a JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)

    def as_text(self) -> str:
        """Return the card as lines of text."""
        lines = [f"{self.name}: {self.n_rows} {self.kind} from {self.n_records} records ({self.schema})"]
        first = {reason: f" (first: record {number})" for reason, number in self.first_dropped.items()}
        lines += [f"  dropped {n}: {reason}{first.get(reason, '')}" for reason, n in self.dropped.items()]
        lines.append(f"  {self.n_prompts} different prompts, {self.repeated} repeated rows")
        lines += [
            f"  words of {name}: median {s.median:g}, 5 % {s.p5:g}, 95 % {s.p95:g}, most {s.largest:g}"
            for name, s in self.words.items()
        ]
        shares = {"ties": self.tie_share, "longer answer chosen": self.longer_chosen}
        lines += [f"  {name}: {share:.1%}" for name, share in shares.items() if share is not None]
        counts = {"pairs labeled both ways": self.contradicted, "near-duplicate prompts": self.near_duplicates}
        lines += [f"  {name}: {n}" for name, n in counts.items() if n is not None]
        tables = {"sources": self.sources, "strengths": self.strengths, "labels": self.labels}
        for name, table in tables.items():
            shown = [f"{value} {n}" for value, n in list(table.items())[:MOST_SHOWN]]
            shown += [f"and {len(table) - MOST_SHOWN} more"] if len(table) > MOST_SHOWN else []
            lines += [f"  {name}: {', '.join(shown)}"] if table else []
        if self.ratings:
            lines.append("  mean ratings: " + ", ".join(f"{name} {mean:.2f}" for name, mean in self.ratings.items()))
        return "\n".join([*lines, *(f"  ! {warning}" for warning in self.warnings)])


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
        duplicates: count near-duplicate prompts, which takes about a millisecond for each.
    """
    words, ratings = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    identities: list[tuple[str, ...]] = []  # equal for equal rows
    for row in rows:
        texts = _texts(row)
        for role, values in {"prompt": [row.prompt], **texts}.items():
            words[role] += [n_words(value) for value in values]
        for attribute, value in getattr(row, "ratings", {}).items():
            ratings[attribute] += value if isinstance(row, PreferenceRow) else [value]
        parts = [row.prompt, *(text for values in texts.values() for text in values)]
        parts.append(getattr(row, "context", None) or getattr(row, "item_id", None) or "")
        identities.append(tuple(map(text_of, parts)))
    given = [r.labels if isinstance(r, StepRow) else [r.label] for r in rows if isinstance(r, StepRow | OutcomeRow)]
    labels = Counter("none" if label is None else f"{float(label):g}" for own in given for label in own)
    sources = Counter(s for row in rows if (s := row.subset if isinstance(row, BenchmarkRow) else row.source))
    prompts = list({text_of(row.prompt) for row in rows})
    kinds = {PreferenceRow: "pairs", RatedRow: "rated answers", OutcomeRow: "outcomes", StepRow: "solutions in steps",
             BenchmarkRow: "items"}  # fmt: skip
    card = DataCard(
        name=name,
        kind=kinds[type(rows[0])] if rows else "rows",
        schema=schema,
        n_records=len(rows) if n_records is None else n_records,
        n_rows=len(rows),
        dropped=dict(Counter(dropped or {}).most_common()),
        first_dropped=dict(first_dropped or {}),
        n_prompts=len(prompts),
        words={role: spread for role, values in words.items() if (spread := Spread.of(values)) is not None},
        sources=dict(sources.most_common()),
        repeated=len(rows) - len(set(identities)),
        ratings={attribute: math.fsum(values) / len(values) for attribute, values in ratings.items()},
        labels=dict(sorted(labels.items())),
        near_duplicates=len(near_duplicates(prompts)) if duplicates else None,
    )
    pairs = [row for row in rows if isinstance(row, PreferenceRow)]
    if pairs:
        strict = [(row, identity) for row, identity in zip(pairs, identities, strict=True) if not row.is_tie]
        differences = [n_words(row.chosen) - n_words(row.rejected) for row, _ in strict]
        longer = [n > 0 for n in differences if n]
        known = {identity for _, identity in strict}
        strengths = Counter(round(row.strength, 2) for row in pairs if row.strength is not None)
        card = replace(
            card,
            tie_share=1 - len(strict) / len(pairs),
            longer_chosen=sum(longer) / len(longer) if longer else None,
            contradicted=sum((prompt, worse, better, z) in known for _, (prompt, better, worse, z) in strict),
            strengths={f"{value:g}": strengths[value] for value in sorted(strengths)},
        )
    longer_chosen, found = card.longer_chosen, []
    if longer_chosen is not None and max(longer_chosen, 1 - longer_chosen) > SUSPICIOUS_LENGTH and card.n_rows >= 30:
        share, which = (longer_chosen, "longer") if longer_chosen > 0.5 else (1 - longer_chosen, "shorter")
        found.append(f"the {which} answer is the chosen one in {share:.0%} of pairs: audit for length bias")
    if card.contradicted:
        found.append(f"{card.contradicted} rows are labeled both ways: mark them as ties or drop them")
    if card.repeated:
        found.append(f"{card.repeated} rows are repeated: drop them, or they count twice")
    if card.near_duplicates:
        found.append(f"{card.near_duplicates} pairs of prompts are nearly equal: keep such prompts in one split")
    lost = sum(card.dropped.values())
    if lost > card.n_records / 10:
        found.append(f"{lost} drops from {card.n_records} records: check that the schema is the right one")
    return replace(card, warnings=tuple(found))


def _texts(row: AnyRow) -> dict[str, Sequence[Any]]:
    """Return the texts of a row except its prompt, by name."""
    match row:
        case RatedRow() | OutcomeRow():
            return {"completion": [row.completion]}
        case StepRow():
            return {"step": row.completions}
        case BenchmarkRow():
            return {"chosen": row.chosen, "rejected": row.rejected}
    return {"chosen": [row.chosen], "rejected": [row.rejected]}


def n_words(text: Any) -> int:
    """Return the number of words between white space."""
    return len(text_of(text).split())
