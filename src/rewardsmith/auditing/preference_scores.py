"""Measure a reward on preference pairs under changed contexts, look-alike prompts, shifted cues or other splits."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewardsmith._check import check_choice
from rewardsmith.auditing.probes.accuracy import hits_of
from rewardsmith.data import PreferenceRow, Row, in_context, read_preferences
from rewardsmith.data.contexts import CONTEXT_TEMPLATE, ContextForm
from rewardsmith.data.contrast import ContrastPair
from rewardsmith.errors import RowsError
from rewardsmith.measures import accuracy_gap, wilson_interval
from rewardsmith.measures.intervals import Share, mean_interval, mean_or_nan, share_right
from rewardsmith.measures.rankings import AccuracyGap
from rewardsmith.scoring import Target, rewards_of, score


class ContextSensitivity(NamedTuple):
    """Accuracy on pairs whose label depends on the context, with intervals; a tie is wrong.

    row_acc: under the right context, row by row.
    paired_acc: share of records with both rows right; 0 for a reward that ignores the context.
    wrong_context_acc: under another record's context. It should be near ½; if as high as `row_acc`, the context is
        ignored.
    no_context_acc: without a context; ½ by construction, up to ties.
    """

    row_acc: Share
    paired_acc: Share
    wrong_context_acc: Share
    no_context_acc: Share


def context_sensitivity(
    reward: Target | Callable[..., Any],
    rows: Sequence[Row],
    *,
    form: ContextForm = "criteria",
    template: str | None = CONTEXT_TEMPLATE,
    alpha: float = 0.05,
    **options: Any,
) -> ContextSensitivity:
    """Measure whether the reward's preference follows the context.

    Pitis et al. 2024, arXiv:2407.14916. Each record's two responses are scored under both of its contexts, under
    another record's, and under none. Nothing else changes.

    Args:
        rows: records of reversals, as read from a file: columns response_a, response_b, and criteria_x, criteria_y or
            scenario_x, scenario_y (schema `rpr` of `data.read_preferences`); the two of each must differ.
        form: "criteria" or "scenario".
        template: of prompt and context; None for a reward that reads the column `context`. Rows have the column in
            either case, None without a context.
        options: for `scoring.score`, such as `workers` and `timeout`.

    >>> def reads(prompt, completion):
    ...     return float(len(completion) if "long" in prompt else -len(completion))
    >>> texts = {"response_a": "a b", "response_b": "a", "criteria_x": "be long", "criteria_y": "be short"}
    >>> context_sensitivity(reads, [Row("Name one.", None, texts)], workers=0).paired_acc.value
    1.0
    """
    check_choice("context_sensitivity", "form", form, ("criteria", "scenario"))
    records = [{"prompt": row.prompt, **row.columns} for row in rows]
    pairs, card = read_preferences(records, schema="rpr", form=form, duplicates=False)
    for why in card.dropped:
        raise RowsError(
            f"context_sensitivity: record {card.first_dropped[why]} is no reversal ({why}). Each needs a prompt, "
            "response_a and response_b that differ, and two contexts that differ. Mend it or take it out."
        )
    pairs = [p.standard() if isinstance(rows[i // 2].prompt, str) else p for i, p in enumerate(pairs)]
    given = [pair.context for pair in pairs]
    others: list[Any] = []  # per row the same side's context of the next record with another one, or None
    for index in range(len(pairs)):
        own = {given[index - index % 2], given[index - index % 2 + 1]}
        later = (given[(index + step) % len(given)] for step in range(2, len(given), 2))
        others.append(next((context for context in later if context not in own), None))
    asked = [(given, 0), (others, 1), ([None] * len(pairs), 0)]
    wanted = []
    for contexts, missing in asked:
        for pair, context in zip(pairs, contexts, strict=True):
            prompt = pair.prompt if template is None else in_context(pair.prompt, context, template=template)
            for text in () if missing and context is None else (pair.chosen, pair.rejected):
                wanted.append(Row(prompt, text, {"context": context}))
    scored = iter(rewards_of(score(reward, wanted, **options)))
    hits: list[list[bool | None]] = []
    for contexts, missing in asked:
        hits.append([])
        for context in contexts:
            left_out = missing and context is None
            chosen, rejected = (None, None) if left_out else (next(scored), next(scored))
            hits[-1].append(None if chosen is None or rejected is None else chosen > rejected)
    right, wrong, none = hits
    records_right = [
        False if False in both else None if None in both else True for both in zip(right[::2], right[1::2], strict=True)
    ]
    groups: list[Hashable] = [index // 2 for index in range(len(pairs))]
    return ContextSensitivity(
        share_right(right, groups, alpha=alpha),
        share_right(records_right, range(len(rows)), alpha=alpha),
        share_right(wrong, groups, alpha=alpha),
        share_right(none, groups, alpha=alpha),
    )


class ContrastConsistency(NamedTuple):
    """How often a reward matches an answer to the right one of two look-alike prompts; chance is 0.5.

    c_res: prompt fixed, its own answer scores above the look-alike's. c_ins: answer fixed, its own prompt scores above
        the look-alike's. c_ins compares across prompts, which pairwise training leaves free. Read it only for a reward
        that was centered or trained across prompts, and never average the two.
    iid_acc: accuracy on the held-out preferences, for comparison; NaN without any.
    n: pairs with all four scores. intervals: 95 % of each by name; pairs, not directions, are independent.
    """

    c_res: float
    c_ins: float
    iid_acc: float
    n: int
    intervals: dict[str, tuple[float, float]]


def contrast_consistency(
    reward: Target | Callable[..., Any],
    pairs: Sequence[ContrastPair],
    *,
    held_out: Sequence[PreferenceRow] = (),
    alpha: float = 0.05,
    **options: Any,
) -> ContrastConsistency:
    """Score two look-alike prompts, each with its own answer and with the other's.

        C_res = mean 1[ R(I₁, r₁) > R(I₁, r₂) ],    C_ins = mean 1[ R(I₁, r₁) > R(I₂, r₁) ]      over both directions

    Shen et al. 2023, arXiv:2309.16155. Ties count half, so a reward that ignores the prompt has 0.5 in both, whatever
    its accuracy on held-out pairs. A pair with an unscored text is left out.

    Args:
        reward: any reward, verifier or judge of prompt and completion.
        pairs: as `data.mine_contrast_pairs` finds them.
        held_out: preferences for its ordinary accuracy.
        options: for `scoring.score`, such as `workers` and `timeout`.

    >>> pair = ContrastPair("sum 2 3", "5", "sum 2 4", "6", 0.8)
    >>> right = lambda prompts, completions: [
    ...     float(sum(map(int, p.split()[1:])) == int(c)) for p, c in zip(prompts, completions)
    ... ]
    >>> contrast_consistency(right, [pair], workers=0)[:2]
    (1.0, 1.0)
    """
    rows = [
        Row(prompt, answer)
        for pair in pairs
        for prompt in (pair.first_prompt, pair.second_prompt)
        for answer in (pair.first_completion, pair.second_completion)
    ]
    rows += [Row(row.prompt, answer) for row in held_out for answer in (row.chosen, row.rejected)]
    values = rewards_of(score(reward, rows, **options))
    quads = [tuple(values[4 * k : 4 * k + 4]) for k in range(len(pairs))]
    known = [[float(v) for v in quad if v is not None] for quad in quads if None not in quad]
    c_res = [(_wins(a, b) + _wins(d, c)) / 2 for a, b, c, d in known]  # R(I₁r₁), R(I₁r₂), R(I₂r₁), R(I₂r₂)
    c_ins = [(_wins(a, c) + _wins(d, b)) / 2 for a, b, c, d in known]
    rest = values[4 * len(pairs) :]
    iid = [_wins(a, b) for a, b in zip(rest[::2], rest[1::2], strict=True) if a is not None and b is not None]
    found = {"c_res": c_res, "c_ins": c_ins, "iid_acc": iid}
    # A pair's mean of two directions varies at most as one outcome does, so Wilson's interval on pairs is wide enough.
    intervals = {name: wilson_interval(sum(hits), len(hits), alpha=alpha) for name, hits in found.items()}
    return ContrastConsistency(mean_or_nan(c_res), mean_or_nan(c_ins), mean_or_nan(iid), len(known), intervals)


def _wins(better: float, worse: float) -> float:
    return 0.5 if better == worse else float(better > worse)


class InvarianceGap(NamedTuple):
    """Mean distance of scores that should be equal.

    value: mean |Δ| over neutral pairs, in standard deviations of their scores; low, high: its interval.
    signed: mean Δ likewise, chosen minus rejected; 0 for unordered pairs. n: pairs.
    """

    value: float
    low: float
    high: float
    signed: float
    n: int


def spurious_shift_accuracy(
    reward: Target | Callable[..., Any],
    pairs_at: Callable[[float], Sequence[PreferenceRow]],
    *,
    rho: Sequence[float] = (1.0, 0.0, -1.0),
    alpha: float = 0.05,
    **options: Any,
) -> dict[float, Share]:
    """Measure accuracy when a cue goes with the better answer (ρ = 1), with neither (0), with the worse (−1).

    Srivastava et al. 2025, arXiv:2506.16507. A reward that ignores the cue has the same accuracy at every ρ; the drop
    from 1 to −1 comes from the cue.

    Args:
        pairs_at: maps ρ to pairs with the same contents, in which cue and label correlate by ρ.
        options: for `scoring.score`.

    Returns:
        per ρ the share of pairs ranked correctly, ties counting half, with an interval over prompts.
    """
    found = {}
    for value in rho:
        rows = list(pairs_at(value))
        margins = -np.diff(_scores(reward, rows, options))[:, 0]
        found[value] = share_right(hits_of(margins), [row.key for row in rows], alpha=alpha)
    return found


def invariance_gap(
    reward: Target | Callable[..., Any], neutral_pairs: Sequence[PreferenceRow], *, alpha: float = 0.05, **options: Any
) -> InvarianceGap:
    """Measure how far a reward's scores differ on pairs that should score the same.

        mean |R(x, y₁) − R(x, y₂)| / std R        over pairs that differ in style alone, or are equally irrelevant

    Srivastava et al. 2025, arXiv:2506.16507. In standard deviations of all the pairs' scores, so that rewards of any
    scale compare. Two unrelated texts differ by 1.13 (2/√π, for Gaussian scores). NaN if all scores are equal.
    """
    scores = _scores(reward, neutral_pairs, options)
    scores = scores[np.isfinite(scores).all(axis=1)]
    spread = float(scores.std()) if len(scores) else math.nan
    if not spread > 0:
        return InvarianceGap(math.nan, math.nan, math.nan, math.nan, len(scores))
    delta = (scores[:, 0] - scores[:, 1]) / spread
    low, high = mean_interval(np.abs(delta).tolist(), alpha=alpha)
    return InvarianceGap(float(np.abs(delta).mean()), low, high, float(delta.mean()), len(delta))


def generalization_gap(
    reward_a: Target | Callable[..., Any],
    reward_b: Target | Callable[..., Any],
    splits: Mapping[str, Sequence[PreferenceRow]],
    *,
    n_resamples: int = 1000,
    generator: np.random.Generator | None = None,
    **options: Any,
) -> dict[str, AccuracyGap]:
    """Compare the accuracy of two rewards on each split: in distribution and under shifts.

    Lin et al. 2024, arXiv:2409.03650, find an explicit head better than DPO's implicit reward when prompts or answers
    shift, at equal accuracy in distribution. A split of paraphrases (the same pairs in other words) shows how far a
    reward depends on tokens. Compare at equal accuracy on the training pairs, so make those a split too.

    Args:
        reward_a, reward_b: such as an explicit reward model and an implicit one.
        splits: name → pairs; rows of one `key` are resampled together.
        options: for `scoring.score`.
    """
    found = {}
    for name, rows in splits.items():
        a, b = (-np.diff(_scores(reward, rows, options))[:, 0] for reward in (reward_a, reward_b))
        clusters = [row.key for row in rows]
        found[name] = accuracy_gap(a, b, clusters=clusters, n_resamples=n_resamples, generator=generator)
    return found


def _scores(
    reward: Target | Callable[..., Any], rows: Sequence[PreferenceRow], options: Mapping[str, Any]
) -> NDArray[np.float64]:
    """Return (n, 2) scores of chosen and rejected, NaN where unscored."""
    asked = [Row(row.prompt, answer, row.columns) for row in rows for answer in (row.chosen, row.rejected)]
    return np.array(rewards_of(score(reward, asked, **options)), dtype=np.float64).reshape(-1, 2)
