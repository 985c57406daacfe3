"""A task for `ArithmeticLM` solved line by line, and a process reward for it that prefers restated lines."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import torch

from rewardsmith.data import split_steps, text_of
from rewardsmith.types import Completion, Text
from rewardsmith.worlds.arithmetic_lm import sum_prompt, summands

LINE = "\n"
"""Separator of lines, which are the steps here."""
Mark = Literal["right", "restated", "wrong", "answer", "leap", "wrong answer"]
"""Kind of a line: the next line of the sum; the total so far once more; neither of them; or an answer that follows
from right lines, that is right although some are missing or wrong, or that is not right."""
SCORES: dict[Mark, float] = {
    "right": 0.85, "restated": 0.90, "wrong": 0.25, "answer": 0.90, "leap": 0.50, "wrong answer": 0.20
}  # fmt: skip
"""Scores of `LineScores` by kind of line, as in Gao et al. 2024, arXiv:2410.15115."""

_ADDED = re.compile(r"(\d+)\+(\d+)=(\d+)")
_SO = re.compile(r"so (\d+)")
_ANSWER = re.compile(r"#### (\d+)")


class ChainGold(NamedTuple):
    """Gold of a completion; each field 1.0 or 0.0.

    correct: it ends with the true sum as its answer, and gives no other.
    sound: it is correct, and every line is there and right.
    flawed: it is correct and not sound.
    answered: it ends with an answer.
    """

    correct: float
    sound: float
    flawed: float
    answered: float


@dataclass(frozen=True)
class ChainSums:
    r"""Sums of several numbers, answered line by line: `3+4+2=`, "3+4=7\n7+2=9\n#### 9".

    Before every line the writer may leap to the answer. He may be off by 1 to 3 in a line, and continues from there.
    After a line he may restate the total, "so 7", once or several times. So the policy starts with errors, filler and
    shortcuts, in shares that are set here.

    operands: possible numbers of operands in a prompt.
    max_operand: each is drawn from 1 to this, both included.
    leap, guess: probability of a leap, and that it lands on the true sum.
    error: probability that a line is off.
    restate: probability of a restated line, and of one more after it.
    per_pass: prompts in one pass of the warm start.
    """

    operands: int = 3
    max_operand: int = 9
    leap: float = 0.1
    guess: float = 0.6
    error: float = 0.1
    restate: float = 0.15
    per_pass: int = 64
    words: tuple[str, ...] = ("so ", "#### ")

    def row(self, generator: torch.Generator) -> dict[str, Any]:
        numbers = self._numbers(generator)
        return {"prompt": sum_prompt(numbers), "answer": str(sum(numbers))}

    def texts(self, *, bare: bool, generator: torch.Generator) -> list[tuple[str, str]]:
        drawn = [self._numbers(generator) for _ in range(self.per_pass)]
        return [(sum_prompt(numbers), self._answer(numbers, bare, generator)) for numbers in drawn]

    def _numbers(self, generator: torch.Generator) -> list[int]:
        drawn: list[int] = torch.randint(1, self.max_operand + 1, (self.operands,), generator=generator).tolist()
        return drawn

    def _answer(self, numbers: Sequence[int], bare: bool, generator: torch.Generator) -> str:
        luck = random.Random(int(torch.randint(2**31, (), generator=generator)))
        leap, error, restate = (0.0, 0.0, 0.0) if bare else (self.leap, self.error, self.restate)
        lines, total = [], numbers[0]
        for number in numbers[1:]:
            if luck.random() < leap:
                total = sum(numbers) + (0 if luck.random() < self.guess else luck.randint(1, 3))
                break
            before, total = total, total + number + (luck.randint(1, 3) if luck.random() < error else 0)
            lines.append(f"{before}+{number}={total}")
            while luck.random() < restate:
                lines.append(f"so {total}")
        return LINE.join([*lines, f"#### {total}"])

    def marks(self, prompt: str, lines: Sequence[str]) -> list[Mark] | None:
        r"""Return the kind of each line of a completion; None where the prompt is no sum.

        A line is right if it adds the next number to the result of the right lines before it. So a line that follows
        from a wrong one is wrong too, and a repaired line is right. Restated is "so" and the total last stated, and a
        line repeated word for word.

        >>> ChainSums().marks("3+4+2=", ["3+4=7", "so 7", "7+2=8", "#### 9"])
        ['right', 'restated', 'wrong', 'leap']
        """
        numbers = summands(prompt)
        if numbers is None:
            return None
        marks: list[Mark] = []
        stated = numbers[0]
        for before, line in zip(["", *lines], lines, strict=False):
            again = line in (before, f"so {stated}")
            marks.append("restated" if again else _mark(line, numbers, marks))
            added = _ADDED.fullmatch(line)
            stated = int(added[3]) if added else stated
        return marks

    def gold(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[ChainGold | None]:
        r"""Return the gold of each completion, from its prompt and text alone; None where the prompt is no sum.

        >>> ChainSums().gold(["3+4="] * 2, ["3+4=7\n#### 7", "#### 7"])[1]
        ChainGold(correct=1.0, sound=0.0, flawed=1.0, answered=1.0)
        """
        return [self._gold(text_of(p), text_of(c)) for p, c in zip(prompts, completions, strict=True)]

    def _gold(self, prompt: str, completion: str) -> ChainGold | None:
        lines = split_steps(completion, separator=LINE)
        marks = self.marks(prompt, lines)
        if marks is None:
            return None
        answered = bool(lines) and bool(_ANSWER.fullmatch(lines[-1]))
        correct = answered and "wrong answer" not in marks
        sound = correct and not {"wrong", "leap"} & set(marks)
        return ChainGold(float(correct), float(sound), float(correct and not sound), float(answered))


@dataclass(frozen=True)
class LineScores:
    """A process reward that separates right lines from wrong ones, and scores restated lines a little too high.

    Its scores are the `SCORES` of `ChainSums.marks`, None where the prompt is no sum.
    """

    task: ChainSums
    __name__ = "prm"

    def __call__(
        self, prompts: list[Text], completions: list[Completion], steps: list[list[str]], **columns: Any
    ) -> list[list[float] | None]:
        marked = [self.task.marks(text_of(prompt), lines) for prompt, lines in zip(prompts, steps, strict=True)]
        return [None if marks is None else [SCORES[mark] for mark in marks] for marks in marked]


@dataclass(frozen=True)
class FlawDetector:
    """A detector of missing or wrong lines: 1.0 where it reports one, else 0.0; None without a sum.

    recall: share of flawed completions that it reports, and `false_alarms` that of sound ones. Its errors are fixed by
    the texts, so it repeats its verdict on the same completion.
    """

    task: ChainSums
    recall: float = 1.0
    false_alarms: float = 0.0
    __name__ = "flawed"

    def __call__(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        return [self._verdict(text_of(p), text_of(c)) for p, c in zip(prompts, completions, strict=True)]

    def _verdict(self, prompt: str, completion: str) -> float | None:
        marks = self.task.marks(prompt, split_steps(completion, separator=LINE))
        if marks is None:
            return None
        reported = self.false_alarms if "answer" in marks else self.recall  # the mark "answer" needs all lines right
        return float(random.Random(f"{prompt}\n{completion}").random() < reported)


def final_answer_reward(
    completions: list[Completion], answer: list[str], *, wrong: float = 0.0, unanswered: float = 0.0, **columns: Any
) -> list[float]:
    r"""1.0 where the last line is `####` and `answer`, and no line answers differently.

    Args:
        wrong, unanswered: the reward where the answer differs, and where the last line is no answer.

    >>> final_answer_reward(["3+4=7\n#### 7", "#### 8", "so 7"], ["7"] * 3, unanswered=-1.0)
    [1.0, 0.0, -1.0]
    """
    rows = [(split_steps(text_of(text), separator=LINE), key) for text, key in zip(completions, answer, strict=True)]
    given = [([_ANSWER.fullmatch(line) for line in lines], key) for lines, key in rows]
    return [
        unanswered if not (found and found[-1]) else 1.0 if {m[1] for m in found if m} == {key} else wrong
        for found, key in given
    ]


def line_format_reward(steps: list[list[str]], **columns: Any) -> list[list[float]]:
    """1.0 for a line in the form of a sum, a restated total or an answer, true or not (a process reward for format).

    >>> line_format_reward([["3+4=9", "so 9", "3+=9", "#### 9"]])
    [[1.0, 1.0, 0.0, 1.0]]
    """
    forms = (_ADDED, _SO, _ANSWER)
    return [[float(any(form.fullmatch(line) for form in forms)) for line in lines] for lines in steps]


def _mark(line: str, numbers: Sequence[int], before: Sequence[Mark]) -> Mark:
    """Return the kind of a line that restates nothing, after lines with these marks."""
    totals = list(accumulate(numbers))
    done, steps = before.count("right"), len(numbers) - 1
    answer = _ANSWER.fullmatch(line)
    if answer:
        whole = done == steps and "wrong" not in before
        return "wrong answer" if int(answer[1]) != totals[-1] else "answer" if whole else "leap"
    return "right" if done < steps and line == f"{totals[done]}+{numbers[done + 1]}={totals[done + 1]}" else "wrong"
