"""make .venv/.installed && .venv/bin/python -m examples.flawed_positives

Right answers by wrong reasoning: a verifier of answers pays them in full, so shortcuts stay; what a detector of flaws
reports is worth 0, between right (+1) and wrong (−1). Ding et al. 2025, arXiv:2510.22543 (FAPO).
"""

from __future__ import annotations

from examples.support import Panels, build, present, trained
from examples.watch import Rows, by_quantity
from rewardsmith.advantages import group_zscore
from rewardsmith.recipes import Recipe, source
from rewardsmith.transforms import flawed_positive_penalty
from rewardsmith.worlds import ChainSums, FlawDetector, final_answer_reward

TASK = ChainSums(
    max_operand=4, leap=0.35, guess=0.8
)  # 3+4+2= answered as "3+4=7\n7+2=9\n#### 9", or by a leap: "#### 9"
right = source(final_answer_reward, "right")
sees_all = source(FlawDetector(TASK), "detector")
errs = source(FlawDetector(TASK, recall=0.8, false_alarms=0.1), "detector")
RECIPES = {
    "right answers": Recipe(right, advantage=group_zscore),
    "flaws penalized": Recipe(right.then(flawed_positive_penalty, flawed=sees_all), advantage=group_zscore),
    "… by a detector that errs": Recipe(right.then(flawed_positive_penalty, flawed=errs), advantage=group_zscore),
}


def measure(rows: Rows) -> dict[str, float]:
    """Right answers, the share of them that is flawed, and answers that are right with all their lines."""
    gold = TASK.gold(rows["prompts"], rows["completions"])
    correct = sum(g.correct for g in gold)
    return {
        "right answers": correct / len(gold),
        "flawed among the right": sum(g.flawed for g in gold) / max(correct, 1),
        "right by right lines (gold)": sum(g.sound for g in gold) / len(gold),
    }


def run(*, steps: int = 150, seed: int = 0) -> Panels:
    """Train each arm and bring back its curves."""
    world = build(TASK, seed=seed, steps=400)
    settings = {"max_steps": steps, "seed": seed, "max_completion_length": 32, "learning_rate": 5e-4}
    arms = {name: trained(world, recipe, measure, **settings) for name, recipe in RECIPES.items()}
    return by_quantity(arms)


if __name__ == "__main__":
    present(
        "flawed_positives",
        run,
        title="Right answers by wrong reasoning",
        bounded=["right answers", "flawed among the right", "right by right lines (gold)"],
    )
