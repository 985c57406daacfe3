"""Causal and neutral augmentation: pairs that differ in one relevant attribute, and pairs that differ in none."""

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
"""A prompt to the attributes that should matter in its answers, from a language model or a table."""
Editor = Callable[[Text, Text, str, Direction], Text | None]
"""(prompt, answer, attribute, direction) to the answer with that attribute changed, or None if it cannot be."""


class CausalAugmentation(NamedTuple):
    """The new rows, and figures to check before training on them.

    rows: of the same type as their sources, `is_tie` False, with columns kind ("degrade" or "upgrade") and attribute.
    length_difference: mean of |chosen| − |rejected| in characters over the new rows, with its standard error. It should
        be 0 within two errors: edits that shorten degraded answers make length a new cue.
    refused: number of edits that returned None or changed nothing.
    """

    rows: list[PreferenceRow]
    length_difference: float
    length_error: float
    refused: int


def causal_augment(pairs: Sequence[PreferenceRow], rubric: Rubric, editor: Editor) -> CausalAugmentation:
    """Make pairs that differ in one causal attribute: chosen over its degraded copy, upgraded copy over rejected.

        degrade  A₁ ≻ Ã₁ (attribute lowered)        upgrade  Ã₂ (attribute raised) ≻ A₂

    Srivastava et al. 2025, arXiv:2506.16507. Everything else that the edit changes is independent of the label, so
    style no longer predicts the better answer, and nobody has to define style. Ties in `pairs` are skipped. All rows of
    one prompt have one `key`: split by it, or edits of one answer are on both sides.

    Args:
        pairs: strict preferences.
        rubric: see `Rubric`; called once per row.
        editor: see `Editor`; called twice per attribute.

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
    """Make ties: each pair's answers under an unrelated prompt, so that any difference between them is spurious.

    Srivastava et al. 2025, arXiv:2506.16507 (irrelevant-query neutrals). Alone they can teach "irrelevant answers get a
    constant". Relevant answers are the task of `causal_augment`, whose rows may be in `pairs`. Train on them as ties
    (`is_tie`) or through `ties_as_pairs`: as strict pairs they teach the spurious difference.

    Args:
        pairs: any pairs.
        unrelated: a prompt to another one, drawn from other rows.
        embed: n texts to (n, d) embeddings. If given, rows are dropped whose new prompt has a cosine above
            `most_similar` to the old one: for a partly relevant answer the tie is a wrong label.

    Returns:
        Rows with `is_tie`, the column kind "neutral", and the `key` of their source row.
    """
    check_range("neutral_augment", "most_similar", most_similar, -1.0, 1.0)
    drawn = [(row, unrelated(row.prompt)) for row in pairs]
    drawn = [(row, prompt) for row, prompt in drawn if text_of(prompt) != text_of(row.prompt)]
    if pairs and not drawn:
        raise ValueError(
            f"neutral_augment: unrelated returned the same prompt for all {len(pairs)} rows, so the "
            "answers are no tie. Draw another row's prompt."
        )
    if embed is not None and drawn:
        both = [(text_of(row.prompt), text_of(prompt)) for row, prompt in drawn]
        texts = list(dict.fromkeys(text for pair in both for text in pair))  # each is embedded once
        units = dict(zip(texts, unit_embeddings("neutral_augment", embed, texts), strict=True))
        cosines = [float((units[old] * units[new]).sum()) for old, new in both]
        drawn = [pair for pair, cosine in zip(drawn, cosines, strict=True) if cosine <= most_similar]
    return [replace(_child(row, "neutral"), prompt=prompt, is_tie=True) for row, prompt in drawn]


def ties_as_pairs(rows: Sequence[PreferenceRow]) -> list[PreferenceRow]:
    """Write every tie as two strict rows, one per order, for trainers without ties, such as TRL's own.

        −log σ(Δ) − log σ(−Δ) = 2 · tie loss

    A tie thus counts twice. It is not needed with `objectives.tie_loss`.

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
    """Select the rows from which a reward model would learn: those where it is unsure or wrong.

        strict  σ(Δ) ≤ max_prob        tie  max(σ(Δ), σ(−Δ)) ≥ tie_prob

    After Srivastava et al. 2025, arXiv:2506.16507, who filter the augmented rows by a baseline's uncertainty.

    Args:
        margins: Δ, the baseline's score of chosen minus rejected, in log-odds; a row without one (None, NaN) is kept.
        max_prob: keep a strict row if the baseline prefers the chosen answer with at most this probability.
        tie_prob: keep a tie if the baseline prefers either answer with at least this probability.

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
        surest = 1 / (1 + math.exp(-abs(margin)))  # probability of the preferred answer; never overflows
        if surest >= tie_prob if row.is_tie else (surest if margin >= 0 else 1 - surest) <= max_prob:
            kept.append(row)
    return kept


def _child(
    row: PreferenceRow, kind: str, *, chosen: Text | None = None, rejected: Text | None = None, **columns: str
) -> PreferenceRow:
    """Make a row from another: new texts, the same key and columns, and nothing about the old label."""
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
