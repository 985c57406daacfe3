"""make .venv/.installed && .venv/bin/python -m examples.reward_calibration

A reward model that likes a confident tone teaches a policy to sound sure of everything. Hiding the stated confidence
from it ends that and leaves the confidence without meaning; paying for confidence where the reward is above its running
mean, and charging for it below, gives it one. Leng et al. 2024, arXiv:2410.09724 (PPO-C).
"""

from __future__ import annotations

import argparse
from functools import partial

from examples.support import build, config, draw, seeded
from examples.watch import Rows, Watch, by_quantity, quietly, table
from rewardsmith.advantages import group_centered
from rewardsmith.engines.trl import GRPOTrainer
from rewardsmith.measures import auroc, expected_calibration_error
from rewardsmith.recipes import Recipe, source
from rewardsmith.rewards import stated_confidence, without_confidence
from rewardsmith.transforms import ConfidenceAdjusted
from rewardsmith.worlds import SmudgedSums, TonedJudge

TASK = SmudgedSums()  # 2+3??= answered as "5 Confidence: 9"
says = partial(stated_confidence, scale=10)
judge = TonedJudge(TASK, bias=0.5)  # in place of a reward model: knows something of the answer, likes the tone


def recipes() -> dict[str, Recipe]:
    """Made anew for each run, as the adjustment keeps a running mean."""
    stripped = source(without_confidence(judge), "judge")
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


def run(*, steps: int = 150, seed: int = 0) -> dict[str, dict[str, list[float]]]:
    """quantity → arm → a value per training step."""
    world = build(TASK, seed=seed)
    arms = {}
    for name, recipe in recipes().items():
        watch = Watch(measure, window=5)
        trainer = GRPOTrainer(
            world.reload().model,
            recipe,
            args=config(max_steps=steps, seed=seed, max_completion_length=8, learning_rate=1e-3),
            train_dataset=world.rows(4096, generator=seeded(seed)),
            processing_class=world.tokenizer,
            callbacks=[watch],
        )
        quietly(trainer)
        arms[name] = watch.curves
    return by_quantity(arms)


def main() -> None:
    """Train, draw and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    panels = run(seed=parser.parse_args().seed)
    draw(
        "reward_calibration",
        panels,
        title="A reward model that likes a confident tone",
        bounded=["accuracy", "mean confidence", "calibration error", "AUROC"],
    )
    print(table(panels))


if __name__ == "__main__":
    main()
