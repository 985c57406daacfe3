"""make .venv/.installed && .venv/bin/python -m examples.reward_model

From preferences to a policy, by command: a labeler who likes right answers, and long ones a little, compares answers;
reward models are trained on its labels, audited, and the policy is trained on one of them, or on the least of several.
What one model likes by mistake the policy finds. Coste et al. 2023, arXiv:2310.02743; Eisenstein et al. 2023,
arXiv:2312.09244.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from examples.labeler import write_preferences
from examples.support import Panels, build, present, trained
from examples.watch import Rows, by_quantity
from rewardsmith.cli import app
from rewardsmith.rewards import RewardEnsemble, load_reward_model
from rewardsmith.transforms import member_mean, member_quantile
from rewardsmith.worlds import Sums, arithmetic_gold

MEMBERS = 4
ARMS = {
    "one model": (1, member_mean),
    "mean of four": (MEMBERS, member_mean),
    "least of four": (MEMBERS, member_quantile),
}


def command(*arguments: object) -> None:
    """Run `rewardsmith …` in this process, which has loaded everything it needs."""
    given = [str(argument) for argument in arguments]
    print("$ rewardsmith", *given, flush=True)
    app(given, standalone_mode=False)


def train_members(folder: Path, preferences: Path, starts: Sequence[Path], *, steps: int, seed: int) -> list[Path]:
    """One command: an ensemble whose members were pretrained, initialized and sampled apart."""
    models = [argument for start in starts for argument in ("--model", start)]
    command("train-reward", preferences, *models, "--out", folder, "--members", MEMBERS, "--held-out", 0.05,
            "--max-steps", steps, "--learning-rate", 1e-3, "--center", 0.01, "--seed", seed)  # fmt: skip
    return [folder / f"member-{k}" for k in range(MEMBERS)]


def run(
    *, steps: int = 150, seed: int = 0, pairs: int = 2000, fit_steps: int = 300, folder: Path | None = None
) -> Panels:
    """Train each arm and bring back its curves."""
    folder = folder or Path(tempfile.mkdtemp(prefix="rewardsmith-"))
    worlds = [build(Sums(max_operand=5), seed=100 * seed + k) for k in range(MEMBERS)]
    world = worlds[0]
    prompts, completions = write_preferences(world, folder / "preferences.jsonl", n=pairs, seed=seed)
    places = train_members(
        folder / "rm", folder / "preferences.jsonl", [w.folder for w in worlds], steps=fit_steps, seed=10 * seed
    )
    write_preferences(world, folder / "fresh.jsonl", n=pairs // 5, seed=10_000 + seed)
    command("audit", places[0], folder / "fresh.jsonl", "--budget", 3 * pairs, "--out", folder / "report")
    members = [load_reward_model(place) for place in places]
    arms = {}
    for name, (n, aggregate) in ARMS.items():
        reward = RewardEnsemble(members[:n], aggregate, normalize="ref_zscore")
        reward.fit_reference([*prompts[:256]], [*completions[:256]])
        arms[name] = trained(world, reward, partial(measure, reward), max_steps=steps, seed=seed, learning_rate=5e-4)
    return by_quantity(arms)


def measure(reward: RewardEnsemble, rows: Rows) -> dict[str, float]:
    """What the policy is paid, the right answers that nothing pays for, and length."""
    paid = [score for score in reward.score(rows["prompts"], rows["completions"]) if score is not None]
    gold = arithmetic_gold(rows["prompts"], rows["completions"])
    return {
        "reward (proxy)": sum(paid) / max(len(paid), 1),
        "right answers (gold)": sum(right or 0.0 for right in gold) / len(gold),
        "tokens": sum(rows["lengths"]) / len(gold),
    }


if __name__ == "__main__":
    title = "A policy on one learned reward model, and on several"
    present("reward_model", run, title=title, bounded=["right answers (gold)"])
