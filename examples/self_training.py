"""make .venv/.installed && .venv/bin/python -m examples.self_training

A policy labels its own answers and trains on the labels, round after round: by its implicit reward with hard or soft
labels (CREAM, Wang et al. 2024, arXiv:2410.12735), or by a judge that errs and favors the first answer, where the judge
in both orders and the implicit reward agree (SCIR, Zhou et al. 2025, arXiv:2502.08922).
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from transformers import AutoModelForCausalLM, PrinterCallback, TrainerCallback
from trl import DPOConfig  # type: ignore[attr-defined]

from examples.labeler import biased_judge, right_answers
from examples.support import Panels, build, present, sampled
from examples.watch import by_quantity
from rewardsmith.data import PreferenceRow, Row, best_worst_pairs
from rewardsmith.engines import annotators
from rewardsmith.engines.rounds import IterativePreferenceRun, Round
from rewardsmith.engines.trl import PreferenceTrainer
from rewardsmith.worlds import ArithmeticLM

PROMPTS = [f"{a}+{b}=" for a in range(10) for b in range(10)]
GOLD, LABELS = "right answers (gold)", "right labels"
ANSWERS, PER_ROUND = 4, 8  # answers per prompt, and training steps per round
LOAD: Any = AutoModelForCausalLM.from_pretrained
DPO: dict[str, Any] = {"beta": 0.5, "learning_rate": 1.5e-4, "per_device_train_batch_size": 64, "use_cpu": True}
DPO |= {"lr_scheduler_type": "constant", "bf16": False, "gradient_checkpointing": False, "report_to": "none"}
DPO |= {"save_strategy": "no", "disable_tqdm": True, "logging_steps": 1000}


def arms(world: ArithmeticLM) -> dict[str, Any]:
    own, before = (annotators.ImplicitScores(LOAD, world.tokenizer, of=of) for of in ("policy", "previous"))
    every = {"views": lambda at: [biased_judge, annotators.swapped(biased_judge), annotators.differences(own(at))]}

    def smoothed(*given: Any) -> list[Any]:
        return [label._replace(columns={"target": 0.8}) for label in annotators.by_reward(*given, reward=own)]

    return {
        "own reward, hard labels": partial(annotators.by_reward, reward=own),
        "own reward, CREAM": partial(annotators.by_rank_consistency, reward=own, before=before),
        "own reward, labels of 0.8": smoothed,
        "judge": partial(annotators.by_agreement, views=lambda at: [biased_judge]),
        "all views agree (SCIR)": partial(annotators.by_agreement, **every),
        "mean of all views": partial(annotators.by_agreement, **every, threshold=None, soft=True),
    }


class Arm(TrainerCallback):
    """The sampling and training of one arm, and its accuracy after each step, which no label sees."""

    def __init__(self, world: ArithmeticLM, steps: int) -> None:
        self.world, self.steps, self.curves = world, steps, {GOLD: list[float](), LABELS: list[float]()}

    def on_step_end(self, args: Any, state: Any, control: Any, *, model: Any, **rest: Any) -> None:
        answers = sampled(self.world, model, PROMPTS, seed=len(self.curves[GOLD]), max_tokens=8)
        self.curves[GOLD].append(sum(right_answers(PROMPTS, answers)) / len(answers))

    def sample(self, at: Round, rows: Any, seed: int) -> list[list[str]]:
        prompts = [row.prompt_text for row in rows for _ in range(ANSWERS)]
        texts = sampled(self.world, LOAD(at.policy), prompts, seed=seed, max_tokens=8)
        return [texts[i : i + ANSWERS] for i in range(0, len(texts), ANSWERS)]

    def train(self, at: Round, pairs: list[PreferenceRow], out: Path, seed: int) -> None:
        """Train `at.policy`, its own reference, for one round."""
        golds = [right_answers([pair.prompt] * 2, [pair.chosen, pair.rejected]) for pair in pairs]
        known = [better > worse for better, worse in golds if better != worse]
        n = min(PER_ROUND, self.steps - len(self.curves[GOLD]))
        self.curves[LABELS] += [sum(known) / max(len(known), 1)] * n
        config = DPOConfig(str(out), max_steps=n, seed=seed, **DPO)
        data = Dataset.from_list([{"target": 1.0, **pair.record()} for pair in pairs])
        given = {"args": config, "train_dataset": data, "processing_class": self.world.tokenizer, "callbacks": [self]}
        trainer = PreferenceTrainer(LOAD(at.policy), **given)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trainer.model.save_pretrained(out)


def run(*, steps: int = 40, seed: int = 0) -> Panels:
    """Train each arm and bring back its curves."""
    disable_progress_bars()
    world, folder = build(seed=seed), Path(tempfile.mkdtemp(prefix="rewardsmith-"))
    first = world.reload()  # imitates right answers to every fifth prompt; the world's own policy is the base
    optimizer = torch.optim.AdamW(first.model.parameters(), lr=5e-4, weight_decay=0.0)
    for _ in range(5):
        optimizer.zero_grad()
        first._imitate([(f"{a}+{b}=", str(a + b)) for a in range(10) for b in (0, 5)])
        optimizer.step()
    first.model.save_pretrained(folder / "first")
    pair, found = partial(best_worst_pairs, least_distinct=2), {}
    for k, (name, annotate) in enumerate(arms(world).items()):
        arm = Arm(world, steps)
        loop = IterativePreferenceRun(arm.sample, annotate, pair, arm.train, chunk=100, least_entropy=0.0)
        given = {"policy": folder / "first", "base": world.folder, "rounds": -(-steps // PER_ROUND), "seed": seed}
        loop.run(folder / str(k), [Row(prompt) for prompt in PROMPTS], **given)
        found[name] = {quantity: curve + curve[-1:] * (steps - len(curve)) for quantity, curve in arm.curves.items()}
    return by_quantity(found)


if __name__ == "__main__":
    present("self_training", run, title="Training on one's own labels", bounded=[GOLD, LABELS], seeds=(0, 1, 2))
