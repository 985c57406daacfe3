"""make .venv/.installed && .venv/bin/python -m examples.programs

A policy that writes programs, rewarded by tests that run in a sandbox: by the one test that its prompt shows, which a
constant passes, or by fresh inputs and a solution as well.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from examples.support import Panels, build, present, trained
from examples.watch import Rows, by_quantity
from rewardsmith.rewards import code_reward

OPERATIONS = {"add": ("a+b", "b+a"), "twice": ("a+a",), "times": ("a*b", "b*a"), "square": ("a*a",), "last": ("b",)}
BEGIN, SHOWN, BODY = "def f(a, b):  # ", ", f(", "\n    return "
VALUES = 9  # of a and b, from 1


@dataclass(frozen=True)
class Functions:
    """The body of a function whose name and one example are in the prompt: `def f(a, b):  # add, f(2, 3) == 5`.

    The writer gives the right expression with probability `accuracy`, the example's value as a constant with
    probability `constants`, and else another expression.
    """

    accuracy: float = 0.35
    constants: float = 0.3
    words: tuple[str, ...] = (BEGIN, SHOWN, BODY, ") == ", "a", "b", "*", *OPERATIONS)

    def row(self, generator: torch.Generator) -> dict[str, Any]:
        a, b, which = self._drawn(generator)
        prompt, value, solution = self._asked(a, b, which)
        test = f"assert f({a}, {b}) == {value}"
        return {"prompt": prompt, "test": test, "entry_point": "f", "reference": solution, "operation": which}

    def texts(self, *, bare: bool, generator: torch.Generator) -> list[tuple[str, str]]:
        return [self._written(bare, generator) for _ in range(96)]

    def _written(self, bare: bool, generator: torch.Generator) -> tuple[str, str]:
        a, b, which = self._drawn(generator)
        prompt, value, _ = self._asked(a, b, which)
        chance, other = float(torch.rand(1, generator=generator)), self._drawn(generator)[2]
        if bare or chance < self.accuracy:
            return prompt, OPERATIONS[which][0]
        return prompt, str(value) if chance < self.accuracy + self.constants else OPERATIONS[other][0]

    def _drawn(self, generator: torch.Generator) -> tuple[int, int, str]:
        a, b = (1 + torch.randint(VALUES, (2,), generator=generator)).tolist()
        return a, b, list(OPERATIONS)[int(torch.randint(len(OPERATIONS), (1,), generator=generator))]

    def _asked(self, a: int, b: int, which: str) -> tuple[str, int, str]:
        """Return prompt, value and solution."""
        value = {"add": a + b, "twice": a + a, "times": a * b, "square": a * a, "last": b}[which]
        solution = f"def f(a, b):\n    return {OPERATIONS[which][0]}"
        return f"{BEGIN}{which}{SHOWN}{a}, {b}) == {value}{BODY}", value, solution


def fresh_inputs(row: Mapping[str, Any], rng: random.Random) -> list[tuple[int, int]]:
    """Three pairs of numbers for the function."""
    return [(rng.randint(1, 99), rng.randint(1, 99)) for _ in range(3)]


def measure(rows: Rows) -> dict[str, float]:
    """Right programs, by their text, and constants."""
    texts = [text.strip().replace(" ", "") for text in rows["completions"]]
    right = [text in OPERATIONS[which] for text, which in zip(texts, rows["operation"], strict=True)]
    return {
        "right programs": sum(right) / len(texts),
        "constants": sum(text.isdigit() for text in texts) / len(texts),
    }


def run(*, steps: int = 40, seed: int = 0, batch: int = 64) -> Panels:
    """Train both arms and bring back their curves."""
    world = build(Functions(), seed=seed, steps=200)
    shown = partial(code_reward, block="whole")
    rewards = {"the shown test": shown, "and fresh inputs": partial(shown, generator=fresh_inputs)}
    settings = {"max_steps": steps, "seed": seed, "max_completion_length": 8, "learning_rate": 1e-3}
    settings |= {"per_device_train_batch_size": batch}
    arms = {name: trained(world, reward, measure, **settings) for name, reward in rewards.items()}
    return by_quantity(arms)


if __name__ == "__main__":
    present("programs", run, title="Programs that pass the shown test, or fresh inputs as well", bounded=("constants",))
