"""make .venv/.installed && .venv/bin/python -m examples.tool_rewards

Credit for the parts of a tool call teaches a policy that is hardly ever right; words at their place do so sooner, right
or wrong as a whole leaves it behind. Qian et al. 2025, arXiv:2504.13958 (ToolRL).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch

from examples.support import Panels, build, present, trained
from examples.watch import Rows, by_quantity
from rewardsmith.rewards import ToolCallReward
from rewardsmith.rewards.tools.comparing import CallParts

TOOLS = {"paint": ("row", "hue"), "move": ("x", "y"), "ring": ("tone", "loud")}
NAMES, KEYS = list(TOOLS), [key for keys in TOOLS.values() for key in keys]
N = 5  # values are 0 to 4


def by_place(completions: list[Any], answer: list[str], **columns: Any) -> list[float | None]:
    """The simple control: the share of words that stand at their place, of the longer text's."""
    pairs = [(re.findall(r"\w+", text), re.findall(r"\w+", key)) for text, key in zip(completions, answer, strict=True)]
    return [sum(a == b for a, b in zip(*both, strict=False)) / max(map(len, both)) for both in pairs]


FINE, COARSE = ToolCallReward(), ToolCallReward(granularity="coarse")
REWARDS: dict[str, Callable[..., list[float | None]]] = {
    "fine": FINE,
    "fine, extra calls free": ToolCallReward(extra_calls="paper"),
    "coarse": COARSE,
    "words by place": by_place,
}


@dataclass(frozen=True)
class Calls:
    """Requests such as `paint:3,1=`, answered by `paint(row=3, hue=1)`; the writer imitated errs in every part.

    error: probability that a name, a parameter or a value is wrong, always in the same way.
    extra: probability of a second call.
    """

    error: float = 0.7
    extra: float = 0.4
    words: tuple[str, ...] = (*(f"{tool}(" for tool in TOOLS), *(f"{key}=" for key in KEYS), *TOOLS, ", ", ")")

    def row(self, generator: torch.Generator) -> dict[str, Any]:
        tool = NAMES[int(torch.randint(len(TOOLS), (1,), generator=generator))]
        values = torch.randint(N, (2,), generator=generator).tolist()
        return {"prompt": request(tool, values), "answer": call(tool, TOOLS[tool], values)}

    def texts(self, *, bare: bool, generator: torch.Generator) -> list[tuple[str, str]]:
        asked = product(TOOLS, range(N), range(N))
        return [(request(tool, values), self._answer(tool, values, generator)) for tool, *values in asked]

    def _answer(self, tool: str, values: list[int], generator: torch.Generator) -> str:
        def written() -> str:
            wrong = (torch.rand(5, generator=generator) < self.error).tolist()
            name = NAMES[(NAMES.index(tool) + wrong[0]) % len(NAMES)]
            places = zip(TOOLS[tool], wrong[1:3], strict=True)
            keys = tuple(KEYS[(KEYS.index(key) + 2 * off) % len(KEYS)] for key, off in places)
            return call(name, keys, [(value + off) % N for value, off in zip(values, wrong[3:], strict=True)])

        n = 1 + int(torch.rand(1, generator=generator) < self.extra)
        return ", ".join(written() for _ in range(n))


def request(tool: str, values: list[int]) -> str:
    return f"{tool}:{values[0]},{values[1]}="


def call(tool: str, keys: tuple[str, ...], values: list[int]) -> str:
    return f"{tool}({keys[0]}={values[0]}, {keys[1]}={values[1]})"


def measure(rows: Rows, reward: Callable[..., list[float | None]]) -> dict[str, float]:
    """The reward trained on, the share of answers that are the wanted call and nothing else, and of extra calls."""
    given, n = (rows["completions"], rows["answer"]), len(rows["completions"])
    extra = sum(part.extra > 0 for part in FINE.parts(*given) if isinstance(part, CallParts))
    return {
        "its own reward (proxy)": sum(score for score in reward(*given) if score is not None) / n,
        "the wanted call alone (gold)": COARSE(*given).count(3.0) / n,
        "answers with extra calls": extra / n,
    }


def run(*, steps: int = 100, seed: int = 0) -> Panels:
    """Train the policy on each reward and bring back its curves."""
    world = build(Calls(), seed=seed, steps=200)
    settings: dict[str, Any] = {"max_steps": steps, "seed": seed, "learning_rate": 1e-3, "max_completion_length": 18}
    measures = {arm: partial(measure, reward=reward) for arm, reward in REWARDS.items()}
    return by_quantity({arm: trained(world, REWARDS[arm], measures[arm], **settings) for arm in REWARDS})


if __name__ == "__main__":
    present(
        "tool_rewards",
        run,
        title="Tool calls, rewarded by their parts or as a whole",
        bounded=["the wanted call alone (gold)", "answers with extra calls"],
        seeds=range(5),
    )
