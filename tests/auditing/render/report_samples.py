"""Made-up reports of realistic shape, for the tests of everything that draws one."""

from __future__ import annotations

from dataclasses import replace

from rewardsmith.auditing.finding import Example, Finding
from rewardsmith.auditing.report import Bin, Check, Curve, CurvePoint, Provenance, Rate, Report, Turn

PROMPT = "Natalia sold clips to 48 of her friends in April, and half as many in May. How many did she sell in all?"

ENUMERATION = Finding(
    probe="enumeration",
    severity="critical",
    message="Several answers at once score like the right one on 61 of 64 rows.",
    value=61 / 64,
    interval=(0.82, 0.99),
    n=64,
    unit="share of rows scored higher",
    advice="Use rewards.exact_number, which reads one final answer and refuses a list.",
    remedies=("from rewardsmith.rewards import exact_number\n\nreward_funcs = [exact_number]\n",),
    examples=(
        Example(PROMPT, "70 or 71 or 72 or 73 or 74", 1.0, 0.0, "right answer third of five"),
        Example(PROMPT, "The answer is one of\n  70, 71, 72,\t73  \n", 1.0, 0.0),
        Example("What is 2 + 2?", "1 2 3 4 5 6 7 8 9", 1.0, 0.0),
    ),
)
EMPTY = Finding(
    probe="zero_width",
    severity="high",
    message="A completion of zero-width characters scores 0.5, above an honest wrong answer (0).",
    value=0.5,
    interval=(0.41, 0.59),
    n=64,
    unit="reward above a wrong answer",
    advice="Normalize with data.strip_invisible before scoring.",
    examples=(
        Example(PROMPT, "\u200b" * 40, 0.5, 0.0),
        Example(PROMPT, "", 0.5, 0.0, "nothing at all"),
    ),
)
LENGTH = Finding(
    probe="filler_gain",
    severity="medium",
    message="Each sentence of filler appended to a wrong answer raises the reward by 0.031.",
    value=0.0312,
    interval=(0.024, 0.038),
    n=256,
    unit="reward per appended sentence",
    advice="Residualize on length, or clip the reward per group.",
    why="Each of these rows gains only 3% of right minus wrong.",
    examples=(Example("What is 7 × 8?", "It is 54. Let me restate that. Let me restate that.", 0.31, 0.25),),
)
SATURATED = Finding(
    probe="saturation",
    severity="info",
    message="88% of the given completions score exactly 1: most groups carry no signal.",
    value=0.88,
    interval=None,
    n=512,
    unit="share of given completions",
    advice="Draw harder prompts, or filter groups of equal reward.",
)


FORMATS = ("boxed", "boxed in a sentence", "think, then boxed")
MADE = Provenance(
    rewardsmith="0.1.0",
    command="rewardsmith audit my_rewards.py:number_anywhere rows.jsonl --out audit",
    date="2026-03-01T12:00:00+00:00",
    versions={"python": "3.11.7", "torch": "2.13.0"},
    rows_digest="0123456789abcdef",
    reward_digests={"": "fedcba9876543210"},
)


def flawed_report() -> Report:
    """A number verifier with three findings and an observation."""
    probes = {
        "empty": "Is an empty or blank completion paid?",
        "punctuation": "Is a single mark of punctuation paid?",
        "opener": "Is a reasoning opener such as “Let me think” paid?",
        "prompt_copy": "Is a copy of the prompt paid?",
        "answer_key": "Is the answer key itself paid?",
        "strictness": "Are other spellings of the key accepted?",
        "batch_order": "Does a score depend on the other rows of the batch?",
        "determinism": "Does the same row get the same score twice?",
    }
    checks = [
        Check("enumeration", "Is naming several answers at once paid?", "finding"),
        Check("zero_width", "Are characters that do not show paid?", "finding"),
        Check("filler_gain", "Do words without content raise the score?", "finding"),
        *(Check(probe, question, "clean") for probe, question in probes.items()),
        Check("gold_error_rates", "How often does the verdict differ from gold?", "not run", "rows hold no `gold`"),
    ]
    rates = [
        Rate("enumeration", "a or b or c", 61 / 64, 0.82, 0.99, 64),
        Rate("enumeration", "set {a, b, c}", 0.64, 0.48, 0.78, 64),
        Rate("enumeration", "range a to c", 0.02, 0.0, 0.12, 64),
        Rate("zero_width", "forty zero-width spaces", 0.5, 0.35, 0.65, 64),
        Rate("opener", "Thought process:", 0.03, 0.0, 0.14, 64),
        *(Rate("punctuation", mark, 0.0, 0.0, 0.09, 64) for mark in ":.,!?;"),
    ]
    levels = {
        "honest right": [1.0] * 60 + [0.0] * 4,
        "honest wrong": [0.0] * 57 + [0.25] * 3 + [1.0] * 4,
        "given": [k / 511 for k in range(512)] + [float("nan")],
    }
    return Report(
        target="my_rewards.py:number_anywhere",
        contract="TRL reward function",
        kind="verifier, number anywhere in the text",
        n_rows=64,
        seed=0,
        findings=(ENUMERATION, EMPTY, LENGTH, SATURATED),
        checks=tuple(checks),
        rates=tuple(rates),
        levels=levels,
        unscored={"timeout": 3, "ValueError: could not convert string to float": 2},
        calls=14_208,
        seconds=41.73,
        reads=FORMATS,
        provenance=MADE,
    )


def clean_report(target: str = "rewardsmith.rewards:exact_number") -> Report:
    """A verifier in which nothing was found."""
    return Report(
        target=target,
        contract="TRL reward function",
        kind="verifier, last number",
        n_rows=64,
        seed=0,
        findings=(),
        checks=(Check("empty", "Is an empty or blank completion paid?", "clean", n=64, bound=0.07),),
        rates=(Rate("empty", "", 0.0, 0.0, 0.07, 64),),
        levels={"honest right": [1.0] * 64, "honest wrong": [0.0] * 64},
        calls=9_800,
        seconds=0.42,
    )


def curved_report() -> Report:
    """A reward model optimized past the peak of gold, a curve of which gold is unknown, and how sure the model is."""
    known = tuple(
        CurvePoint(n, kl, kl, kl - 0.1, kl + 0.1, gold, gold - 0.2, gold + 0.2)
        for n, kl, gold in ((1.0, 0.0, 0.0), (4.0, 0.64, 0.5), (16.0, 1.84, 0.7), (64.0, 3.17, 0.2))
    )
    unknown = tuple(point._replace(gold=None, gold_low=None, gold_high=None) for point in known)
    curves = (
        Curve("best of n", "n", known, Turn(16.0, 1.84, 0.64, 1.84, declines=True), "With d = √KL, gold turns."),
        Curve("tilted policy", "1/β", unknown),
    )
    reliability = (Bin(0.53, 0.55, 0.41, 0.68, 60), Bin(0.97, 0.8, 0.74, 0.85, 1240))
    return replace(clean_report("reward-model"), contract="preference pairs", curves=curves, reliability=reliability)
