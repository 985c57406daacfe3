"""Add tests on fresh inputs, with outputs of the user's own solution, so that known cases cannot be hard-coded."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rewardsmith.rewards.code.asserts import Call, equal
from rewardsmith.rewards.code.formats import Case, Stdin
from rewardsmith.rewards.code.inside import CALL
from rewardsmith.rewards.code.running import Job
from rewardsmith.sandbox import Program
from rewardsmith.scoring.calling import Unscored

Generator = Callable[[Mapping[str, Any], random.Random], Sequence[Any]]
"""Maps a row's columns to inputs: tuples of arguments of the tested function, or texts for standard input."""


def with_fresh_cases(
    job: Job, row: Mapping[str, Any], *, generator: Generator, solution_column: str, seed: int, sandbox: Any
) -> Job | Unscored:
    """Return a job with more cases: inputs from the generator, and what the row's solution gives for them.

    The solution runs in a sandbox of its own. The inputs are fixed by seed, prompt and program.
    """
    inputs = generator(row, random.Random(f"{seed} {row.get('prompt')} {job.program}"))
    solution, name = f"{job.suite.preamble}\n{row.get(solution_column) or ''}", job.suite.name
    cases: list[Case] = []
    if not name:
        for text, ran in zip(inputs, sandbox.run([Program(solution, stdin=text) for text in inputs]), strict=True):
            if isinstance(ran, Unscored):
                return ran
            if ran.ended or ran.exit_code != 0:
                return Unscored(f"the solution in `{solution_column}` fails: {ran.ended or ran.stderr[-200:]}")
            cases.append(Stdin(text, ran.stdout))
        return job._replace(suite=replace(job.suite, cases=(*job.suite.cases, *cases)))
    child = sandbox.start(solution + CALL)
    try:
        for args in inputs:
            said = child.call("rewardsmith_call", [name, *args], {})
            if isinstance(said, Unscored):
                return said
            if said.raised or said.unscored:
                return Unscored(f"the solution in `{solution_column}` fails: {said.raised or said.unscored}")
            cases.append(Call(name, tuple(args), {}, partial(equal, expected=said.value), said.value))
    finally:
        child.close()
    return job._replace(suite=replace(job.suite, cases=(*job.suite.cases, *cases)))
