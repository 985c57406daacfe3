"""Members of an ensemble trained side by side beside one after the other: from rows to saved folders, the same steps.

Llama-shaped classifiers of two layers, float32, as many threads as there are cores, arms taking turns. CPU time counts
the processes that an arm starts. The start of the server that they are forked from, paid once, is warmed up. Last come
forward and backward pass alone.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.ratios import Ratio, ratio
from rewardsmith.data import PreferenceRow

K, REPEATS = 4, 5
ARMS = ("no", "stacked", "processes")
NAMES = {"stacked": "stacked in one run", "processes": "in processes of their own"}


class Size(NamedTuple):
    """Width of the model, tokens a text, pairs a batch (two texts each), updates."""

    width: int
    tokens: int
    batch: int
    steps: int


SIZES = (
    Size(16, 16, 8, 150),
    Size(32, 32, 8, 120),
    Size(64, 64, 16, 60),
    Size(128, 64, 16, 30),
    Size(128, 128, 32, 12),
)


def measure(*, sizes: tuple[Size, ...] = SIZES, repeats: int = REPEATS) -> list[Ratio]:
    """Ratios of wall and of CPU time; see the module."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threads, level = torch.get_num_threads(), logging.root.manager.disable
    torch.set_num_threads(os.cpu_count() or 1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    try:
        with tempfile.TemporaryDirectory() as folder:
            whole = [row for size in sizes for row in _compared(size, repeats, Path(folder))]
        return [*whole, *(_passes(size, 2 * repeats - 1) for size in sizes)]
    finally:
        torch.set_num_threads(threads)
        logging.disable(level)


def _compared(size: Size, repeats: int, folder: Path) -> list[Ratio]:
    start = _start(size, folder / f"start-{size}")
    for arm in ARMS:
        _seconds(arm, size._replace(steps=2), start)
    seconds: dict[str, list[tuple[float, float]]] = {arm: [] for arm in ARMS}
    for repeat in range(repeats):
        for arm in ARMS[:: 1 if repeat % 2 else -1]:
            seconds[arm].append(_seconds(arm, size, start))
    note = f"width {size.width}, {size.tokens} tokens, {size.batch} pairs a batch, {size.steps} updates"
    return [
        ratio(f"{K} members {name}, {clock} time", "one after the other",
              [mine[place] / theirs[place] for mine, theirs in zip(seconds[arm], seconds["no"], strict=True)],
              note=note)
        for arm, name in NAMES.items()
        for place, clock in enumerate(("wall", "CPU"))
    ]  # fmt: skip


def _passes(size: Size, repeats: int) -> Ratio:
    """Forward and backward pass alone, wall time: what stacking costs where nothing else is shared."""
    from benchmarks.reward_scoring import make_classifier
    from rewardsmith.engines.trl.stacked import StackedMembers
    from rewardsmith.worlds.arithmetic_lm import make_tokenizer

    members = [make_classifier(make_tokenizer(), width=size.width).train() for _ in range(K)]
    ids = torch.randint(2, 20, (2 * size.batch, size.tokens), generator=torch.Generator().manual_seed(0))
    arms: dict[bool, list[Any]] = {True: [StackedMembers(members).train()], False: members}
    seconds: dict[bool, list[float]] = {arm: [] for arm in arms}
    for repeat in range(-1, repeats):  # the first is the warm-up
        for arm in list(arms)[:: 1 if repeat % 2 else -1]:
            start = time.perf_counter()
            for _ in range(max(1, size.steps // 4)):
                for model in arms[arm]:
                    model(input_ids=ids, use_cache=False).logits.square().mean().backward()
                    model.zero_grad()
            seconds[arm].append(time.perf_counter() - start)
    ratios = [mine / theirs for mine, theirs in zip(seconds[True][1:], seconds[False][1:], strict=True)]
    note = f"width {size.width}, {size.tokens} tokens, {size.batch} pairs a batch"
    return ratio(
        f"forward and backward pass of {K} members stacked, wall time", "one after the other", ratios, note=note
    )


def _start(size: Size, folder: Path) -> Path:
    """A folder with an untrained model of that width and its tokenizer."""
    from benchmarks.reward_scoring import make_classifier
    from rewardsmith.worlds.arithmetic_lm import make_tokenizer

    tokenizer = make_tokenizer()
    make_classifier(tokenizer, width=size.width).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _seconds(arm: Any, size: Size, start: Path) -> tuple[float, float]:
    """Wall and CPU seconds from rows to K folders."""
    import datasets
    from transformers.utils import logging as hub_logging

    from rewardsmith.engines.trl import Member, RewardFit, fit_members

    datasets.disable_progress_bars()
    hub_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    words = (size.tokens - 4) // 2  # a word and its blank are two tokens, prompt and end the rest
    rows = [PreferenceRow(f"{k % 9}=", "so " * words, "maybe " * words) for k in range(256)]
    with tempfile.TemporaryDirectory() as out:
        members = [
            Member(rows, start, Path(out, str(k)), RewardFit(max_steps=size.steps, batch_size=size.batch, seed=k))
            for k in range(K)
        ]
        wall, cpu = time.perf_counter(), _cpu()
        fit_members(members, side_by_side=arm)
        return time.perf_counter() - wall, _cpu() - cpu


def _cpu() -> float:
    """CPU seconds of this process and of all that it, or the server it forks from, has started."""
    import psutil

    def whole(process: Any) -> float:
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    here = psutil.Process()
    return whole(here) + sum(map(whole, here.children(recursive=True)))
