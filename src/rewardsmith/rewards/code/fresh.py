"""Add tests on fresh inputs, with outputs of the user's own solution, so that known cases cannot be hard-coded."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rewardsmith.data.keys import is_missing
from rewardsmith.rewards.code.asserts import Call, equal
from rewardsmith.rewards.code.formats import Case, Stdin
from rewardsmith.rewards.code.inside import CALL
from rewardsmith.rewards.code.running import Job
from rewardsmith.sandbox import Program
from rewardsmith.scoring.calling import Unscored

Generator = Callable[[Mapping[str, Any], random.Random], Sequence[Any]]
"""Maps a row's columns to inputs: tuples of arguments of the tested function, or texts for standard input."""


def with_fresh_cases(
    jobs: Sequence[Job], row: Mapping[str, Any], *, generator: Generator, solution_column: str, seed: int, sandbox: Any
) -> list[Job | Unscored]:
    """Return the jobs of one row with more cases each: inputs from the generator, and what the row's solution gives.

    The solution runs in a sandbox of its own. The inputs are fixed by seed, prompt and program.
    """
    suite = jobs[0].suite
    if is_missing(row.get(solution_column)) or not str(row[solution_column]).strip():
        return [Unscored(f"the row has no solution in the column `{solution_column}`")] * len(jobs)
    solution = f"{suite.preamble}\n{row[solution_column]}"
    child = sandbox.start(solution + CALL) if suite.name else None

    def expected(given: Any) -> Case | Unscored:
        if child is None:
            (ran,) = sandbox.run([Program(solution, stdin=given)])
            failed = "" if isinstance(ran, Unscored) else ran.ended or ran.stderr[-200:] * (ran.exit_code != 0)
            case: Any = ran if isinstance(ran, Unscored) else Stdin(given, ran.stdout)
        else:
            ran = child.call("rewardsmith_call", [suite.name, *given], {})
            failed = "" if isinstance(ran, Unscored) else ran.raised or ran.unscored
            case = ran if isinstance(ran, Unscored) else _call(suite.name, given, ran.value)
        return Unscored(f"the solution in `{solution_column}` fails: {failed}") if failed else case

    found: list[Job | Unscored] = []
    for job in jobs:
        rng = random.Random(f"{seed} {row.get('prompt')} {job.program}")
        cases = [expected(given) for given in generator(row, rng)]
        unknown = [case for case in cases if isinstance(case, Unscored)]
        known = [case for case in cases if not isinstance(case, Unscored)]
        found.append(unknown[0] if unknown else job._replace(suite=replace(suite, cases=(*suite.cases, *known))))
    if child is not None:
        child.close()
    return found


def _call(name: str, args: Sequence[Any], value: Any) -> Call:
    return Call(name, tuple(args), {}, partial(equal, expected=value), value)
