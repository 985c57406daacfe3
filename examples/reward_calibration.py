"""make .venv/.installed && .venv/bin/python -m examples.reward_calibration

A reward model that likes a confident tone teaches a policy to sound sure of everything. Hiding the stated confidence
from it ends that and leaves the confidence without meaning; paying for confidence where the reward is above its running
mean, and charging for it below, gives it one. Leng et al. 2024, arXiv:2410.09724 (PPO-C).
"""

from __future__ import annotations

from functools import partial

from examples.support import Panels, build, present, trained
from examples.watch import Rows, by_quantity
from rewardsmith.advantages import group_centered
from rewardsmith.measures import auroc, expected_calibration_error
from rewardsmith.recipes import Recipe, source
from rewardsmith.rewards import WithoutConfidence, stated_confidence
from rewardsmith.transforms import ConfidenceAdjusted
from rewardsmith.worlds import SmudgedSums, TonedJudge

TASK = SmudgedSums()  # 2+3??= answered as "5 Confidence: 9"
says = partial(stated_confidence, scale=10)
judge = TonedJudge(TASK, bias=0.5)  # in place of a reward model: knows something of the answer, likes the tone


def recipes() -> dict[str, Recipe]:
    """Made anew for each run, as the adjustment keeps a running mean."""
    stripped = source(WithoutConfidence(judge), "judge")
    rewards = {
        "as it is": source(judge),
        "stripped": stripped,
        "adjusted": stripped.then(ConfidenceAdjusted(), confidence=source(says, "stated")),
    }
    return {name: Recipe(reward, advantage=group_centered) for name, reward in rewards.items()}


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


def run(*, steps: int = 150, seed: int = 0) -> Panels:
    """Train each arm and bring back its curves."""
    world = build(TASK, seed=seed)
    settings = {"max_steps": steps, "seed": seed, "max_completion_length": 8, "learning_rate": 1e-3}
    arms = {name: trained(world, recipe, measure, window=5, **settings) for name, recipe in recipes().items()}
    return by_quantity(arms)


if __name__ == "__main__":
    present(
        "reward_calibration",
        run,
        title="A reward model that likes a confident tone",
        bounded=["accuracy", "mean confidence", "calibration error", "AUROC"],
    )
