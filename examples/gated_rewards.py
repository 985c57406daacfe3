"""make .venv/.installed && .venv/bin/python -m examples.gated_rewards

A small reward for every well-formed line beside an outcome: added up it pays for lines without end and the answer never
comes; counted only where the outcome clears its threshold it cannot. Sun et al. 2025, arXiv:2508.10548 (G-RA).
"""

from __future__ import annotations

from functools import partial

from examples.support import LINES, Panels, build, present, trained
from examples.watch import Rows, by_quantity
from rewardsmith.advantages import leave_one_out, step_credit
from rewardsmith.data import split_steps
from rewardsmith.recipes import Recipe, source, step_source
from rewardsmith.transforms import add_outcome
from rewardsmith.transforms.steps import gate_by_outcome
from rewardsmith.worlds import ChainSums, final_answer_reward, line_format_reward

TASK = ChainSums()  # 3+4+2= answered as "3+4=7\n7+2=9\n#### 9", or with errors, restated lines and leaps to the answer
outcome = source(partial(final_answer_reward, unanswered=-1.0), "outcome")  # right 1, wrong 0, no answer −1
form = step_source(line_format_reward, "form")  # 1 for a well-formed line, true or not
credit = partial(step_credit, baseline="group")  # a price per token would pay for haste instead
WEIGHT = 0.5
RECIPES = {
    "outcome": Recipe(outcome, advantage=leave_one_out),
    "outcome + lines": Recipe(outcome, steps=form.then(add_outcome, rewards=outcome, weight=WEIGHT), advantage=credit),
    "outcome + lines, gated": Recipe(
        outcome,
        steps=form.then(gate_by_outcome, rewards=outcome, weight=WEIGHT),
        advantage=credit,
    ),
}


def measure(rows: Rows) -> dict[str, float]:
    """How many completions answer, how many are really right, and how many lines they have."""
    gold = TASK.gold(rows["prompts"], rows["completions"])
    n = len(gold)
    return {
        "answered": sum(g.answered for g in gold) / n,
        "right answers (gold)": sum(g.correct for g in gold) / n,
        "lines": sum(len(split_steps(text, separator="\n")) for text in rows["completions"]) / n,
    }


def run(*, steps: int = 150, seed: int = 0) -> Panels:
    """Train each arm and bring back its curves."""
    world = build(TASK, seed=seed, steps=400)
    settings = {"max_steps": steps, "seed": seed, "max_completion_length": 32, "learning_rate": 5e-4}
    arms = {name: trained(world, recipe, measure, segment=LINES, **settings) for name, recipe in RECIPES.items()}
    return by_quantity(arms)


if __name__ == "__main__":
    present(
        "gated_rewards", run, title="A reward per line, added or gated", bounded=["answered", "right answers (gold)"]
    )
