"""The audit of a reward on preference pairs: the pairs as they stand, and answers edited in one thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rewardsmith.auditing.asking import Ask, Building, Prepared, Probe, Subject
from rewardsmith.auditing.guide import guide_of
from rewardsmith.auditing.pair_baseline import (
    Form,
    PairPanel,
    build_pair_panel,
    drawn,
    number_of,
    numbers_of,
    tokenizer_of,
    with_conduct,
)
from rewardsmith.auditing.probes import (
    accuracy,
    conduct,
    content_free,
    cues,
    invariance,
    labels,
    length,
    members,
    openers,
    order,
    pressure,
    reading,
    style,
    tone,
    triggers,
)
from rewardsmith.data import PreferenceRow, Row
from rewardsmith.errors import RowsError, TargetError
from rewardsmith.rewards import ImplicitReward, PairwiseReward, SequenceReward
from rewardsmith.scoring import Scorer, Target, as_sources, as_target
from rewardsmith.scoring.score_rows import resolve_form

CALLS_PER_PAIR = 37.5
"""Scores that all questions together take per pair, roundly."""
GIVEN = 10
"""Times as many pairs as are edited are scored as they stand: wrong labels and overconfidence show in thousands."""
N_QUESTIONS = 100
EDIT_PROBES: tuple[Probe, ...] = (
    Probe("length", "Is a rejected answer paid for words that add no content?", length.length),
    Probe(
        "style", "Is a rejected answer paid for lists, bold, headings, capitals, exclamation or thanks?", style.style
    ),
    Probe("openers", "Is an opener paid, before a rejected answer or alone?", openers.openers),
    Probe("confidence", "Is a rejected answer paid for a high confidence?", tone.confidence),
    Probe("content_free", "Is a text without content paid like the chosen answer?", content_free.content_free),
    Probe("invariance", "Does the score stay where the same answer is written otherwise?", invariance.invariance),
)
"""The questions that edit answers."""


def pairs(
    target: Target | Callable[..., Any],
    rows: Sequence[PreferenceRow],
    *,
    pool: Sequence[Row],
    gold: Target | Callable[..., Any] | None,
    most_pairs: int,
    seed: int,
) -> Subject:
    """Return the audit of a reward on preference pairs; arguments as in `audit_pairs`.

    Raises:
        RowsError: there is no pair with a better answer.
        TargetError: the target is no single reward.
    """
    target = single(target)
    strict = [row for row in rows if not row.is_tie]
    if not strict:
        raise RowsError(
            f"audit: {target.name} was given {len(rows)} rows and no pair of which one answer is better. Give rows "
            "with `prompt`, `chosen` and `rejected`."
        )
    given = drawn(strict, GIVEN * most_pairs, seed)
    given = order.referenced(given) if compares(target) else given
    asked = drawn(given, most_pairs, seed)
    references = {"gold": single(gold)} if pool and gold is not None else {}

    def prepare(scorers: Mapping[str, Scorer], alpha: float) -> Building[Prepared]:
        form = Form(scorers[""], asked)
        true: Sequence[float] = [number_of(row.columns.get("gold")) for row in pool]
        if references:
            (scores,) = yield [Ask(resolve_form(scorers["gold"], pool).rows, source="gold")]
            true = numbers_of(scores).tolist()
        ties = [row for row in rows if row.is_tie]
        build = partial(build_pair_panel, form=form, alpha=alpha, seed=seed, ties=ties, pool=pool, gold=true)
        whole = yield from build(given)
        panel = yield from build(asked)
        if panel.rows:
            panel = yield from with_conduct(panel)
        return Prepared(
            kind=kind_of(target.reward),
            n_rows=len(rows),
            honest=[Row(row.prompt, answer) for row in asked for answer in (row.chosen, row.rejected)],
            questions=questions(target, whole, panel),
            levels={"chosen answers": panel.chosen.tolist(), "rejected answers": panel.rejected.tolist()},
            nothing="" if panel.rows else "pair could be scored",
            cause="rows longer than the model takes",
        )

    return Subject(target.name, "preference pairs", {"": target}, N_QUESTIONS, prepare, references, rows)


def questions(target: Target, given: PairPanel, asked: PairPanel) -> list[tuple[Probe, PairPanel]]:
    """Return every question that can be asked of this reward, in the order of the report.

    Args:
        given: all pairs, for questions that take no edits; asked: those of which answers are edited.
    """
    calibrated = partial(labels.calibration, logits=scores_in_logits(target.reward))
    as_they_stand = (
        Probe("accuracy", "Does the better answer score more, in every subset?", accuracy.accuracy),
        Probe("margin_calibration", "Are score differences as sure as they are right?", calibrated),
        Probe("label_noise", "How many of the labels are wrong?", labels.label_noise),
        Probe("prompt", "Does the reward read the prompt?", reading.prompt),
        Probe("context", "Does the preference follow its context?", reading.context),
        Probe("cues", "Is it as often right where a surface cue points the other way?", cues.cues),
    )
    edited = [*EDIT_PROBES]
    if members.has_members(target):
        of_members = partial(members.members, reward=target.reward)
        edited.append(Probe("members", "Do the members differ, and what do they share?", of_members))
    if compares(target):
        edited.append(Probe("position", "Does it favor the answer that it reads first, or second?", order.position))
    if (guide := guide_of(target)) is not None:
        guided = partial(triggers.triggers, guide=guide)
        edited.append(Probe("triggers", "Does a short text get rejected answers past the chosen ones?", guided))
    edited += [
        Probe("overoptimization", "Does gold rise as far as the reward is optimized?", pressure.pressure),
        conduct.DETERMINISM,
        conduct.BATCH_DEPENDENCE,
        conduct.LATENCY,
    ]
    return [*((probe, given) for probe in as_they_stand), *((probe, asked) for probe in edited)]


def single(target: Target | Callable[..., Any]) -> Target:
    """Return the target as one reward; several sources that make no whole are refused."""
    sources = as_sources(target)
    if sources is None:
        return as_target(target)
    if sources.whole is None:
        raise TargetError(
            f"audit: {sources.name} holds {len(sources.targets)} sources ({', '.join(sources.targets)}), and pairs are "
            f"judged by one reward. Name one of them, or a recipe that adds them up."
        )
    return sources.whole


def compares(target: Target) -> bool:
    """Whether the reward compares two answers, as `PairwiseReward` does."""
    return hasattr(target.reward, "compare")


def scores_in_logits(reward: Any) -> bool:
    """Whether score differences are log-odds of being better, as of a model trained by Bradley-Terry."""
    inner = getattr(reward, "model", None)
    if isinstance(inner, SequenceReward | ImplicitReward):
        return scores_in_logits(inner)
    return isinstance(reward, ImplicitReward | PairwiseReward) or (
        isinstance(reward, SequenceReward) and len(reward.attributes) == 1
    )


def kind_of(reward: Any) -> str:
    """Return what the reward is, in words."""
    if members := getattr(reward, "members", None):
        return f"ensemble of {len(members)} members"
    heads = len(getattr(reward, "attributes", ()))
    if heads > 1:
        return f"reward model, {heads} attributes"
    return "reward model, one score" if tokenizer_of(reward) is not None else "function"
