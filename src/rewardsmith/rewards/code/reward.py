"""code_reward: 1.0 where a completion's program passes its tests, which run in a sandbox."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal

from rewardsmith.data import completion_text, text_of
from rewardsmith.rewards.code.comparing import Whitespace
from rewardsmith.rewards.code.formats import Block, Stdin, program_of, read_tests
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
    """
    n = len(completions)
    named = {**columns, "tests": tests, "prompt": None if prompts is None else list(map(text_of, prompts))}
    rows = [{name: values[k] for name, values in named.items() if isinstance(values, list) and len(values) == n}
            for k in range(n)]  # fmt: skip
    scores: list[float | Unscored] = [0.0] * n
    why, jobs = [""] * n, dict[int, Job]()
    for k, (row, completion) in enumerate(zip(rows, completions, strict=True)):
        prompt = row.get("prompt") or ""
        suite = read_tests(row, prompt)
        if isinstance(suite, Unscored):
            scores[k] = suite
            continue
        program = program_of(completion_text(completion), suite, prompt, block)
        if program is None or not program.strip():
            why[k] = "no code block"
        else:
            jobs[k] = Job(program, suite)
    with nullcontext(sandbox) if sandbox is not None else Sandbox(limits, mode=mode) as opened:
        if generator is not None:
            made = {"generator": generator, "solution_column": solution_column, "seed": seed, "sandbox": opened}
            for k in list(jobs):
                more = with_fresh_cases(jobs[k], rows[k], **made)
                if isinstance(more, Unscored):
                    scores[k] = more
                    del jobs[k]
                else:
                    jobs[k] = more
        ran = verdicts(list(jobs.values()), opened, Rules(partial_credit, tolerance, whitespace))
    for (k, job), verdict in zip(jobs.items(), ran, strict=True):
        if isinstance(verdict, Unscored):
            scores[k] = verdict
            continue
        why[k] = verdict.why
        scores[k] = _share(job, verdict, public_weight) if partial_credit else float(all(verdict.passed))
    if log_extra is not None:
        log_extra("tests", why)
    return scores


def _share(job: Job, verdict: Verdict, public_weight: float) -> float | Unscored:
    """Return the weighted share of tests passed: Σ wₖ passₖ / Σ wₖ."""
    cases, n_public = job.suite.cases, job.suite.n_public
    weights = [public_weight] * n_public + [1.0] * (len(cases) - n_public)
    silent = [isinstance(case, Stdin) and not case.expected.strip() for case in cases]
    weights = [0.0 if none else weight for none, weight in zip(silent, weights, strict=True)]
    if not sum(weights) > 0:
        return Unscored("every test of the row is public, and public_weight is 0")
    return sum(w for w, passed in zip(weights, verdict.passed, strict=True) if passed) / sum(weights)
