"""Audit a reward for programs: right ones of the rows, wrong ones, and ones that fool a careless harness."""

from __future__ import annotations

import ast
import random
from collections.abc import Mapping, Sequence

from rewardsmith.auditing.asking import Building, Prepared, Probe, Subject, rows_within
from rewardsmith.auditing.baseline import Baseline, Item, Sizes, build_baseline
from rewardsmith.auditing.known_right import is_right
from rewardsmith.auditing.probes import conduct, content_free, keys, length, programs, tone
from rewardsmith.auditing.probes.escape import ESCAPE
from rewardsmith.auditing.probes.rollouts import rollouts
from rewardsmith.auditing.texts import CODE_FORMATS
from rewardsmith.data import Row
from rewardsmith.data.keys import parsed
from rewardsmith.rewards.code.formats import Suite, program_of, read_tests
from rewardsmith.scoring import Scorer, Target

CALLS_PER_PROGRAM, MOST_PROGRAMS, N_QUESTIONS = 70, 32, 60
REFERENCES = ("reference", "canonical_solution", "reference_solution", "gold_solution", "solution", "solutions", "code")
"""Columns of a right program, best first."""
USUAL: tuple[Probe, ...] = (
    *(
        Probe(probe.name, probe.question, probe)
        for probe in (content_free.EMPTY, content_free.OPENER_ALONE, length.LENGTH, tone.GRADER)
    ),
    ESCAPE,
    conduct.FAILURES,
    conduct.DETERMINISM,
    conduct.BATCH_DEPENDENCE,
    conduct.MUTATION,
    conduct.SATURATION,
    conduct.LATENCY,
    Probe("rollouts", "What do the given completions show?", rollouts, essential=False),
)
"""The questions to any verifier whose answers are long."""
PROBES: tuple[Probe, ...] = (
    Probe("answer_key", "Are right programs accepted?", keys.answer_key),
    Probe("constant_answer", "Is the same program refused on most prompts?", keys.constant_answer),
    *(
        Probe(probe.name, probe.question, probe)
        for probe in (
            programs.SILENT,
            programs.FORGED,
            programs.EXITS,
            programs.TAMPERED,
            programs.READ_BACK,
            programs.HARD_CODED,
        )
    ),
    *USUAL,
)


def right_program(row: Row) -> str | None:
    """Return a program that is known to be right: the completion's, if `gold` says so, or that of `REFERENCES`."""
    suite = read_tests(row.columns, row.prompt_text)
    if not isinstance(suite, Suite):
        return None
    given = [row.text] if is_right(row) else []
    for name in REFERENCES:
        value = parsed(row.columns.get(name))
        given += [text for text in (value if isinstance(value, list) else [value])[:1] if isinstance(text, str)]
    for text in given:
        code = program_of(text, suite, row.prompt_text, "last" if "```" in text else "whole")
        try:
            body = ast.parse(code or "").body
        except (SyntaxError, ValueError):
            continue
        if any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Expr | ast.For | ast.While) for node in body):
            return code
    return None


def programs_of(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """Return one row with tests and its right program for each prompt that has both."""
    found = {row.prompt_text: (row, program) for row in rows[::-1] if (program := right_program(row)) is not None}
    return list(found.values())


def code(target: Target, rows: Sequence[Row], known: Sequence[tuple[Row, str]], *, budget: int, seed: int) -> Subject:
    """Return the audit of a reward for programs.

    Args:
        known: rows with their right programs (`programs_of`).
    """
    rng = random.Random(seed)
    size = rows_within(budget, calls_per_row=CALLS_PER_PROGRAM, least=1, most=min(MOST_PROGRAMS, len(known)))
    chosen = rng.sample(list(known), size)
    items = []
    for k, (row, program) in enumerate(chosen):
        others = [other for _, other in (*chosen[k + 1 :], *chosen[:k]) if other != program]
        items.append(Item(row=row, key=program, kind="code", wrongs=(programs.stub(program), *others[:2])))

    def prepare(scorers: Mapping[str, Scorer], alpha: float) -> Building[Prepared]:
        baseline: Baseline = yield from build_baseline(
            rows, rng=rng, size=Sizes(size), alpha=alpha, reads_answers=True, given=(items, CODE_FORMATS)
        )
        same = f"right and wrong programs score equally in all {len(CODE_FORMATS)} formats (another fence, other tests)"
        return Prepared(
            kind="reward for programs",
            n_rows=len(rows),
            honest=baseline.conduct.rows,
            questions=[(probe, baseline) for probe in PROBES],
            levels=baseline.levels,
            nothing="" if baseline.items else "right program could be scored",
            cause="tests that it cannot read",
            reads=baseline.accepted,
            not_judged="" if baseline.verifier else same,
        )

    return Subject(target.name, target.contract, {"": target}, N_QUESTIONS, prepare, rows=rows)
