"""Members of an ensemble planned on shares of the prompts, and their figures on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rewardsmith.data import OutcomeRow, PreferenceRow, RatedRow, StepRow, held_out
from rewardsmith.engines.trl.fit import RewardFit, written
from rewardsmith.engines.trl.members import Member
from rewardsmith.measures import acc_and_acc_plus, first_error_f1, wilson_interval
from rewardsmith.measures.labels import first_below, first_wrong
from rewardsmith.rewards import load_reward_model

Figures = dict[str, dict[str, Any]]


def plan_members(
    rows: Sequence[Any], starts: Sequence[str], out: Path, fit: RewardFit, *, members: int = 1, subset: float = 1.0
) -> list[Member]:
    """Plan `members` reward models, each from its own start, seed and share of the prompts.

    Args:
        rows: to train on.
        starts: models to start from, taken in turn.
        out: the folder of one model; of several, the folder of their folders `member-K`.
        fit: the settings of the first; the seed of member K is K higher.
        subset: share of the prompts that each member sees, drawn with its own seed.
    """
    planned = []
    for k in range(members):
        seen = rows if subset == 1 else held_out(rows, share=subset, seed=fit.seed + 1000 + k)[1]
        folder = out if members == 1 else out / f"member-{k}"
        planned.append(Member(seen, starts[k % len(starts)], folder, replace(fit, seed=fit.seed + k)))
    return planned


def held_out_figures(
    rows: Sequence[PreferenceRow] | Sequence[RatedRow] | Sequence[OutcomeRow] | Sequence[StepRow],
    folders: Sequence[Path],
    **loading: Any,
) -> Figures:
    """Return the figures of each model in its folder and, of several on pairs, of their mean, by name.

    Args:
        rows: pairs (accuracy), ratings (correlation of each attribute), outcomes (accuracy within prompts, and the cap
            of an implicit reward) or labeled steps (accuracy, F1 of the first error).
        loading: options of `load_reward_model`.

    Returns:
        Name of the figure → `value`, `low`, `high` (95 %, None where there is no interval) and `n`.
    """
    if not rows:
        return {}
    pairs = [row for row in rows if isinstance(row, PreferenceRow)]
    if pairs:  # the share ranked right, equal scores being wrong; intervals count pairs of one prompt as one
        strict = [row for row in pairs if not row.is_tie]
        if not strict:
            return {}
        found = []
        for folder in folders:
            reward = load_reward_model(folder, **loading)
            given: Any = _written(strict, reward)
            prompts = [row.prompt for row in given] * 2
            answers = [row.chosen for row in given] + [row.rejected for row in given]
            found.append(np.array(reward.score(prompts, answers), dtype=float).reshape(2, -1).T)
        scores = np.stack(found)  # (K, n, 2)
        names = ["accuracy"] if len(folders) == 1 else [f"accuracy of {folder.name}" for folder in folders]
        by_name = dict(zip(names, scores, strict=True))
        if len(folders) > 1:
            unit = np.nanstd(scores, axis=(1, 2), keepdims=True)  # members differ in scale
            by_name["accuracy of their mean"] = (scores / np.where(unit > 0, unit, 1.0)).mean(axis=0)
        keys = [row.key for row in strict]
        shares = {name: acc_and_acc_plus(table, keys).acc for name, table in by_name.items()}
        return {n: {"value": s.value, "low": s.low, "high": s.high, "n": s.n} for n, s in shares.items()}
    figures: Figures = {}
    for folder in folders:
        prefix = "" if len(folders) == 1 else f"{folder.name} "
        by_kind = {StepRow: _of_steps, OutcomeRow: _of_outcomes, RatedRow: _of_ratings}
        own = by_kind[type(rows[0])](rows, load_reward_model(folder, **loading))
        figures |= {prefix + name: figure for name, figure in own.items()}
    return figures


def _written(rows: Sequence[Any], reward: Any) -> list[Any]:
    """Return the rows in the form that the model was trained on."""
    return [written(row, RewardFit(), chat=bool(reward.tokenizer.chat_template)) for row in rows]


def _of_ratings(rows: Sequence[Any], reward: Any) -> Figures:
    """Return the correlation of output and rating for each attribute."""
    given = _written(rows, reward)
    found = reward.source_rewards([row.prompt for row in given], [row.completion for row in given])
    figures: Figures = {}
    for k, name in enumerate(reward.attributes):
        both = [(s[k], r.ratings[name]) for s, r in zip(found, given, strict=True)
                if isinstance(s, list) and name in r.ratings]  # fmt: skip
        if len(both) > 2 and min(np.std(both, axis=0)) > 0:
            value = float(np.corrcoef(np.array(both).T)[0, 1])
            figures[f"correlation with {name}"] = {"value": value, "low": None, "high": None, "n": len(both)}
    return figures


def _of_steps(rows: Sequence[Any], reward: Any) -> Figures:
    """Return the F1 of the first error at a threshold of ½, and the share of hard step labels predicted right."""
    steps = [list(row.completions) for row in rows]
    found = reward.score([row.prompt for row in rows], ["\n".join(s) for s in steps], steps=steps)
    predicted = [None if scores is None else first_below(scores, 0.5) for scores in found]
    f1 = first_error_f1(predicted, [first_wrong(row.labels) for row in rows])
    hits = [(s > 0.5) == (y > 0.5) for scores, row in zip(found, rows, strict=True) if scores is not None
            for s, y in zip(scores, row.labels, strict=True) if s is not None and y in (0.0, 1.0)]  # fmt: skip
    low, high = wilson_interval(sum(hits), len(hits))
    right = {"value": sum(hits) / max(len(hits), 1), "low": low, "high": high, "n": len(hits)}
    first = {"value": f1.f1, "low": f1.low, "high": f1.high, "n": f1.n_erroneous + f1.n_correct}
    return {"step accuracy": right, "F1 of the first error": first}


def _of_outcomes(rows: Sequence[Any], reward: Any) -> Figures:
    """Return how an implicit reward ranks right over wrong completions of a prompt, and their mean rewards.

    With p, the share of right completions of a prompt, their reward is at most β log 1/p if they were sampled from the
    reference; its mean over prompts is the cap.
    """
    given = _written(rows, reward)
    scores = reward.score([row.prompt for row in given], [row.completion for row in given])
    groups: dict[str, tuple[list[float], list[float]]] = {}
    for row, score in zip(given, scores, strict=True):
        if score is not None:
            groups.setdefault(row.key, ([], []))[row.label].append(score)
    pairs = [(key, b, a) for key, (wrong, right) in groups.items() for a in wrong for b in right]
    figures: Figures = {}
    if pairs:
        acc = acc_and_acc_plus(np.array([pair[1:] for pair in pairs]), [key for key, *_ in pairs]).acc
        figures["accuracy within prompts"] = {"value": acc.value, "low": acc.low, "high": acc.high, "n": acc.n}
    shares = [len(right) / (len(wrong) + len(right)) for wrong, right in groups.values() if right]
    means = {
        "mean reward of right completions": [score for _, right in groups.values() for score in right],
        "mean reward of wrong completions": [score for wrong, _ in groups.values() for score in wrong],
        "cap of the reward of right completions": [reward.beta * math.log(1 / p) for p in shares],
    }
    plain = {name: (float(np.mean(values)), len(values)) for name, values in means.items() if values}
    return figures | {name: {"value": v, "low": None, "high": None, "n": n} for name, (v, n) in plain.items()}
