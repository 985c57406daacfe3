"""make .venv/.installed && .venv/bin/python -m examples.trained_judge

A judge learns from its verdicts which of two sums is right, and is audited before and after. In one arm the better
answer always stands first in training. Chen et al. 2025, arXiv:2505.02387 (RM-R1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import torch

from examples.support import Panels, build, present, trained
from examples.watch import Rows, by_quantity
from rewardsmith.auditing import audit_pairs
from rewardsmith.data import PreferenceRow
from rewardsmith.rewards import verdict_reward
from rewardsmith.rewards.judges.verdicts import AB_VERDICT
from rewardsmith.worlds import ArithmeticLM

A, B = "<answer>[[A]]</answer>", "<answer>[[B]]</answer>"
PROMPT = "{} A: {} B: {}="
N = 6  # operands are 0 to 5
ARMS = {"either answer first": 0.5, "the better one always first": 1.0}


@dataclass(frozen=True)
class Verdicts:
    """Pairs of answers to a sum, and a judge that adds first, leans to A, and sometimes gives no verdict."""

    better_first: float = 0.5  # the share of pairs in which the better answer stands first
    words: tuple[str, ...] = (A, B, "A", "B")

    def row(self, generator: torch.Generator) -> dict[str, Any]:
        a, b, off = (int(torch.randint(n, (1,), generator=generator)) for n in (N, N, 3))
        label = int(torch.rand(1, generator=generator) >= self.better_first)
        said = (a + b, a + b + 1 + off)[:: 1 - 2 * label]  # in the order in which the judge reads them
        return {"prompt": PROMPT.format(f"{a}+{b}", *said), "label": label}

    def texts(self, *, bare: bool, generator: torch.Generator) -> list[tuple[str, str]]:
        found = []
        for a, b, label in product(range(N), range(N), range(2)):
            said = (a + b, a + b + 1 + int(torch.randint(3, (1,), generator=generator)))[:: 1 - 2 * label]
            chance = 1.0 if bare else float(torch.rand(1, generator=generator))
            verdict = "or so" if chance < 0.1 else A if chance < 0.65 else (A, B)[label]
            found.append((PROMPT.format(f"{a}+{b}", *said), f"{a + b} {verdict}"))
        return found


@dataclass
class Judge:
    """The policy as a judge of pairs, in the contract of `rewards.PairwiseReward`; it writes the likeliest text."""

    world: ArithmeticLM
    model: Any
    __name__ = "trained_judge"

    def compare(self, prompts: Any, firsts: Any, seconds: Any) -> list[float | None]:
        rows = [PROMPT.format(*row) for row in zip(prompts, firsts, seconds, strict=True)]
        batch = self.world.tokenizer(rows, padding=True, padding_side="left", return_tensors="pt")
        ids = self.model.generate(**batch, max_new_tokens=6, do_sample=False)
        texts = self.world.tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        return [None if (verdict := AB_VERDICT(text)) is None else 1.0 - verdict for text in texts]

    def __call__(self, prompts: Any, completions: Any, *, reference: Any, **columns: Any) -> list[float | None]:
        """Log-odds, ±10 for a verdict in either order; `placed` asks for one order alone."""
        there, back = self.compare(prompts, completions, reference), self.compare(prompts, reference, completions)
        found: list[float | None] = []
        for one, other, place in zip(there, back, columns.get("placed") or [None] * len(prompts), strict=True):
            sides = {"first": [one], "second": [None if other is None else 1 - other]}
            wanted = sides.get(place, sides["first"] + sides["second"])
            known = [20 * p - 10 for p in wanted if p is not None]
            found.append(sum(known) / len(known) if len(known) == len(wanted) else None)
        return found


def measure(rows: Rows) -> dict[str, float]:
    """Verdicts: right, for the first answer, and missing."""
    said = [AB_VERDICT(text) for text in rows["completions"]]
    right = sum(verdict == label for verdict, label in zip(said, rows["label"], strict=True))
    counts = {"right verdicts": right, "for the first answer": said.count(0), "no verdict": said.count(None)}
    return {name: count / len(said) for name, count in counts.items()}


def run(*, steps: int = 120, seed: int = 0) -> Panels:
    """Train a judge in each arm, audit it, and bring back its curves."""
    world = build(Verdicts(), seed=seed, steps=300)
    audited("before", world, world.reload().model)
    curves = {}
    for arm, share in ARMS.items():
        own = replace(world, task=Verdicts(share))
        settings: dict[str, Any] = {"max_steps": steps, "seed": seed, "learning_rate": 5e-4, "max_completion_length": 6}
        curves[arm] = trained(own, verdict_reward, measure, after=partial(audited, f"after, {arm}", own), **settings)
    return by_quantity(curves)


def audited(name: str, world: ArithmeticLM, model: Any) -> None:
    """Print what the audit finds about accuracy and position."""
    rows = [PreferenceRow(f"{a}+{b}", str(a + b), str(a + b + 1 + (a + 2 * b) % 3)) for a in range(N) for b in range(N)]
    found = audit_pairs(Judge(world, model.eval()), rows).findings
    lines = [f"  {one.severity:8} {one.message}" for one in found if one.probe in ("accuracy", "position")]
    print("\n".join(["", name, *lines]))


if __name__ == "__main__":
    bounded = ["right verdicts", "for the first answer", "no verdict"]
    present("trained_judge", run, title="A judge trained from its verdicts", bounded=bounded, seeds=(0, 1, 2))
