"""make .venv/.installed && .venv/bin/python -m examples.cross_view

GRPO without labels: every sum is asked in two orders, and the policy's own votes are the reward. Each order has wrong
answers of its own, so the vote on one order corrects the other. Zhang et al. 2025, arXiv:2508.00410 (Co-Reward).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import torch

from examples.support import Panels, build, present, trained
from examples.watch import Rows, by_quantity
from rewardsmith.advantages import group_centered
from rewardsmith.data import text_of
from rewardsmith.measures import answer_entropy
from rewardsmith.recipes import Recipe, source
from rewardsmith.rewards import math_equal
from rewardsmith.rewards.verifiers.final_answer import final_answer
from rewardsmith.transforms import cross_view_rewards
from rewardsmith.worlds import arithmetic_gold

WRONG = 0.35  # share of prompts with a wrong answer that the policy prefers


@dataclass(frozen=True)
class TwoOrders:
    """Sums asked as `3+4=` and as `4+3=`, next to each other, and a writer with misconceptions about each by itself.

    A prompt with a misconception is answered with one wrong number in 45 of 100 cases, and right in 35. Another prompt
    is answered right in 60. All other answers are near misses.
    """

    words: tuple[str, ...] = ()
    waiting: list[dict[str, Any]] = field(default_factory=list)

    def row(self, generator: torch.Generator) -> dict[str, Any]:
        if self.waiting:
            return self.waiting.pop()
        a, b = sorted(torch.randperm(10, generator=generator)[:2].tolist())
        shared = {"answer": str(a + b), "pair_id": f"{a} and {b}"}
        self.waiting.append({"prompt": f"{b}+{a}=", "view": "large first", **shared})
        return {"prompt": f"{a}+{b}=", "view": "small first", **shared}

    def texts(self, *, bare: bool, generator: torch.Generator) -> list[tuple[str, str]]:
        sums = [(a, b) for a in range(10) for b in range(10)]
        return [(f"{a}+{b}=", str(a + b) if bare else self.written(a, b, generator)) for a, b in sums]

    def written(self, a: int, b: int, generator: torch.Generator) -> str:
        mind = Random(f"{a} then {b}")
        favorite = a + b + mind.choice([1, 2, 3])
        shares = (0.35, 0.45) if mind.random() < WRONG else (0.6, 0.0)
        drawn = float(torch.rand(1, generator=generator))
        near = a + b + 1 + int(torch.randint(4, (1,), generator=generator))
        return str(a + b if drawn < shares[0] else favorite if drawn < sum(shares) else near)


def has_answer(completions: Sequence[Any], **columns: Any) -> list[float]:
    """1.0 for every row: the votes are the reward."""
    return [1.0] * len(completions)


VOTES = partial(cross_view_rewards, extract=final_answer, verifier=math_equal)
ARMS = {
    "its own vote": {"voters": "own"},
    "the vote of the other order": {},
    "the share of the other order": {"soft": True},
}


def measure(rows: Rows) -> dict[str, float]:
    """Agreement within a prompt, right answers, and how many different answers are given."""
    by_prompt: dict[str, list[str]] = {}
    for prompt, text in zip(rows["prompts"], rows["completions"], strict=True):
        by_prompt.setdefault(text_of(prompt), []).append(text_of(text))
    tops = [Counter(texts).most_common(1)[0] for texts in by_prompt.values()]
    gold = arithmetic_gold(rows["prompts"], rows["completions"])
    return {
        "agreement (proxy)": sum(count for _, count in tops) / len(gold),
        "right answers (gold)": sum(right or 0.0 for right in gold) / len(gold),
        "entropy of answers": answer_entropy([text for text, _ in tops]),
    }


def run(*, steps: int = 120, seed: int = 0) -> Panels:
    """Train each arm and bring back its curves."""
    world = build(TwoOrders(), seed=seed)
    settings = {"max_steps": steps, "seed": seed, "learning_rate": 5e-4, "shuffle_dataset": False, "window": 4}
    settings |= {"max_completion_length": 6}
    recipes = {
        name: Recipe(source(has_answer, "answered").then(VOTES, **options), advantage=group_centered)
        for name, options in ARMS.items()
    }
    return by_quantity({name: trained(world, recipe, measure, **settings) for name, recipe in recipes.items()})


if __name__ == "__main__":
    bounded = ["agreement (proxy)", "right answers (gold)"]
    present("cross_view", run, title="Votes as rewards", bounded=bounded, seeds=(0, 1, 2))
