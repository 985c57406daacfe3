"""make .venv/.installed && .venv/bin/python -m examples.anchored_dpo

Few labeled pairs and a small β: DPO ranks the pairs right, and the policy moves to answers that no pair speaks of. A
likelihood term on the chosen answers holds it. So does a larger β. Liu et al. 2024, arXiv:2405.16436 (RPO).
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from transformers import PrinterCallback, TrainerCallback
from trl import DPOConfig  # type: ignore[attr-defined]

from examples.support import Panels, build, present, sampled, seeded
from examples.watch import by_quantity
from rewardsmith.engines.trl import Anchor, PreferenceTrainer
from rewardsmith.worlds import ArithmeticLM, arithmetic_gold

PROMPTS = [f"{a}+{b}=" for a in range(10) for b in range(10)]
LABELED, PAIRS = 40, 4  # prompts with pairs, and pairs of each; equal answers are left out
SMALL, LARGE = 0.01, 3.0
ARMS: dict[str, dict[str, Any]] = {
    f"DPO, β = {SMALL}": {"beta": SMALL},
    f"anchored DPO, β = {SMALL}": {"beta": SMALL, "anchor": Anchor(0.02, "sum")},
    f"DPO, β = {LARGE}": {"beta": LARGE},
    "chosen answers imitated": {"loss_type": ["sft"]},
}


def labeled_pairs(world: ArithmeticLM, *, seed: int) -> Dataset:
    """Pairs of the policy's own answers; a right one beats a wrong one in 95 of 100 pairs, other pairs are a coin."""
    generator = seeded(seed)
    asked = torch.randperm(len(PROMPTS), generator=generator)[:LABELED].repeat_interleave(PAIRS).tolist()
    prompts = [PROMPTS[i] for i in asked]
    first, second = (sampled(world, world.model, prompts, seed=2 * seed + k) for k in range(2))
    right = [torch.tensor(arithmetic_gold(prompts, answers)) for answers in (first, second)]
    kept = torch.rand(len(prompts), generator=generator) < torch.sigmoid(3 * (right[0] - right[1]))
    rows = [
        {"prompt": prompt, "chosen": a if as_drawn else b, "rejected": b if as_drawn else a}
        for prompt, a, b, as_drawn in zip(prompts, first, second, kept.tolist(), strict=True)
        if a != b
    ]
    return Dataset.from_list(rows)


class Gold(TrainerCallback):
    """Share of right answers to every prompt, one drawn after each step; no arm sees it."""

    def __init__(self, world: ArithmeticLM) -> None:
        self.world, self.curve = world, list[float]()

    def on_step_end(self, args: Any, state: Any, control: Any, *, model: Any, **rest: Any) -> None:
        """Called by the trainer."""
        answers = sampled(self.world, model, PROMPTS, seed=state.global_step)
        self.curve.append(sum(right or 0.0 for right in arithmetic_gold([*PROMPTS], [*answers])) / len(answers))


def trained_on(
    world: ArithmeticLM, pairs: Dataset, *, steps: int, seed: int, anchor: Any = None, **settings: Any
) -> Any:
    """Train a fresh copy of the policy on the pairs; quantity → a value per step."""
    usual = {"per_device_train_batch_size": 32, "learning_rate": 5e-4, "lr_scheduler_type": "constant", "bf16": False}
    usual |= {"use_cpu": True, "gradient_checkpointing": False, "report_to": "none", "save_strategy": "no"}
    usual |= {"logging_steps": 1, "disable_tqdm": True, "output_dir": tempfile.mkdtemp(prefix="rewardsmith-")}
    gold = Gold(world)
    trainer = PreferenceTrainer(
        world.reload().model,
        args=DPOConfig(**{**usual, **settings}, max_steps=steps, seed=seed),
        train_dataset=pairs,
        processing_class=world.tokenizer,
        anchor=anchor,
        callbacks=[gold],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "rewards/accuracies" in entry]
    return {
        "pairs ranked right (proxy)": [entry["rewards/accuracies"] for entry in logged],
        "right answers (gold)": gold.curve,
        "log-probability of chosen answers": [entry["logps/chosen"] for entry in logged],
    }


def run(*, steps: int = 100, seed: int = 0) -> Panels:
    """Train each arm and bring back its curves."""
    disable_progress_bars()
    world = build(seed=seed)
    pairs = labeled_pairs(world, seed=seed)
    return by_quantity({name: trained_on(world, pairs, steps=steps, seed=seed, **arm) for name, arm in ARMS.items()})


if __name__ == "__main__":
    bounded = ["pairs ranked right (proxy)", "right answers (gold)"]
    present("anchored_dpo", run, title="Few pairs: a likelihood term, or a larger β", bounded=bounded, seeds=(0, 1, 2))
