"""What our TRL trainers cost over TRL's own on the same work.

Every repeat trains each arm once, in an order that rotates, on the same prompts from the same start. The rewards and
the learning rate of 0 keep the work the same: no arm drifts into longer completions than another. A ratio compares an
arm with TRL's own run of the *same* repeat, so that a machine that slows down for a while slows both.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import time
from typing import Any

import torch

REPEATS, STEPS, WARM_UP = 9, 20, 3
ARMS = {"trl": "trl", "ours": "trl", "options": "trl", "monitored": "trl"}
"""Arm → the arm of TRL's own class that it is compared with."""
REUSING = {"reused": "reused", "clamped": "reused"}
"""The same for arms of GRPO that learn twice from each batch, without which no log-ratio differs from 0."""


def measure(*, repeats: int = REPEATS, steps: int = STEPS) -> dict[str, Any]:
    """Steps per second of each arm, and its time as a ratio to TRL's: median, quartiles and every repeat.

    Arms: `trl` is TRL's own class, `ours` the same with no option, `options` with transform, advantage and filter,
    `monitored` with a `HackingMonitor` that scores gold at every step besides. `clamped` has the clamp of log-ratios
    and the filter of advantages; it and `reused`, which is TRL's own class, learn twice from each batch.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from rewardsmith.worlds import ArithmeticLM

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        world = ArithmeticLM.build(f"{folder}/world", generator=torch.Generator().manual_seed(0))
        return {
            name: _compare(name, world, folder, repeats=repeats, steps=steps) for name in ("GRPOTrainer", "RLOOTrainer")
        }


def _compare(trainer: str, world: Any, folder: str, *, repeats: int, steps: int) -> dict[str, Any]:
    compared = ARMS | (REUSING if trainer == "GRPOTrainer" else {})
    arms = list(compared)
    seconds: dict[str, list[float]] = {arm: [] for arm in arms}
    for arm in arms:
        _seconds(trainer, arm, world, folder, steps=WARM_UP)
    for repeat in range(repeats):
        shift = repeat % len(arms)
        for arm in (*arms[shift:], *arms[:shift]):
            seconds[arm].append(_seconds(trainer, arm, world, folder, steps=steps))
    return {arm: _summary(seconds[arm], seconds[over], steps=steps) for arm, over in compared.items()}


def _summary(seconds: list[float], baseline: list[float], *, steps: int) -> dict[str, Any]:
    ratios = [mine / theirs for mine, theirs in zip(seconds, baseline, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {
        "steps_per_second": statistics.median(steps / s for s in seconds),
        "ratio": median,
        "ratio_quartiles": [low, high],
        "ratios": ratios,
    }


def _seconds(trainer: str, arm: str, world: Any, folder: str, *, steps: int) -> float:
    """CPU seconds of one training run, without making the trainer; other processes on the machine do not count."""
    run = _make(trainer, arm, world, folder, steps=steps)
    start = time.process_time()
    run.train()
    return time.process_time() - start


def _make(trainer: str, arm: str, world: Any, folder: str, *, steps: int) -> Any:
    import trl
    from transformers.utils import logging

    from rewardsmith.advantages import drop_dead_groups, filtered, group_zscore, leave_one_out
    from rewardsmith.engines import trl as ours
    from rewardsmith.transforms import clip_rewards
    from rewardsmith.worlds import arithmetic_gold, substring_reward

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    options: dict[str, Any] = {}
    if arm in ("options", "monitored"):
        advantage = group_zscore if trainer == "GRPOTrainer" else leave_one_out
        options = {"transform": clip_rewards, "advantage": advantage, "sample_filter": drop_dead_groups}
    if arm == "monitored":
        options["callbacks"] = [ours.HackingMonitor(gold=arithmetic_gold, reward=substring_reward, on_alarm="log")]
    if arm == "clamped":
        options = {"log_ratio_clamp": math.log(1e3), "advantage": filtered}
    config = getattr(trl, trainer.replace("Trainer", "Config"))(
        output_dir=folder,
        per_device_train_batch_size=64,
        num_generations=8,
        max_completion_length=16,
        learning_rate=0.0,
        max_steps=steps,
        beta=0.0,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        logging_steps=1,
        disable_tqdm=True,
        log_level="error",
        num_iterations=2 if arm in REUSING else 1,
    )
    return getattr(trl if arm in ("trl", "reused") else ours, trainer)(
        world.reload().model,
        substring_reward,
        args=config,
        train_dataset=world.rows(512, generator=torch.Generator().manual_seed(1)),
        processing_class=world.tokenizer,
        **options,
    )
