"""Read labeled steps from the public data sets, in TRL's stepwise schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from rewardsmith.data.preferences import StepRow
from rewardsmith.data.readers.conversations import number, source_of, steps_of
from rewardsmith.data.readers.schema import Broken, Drop, Schema

STEP_TAG = "ки"
"""The text at the end of every step in Math-Shepherd's `input`."""
_FIRST_STEP = re.compile(r"Step 1:")
_NUMBERED = re.compile(r"^\s*Step \d+:\s*")


def math_shepherd(record: Mapping[str, Any], *, numbered: bool = True) -> list[StepRow]:
    """Read peiyi9979/Math-Shepherd: each step ends with "ки" in `input`, and with "+" or "-" there in `label`.

    The labels are estimates: "+" if at least one of several continuations from there reached the answer.

    Args:
        numbered: keep the "Step 1:" at the start of each step.
    """
    text, label = str(record["input"]), str(record["label"])
    *pieces, rest = text.split(STEP_TAG)
    if not pieces or rest.strip():
        raise Drop("a step without an end" if pieces else "no steps")
    labels, place = [], 0
    for piece in pieces:
        mark = label[place + len(piece) : place + len(piece) + 1]
        if not label.startswith(piece, place) or mark not in ("+", "-"):
            raise Drop("input and label do not match")
        labels.append(1.0 if mark == "+" else 0.0)
        place += len(piece) + 1
    first = _FIRST_STEP.search(pieces[0])
    if first is None:
        raise Drop('no "Step 1:" after the question')
    steps = [pieces[0][first.start() :], *pieces[1:]]
    texts = [step.strip() if numbered else _NUMBERED.sub("", step).strip() for step in steps]
    source = None if record.get("task") is None else str(record["task"])
    return [StepRow(pieces[0][: first.start()].strip(), texts, labels, source=source)]


def prm800k(
    record: Mapping[str, Any],
    *,
    neutral: Literal["right", "wrong", "half", "drop"] = "right",
    alternatives: bool = True,
) -> list[StepRow]:
    """Read OpenAI's PRM800K (phase1_train.jsonl …): `question.problem` and `label.steps` with rated `completions`.

    A step's `chosen_completion` is an index, or null if the labeler wrote `human_completion` or the solution ended. The
    chosen steps make one row; each rated alternative makes another row, which ends with it.

    Lightman et al. 2023, arXiv:2305.20050, count a neutral rating (0) as right. Screening and quality-control questions
    and steps without a rating are dropped.

    Args:
        neutral: the label for a rating of 0: 1, 0, ½ (a soft label), or None (unlabeled).
        alternatives: also make a row of each alternative that was not chosen.
    """
    if record.get("is_quality_control_question") or record.get("is_initial_screening_question"):
        raise Drop("a quality-control or screening question")
    values = {1: 1.0, -1: 0.0, 0: {"right": 1.0, "wrong": 0.0, "half": 0.5, "drop": None}[neutral]}
    problem = record["question"]["problem"]
    texts: list[str] = []
    labels: list[float | None] = []
    rows: list[StepRow] = []
    for step in record["label"]["steps"]:
        found = step.get("completions") or []
        taken: int | None = step.get("chosen_completion")
        if taken is None and not step.get("human_completion") and len(found) == 1:
            taken = 0  # also a single completion at which the labeler stopped
        others = [c for i, c in enumerate(found) if i != taken and c.get("rating") in values]
        if alternatives:
            rows += [StepRow(problem, [*texts, c["text"]], [*labels, values[c["rating"]]]) for c in others]
        if taken is not None:
            texts, labels = [*texts, found[taken]["text"]], [*labels, values.get(found[taken].get("rating"))]
        elif step.get("human_completion"):
            human = step["human_completion"]  # a text, or an object with the text
            texts, labels = [*texts, human["text"] if isinstance(human, Mapping) else str(human)], [*labels, 1.0]
        else:
            break
    if texts and not any(list(row.completions[: len(texts)]) == texts for row in rows):
        rows.insert(0, StepRow(problem, texts, labels))
    if not rows:
        raise Drop("no rated steps")
    return rows


def process_bench(record: Mapping[str, Any]) -> list[StepRow]:
    """Read Qwen/ProcessBench: `problem`, `steps`, `label`, the first wrong step from 0, or −1 for none. Steps after it
    are unlabeled."""
    steps, label = steps_of(record, "steps"), float(record["label"])
    if not (label.is_integer() and -1 <= label < len(steps)):
        raise Broken("a label outside the steps")
    first = int(label)
    right = len(steps) if first < 0 else first
    labels = [1.0] * right + [0.0] * (first >= 0) + [None] * (len(steps) - right - 1)
    return [StepRow(record["problem"], steps, labels, source=source_of(record), split=record.get("split"))]


def stepwise(record: Mapping[str, Any]) -> list[StepRow]:
    """Read TRL's stepwise format (trl-lib/prm800k, trl-lib/math_shepherd, HuggingFaceH4/prm800k-trl-dedup): `prompt`,
    `completions`, a list of steps, and `labels`, a list of true and false, of probabilities, or of None."""
    texts, labels = steps_of(record, "completions"), steps_of(record, "labels")
    if len(texts) != len(labels):
        raise Drop("the numbers of labels and steps differ")
    known = [None if label is None else number(label) for label in labels]
    return [StepRow(record["prompt"], texts, known, source=source_of(record), split=record.get("split"))]


def check(row: StepRow) -> None:
    """Drop a row without labels."""
    if not row.completions or all(label is None for label in row.labels):
        raise Drop("no labeled step")
    if any(label is not None and not 0 <= label <= 1 for label in row.labels):
        raise Drop("a label outside 0 to 1")
    if not all(isinstance(step, str) and step.strip() for step in row.completions):
        raise Broken("an empty step")


STEP_SCHEMAS: tuple[Schema[StepRow], ...] = (
    Schema("stepwise", frozenset({"prompt", "completions", "labels"}), stepwise),
    Schema("math_shepherd", frozenset({"input", "label"}), math_shepherd),
    Schema("process_bench", frozenset({"problem", "steps", "label"}), process_bench),
    Schema("prm800k", frozenset({"question", "label"}), prm800k),
)
