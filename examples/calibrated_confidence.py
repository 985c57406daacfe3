"""make .venv/.installed && .venv/bin/python -m examples.calibrated_confidence

Answers that say how sure they are: with a 0/1 reward the stated confidence means nothing; charged for its distance
from the outcome it goes to the ends of the scale; charged for the squared distance, it comes nearer the truth. Damani
et al. 2025, arXiv:2507.16806 (RLCR).
"""

from __future__ import annotations

from functools import partial

from examples.support import Panels, build, present, trained
from examples.watch import Rows, by_quantity
from rewardsmith.advantages import group_centered
from rewardsmith.measures import auroc, expected_calibration_error
from rewardsmith.recipes import Recipe, source
from rewardsmith.rewards import WithoutConfidence, exact_number, stated_confidence
from rewardsmith.transforms import brier_reward
from rewardsmith.transforms.scoring_rules import linear_reward
from rewardsmith.worlds import SmudgedSums

TASK = SmudgedSums(chances=(1.0, 0.65, 0.3), tone=2.0)  # 2+3??= answered as "5 Confidence: 9", in a sure tone
says = partial(stated_confidence, scale=10)
correct = source(WithoutConfidence(exact_number), "correct")
stated = source(says, "stated")
RECIPES = {
    name: Recipe(reward, advantage=group_centered)
    for name, reward in {
        "0/1": correct,
        "0/1 − |c − z|": correct.then(linear_reward, confidence=stated, missing=-1.0),
        "0/1 − (c − z)²": correct.then(brier_reward, confidence=stated, missing=-1.0),
    }.items()
}


def measure(rows: Rows) -> dict[str, float]:
    """The world knows each answer's true chance, so no figure depends on the luck of the draw."""
    chance, confidence = TASK.gold(rows["prompts"], rows["completions"]), says(rows["completions"])
    known = [c for c in confidence if c is not None]
    return {
        "accuracy": sum(chance) / len(chance),
        "mean confidence": sum(known) / max(len(known), 1),
        "calibration error": expected_calibration_error(confidence, chance),
        "AUROC": auroc(confidence, chance),
    }


def run(*, steps: int = 250, seed: int = 0) -> Panels:
    """Train each arm and bring back its curves."""
    world = build(TASK, seed=seed)
    settings = {
        "max_steps": steps,
        "seed": seed,
        "max_completion_length": 8,
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 128,
        "beta": 0.02,  # a confidence that is no longer said is no longer compared
    }
    arms = {name: trained(world, recipe, measure, window=5, rows=8192, **settings) for name, recipe in RECIPES.items()}
    return by_quantity(arms)


if __name__ == "__main__":
    present(
        "calibrated_confidence",
        run,
        title="What a stated confidence comes to mean",
        bounded=["accuracy", "mean confidence", "calibration error", "AUROC"],
    )
