"""Causal and neutral augmentation: pairs that differ in one thing that matters, and pairs that differ in none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

from rewardsmith._check import check_range
from rewardsmith.data.contrast import unit_embeddings
from rewardsmith.data.preferences import PreferenceRow
from rewardsmith.data.rows import text_of
from rewardsmith.types import Text

Direction = Literal["degrade", "upgrade"]
Rubric = Callable[[Text], Sequence[str]]
"""A prompt to the attributes that should matter in its answers; a language model's work, or a table's."""
Editor = Callable[[Text, Text, str, Direction], Text | None]
"""(prompt, answer, attribute, direction) to the answer with that attribute changed, or None where it cannot be."""


class CausalAugmentation(NamedTuple):
    """The new rows, and what to look at before training on them.

    rows: as the rows they were made of, `is_tie` False, with the columns kind ("degrade" or "upgrade") and attribute.
    length_difference: mean of |chosen| − |rejected| in characters over the new rows, and its standard error. Edits that
        shorten what they degrade plant a new cue: it should be 0 within two errors.
    refused: edits that came back as None or changed nothing.
    """

    rows: list[PreferenceRow]
    length_difference: float
    length_error: float
    refused: int


def causal_augment(pairs: Sequence[PreferenceRow], rubric: Rubric, editor: Editor) -> CausalAugmentation:
    """Pairs that differ in one causal attribute: the chosen answer above its degraded self, the rejected one below
    its upgraded self.

        degrade  A₁ ≻ Ã₁ (attribute lowered)        upgrade  Ã₂ (attribute raised) ≻ A₂

    Srivastava et al. 2025, arXiv:2506.16507. Whatever else the edit changes is independent of the label, so that style
    stops telling which answer is better, and nobody has to say what style is. Ties in `pairs` are passed over. Rows of
    one prompt keep one `key`: split by it, or an answer's children stand on both sides.

    Args:
        pairs: strict preferences.
        rubric: see `Rubric`; asked once per row.
        editor: see `Editor`; asked twice per attribute.

    >>> row = PreferenceRow("2+2?", "It is 4.", "It is 5.")
    >>> edits = {"degrade": "It is 3.", "upgrade": "It is 4!"}
    >>> done = causal_augment([row], lambda prompt: ["correct"], lambda p, answer, attribute, way: edits[way])
    >>> [(new.chosen, new.rejected, new.columns["kind"]) for new in done.rows]
    [('It is 4.', 'It is 3.', 'degrade'), ('It is 4!', 'It is 5.', 'upgrade')]
    """
    rows: list[PreferenceRow] = []
    refused = 0
    for row in pairs:
        for attribute in () if row.is_tie else rubric(row.prompt):
            worse = editor(row.prompt, row.chosen, attribute, "degrade")
            better = editor(row.prompt, row.rejected, attribute, "upgrade")
            for kind, chosen, rejected in (("degrade", row.chosen, worse), ("upgrade", better, row.rejected)):
                if chosen is None or rejected is None or chosen == rejected:
                    refused += 1
                else:
                    rows.append(_child(row, kind, chosen=chosen, rejected=rejected, attribute=attribute))
    lengths = [len(text_of(row.chosen)) - len(text_of(row.rejected)) for row in rows]
    mean = fmean(lengths) if rows else math.nan
    error = math.nan if not rows else stdev(lengths) / math.sqrt(len(rows)) if len(rows) > 1 else 0.0
    return CausalAugmentation(rows, mean, error, refused)


def neutral_augment(
    pairs: Sequence[PreferenceRow],
    unrelated: Callable[[Text], Text],
    *,
    embed: Callable[[list[str]], Any] | None = None,
    most_similar: float = 0.5,
) -> list[PreferenceRow]:
    """Ties: each pair's answers under a prompt that neither has to do with, so that what separates them is spurious.

    Srivastava et al. 2025, arXiv:2506.16507 (irrelevant-query neutrals). Alone they can be learned as "irrelevant
    answers earn a constant": what varies among *relevant* answers is the business of `causal_augment`, whose rows may
    be among `pairs`. Feed them as ties (`is_tie`), or through `ties_as_pairs`: as strict pairs they teach the very
    thing they should unteach.

    Args:
        pairs: any pairs.
        unrelated: a prompt to another one, drawn from elsewhere in the data.
        embed: n texts to (n, d) embeddings; given, rows are dropped whose new prompt has a cosine above
            `most_similar` to the old one: if an answer is partly relevant, the tie is a wrong label.

    Returns:
        Rows with `is_tie`, the column kind "neutral", and the `key` of the row they were made of.
    """
    check_range("neutral_augment", "most_similar", most_similar, -1.0, 1.0)
    drawn = [(row, unrelated(row.prompt)) for row in pairs]
    drawn = [(row, prompt) for row, prompt in drawn if text_of(prompt) != text_of(row.prompt)]
    if pairs and not drawn:
        raise ValueError(
            f"neutral_augment: unrelated returned the prompt itself for all {len(pairs)} rows, and under it the "
            "answers are no tie. Draw another row's prompt."
        )
    if embed is not None and drawn:
        both = [(text_of(row.prompt), text_of(prompt)) for row, prompt in drawn]
        texts = list(dict.fromkeys(text for pair in both for text in pair))  # each is embedded once, in one call
        units = dict(zip(texts, unit_embeddings("neutral_augment", embed, texts), strict=True))
        cosines = [float((units[old] * units[new]).sum()) for old, new in both]
        drawn = [pair for pair, cosine in zip(drawn, cosines, strict=True) if cosine <= most_similar]
    return [replace(_child(row, "neutral"), prompt=prompt, is_tie=True) for row, prompt in drawn]


def ties_as_pairs(rows: Sequence[PreferenceRow]) -> list[PreferenceRow]:
    """Every tie as two strict rows, either answer chosen once: for trainers that know no ties, such as TRL's own.

        −log σ(Δ) − log σ(−Δ) = 2 · tie loss

    So a tie counts twice: with `objectives.tie_loss` it needs no such thing.

    >>> [(row.chosen, row.rejected) for row in ties_as_pairs([PreferenceRow("?", "a", "b", is_tie=True)])]
    [('a', 'b'), ('b', 'a')]
    """
    found = []
    for row in rows:
        strict = replace(row, is_tie=False)
        found.append(strict)
        if row.is_tie:
            found.append(strict.swapped())
    return found


def informative_filter(
    rows: Sequence[PreferenceRow], margins: Sequence[float | None], *, max_prob: float = 0.8, tie_prob: float = 0.6
) -> list[PreferenceRow]:
    """The rows that would teach a reward model something: where it is unsure or wrong.

        strict  σ(Δ) ≤ max_prob        tie  max(σ(Δ), σ(−Δ)) ≥ tie_prob

    After Srivastava et al. 2025, arXiv:2506.16507, who filter the augmented rows by a baseline's doubt.

    Args:
        margins: Δ, the baseline's score of chosen minus rejected, in log-odds; a row without one (None, NaN) is kept.
        max_prob: up to this chance that the baseline prefers the chosen answer, a strict row is kept.
        tie_prob: from this chance that it prefers either one, a tie is kept.

    >>> rows = [PreferenceRow("?", "a", "b"), PreferenceRow("?", "c", "d"), PreferenceRow("?", "e", "f", is_tie=True)]
    >>> [row.chosen for row in informative_filter(rows, [3.0, -1.0, 2.0])]
    ['c', 'e']
    """
    check_range("informative_filter", "max_prob", max_prob, 0.0, 1.0)
    check_range("informative_filter", "tie_prob", tie_prob, 0.5, 1.0)
    if len(rows) != len(margins):
        raise ValueError(f"informative_filter: {len(rows)} rows have {len(margins)} margins. Give one per row.")
    kept = []
    for row, margin in zip(rows, margins, strict=True):
        if margin is None or math.isnan(margin):
            kept.append(row)
            continue
        surest = 1 / (1 + math.exp(-abs(margin)))  # of the answer that it prefers; never overflows
        if surest >= tie_prob if row.is_tie else (surest if margin >= 0 else 1 - surest) <= max_prob:
            kept.append(row)
    return kept


def _child(
    row: PreferenceRow, kind: str, *, chosen: Text | None = None, rejected: Text | None = None, **columns: str
) -> PreferenceRow:
    """A row made of another: its own texts, the other's key and columns, and nothing that was said of its label."""
    return replace(
        row,
        chosen=row.chosen if chosen is None else chosen,
        rejected=row.rejected if rejected is None else rejected,
        margin=None,
        soft_label=None,
        strength=None,
        ratings={},
        prompt_id=row.key,
        columns={**row.columns, "kind": kind, **columns},
    )
