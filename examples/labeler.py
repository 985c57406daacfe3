"""An annotator with a known taste, and a policy's answers compared by it: preferences in a file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch

from examples.support import seeded
from rewardsmith.rewards.models.pairwise import sigmoid
from rewardsmith.worlds import ArithmeticLM, arithmetic_gold

LONGER = 0.05  # what every token is worth to the annotator, a right answer being worth 2
SHARPNESS = 3.0


def answers(world: ArithmeticLM, prompts: Sequence[str], *, seed: int) -> list[str]:
    """The policy's answers before any reward."""
    asked = world.tokenizer(list(prompts), padding=True, return_tensors="pt")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ids = world.model.generate(**asked, do_sample=True, max_new_tokens=24)
    return world.tokenizer.batch_decode(ids[:, asked["input_ids"].shape[1] :], skip_special_tokens=True)


def write_preferences(world: ArithmeticLM, path: Path, *, n: int, seed: int) -> tuple[list[str], list[str]]:
    """Two answers to each of n questions, compared by Bradley-Terry; returns the questions and the first answers."""
    generator = seeded(seed)
    prompts = [world.task.row(generator)["prompt"] for _ in range(n)]
    first, second = (answers(world, prompts, seed=2 * seed + k) for k in (0, 1))
    with path.open("w", encoding="utf-8") as lines:
        for prompt, a, b in zip(prompts, first, second, strict=True):
            gap = liked(world, prompt, a) - liked(world, prompt, b)
            prefers = float(torch.rand(1, generator=generator)) < 1 / (1 + math.exp(-SHARPNESS * gap))
            chosen, rejected = (a, b) if prefers else (b, a)
            lines.write(json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected}) + "\n")
    return prompts, first


def liked(world: ArithmeticLM, prompt: str, answer: str) -> float:
    """What an answer is worth to the annotator: to be right, and every token a little."""
    [right] = arithmetic_gold([prompt], [answer])
    return 2.0 * (right or 0.0) + LONGER * len(world.tokenizer.tokenize(answer))


def right_answers(prompts: Any, answers: Any) -> list[float]:
    """1.0 for a right answer, else 0.0."""
    return [gold or 0.0 for gold in arithmetic_gold([*prompts], [*answers])]


def biased_judge(prompts: Any, firsts: Any, seconds: Any) -> list[float]:
    """P(the first is better): with an error of its own on every answer, and a liking for the first place."""
    texts = [[p + a for p, a in zip(prompts, own, strict=True)] for own in (firsts, seconds)]
    worth = [[Random(text).gauss(0, 0.8) for text in own] for own in texts]
    golds = zip(right_answers(prompts, firsts), right_answers(prompts, seconds), *worth, strict=True)
    return [sigmoid(4 * (gold + error - other - its) + 0.8) for gold, other, error, its in golds]
