"""What every example shares: a small policy, its training on a CPU, and how curves are drawn."""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from transformers import PrinterCallback
from transformers.utils import logging
from trl import GRPOConfig  # type: ignore[attr-defined]

from examples.watch import Rows, Watch, table
from rewardsmith._pictures import HOUSE_STYLE, picture_svg
from rewardsmith.cli.demo.training import draw_curve
from rewardsmith.data import segment_steps
from rewardsmith.engines.trl import GRPOTrainer
from rewardsmith.worlds import ArithmeticLM
from rewardsmith.worlds.arithmetic_lm import Task

IMAGES = Path(__file__).parent.parent / "docs" / "images" / "examples"
LINES = partial(segment_steps, separator="\n")
Panels = dict[str, dict[str, list[float]]]
"""quantity → arm → a value per training step"""


def seeded(seed: int) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def build(task: Task | None = None, *, seed: int = 0, steps: int = 150) -> ArithmeticLM:
    """A small policy for `task`, warm-started by imitation, in a temporary folder."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return ArithmeticLM.build(tempfile.mkdtemp(prefix="rewardsmith-"), task=task, generator=seeded(seed), steps=steps)


def trained(
    world: ArithmeticLM,
    reward: Any,
    measure: Callable[[Rows], Mapping[str, float]],
    *,
    rows: int = 4096,
    window: int = 1,
    segment: Any = segment_steps,
    after: Callable[[Any], None] | None = None,
    **settings: Any,
) -> dict[str, list[float]]:
    """Train the world's policy on a reward or recipe; quantity → a value per training step.

    Args:
        measure, window: as in `Watch`.
        segment: cuts completions into steps, for a recipe that has some.
        after: called with the trained model.
        settings: fields of TRL's configuration, in place of those that a CPU run of seconds needs.
    """
    usual = {
        "output_dir": tempfile.mkdtemp(prefix="rewardsmith-"),
        "per_device_train_batch_size": 64,
        "num_generations": 8,
        "max_completion_length": 24,
        "lr_scheduler_type": "constant",
        "beta": 0.0,
        "scale_rewards": "none",
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1000,
        "disable_tqdm": True,
    }
    config = GRPOConfig(**{**usual, **settings})
    watch = Watch(measure, window=window)
    trainer = GRPOTrainer(
        world.reload().model,
        reward,
        segment=segment,
        args=config,
        train_dataset=world.rows(rows, generator=seeded(config.seed)),
        processing_class=world.tokenizer,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)  # its summary is a screen long
    trainer.train()
    if after is not None:
        after(trainer.model)
    return watch.curves


def sampled(world: ArithmeticLM, model: Any, prompts: Sequence[str], *, seed: int, max_tokens: int = 16) -> list[str]:
    """Draw one completion per prompt from a model of the world's tokenizer."""
    batch = world.tokenizer(list(prompts), padding=True, return_tensors="pt").to(model.device)
    training = model.training
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        ids = model.train(mode=False).generate(**batch, max_new_tokens=max_tokens, do_sample=True, top_k=0)
    model.train(mode=training)
    return list(world.tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True))


def present(
    name: str, run: Callable[..., Panels], *, title: str, bounded: Sequence[str] = (), seeds: Sequence[int] = (0,)
) -> None:
    """Run an example with the command line's seed, or with all `seeds`; draw and print what it brings back."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int)
    given = parser.parse_args().seed
    runs = [run(seed=seed) for seed in (seeds if given is None else [given])]
    draw(name, *runs, title=title, bounded=bounded)
    for panels in runs:
        print(table(panels))


def draw(
    name: str, *runs: Mapping[str, Mapping[str, Sequence[float]]], title: str, bounded: Sequence[str] = ()
) -> Path:
    """Draw one panel per quantity with one smoothed curve per arm, and save it among the pictures of the docs.

    Args:
        runs: quantity → arm → a value per training step, of each seed. With several seeds a curve is their mean, in a
            band from the least to the greatest.
        bounded: quantities whose axis runs from 0 to 1.
    """
    panels = runs[0]
    rows = 1 if len(panels) < 3 else 2
    columns = math.ceil(len(panels) / rows)
    with rc_context({"font.size": 9, "axes.titlesize": 10}, fname=HOUSE_STYLE):
        figure = Figure(figsize=(2.9 * columns, 2.3 * rows + 0.5), layout="constrained")
        figure.suptitle(title)
        cells = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes, (quantity, arms) in zip(cells, panels.items(), strict=False):
            for place, arm in enumerate(arms):
                draw_curve(axes, *(run[quantity][arm] for run in runs), color=f"C{place}", label=arm)
            axes.set(title=quantity, xlabel="training step")
            if quantity in bounded:
                axes.set_ylim(-0.03, 1.03)
        lines, arms_drawn = cells[0].get_legend_handles_labels()
        if len(panels) < len(cells):
            cells[-1].set_axis_off()
            cells[-1].legend(lines, arms_drawn, loc="center")
        else:
            figure.legend(
                lines, arms_drawn, loc="outside lower center", ncols=len(lines) if len(lines) < 4 else columns
            )
        path = IMAGES / f"{name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(picture_svg(figure), encoding="utf-8")
    print(f"Drawn: {path}")
    return path
