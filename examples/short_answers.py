"""make .venv/.installed && .venv/bin/python -m examples.short_answers

Shorter answers where they cost nothing: a length penalty for all prompts also takes the working from those that need
it; one for the batch's most often solved prompts leaves it there. Dai et al. 2025, arXiv:2505.18086 (GRPO-λ).
"""

from __future__ import annotations

from examples.support import build, config, draw, seeded
from examples.watch import Rows, Watch, by_quantity, table
from rewardsmith.advantages import group_centered
from rewardsmith.engines.trl import GRPOTrainer
from rewardsmith.recipes import Recipe, source
from rewardsmith.transforms import GRPOLambda, length_shaped
from rewardsmith.worlds import LongSums, committed_number_reward

TASK = LongSums()  # 3+4+8= answered as "15", "7 #### 15" or "Let's see: 7 #### 15"
ALPHA = 0.6
correct = source(committed_number_reward, "correct")
PENALTIES = {
    "0/1": correct,
    "penalty on all": correct.then(length_shaped, alpha=ALPHA),
    "GRPO-λ": correct.then(GRPOLambda(alpha=ALPHA, fraction=0.25)),
}
RECIPES = {name: Recipe(reward, advantage=group_centered) for name, reward in PENALTIES.items()}


def measure(rows: Rows) -> dict[str, float]:
    """Right answers, those of the longest sums apart, and length."""
    gold = TASK.gold(rows["prompts"], rows["completions"])
    hard = [right for right, n in zip(gold, rows["operands"], strict=True) if n == max(TASK.operands)]
    easy = [right for right, n in zip(gold, rows["operands"], strict=True) if n == min(TASK.operands)]
    return {
        "accuracy": sum(gold) / len(gold),
        "hard": sum(hard) / max(len(hard),1),
        "easy": sum(easy) / max(len(easy),1),
        "lengths": sum(rows["lengths"]) / len(gold),
        "hardlen": sum(l for l,n in zip(rows["lengths"],rows["operands"]) if n==max(TASK.operands)) / max(len(hard),1),
        "easylen": sum(l for l,n in zip(rows["lengths"],rows["operands"]) if n==min(TASK.operands)) / max(len(easy),1),
    }


def run(*, steps: int = 200, seed: int = 0) -> dict[str, dict[str, list[float]]]:
    """quantity → arm → a value per training step."""
    import os
    world = build(TASK, seed=seed, steps=int(os.environ.get("WARM", 400)))
    arms = {}
    for name, recipe in RECIPES.items():
        watch = Watch(measure, window=5)
        policy = world.reload()
        GRPOTrainer(
            policy.model,
            **recipe.options(),
            args=config(max_steps=steps, seed=seed, max_completion_length=16, learning_rate=5e-4, per_device_train_batch_size=128),
            train_dataset=world.rows(4096, generator=seeded(seed)),
            processing_class=world.tokenizer,
            callbacks=[watch],
        ).train()
        arms[name] = watch.curves
    return by_quantity(arms)
