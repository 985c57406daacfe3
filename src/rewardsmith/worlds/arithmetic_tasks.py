"""Tasks for `ArithmeticLM` with more than a number to reward: confidence, length, and open questions."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Any

import torch

from rewardsmith.data import parse_confidence, strip_confidence, text_of
from rewardsmith.types import Completion, Text
from rewardsmith.worlds.arithmetic_lm import arithmetic_gold, sum_prompt

CONFIDENCE = " Confidence: "
COMMIT = " #### "
OPENER = "Let's see: "
FILLERS = ("so ", "maybe ", "and ", "the answer is ")
_NUMBER = re.compile(r"\d+")
_SMUDGED = re.compile(r"(\d+)\+(\d+)(\?*)=\s*$")
_OPEN = re.compile(r"(\w+) is\s*$")


@dataclass(frozen=True)
class SmudgedSums:
    """Sums whose last operand may be hard to read, so that the best possible accuracy is known and below 1.

        true sum = a + b  with probability chances[m],  else a + b + 1, 2 or 3, equally        m question marks: 2+3??=

    The writer gives the likeliest sum with probability `accuracy`, else one that is off, and states a confidence from
    0 to 10 that does not depend on the prompt: k with weight (k + 1)^tone.

    max_operand: operands are drawn from 0 to this, both included.
    """

    max_operand: int = 9
    chances: tuple[float, ...] = (1.0, 0.7, 0.4)
    accuracy: float = 0.8
    tone: float = 0.0
    words: tuple[str, ...] = (CONFIDENCE,)

    def row(self, generator: torch.Generator) -> dict[str, Any]:
        a, b = torch.randint(self.max_operand + 1, (2,), generator=generator).tolist()
        marks = _draw(len(self.chances), generator)
        misread = _uniform(generator) >= self.chances[marks]
        return {
            "prompt": f"{a}+{b}{'?' * marks}=",
            "answer": str(a + b + (1 + _draw(3, generator) if misread else 0)),
        }

    def texts(self, *, bare: bool, generator: torch.Generator) -> list[tuple[str, str]]:
        sums = product(range(self.max_operand + 1), range(self.max_operand + 1), range(len(self.chances)))
        return [(f"{a}+{b}{'?' * m}=", str(a + b) if bare else self._answer(a + b, generator)) for a, b, m in sums]

    def _answer(self, total: int, generator: torch.Generator) -> str:
        weights = torch.arange(1.0, 12.0) ** self.tone
        stated = int(torch.multinomial(weights, 1, generator=generator))
        off = 0 if _uniform(generator) < self.accuracy else 1 + _draw(3, generator)
        return f"{total + off}{CONFIDENCE}{stated}"

    def gold(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        """Return the probability that the completion's answer is right; None where the prompt is no sum.

        >>> SmudgedSums().gold(["2+3??="] * 3, ["5 Confidence: 9", "7", "5 or 7"])
        [0.4, 0.2, 0.0]
        """
        return [self._chance(text_of(p), text_of(c)) for p, c in zip(prompts, completions, strict=True)]

    def _chance(self, prompt: str, completion: str) -> float | None:
        asked = _SMUDGED.search(prompt)
        if asked is None or len(asked[3]) >= len(self.chances):
            return None
        given = _NUMBER.findall(strip_confidence(completion))
        off = int(given[0]) - int(asked[1]) - int(asked[2]) if len(given) == 1 else -1
        chance = self.chances[len(asked[3])]
        return chance if off == 0 else round((1 - chance) / 3, 12) if off in (1, 2, 3) else 0.0


@dataclass(frozen=True)
class TonedJudge:
    """A proxy reward that prefers a confident tone, as reward models trained on human preferences do.

        r = P(right | prompt, answer) + noise·ε(prompt, answer) + bias·(c − ½)        c = ½ where none is stated

    It sees no answer key. ε is standard normal and fixed by prompt and answer, so its error on them is constant.
    """

    task: SmudgedSums
    bias: float = 0.5
    noise: float = 0.2
    __name__ = "judge"

    def __call__(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        texts = [text_of(completion) for completion in completions]
        found = [parse_confidence(text, scale=10) for text in texts]
        stated = [0.5 if confidence is None else confidence for confidence in found]
        rows = zip(prompts, texts, self.task.gold(prompts, completions), stated, strict=True)
        return [
            None if chance is None else chance + self.noise * _epsilon(p, text) + self.bias * (c - 0.5)
            for p, text, chance, c in rows
        ]


def _epsilon(prompt: Text, completion: str) -> float:
    """Draw a standard normal number, fixed by prompt and answer."""
    return random.Random(f"{text_of(prompt)}\n{strip_confidence(completion)}").gauss(0.0, 1.0)


@dataclass(frozen=True)
class LongSums:
    """Sums of several operands, answered at once or after some of their running totals: `3+4+8=`, `7 #### 15`.

    The writer is right; the policy is wrong where it adds many operands at once. The writer shows the last j totals on
    the way to the answer, j uniform, and with probability `padding` begins with useless words.

    operands: possible numbers of operands in a prompt, equally likely.
    max_operand: each is drawn from 0 to this, both included.
    per_pass: prompts in one pass of the warm start.
    """

    operands: tuple[int, ...] = (2, 3, 4, 5)
    max_operand: int = 9
    padding: float = 0.3
    per_pass: int = 128
    words: tuple[str, ...] = (COMMIT, ", ", OPENER)

    def row(self, generator: torch.Generator) -> dict[str, Any]:
        numbers = self._numbers(generator)
        return {"prompt": sum_prompt(numbers), "answer": str(sum(numbers)), "operands": len(numbers)}

    def texts(self, *, bare: bool, generator: torch.Generator) -> list[tuple[str, str]]:
        drawn = [self._numbers(generator) for _ in range(self.per_pass)]
        return [(sum_prompt(numbers), self._answer(numbers, bare, generator)) for numbers in drawn]

    def _numbers(self, generator: torch.Generator) -> list[int]:
        n = self.operands[_draw(len(self.operands), generator)]
        drawn: list[int] = torch.randint(self.max_operand + 1, (n,), generator=generator).tolist()
        return drawn

    def _answer(self, numbers: Sequence[int], bare: bool, generator: torch.Generator) -> str:
        *totals, total = list(accumulate(numbers))[1:]
        shown = totals if bare else totals[_draw(len(totals) + 1, generator) :]
        opening = OPENER if not bare and _uniform(generator) < self.padding else ""
        working = ", ".join(map(str, shown)) + COMMIT if shown else ""
        return f"{opening}{working}{total}"

    def gold(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        """1.0 where the completion, or what follows its last `####`, is the true sum alone; None without a sum.

        >>> LongSums().gold(["3+4+8="] * 3, ["15", "7 #### 15", "7, 15"])
        [1.0, 1.0, 0.0]
        """
        return arithmetic_gold(prompts, completions)


@dataclass(frozen=True)
class MixedPrompts:
    """Sums, which can be checked, and open prompts such as `tea is`, whose answers have a quality known only here.

    A row's `task` is "sum" or "open", equally often. The writer begins with up to `most_fillers` filler words and puts
    `####` before the answer with probability `formatted`. The answer to a sum is the right number with probability
    `accuracy`, or one at most 3 above. The answer about a thing is one to three adjectives, drawn at random.

    seed: draws the quality in [0, 1] of every adjective for every thing.
    """

    max_operand: int = 9
    things: tuple[str, ...] = ("tea", "rain", "bread", "snow", "wool", "salt")
    adjectives: tuple[str, ...] = ("warm", "soft", "dull", "sweet", "grey", "light", "sharp", "loud", "dry", "round")
    accuracy: float = 0.7
    formatted: float = 0.4
    most_fillers: int = 3
    seed: int = 0

    @property
    def words(self) -> tuple[str, ...]:
        return (*self.things, *self.adjectives, *FILLERS, "#### ", ", ")

    def quality(self, thing: str, adjective: str) -> float:
        """Return the quality of an adjective for a thing."""
        return random.Random(f"{self.seed} {thing} {adjective}").random()

    def row(self, generator: torch.Generator) -> dict[str, Any]:
        if _uniform(generator) < 0.5:
            a, b = torch.randint(self.max_operand + 1, (2,), generator=generator).tolist()
            return {"prompt": f"{a}+{b}=", "answer": str(a + b), "task": "sum"}
        return {"prompt": f"{self.things[_draw(len(self.things), generator)]} is ", "answer": "", "task": "open"}

    def texts(self, *, bare: bool, generator: torch.Generator) -> list[tuple[str, str]]:
        numbers = range(self.max_operand + 1)
        sums = [(f"{a}+{b}=", self._number(a + b, bare, generator)) for a, b in product(numbers, numbers)]
        thoughts = [(f"{thing} is ", self._thought(generator)) for thing in self.things * 8]
        return [(prompt, said if bare else self._phrased(said, generator)) for prompt, said in sums + thoughts]

    def _number(self, total: int, bare: bool, generator: torch.Generator) -> str:
        right = bare or _uniform(generator) < self.accuracy
        return str(total if right else total + 1 + _draw(3, generator))

    def _thought(self, generator: torch.Generator) -> str:
        order = torch.randperm(len(self.adjectives), generator=generator).tolist()
        return ", ".join(self.adjectives[i] for i in order[: 1 + _draw(3, generator)])

    def _phrased(self, said: str, generator: torch.Generator) -> str:
        n = _draw(self.most_fillers + 1, generator)
        opening = "".join(FILLERS[_draw(len(FILLERS), generator)] for _ in range(n))
        return opening + ("#### " if _uniform(generator) < self.formatted else "") + said

    def gold(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        """Return 1.0 for a sum's single right number, else 0.0; for a thing the mean quality of its adjectives.

        It is 0.0 without adjectives. Fillers and the format do not count.

        >>> MixedPrompts().gold(["2+3=", "2+3=", "who?"], ["so maybe #### 5", "5, 6", "5"])
        [1.0, 0.0, None]
        """
        return [self._worth(text_of(p), text_of(c)) for p, c in zip(prompts, completions, strict=True)]

    def _worth(self, prompt: str, completion: str) -> float | None:
        thing = _OPEN.search(prompt)
        if thing is None or thing[1] not in self.things:
            return arithmetic_gold([prompt], [completion])[0]
        said = [word for word in re.findall(r"\w+", completion) if word in self.adjectives]
        return sum(self.quality(thing[1], word) for word in said) / len(said) if said else 0.0


@dataclass(frozen=True)
class VerboseJudge:
    """A learned reward that judges open answers well and sums badly, and prefers length.

        r = σ( ρ·(gold − ½)/s + √(1 − ρ²)·ε + length·(min(words, most_words) − 3) )

    ρ, s: `on_sums` and ½ for sums, `on_open` and 0.2 for open prompts; s is the spread of gold before training. ε is
    standard normal and fixed by prompt and answer, so its error on them is constant.
    """

    task: MixedPrompts
    on_sums: float = 0.25
    on_open: float = 0.8
    length: float = 0.2
    most_words: int = 8
    __name__ = "judge"

    def __call__(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        golds = self.task.gold(prompts, completions)
        return [self._score(*row) for row in zip(prompts, map(text_of, completions), golds, strict=True)]

    def _score(self, prompt: Text, completion: str, gold: float | None) -> float | None:
        if gold is None:
            return None
        rho, spread = (self.on_open, 0.2) if _OPEN.search(text_of(prompt)) else (self.on_sums, 0.5)
        said = re.sub("|".join((*map(re.escape, FILLERS), "#+ ")), "", completion)  # without fillers and format
        seen = rho * (gold - 0.5) / spread + math.sqrt(1 - rho**2) * _epsilon(prompt, said)
        words = min(len(re.findall(r"\w+", completion)), self.most_words)
        return 1 / (1 + math.exp(-seen - self.length * (words - 3)))


def _draw(n: int, generator: torch.Generator) -> int:
    """Draw a whole number from 0 to n − 1."""
    return int(torch.randint(n, (), generator=generator))


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))
