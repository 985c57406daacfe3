"""make .venv/.installed && .venv/bin/python -m examples.hybrid_rewards

Answers that can be checked go to the checker, the others to a learned reward; a format and a length term join in. The
learned reward alone hardly tells right sums from wrong ones, and likes length. Gulhane & Indurthi 2025,
arXiv:2510.05283.
"""

from __future__ import annotations

from functools import partial

from examples.support import Panels, build, present, trained
from examples.watch import Rows, by_quantity
from rewardsmith.advantages import group_zscore
from rewardsmith.recipes import Recipe, source
from rewardsmith.rewards import RoutedReward, matches_format
from rewardsmith.transforms import overlong_penalty
from rewardsmith.worlds import MixedPrompts, VerboseJudge, committed_number_reward

TASK = MixedPrompts()  # 2+3= and `tea is `, answered as "so maybe #### 5" and "#### warm, sweet"
in_form = partial(matches_format, pattern=r".*#### (?P<answer>[^#]+)")
judge = VerboseJudge(TASK)
accuracy = source(RoutedReward({"sum": committed_number_reward}, default=judge), "accuracy")
full = (accuracy + 0.5 * source(in_form, "format")).then(
    overlong_penalty, low=3, high=12, weight=0.5, correct=accuracy >= 0.5
)
RECIPES = {
    "judge alone": Recipe(source(judge), advantage=group_zscore),
    "hybrid": Recipe(accuracy, advantage=group_zscore),
    "hybrid, format, length": Recipe(full, advantage=group_zscore),
}


def measure(rows: Rows) -> dict[str, float]:
    """Gold on each kind of prompt, how many answers have the format, and how long they are."""
    gold = TASK.gold(rows["prompts"], rows["completions"])
    kinds = {k: [g for g, t in zip(gold, rows["task"], strict=True) if t == k] for k in ("sum", "open")}
    return {
        "sums right": sum(kinds["sum"]) / max(len(kinds["sum"]), 1),
        "open quality": sum(kinds["open"]) / max(len(kinds["open"]), 1),
        "right format": sum(in_form(rows["completions"])) / len(gold),
        "tokens": sum(rows["lengths"]) / len(gold),
    }


def run(*, steps: int = 250, seed: int = 0) -> Panels:
    """Train each arm and bring back its curves."""
    world = build(TASK, seed=seed, steps=400)
    settings = {"max_steps": steps, "seed": seed, "max_completion_length": 16, "learning_rate": 1e-3}
    arms = {name: trained(world, recipe, measure, window=5, **settings) for name, recipe in RECIPES.items()}
    return by_quantity(arms)


if __name__ == "__main__":
    present(
        "hybrid_rewards",
        run,
        title="Sums to a verifier, the rest to a judge",
        bounded=["sums right", "open quality", "right format"],
    )
