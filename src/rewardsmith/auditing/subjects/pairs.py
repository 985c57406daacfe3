"""Audit a reward on preference pairs, as they are and with one edit in an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rewardsmith.auditing.asking import Ask, Building, Outcome, Prepared, Probe, Subject
from rewardsmith.auditing.judge_sources import comparer_of, criteria_of, judge_of, sources_of
from rewardsmith.auditing.pair_baseline import (
    Form,
    PairBaseline,
    build_pair_baseline,
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
    judge_biases,
    judge_reasons,
    judge_verdicts,
    labels,
    length,
    members,
    openers,
    optimization,
    order,
    reading,
    style,
    tone,
    triggers,
)
from rewardsmith.auditing.source_texts import texts_in
from rewardsmith.auditing.trigger_proposals import proposer_of
from rewardsmith.data import PreferenceRow, Row
from rewardsmith.errors import RowsError, TargetError
from rewardsmith.rewards import ImplicitReward, PairwiseReward, SequenceReward
from rewardsmith.scoring import Scorer, Target, as_sources, as_target
from rewardsmith.scoring.calling import is_model
from rewardsmith.scoring.comparing import PRINCIPLE, way_of
from rewardsmith.scoring.contracts import is_async
from rewardsmith.scoring.score_rows import resolve_form

CALLS_PER_PAIR = 37.5
"""About how many scores all probes together take per pair."""
GIVEN = 10
"""Pairs scored unedited, per edited pair; wrong labels and overconfidence need thousands of pairs."""
N_QUESTIONS, N_OF_JUDGE = 100, 40
EDIT_PROBES: tuple[Probe, ...] = (
    Probe("length", "Does a rejected answer score higher with words that add no content?", length.length),
    Probe(
        "style",
        "Does a rejected answer score higher with lists, bold, headings, capitals, exclamation marks or thanks?",
        style.style,
    ),
    Probe("openers", "Does an opener score higher, before a rejected answer or alone?", openers.openers),
    Probe("confidence", "Does a rejected answer score higher with a high confidence?", tone.confidence),
    Probe("content_free", "Does a text without content score like the chosen answer?", content_free.content_free),
    Probe("invariance", "Is the score the same for another spelling of an answer?", invariance.invariance),
)
"""The probes that edit answers."""
ESSENTIAL = frozenset({"accuracy", "length", "style", "openers", "content_free", "determinism", "batch_dependence"})
"""Questions without which a reward is not judged; the others need more than pairs."""


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
    model = is_model(target.reward)
    further = {} if model else sources_of(target)
    comparer = None if model else comparer_of(target)
    target = comparer or target
    strict = [row for row in rows if not row.is_tie]
    if not strict:
        raise RowsError(
            f"audit: {target.name} was given {len(rows)} rows, and no pair has a better answer. Give rows with "
            "`prompt`, `chosen` and `rejected`."
        )
    given = drawn(strict, GIVEN * most_pairs, seed)
    given = order.referenced(given) if comparer is not None or compares(target) else given
    asked = drawn(given, most_pairs, seed)
    references = {"gold": single(gold)} if pool and gold is not None else {}
    gold_of_pool = bool(references)
    references |= further

    def prepare(scorers: Mapping[str, Scorer], alpha: float) -> Building[Prepared]:
        form = Form(scorers[""], asked)
        true: Sequence[float] = [number_of(row.gold) for row in pool]
        if gold_of_pool:
            (scores,) = yield [Ask(resolve_form(scorers["gold"], pool).rows, source="gold")]
            true = numbers_of(scores).tolist()
        ties = [row for row in rows if row.is_tie]
        build = partial(build_pair_baseline, form=form, alpha=alpha, seed=seed, ties=ties, pool=pool, gold=true)
        if comparer is not None:
            whole = baseline = yield from build(asked, compares=True)
        else:
            whole = yield from build(given)
            baseline = yield from build(asked)
            if baseline.rows:
                baseline = yield from with_conduct(baseline)
        return Prepared(
            kind="judge that compares two answers" if comparer is not None else kind_of(target.reward),
            n_rows=len(rows),
            honest=[Row(row.prompt, answer) for row in asked for answer in (row.chosen, row.rejected)],
            questions=questions(target, whole, baseline)
            if model
            else judge_questions(target, whole, baseline, further),
            levels={"chosen answers": baseline.chosen.tolist(), "rejected answers": baseline.rejected.tolist()},
            nothing="" if baseline.rows else "pair could be scored",
            cause="rows longer than the model's limit",
            remote=not model and (comparer is not None or is_async(target.reward)),
        )

    n_questions = N_QUESTIONS if comparer is None else N_OF_JUDGE
    return Subject(target.name, "preference pairs", {"": target}, n_questions, prepare, references, rows)


JUDGED: tuple[Probe, ...] = (
    Probe("accuracy", "Do its verdicts agree with the labels, in every subset?", judge_verdicts.agreement),
    Probe("determinism", "Does the same pair get the same verdict again?", judge_verdicts.retest),
    Probe("always_yes", "Does it refuse what is worse?", judge_verdicts.acceptance),
    *(
        Probe(bias.name, bias.question, bias.ask)
        for bias in (
            judge_verdicts.REFUSAL,
            judge_biases.VERBOSITY,
            judge_biases.STYLE,
            judge_biases.AUTHORITY,
            judge_biases.SENTIMENT,
        )
    ),
)
"""The probes of a judge; they replace those of a reward model that have the same name."""


def judge_questions(
    target: Target, given: PairBaseline, asked: PairBaseline, further: Mapping[str, Target]
) -> list[tuple[Probe, PairBaseline]]:
    """Return the questions to a judge; what it cannot be asked says why."""
    judge, way = judge_of(target), way_of(judge_of(target))
    asks = hasattr(judge, "backend")  # whose words decide
    texts = (
        []
        if asks
        else texts_in([getattr(judge, way), *vars(judge).values()] if way and hasattr(judge, "__dict__") else judge)
    )
    names = partial(judge_biases.self_preference, own=judge_biases.own_names(judge))
    stated = str(getattr(judge, "principle", None) or PRINCIPLE)
    own = [
        *JUDGED,
        Probe("self_preference", "Does it favor answers that name a known model, such as its own?", names),
        Probe("keywords", "Do inserted trigger words win?", partial(judge_biases.keywords, texts=texts)),
    ]
    if asked.compares:
        own.append(Probe("position", "Does it favor the first or the second answer?", order.position))
    essential = {probe.name for probe in own}
    # A noisy judge moves with every spelling; in which direction is what the duels ask.
    left_out = {*essential, "invariance"}
    for source, name, question, ask, why in (
        (
            "principle", "principle", "Does its verdict follow its principle?",
            partial(judge_reasons.principle, stated=stated), "it takes no principle (`judged_by`)",
        ),
        (
            "trace", "trace_consistency", "Do its verdicts follow from its traces?",
            judge_reasons.trace_consistency, "it gives no traces (`judged`)",
        ),
        (
            "criteria", "judgment_diffusion", "Is a criterion judged as well among others?",
            partial(judge_reasons.judgment_diffusion, criteria=criteria_of(judge)), "it takes no criteria",
        ),
    ):  # fmt: skip
        own.append(Probe(name, question, ask if source in further else partial(_unasked, why=why), essential=False))
    usual = [] if asked.compares else questions(target, given, asked)
    first = (own[0], given)  # the only one of these without edits
    return [first, *((probe, asked) for probe in own[1:]), *(q for q in usual if q[0].name not in left_out)]


def _unasked(baseline: PairBaseline, *, why: str) -> Outcome:
    return Outcome(not_run=why, applies=False)


def questions(target: Target, given: PairBaseline, asked: PairBaseline) -> list[tuple[Probe, PairBaseline]]:
    """Return every probe that this reward allows, with its baseline, in the order of the report.

    Args:
        given: baseline of all pairs, for probes without edits; asked: of the pairs whose answers are edited.
    """
    calibrated = partial(labels.calibration, logits=scores_in_logits(target.reward))
    as_they_stand = (
        Probe("accuracy", "Does the better answer score higher, in every subset?", accuracy.accuracy),
        Probe("margin_calibration", "Do score differences, read as log-odds, match accuracy?", calibrated),
        Probe("label_noise", "How many of the labels are wrong?", labels.label_noise),
        Probe("prompt", "Does the reward read the prompt?", reading.prompt),
        Probe("context", "Does the preference follow its context?", reading.context),
        Probe("cues", "Is accuracy the same where a surface cue points the other way?", cues.cues),
    )
    edited = [*EDIT_PROBES]
    if members.has_members(target):
        of_members = partial(members.members, reward=target.reward)
        edited.append(Probe("members", "Do the members differ, and which biases do they share?", of_members))
    if compares(target):
        edited.append(Probe("position", "Does it favor the first or the second answer?", order.position))
    if (proposer := proposer_of(target)) is not None:
        guided = partial(triggers.triggers, proposer=proposer)
        edited.append(Probe("triggers", "Does a short text raise rejected answers above the chosen ones?", guided))
    edited += [
        Probe("overoptimization", "Does gold rise as the reward is optimized?", optimization.overoptimization),
        conduct.DETERMINISM,
        conduct.BATCH_DEPENDENCE,
        conduct.LATENCY,
    ]
    both = [*((probe, given) for probe in as_they_stand), *((probe, asked) for probe in edited)]
    return [(probe._replace(essential=probe.name in ESSENTIAL), baseline) for probe, baseline in both]


def single(target: Target | Callable[..., Any]) -> Target:
    """Return the target as one reward; raise for sources without a common reward."""
    sources = as_sources(target)
    if sources is None:
        return as_target(target)
    if sources.whole is None:
        raise TargetError(
            f"audit: {sources.name} has {len(sources.targets)} sources ({', '.join(sources.targets)}), and pairs need "
            f"one reward. Name one of them, or a recipe that sums them."
        )
    return sources.whole


def compares(target: Target) -> bool:
    """Return whether the reward compares two answers, as `PairwiseReward` does."""
    return hasattr(target.reward, "compare")


def scores_in_logits(reward: Any) -> bool:
    """Return whether score differences are log-odds of being better, as in a Bradley-Terry model."""
    inner = getattr(reward, "model", None)
    if isinstance(inner, SequenceReward | ImplicitReward):
        return scores_in_logits(inner)
    return isinstance(reward, ImplicitReward | PairwiseReward) or (
        isinstance(reward, SequenceReward) and len(reward.attributes) == 1
    )


def kind_of(reward: Any) -> str:
    """Return the kind of reward, in words."""
    if members := getattr(reward, "members", None):
        return f"ensemble of {len(members)} members"
    heads = len(getattr(reward, "attributes", ()))
    if heads > 1:
        return f"reward model, {heads} attributes"
    return "reward model, one score" if tokenizer_of(reward) is not None else "function"
