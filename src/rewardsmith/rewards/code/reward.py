"""code_reward: 1.0 where a completion's program passes its tests, which run in a sandbox."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal, get_args

from rewardsmith.data import completion_text, text_of
from rewardsmith.rewards.code.comparing import Whitespace
from rewardsmith.rewards.code.formats import Block, Stdin, Suite, program_of, read_tests
from rewardsmith.rewards.code.fresh import Generator, with_fresh_cases
from rewardsmith.rewards.code.running import Job, Rules, Verdict, verdicts
from rewardsmith.rewards.verifiers.reasons import with_reasons
from rewardsmith.sandbox import Limits, Sandbox
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion, Text

LIMITS = Limits(output_bytes=4 * 2**20)
"""Those of `Sandbox`, with room for the long outputs that some tests expect."""


@with_reasons
def code_reward(
    completions: list[Completion],
    tests: list[Any] | None = None,
    *,
    prompts: list[Text] | None = None,
    block: Block = "last",
    partial_credit: bool = False,
    public_weight: float = 1.0,
    tolerance: float = 1e-6,
    whitespace: Whitespace = "lines",
    generator: Generator | None = None,
    solution_column: str = "reference",
    seed: int = 0,
    limits: Limits = LIMITS,
    mode: Literal["namespaces", "landlock"] = "namespaces",
    sandbox: Any = None,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    **columns: Any,
) -> list[float | Unscored]:
    """1.0 where the completion's program passes all tests of its row, else 0.0; the program runs in a sandbox.

    A row's tests are read from its columns by their shape (`formats.read_tests`): APPS' and LiveCodeBench's inputs and
    outputs, MBPP's assertions, HumanEval's `check` with `entry_point`, test functions, a command. A test that ends by a
    limit of time, memory or output has failed.

    Args:
        tests: the column of tests, if it is called so; else one of `formats.HIDDEN`.
        prompts: needed where the completion continues the prompt, as in HumanEval.
        block: which fenced block counts: the "last" or "first" one for Python, the "only" one, "all" of them joined, or
            "whole" for a completion that is code itself.
        partial_credit: give the share of tests passed. A test that expects no output has no weight.
        public_weight: weight in that share of a test in `public_tests`, where others weigh 1.
        tolerance: |x − y| ≤ tolerance · max(1, |y|) where a test expects a number y with a decimal point.
        whitespace: "lines" ignores space at the ends of printed lines, "tokens" amounts of space, "exact" nothing.
        generator: makes fresh inputs: row, `random.Random` ↦ argument tuples or texts for standard input.
        solution_column: the column of your solution, which gives the outputs for fresh inputs.
        seed: of fresh inputs, which also depend on prompt and completion.
        limits: of each process.
        mode: "namespaces" refuses to run where the kernel gives none; "landlock" is weaker and must be asked for.
        sandbox: runs the programs instead, such as `SandboxFusion`; limits and mode are then its own.
        log_extra: TRL's; it gets a column `tests` with the reason why each row failed.

    Returns:
        One value per row; None where the tests cannot be read or run.

    Raises:
        SandboxUnavailable: the sandbox has no namespaces here.
        ValueError: an option has a value that it does not take.
    """
    for option, given, known in (("block", block, get_args(Block)), ("whitespace", whitespace, get_args(Whitespace))):
        if given not in known:
            raise ValueError(f"code_reward: {option} is {given!r}. Pass one of {', '.join(known)}.")
    for option, number in (("tolerance", tolerance), ("public_weight", public_weight)):
        if not (isinstance(number, int | float) and 0 <= number < math.inf):
            raise ValueError(f"code_reward: {option} is {number!r}. Pass a finite number ≥ 0.")
    named = {**columns, "tests": tests, "prompt": None if prompts is None else list(map(text_of, prompts))}
    named = {name: values for name, values in named.items() if name != "completion_ids" and isinstance(values, list)}
    suites: dict[str, Suite | Unscored] = {}
    jobs: dict[tuple[str, str], Job] = {}  # the rows of a group are the same, and often their programs
    rows, keys = [], []
    for k, completion in enumerate(completions):
        rows.append({name: values[k] for name, values in named.items()})
        content, prompt = repr(rows[k]), rows[k].get("prompt") or ""
        suite = suites[content] = suites.get(content) or read_tests(rows[k], prompt)
        keys.append((content, ""))
        if isinstance(suite, Suite) and (program := program_of(completion_text(completion), suite, prompt, block)):
            keys[k] = (content, program)
            jobs[keys[k]] = Job(program, suite)
    found: dict[tuple[str, str], tuple[float | Unscored, str]] = {}
    with nullcontext(sandbox) if sandbox is not None or not jobs else Sandbox(limits, mode=mode) as opened:
        if generator is not None:
            added = partial(with_fresh_cases, generator=generator, solution_column=solution_column, seed=seed)
            for content in suites:
                own = [key for key in jobs if key[0] == content]
                row = next(row for row, key in zip(rows, keys, strict=True) if key[0] == content)
                more = added([jobs[key] for key in own], row, sandbox=opened) if own else []
                jobs |= {key: job for key, job in zip(own, more, strict=True) if isinstance(job, Job)}
                found |= {key: (why, why.why) for key, why in zip(own, more, strict=True) if isinstance(why, Unscored)}
        due = {key: job for key, job in jobs.items() if key not in found}
        ran = verdicts(list(due.values()), opened, Rules(partial_credit, tolerance, whitespace))
        found |= {key: _score(due[key], one, partial_credit, public_weight) for key, one in zip(due, ran, strict=True)}
    lacking = {c: (one, one.why) if isinstance(one, Unscored) else (0.0, "no code block") for c, one in suites.items()}
    scored = [found.get(key) or lacking[key[0]] for key in keys]
    if log_extra is not None:
        log_extra("tests", [why for _, why in scored])
    return [score for score, _ in scored]


def _score(
    job: Job, verdict: Verdict | Unscored, partial_credit: bool, public_weight: float
) -> tuple[float | Unscored, str]:
    """Return 1.0 or 0.0, or the weighted share of tests passed, Σ wₖ passₖ / Σ wₖ; and why a test failed."""
    if isinstance(verdict, Unscored):
        return verdict, verdict.why
    if not partial_credit:
        return float(all(verdict.passed)), verdict.why
    cases, n_public = job.suite.cases, job.suite.n_public
    weights = [public_weight] * n_public + [1.0] * (len(cases) - n_public)
    silent = [isinstance(case, Stdin) and not case.expected.strip() for case in cases]
    weights = [0.0 if none else weight for none, weight in zip(silent, weights, strict=True)]
    if not sum(weights) > 0:
        return Unscored("every test of the row is public, and public_weight is 0"), ""
    return sum(w for w, passed in zip(weights, verdict.passed, strict=True) if passed) / sum(weights), verdict.why
