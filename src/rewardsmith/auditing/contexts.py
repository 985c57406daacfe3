"""Does a reward read the context of a preference, and how far can two errors, of context and of judgment, carry?"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_choice
from rewardsmith.data import CONTEXT_TEMPLATE, ContextForm, Row, in_context, reversal_pairs
from rewardsmith.measures.labels import Share
from rewardsmith.measures.rankings import share_right
from rewardsmith.scoring import Target, rewards_of, score

Array = NDArray[np.float64]


class ContextBound(NamedTuple):
    """What two errors may cost, (...) each; error ≤ centered ≤ bound.

    error: |p̂ − p|, how far the mixed preference is off.
    bound: context_term + preference_term.
    context_term: Σ_z |p̂(z) − p(z)| p̂(y₁ ≻ y₂ | z), from taking the context for another.
    preference_term: Σ_z p(z) |p̂(·|z) − p(·|z)|, from judging wrongly within it.
    centered: the same bound with p̂(·|z) less the middle of its range in the first term, where that is less: then at
        most the total variation of the contexts, and 0 where the preference does not depend on them.
    """

    error: Array
    bound: Array
    context_term: Array
    preference_term: Array
    centered: Array


def context_error_bound(
    p_context_hat: ArrayLike, p_context: ArrayLike, p_preferred_hat: ArrayLike, p_preferred: ArrayLike
) -> ContextBound:
    """How far a two-step preference is off, and the part of it that each step may have.

        |Σ_z p̂(z) p̂_z − Σ_z p(z) p_z|  ≤  Σ_z |p̂(z) − p(z)| p̂_z  +  Σ_z p(z) |p̂_z − p_z|

    Pitis et al. 2024, arXiv:2407.14916. It holds for probabilities: pass scores through the sigmoid first.

    Args:
        p_context_hat, p_context: (..., Z) believed and true p(z|x), each summing to 1.
        p_preferred_hat, p_preferred: (..., Z) believed and true p(y₁ ≻ y₂ | x, z) in [0, 1].

    >>> bound = context_error_bound([1.0, 0.0], [0.5, 0.5], [0.9, 0.1], [0.9, 0.1])
    >>> round(float(bound.error), 3), round(float(bound.bound), 3), round(float(bound.centered), 3)
    (0.4, 0.5, 0.4)
    """
    given = {
        "p_context_hat": p_context_hat,
        "p_context": p_context,
        "p_preferred_hat": p_preferred_hat,
        "p_preferred": p_preferred,
    }
    tables = {name: np.asarray(value, dtype=np.float64) for name, value in given.items()}
    for name, table in tables.items():
        if table.ndim < 1 or (table < 0).any() or (table > 1).any():
            raise ValueError(
                f"context_error_bound: {name} must be (..., Z) probabilities in [0, 1], and spans "
                f"[{table.min():.3g}, {table.max():.3g}]. Pass scores through the sigmoid first."
            )
        if name.startswith("p_context") and (np.abs(table.sum(axis=-1) - 1) > 1e-6).any():
            raise ValueError(f"context_error_bound: {name} does not sum to 1 over the contexts. Normalize it.")
    z_hat, z, p_hat, p = np.broadcast_arrays(*tables.values())
    error = np.abs((z_hat * p_hat).sum(axis=-1) - (z * p).sum(axis=-1))
    context_term = (np.abs(z_hat - z) * p_hat).sum(axis=-1)
    preference_term = (z * np.abs(p_hat - p)).sum(axis=-1)
    middle = (p_hat.max(axis=-1, keepdims=True) + p_hat.min(axis=-1, keepdims=True)) / 2
    centered_term = np.minimum((np.abs(z_hat - z) * np.abs(p_hat - middle)).sum(axis=-1), context_term)
    return ContextBound(
        error, context_term + preference_term, context_term, preference_term, centered_term + preference_term
    )


class ContextSensitivity(NamedTuple):
    """Accuracy on reversals, with intervals; a tie is wrong.

    row_acc: under the right context, row by row.
    paired_acc: share of records of which both rows are right: a reward that does not read the context has 0.
    wrong_context_acc: under a context of another record. Near ½ is right; as high as `row_acc`, it is not read.
    no_context_acc: without a context. ½ by construction, up to ties.
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
    """Does the reward's preference follow the context it is given?

    Pitis et al. 2024, arXiv:2407.14916. Each record's two responses are scored under the context that prefers the one,
    that which prefers the other, a context of another record, and none. All else is held fixed.

    Args:
        rows: records of reversals, as read from a file: columns response_a, response_b, and criteria_x, criteria_y or
            scenario_x, scenario_y (`data.reversal_pairs`).
        form: which of the two contexts.
        template: how the context is written into the prompt; None for a reward that takes the column `context`, which
            every row carries in either case, None where there is none.
        options: for `rewards.score`, such as `workers` and `timeout`.

    >>> def reads(prompt, completion):
    ...     return float(len(completion) if "long" in prompt else -len(completion))
    >>> texts = {"response_a": "a b", "response_b": "a", "criteria_x": "be long", "criteria_y": "be short"}
    >>> context_sensitivity(reads, [Row("Name one.", None, texts)], workers=0).paired_acc.value
    1.0
    """
    check_choice("context_sensitivity", "form", form, ("criteria", "scenario"))
    records = [{"prompt": row.prompt, **row.columns} for row in rows]
    pairs = reversal_pairs(records, form=form, template=None)
    given = [pair["context"] for pair in pairs]
    asked = [(given, 0), (_others(pairs), 1), ([None] * len(pairs), 0)]
    wanted = [
        _row(pair, context, text, template)
        for contexts, missing in asked
        for pair, context in zip(pairs, contexts, strict=True)
        if not (missing and context is None)
        for text in (pair["chosen"], pair["rejected"])
    ]
    scored = iter(rewards_of(score(reward, wanted, **options)))
    right, wrong, none = (
        [None if missing and context is None else _hit(next(scored), next(scored)) for context in contexts]
        for contexts, missing in asked
    )
    groups: list[Hashable] = [pair["pair"] for pair in pairs]
    return ContextSensitivity(
        share_right(right, groups, alpha=alpha),
        share_right([_both(right[k], right[k + 1]) for k in range(0, len(right), 2)], range(len(rows)), alpha=alpha),
        share_right(wrong, groups, alpha=alpha),
        share_right(none, groups, alpha=alpha),
    )


def _others(pairs: Sequence[dict[str, Any]]) -> list[Any]:
    """For each row the same side's context of the next record that says something else; None where none does."""
    found: list[Any] = []
    for index, pair in enumerate(pairs):
        own = {pairs[index - index % 2]["context"], pairs[index - index % 2 + 1]["context"]}
        later = (pairs[(index + step) % len(pairs)]["context"] for step in range(2, len(pairs), 2))
        found.append(next((context for context in later if context not in own), None))
        del pair
    return found


def _row(pair: dict[str, Any], context: Any, text: Any, template: str | None) -> Row:
    prompt = pair["prompt"] if template is None else in_context(pair["prompt"], context, template=template)
    bare = Row(prompt, None, {"context": context})
    return bare.with_completion(text) if isinstance(text, str) else Row(prompt, text, {"context": context})


def _hit(chosen: float | None, rejected: float | None) -> bool | None:
    return None if chosen is None or rejected is None else chosen > rejected


def _both(first: bool | None, second: bool | None) -> bool | None:
    if False in (first, second):
        return False
    return None if None in (first, second) else True
