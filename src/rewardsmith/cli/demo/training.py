"""Training of a small language model on a reward with TRL, with the true score measured at every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from rewardsmith._pictures import HOUSE_STYLE
from rewardsmith.data import Row
from rewardsmith.worlds import ArithmeticLM, arithmetic_gold

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GROUP, BATCH, MAX_TOKENS = 8, 64, 16
SMOOTH = 8  # steps per point of the drawn curve


class Arm(NamedTuple):
    """One training run: its name, and proxy and gold at every step."""

    name: str
    proxy: list[float]
    gold: list[float]
    alarms: list[str]
    samples: list[tuple[str, str]]

    def ends(self, curve: Sequence[float], n: int = 20) -> tuple[float, float]:
        """Return the means over the first and the last `n` steps of a curve."""
        return sum(curve[:n]) / n, sum(curve[-n:]) / n


def audit_rows(world: ArithmeticLM, n: int, seed: int) -> list[Row]:
    """Draw the world's own prompts, without repeats, for the audit of the reward that it will be trained on."""
    drawn = world.rows(8 * n, generator=torch.Generator().manual_seed(seed))
    unique = {row["prompt"]: row["answer"] for row in drawn}
    return [Row(prompt, columns={"answer": answer}) for prompt, answer in list(unique.items())[:n]]


def train_arm(world: ArithmeticLM, reward: Callable[..., Any], name: str, *, steps: int, seed: int) -> Arm:
    """Train a fresh copy of the policy on `reward` with GRPO; gold is only measured."""
    from rewardsmith.engines.trl import GRPOTrainer, HackingMonitor
    from rewardsmith.engines.trl.trainers import GRPOConfig

    watch = HackingMonitor(gold=arithmetic_gold, reward=reward, on_alarm="log")
    policy = world.reload()
    trainer = GRPOTrainer(
        policy.model,
        reward,
        args=GRPOConfig(
            output_dir=str(world.folder),
            per_device_train_batch_size=BATCH,
            num_generations=GROUP,
            max_completion_length=MAX_TOKENS,
            learning_rate=3e-4,
            lr_scheduler_type="constant",
            max_steps=steps,
            beta=0.0,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_steps=steps,
            disable_tqdm=True,
            seed=seed,
        ),
        train_dataset=world.rows(1024, generator=torch.Generator().manual_seed(seed)),
        processing_class=world.tokenizer,
        callbacks=[watch],
    )
    trainer.train()
    proxy, gold = ([math.nan if r[key] is None else r[key] for r in watch.history] for key in ("proxy", "gold"))
    prompts: list[str] = policy.rows(4, generator=torch.Generator().manual_seed(seed + 1))["prompt"]
    batch: Any = policy.tokenizer(list(prompts), padding=True, return_tensors="pt")
    model: Any = policy.model
    ids = model.generate(**batch, max_new_tokens=MAX_TOKENS, do_sample=False)
    written = policy.tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    samples = list(zip(prompts, written, strict=True))  # greedy answers
    return Arm(name, proxy, gold, [str(alarm) for alarm in watch.alarms], samples)


def draw(arms: Sequence[Arm]) -> list[Figure]:
    """Draw proxy and gold of every arm, one figure each on one scale."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figures = []
    with rc_context(fname=HOUSE_STYLE):
        for arm in arms:
            figure = Figure(figsize=(4.1, 3.1), layout="constrained")
            axes = figure.subplots()
            for curve, label, color in (
                (arm.proxy, "reward (proxy)", "#2f6db3"),
                (arm.gold, "true score (gold)", "#b7791f"),
            ):
                draw_curve(axes, curve, color=color, label=label)
            axes.set(title=arm.name, xlabel="training step", ylabel="mean over the batch", ylim=(-0.03, 1.03))
            figure.legend(loc="outside lower center", ncols=2, fontsize=10)
            figures.append(figure)
    return figures


def draw_curve(axes: Axes, *curves: Sequence[float], color: str, label: str) -> None:
    """Draw a value per training step as a faint line, and its means over eight steps as a thick one.

    Of several curves, one per seed, the thick line is the mean, in a band from the least to the greatest.
    """
    starts = range(0, len(curves[0]) - SMOOTH + 1, SMOOTH)
    steps = [i + SMOOTH / 2 for i in starts]
    seeds = list(zip(*([sum(curve[i : i + SMOOTH]) / SMOOTH for i in starts] for curve in curves), strict=True))
    if len(curves) == 1:
        axes.plot(range(len(curves[0])), curves[0], color=color, alpha=0.2, linewidth=0.8)
    else:
        axes.fill_between(steps, [*map(min, seeds)], [*map(max, seeds)], color=color, alpha=0.15, linewidth=0)
    axes.plot(steps, [sum(means) / len(means) for means in seeds], color=color, linewidth=2, label=label)
