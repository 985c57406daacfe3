"""make .venv/.installed && .venv/bin/python -m examples.clip_delta

A process reward beside the outcome: summed over steps it pays for restated lines until the answer no longer fits;
clipped and turned into differences it cannot. Gao et al. 2024, arXiv:2410.15115 (Clip, Delta).
"""

from __future__ import annotations

from functools import partial

from examples.support import LINES, Panels, build, present, trained
from examples.watch import Rows, by_quantity
from rewardsmith.advantages import leave_one_out, step_credit
from rewardsmith.data import split_steps
from rewardsmith.recipes import Recipe, source, step_source
from rewardsmith.transforms import clip_steps, delta_steps
from rewardsmith.worlds import ChainSums, LineScores, final_answer_reward

TASK = ChainSums()  # 3+4+2= answered as "3+4=7\n7+2=9\n#### 9", or with errors, restated lines and leaps to the answer
PRM = LineScores(TASK)  # right line .85, restated .90, wrong .25
ALPHA = 0.5  # what a process reward of 1 is worth beside the outcome
right, prm = source(final_answer_reward, "right"), step_source(PRM)
# the baseline of the group, not that per token, which would put a price on length itself
credit = partial(step_credit, baseline="group", outcome_weight=1.0)
RECIPES = {
    "outcome": Recipe(right, advantage=leave_one_out),
    "outcome + PRM": Recipe(right, steps=ALPHA * prm, advantage=credit),
    "outcome + Clip + Delta": Recipe(
        right, steps=ALPHA * prm.then(clip_steps, threshold=0.85).then(delta_steps), advantage=credit
    ),
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
    present("clip_delta", run, title="A process reward, summed or clipped", bounded=["right answers (gold)"])
