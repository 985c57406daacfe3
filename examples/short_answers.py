"""make .venv/.installed && .venv/bin/python -m examples.short_answers

Shorter answers where they cost nothing: a length penalty for all prompts also takes the working from those that need
it; one for the batch's most often solved prompts leaves it there. Dai et al. 2025, arXiv:2505.18086 (GRPO-λ).
"""

from __future__ import annotations

from examples.support import Panels, build, present, trained
from examples.watch import Rows, by_quantity
from rewardsmith.advantages import group_centered
from rewardsmith.recipes import Recipe, source
from rewardsmith.transforms import GRPOLambda, length_shaped
from rewardsmith.worlds import LongSums, committed_number_reward

TASK = LongSums()  # 3+4+8= answered as "15", "7 #### 15" or "Let's see: 15"
ALPHA = 0.9  # the most that length can take off a right answer


def recipes() -> dict[str, Recipe]:
    """Made anew for each run, as GRPO-λ counts its calls."""
    correct = source(committed_number_reward, "correct")
    penalties = {
        "0/1": correct,
        "penalty on all": correct.then(length_shaped, alpha=ALPHA),
        "GRPO-λ": correct.then(GRPOLambda(alpha=ALPHA)),
    }
    return {name: Recipe(reward, advantage=group_centered) for name, reward in penalties.items()}


def measure(rows: Rows) -> dict[str, float]:
    """Right answers, those of the longest sums apart, and length."""
    gold = TASK.gold(rows["prompts"], rows["completions"])
    longest = [right for right, n in zip(gold, rows["operands"], strict=True) if n == max(TASK.operands)]
    return {
        "right answers": sum(gold) / len(gold),
        "right, longest sums": sum(longest) / max(len(longest), 1),
        "tokens": sum(rows["lengths"]) / len(gold),
    }


def run(*, steps: int = 200, seed: int = 0) -> Panels:
    """Train each arm and bring back its curves."""
    world = build(TASK, seed=seed, steps=1200)
    settings = {
        "max_steps": steps,
        "seed": seed,
        "max_completion_length": 16,
        "learning_rate": 5e-4,
        "per_device_train_batch_size": 128,
    }
    arms = {name: trained(world, recipe, measure, window=5, **settings) for name, recipe in recipes().items()}
    return by_quantity(arms)


if __name__ == "__main__":
    present("short_answers", run, title="A length penalty on all prompts, or on those that are solved")
