"""Audit a reward on prompts: honest right and wrong answers, and completions that may score like them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from rewardsmith.auditing.asking import Building, Prepared, Probe, Subject
from rewardsmith.auditing.baseline import MOST_ITEMS, SEARCH_SHARE, Baseline, build_baseline, sizes_of
from rewardsmith.auditing.causes import grouped
from rewardsmith.auditing.columns_read import reads_answers, unnamed_answer
from rewardsmith.auditing.forecast import calls_of, first_rows
from rewardsmith.auditing.probes import conduct, content_free, disguises, keys, length, tone
from rewardsmith.auditing.probes.commitment import UNCOMMITTED
from rewardsmith.auditing.probes.escape import ESCAPE
from rewardsmith.auditing.probes.execution import EXECUTION
from rewardsmith.auditing.probes.keywords import KEYWORDS, keywords
from rewardsmith.auditing.probes.normalization import NORMALIZATION
from rewardsmith.auditing.probes.rollouts import rollouts
from rewardsmith.auditing.probes.search import search
from rewardsmith.auditing.probes.strictness import strictness
from rewardsmith.auditing.source_texts import texts_in
from rewardsmith.auditing.trigger_proposals import TriggerProposer, proposer_of
from rewardsmith.data import Row
from rewardsmith.errors import RowsError
from rewardsmith.scoring import Scorer, Target
from rewardsmith.scoring.calling import is_model
from rewardsmith.scoring.loading import target_rows
from rewardsmith.scoring.score_rows import resolve_form
from rewardsmith.scoring.speed import TRIED

N_QUESTIONS = 200
PROBES: tuple[Probe, ...] = (
    Probe("answer_key", "Is the answer key accepted?", keys.answer_key),
    Probe("strictness", "Are other spellings of the right value accepted?", strictness),
    Probe("near_miss", "Are wrong values near the key refused?", keys.near_miss),
    Probe("constant_answer", "Is the same answer refused on most prompts?", keys.constant_answer),
    Probe("other_answer", "Are answers to other prompts refused?", keys.other_answer),
    Probe("format_shell", "Is an empty format rewarded?", content_free.format_shell),
    *(
        Probe(probe.name, probe.question, probe)
        for probe in (
            content_free.EMPTY,
            content_free.PUNCTUATION,
            content_free.OPENER_ALONE,
            content_free.ODD_INPUT,
            content_free.PROMPT_COPY,
            disguises.ENUMERATION,
            disguises.MISPLACED,
            UNCOMMITTED,
            disguises.LOOKALIKES,
            disguises.SUPERSET,
            disguises.SUBSTRING,
            NORMALIZATION,
            EXECUTION,
            length.LENGTH,
            tone.CONFIDENT,
            tone.GRADER,
        )
    ),
    ESCAPE,
    conduct.FAILURES,
    conduct.DETERMINISM,
    conduct.BATCH_DEPENDENCE,
    conduct.PROMPT_CACHE,
    conduct.MUTATION,
    conduct.SATURATION,
    conduct.LATENCY,
    Probe(
        "rollouts",
        "What do the given completions show (groups, length, sources, gold labels, confidence)?",
        rollouts,
        essential=False,
    ),
)


def answers(target: Target, rows: Sequence[Row] | None, *, budget: int, seed: int) -> Subject:
    """Return the audit of a reward on prompts, with answers for a verifier.

    Args:
        rows: None if the target has its own.

    Raises:
        RowsError: there are no rows.
    """
    given = rows if rows is not None else target_rows(target, sizes_of(budget, MOST_ITEMS).items, seed)
    if not given:
        raise RowsError(f"audit: {target.name} was given no rows. Give at least one, with a `prompt`.")
    rng, sizes = random.Random(seed), sizes_of(budget, len({(row.prompt_text, row.answer) for row in given}))
    texts = texts_in(getattr(target.reward, "function", target.reward))
    question = "Does a search over edits find a wrong completion that is rewarded?"

    def probes_with(rng: random.Random, proposer: TriggerProposer | None) -> tuple[Probe, ...]:
        ask = partial(search, rng=rng, budget=int(budget * SEARCH_SHARE), proposer=proposer, texts=texts)
        return (
            *PROBES,
            Probe("keywords", KEYWORDS.question, partial(keywords, texts=texts), essential=False),
            Probe("search", question, ask, essential=False),
        )

    def formed_by(scorers: Mapping[str, Scorer]) -> Sequence[Row]:
        return resolve_form(scorers[""], given).rows

    def first(formed: Sequence[Row]) -> list[Row]:
        return first_rows(formed, rng=random.Random(seed), sizes=sizes)

    def building(
        scorers: Mapping[str, Scorer], formed: Sequence[Row], rng: random.Random, alpha: float
    ) -> Building[Baseline]:
        known = reads_answers(target, formed)
        baseline = yield from build_baseline(formed, rng=rng, size=sizes, alpha=alpha, reads_answers=known)
        # A reward that takes one row was measured by ordinary calls, and a model keeps nothing between calls.
        alone = scorers[""].caller.row is None and not is_model(target.reward)
        return replace(baseline, measured=tuple(first(formed)[:TRIED]) if alone else ())

    def begin(scorers: Mapping[str, Scorer]) -> list[Row]:
        return first(formed_by(scorers))

    def expect(scorers: Mapping[str, Scorer], alpha: float) -> int:
        rng = random.Random(seed)
        return calls_of(building(scorers, formed_by(scorers), rng, alpha), probes_with(rng, None))

    def prepare(scorers: Mapping[str, Scorer], alpha: float) -> Building[Prepared]:
        formed = formed_by(scorers)
        baseline = yield from building(scorers, formed, rng, alpha)
        column = "" if baseline.keyed or baseline.blind else unnamed_answer(target, formed)
        unnamed = f"the reward reads the column `{column}`, which may hold the answer; if it does, name it with "
        unnamed += f"--answer-column {column}"
        return Prepared(
            kind=baseline.kind,
            n_rows=len(formed),
            honest=baseline.conduct.rows,
            questions=[(probe, baseline) for probe in probes_with(rng, proposer_of(target))],
            levels=baseline.levels if baseline.verifier else {"honest completions": baseline.levels["right answers"]},
            nothing="" if baseline.items else "right answer could be scored in any usual format",
            cause="another input format",
            reads=baseline.accepted if baseline.verifier else (),
            not_judged=baseline.blind or baseline.unread or unnamed * bool(column),
            grouped=partial(grouped, baseline=baseline),
        )

    return Subject(
        target.name, target.contract, {"": target}, N_QUESTIONS, prepare, rows=given, begin=begin, expect=expect
    )
