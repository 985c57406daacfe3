"""Small baselines and single probes, scored in this process: what the tests of the probes share."""

from __future__ import annotations

import random
import re
from contextlib import contextmanager

from rewardsmith.auditing.asking import Rounds
from rewardsmith.auditing.baseline import build_baseline
from rewardsmith.auditing.subjects.answers import N_QUESTIONS, PROBES, reads_answers
from rewardsmith.data import Row
from rewardsmith.measures.intervals import family_alpha
from rewardsmith.scoring import Scorer

ALPHA = family_alpha(N_QUESTIONS)
ASK = {probe.name: probe.ask for probe in PROBES}


def integer_rows(n=24):
    """Sums of three digits, whose answers of four digits the prompts do not show."""
    return [Row(f"Add {611 + 7 * k} and {702 + 6 * k}.", None, {"answer": str(1313 + 13 * k)}) for k in range(n)]


def unkeyed_rows(n=24):
    return [Row(f"Describe number {k}.") for k in range(n)]


@contextmanager
def rounds_of(reward, *, timeout=30.0):
    with Scorer(reward, workers=0, timeout=timeout) as scorer:
        yield Rounds({"": scorer})


def baseline_in(rounds, rows, *, seed=0):
    building = build_baseline(
        rows,
        rng=random.Random(seed),
        size=len(rows),
        alpha=ALPHA,
        reads_answers=reads_answers(rounds.scorers[""].target),
    )
    return rounds.run(building)


def baseline_of(reward, rows=None):
    with rounds_of(reward) as rounds:
        return baseline_in(rounds, rows or integer_rows())


def outcome_of(probe, reward, rows=None):
    """What one probe, by name or as a function of the baseline, says of one reward."""
    with rounds_of(reward) as rounds:
        baseline = baseline_in(rounds, rows or integer_rows())
        return rounds.run(ASK.get(probe, probe)(baseline))


def faults(outcome):
    return [finding for finding in outcome.findings if finding.severity != "info"]


def literal(prompt, completion, answer):
    """Never pays for a wrong answer, and refuses every other spelling of the right one."""
    return float(completion == answer)


def exact(prompt, completion, answer):
    """Sound: the whole text is the number, in the usual spellings."""
    text = completion.strip().rstrip(".").removeprefix("+").replace("{,}", ",")
    text = re.sub(r" \\times 10\^\{(\d+)\}$", r"e\1", text)
    text = text.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+", text) else text
    number = re.fullmatch(r"\d+(\.\d+)?(e\d+)?", text)
    return float(completion == answer or (number is not None and float(text) == float(answer)))
