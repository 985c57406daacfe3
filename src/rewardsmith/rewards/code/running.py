"""Run programs against their tests in a sandbox, and decide outside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from rewardsmith.rewards.code.asserts import Call
from rewardsmith.rewards.code.comparing import Whitespace, same_output
from rewardsmith.rewards.code.formats import Command, Script, Stdin, Suite
from rewardsmith.rewards.code.inside import CALL, TESTS
from rewardsmith.sandbox import Answered, Program, Ran
from rewardsmith.scoring.calling import Unscored

_Failed = dict[int, str | Unscored]
"""Number of a case → "" if it passed, why it failed, or why nobody knows."""


class Job(NamedTuple):
    """A program and its tests."""

    program: str
    suite: Suite


class Rules(NamedTuple):
    """How to run and compare. every: run all cases; else stop at the first that fails."""

    every: bool
    tolerance: float
    whitespace: Whitespace


class Verdict(NamedTuple):
    """Which of a suite's cases passed, in order, and why the first of the others failed."""

    passed: tuple[bool, ...]
    why: str = ""


def verdicts(jobs: Sequence[Job], sandbox: Any, rules: Rules) -> list[Verdict | Unscored]:
    """Return a verdict for each job. Programs that read standard input run together, the others row by row in threads.

    Of a job without `rules.every`, the first case runs first, and the others if it passes.
    """
    known: list[_Failed] = [{} for _ in jobs]
    alone = [[k for k, case in enumerate(job.suite.cases) if isinstance(case, Stdin | Command)] for job in jobs]
    for start, end in ((0, 1), (1, None)):
        due = [(place, k) for place, numbers in enumerate(alone) for k in numbers[start:end]
               if rules.every or not any(known[place].values())]  # fmt: skip
        rans = sandbox.run([_program(jobs[place], k) for place, k in due]) if due else []
        for (place, k), ran in zip(due, rans, strict=True):
            known[place][k] = _judged(jobs[place].suite.cases[k], ran, rules)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        called = list(pool.map(partial(_called, sandbox=sandbox, rules=rules), jobs, known))
    return [_verdict(job, found) for job, found in zip(jobs, called, strict=True)]


def _program(job: Job, number: int) -> Program:
    case = job.suite.cases[number]
    if isinstance(case, Command):
        return Program("", command=case.command, files={**case.files, case.solution: job.program})
    assert isinstance(case, Stdin)
    return Program(job.program, stdin=case.stdin)


def _judged(case: Any, ran: Ran | Unscored, rules: Rules) -> str | Unscored:
    if isinstance(ran, Unscored):
        return ran
    if ran.ended or ran.exit_code != 0:
        return f"the limit of {ran.ended} was hit" if ran.ended else f"exit code {ran.exit_code}"
    right = isinstance(case, Command) or same_output(ran.stdout, case.expected, rules.tolerance, rules.whitespace)
    return "" if right else "another output"


def _called(job: Job, known: _Failed, sandbox: Any, rules: Rules) -> _Failed:
    """Add the cases that call the program's functions, all in one process; test code of its own gets a new pair."""
    calls = [(k, case) for k, case in enumerate(job.suite.cases) if isinstance(case, Call)]
    if calls and (rules.every or not any(known.values())):
        child = sandbox.start(job.program + CALL)
        try:
            for k, case in calls:
                known[k] = _why(case, child.call("rewardsmith_call", [case.name, *case.args], case.kwargs), rules)
                if known[k] and not rules.every:
                    break
        finally:
            child.close()
    for k, script in enumerate(job.suite.cases):
        if isinstance(script, Script) and (rules.every or not any(known.values())):
            known[k] = _relayed(job.program, script, sandbox)
    return known


def _why(case: Call, answer: Answered, rules: Rules) -> str | Unscored:
    """Return why an answer is not what the test expects, or ""; what is no plain value is not."""
    if isinstance(answer, Unscored):
        return answer
    if answer.raised or answer.unscored:
        return f"{case.name} gives {answer.raised or answer.unscored}"[:300]
    try:
        return "" if case.holds(answer.value, rules.tolerance) else f"{case.name} gives another value"
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        return f"{case.name} gives a value that cannot be compared ({type(error).__name__})"


def _relayed(program: str, script: Script, sandbox: Any) -> str | Unscored:
    """Run a test's own code in one process and the program in another; only plain data pass between them."""
    solution, arrived = sandbox.start(program + CALL), []

    def relay(name: str, args: list[Any], kwargs: dict[str, Any]) -> Answered:
        arrived.append(name)
        answered: Answered = solution.call("rewardsmith_relayed", [name, *args], kwargs)
        return answered

    tests = sandbox.start(TESTS, relay=relay)
    try:
        said = tests.call("run", [script.source, script.candidate], {})
    finally:
        tests.close()
        solution.close()
    if said.raised.startswith("SandboxEnded"):  # a program that is slow, or makes the tests slow, gains nothing
        return f"the tests ended early: {said.raised}"
    if said.unscored or said.raised:
        return Unscored(f"the tests give no verdict: {said.unscored or said.raised}")
    failed, stuck, n_calls = said.value
    if not stuck and len(arrived) < max(n_calls, 1):
        stuck = "an argument in the tests is no plain data" if n_calls else "the tests call nothing of the program"
    return Unscored(stuck) if stuck else str(failed)


def _verdict(job: Job, found: _Failed) -> Verdict | Unscored:
    failed = {number: why for number, why in found.items() if why}
    for why in failed.values():
        if isinstance(why, Unscored):
            return why
    first = min(failed, default=-1)
    told = f"test {first + 1} of {len(job.suite.cases)}: {failed[first]}" if failed else ""
    return Verdict(tuple(found.get(number) == "" for number in range(len(job.suite.cases))), told)
