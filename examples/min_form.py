"""make .venv/.installed && .venv/bin/python -m examples.min_form

Nothing but a process reward: as a sum of scores it pays for restated lines, as the worst score still to come it does
not, and a soft minimum lies between. Cheng et al. 2025, arXiv:2504.15275 (PURE).
"""

from __future__ import annotations

from functools import partial

from examples.support import LINES, Panels, build, present, trained
from examples.watch import Rows, by_quantity
from rewardsmith.advantages import min_returns, softmin_returns, step_credit
from rewardsmith.data import split_steps
from rewardsmith.recipes import Recipe, source, step_source
from rewardsmith.worlds import ChainSums, LineScores, final_answer_reward

TASK = ChainSums()  # 3+4+2= answered as "3+4=7\n7+2=9\n#### 9", or with errors, restated lines and leaps to the answer
PRM = LineScores(TASK)  # right line .85, restated .90, wrong .25
right = source(final_answer_reward, "right")  # logged; step_credit reads it with outcome_weight alone, which is 0 here
scores = 2.0 * step_source(PRM) - 1.0  # p(good) − p(bad)
RECIPES = {
    "sum": Recipe(right, steps=scores, advantage=step_credit),
    "soft minimum": Recipe(right, steps=scores, advantage=partial(step_credit, returns=softmin_returns)),
    "minimum": Recipe(right, steps=scores, advantage=partial(step_credit, returns=min_returns)),
}


def measure(rows: Rows) -> dict[str, float]:
    """Which answers are really right, what the process reward sums up to, and how many lines there are."""
    lines = [split_steps(text, separator="\n") for text in rows["completions"]]
    scores = PRM(rows["prompts"], rows["completions"], lines)
    gold = TASK.gold(rows["prompts"], rows["completions"])
    n = len(lines)
    return {
        "right answers (gold)": sum(g.correct for g in gold) / n,
        "sum of process rewards": sum(map(sum, scores)) / n,
        "lines": sum(map(len, lines)) / n,
    }


def run(*, steps: int = 150, seed: int = 0) -> Panels:
    """Train each arm and bring back its curves."""
    world = build(TASK, seed=seed, steps=400)
    settings = {"max_steps": steps, "seed": seed, "max_completion_length": 32, "learning_rate": 5e-4}
    arms = {name: trained(world, recipe, measure, segment=LINES, **settings) for name, recipe in RECIPES.items()}
    return by_quantity(arms)


if __name__ == "__main__":
    present("min_form", run, title="A process reward alone: sum or minimum", bounded=["right answers (gold)"])
