"""What our preference trainer costs over TRL's on the same pairs, and its memory beside the plain formula.

Time: each repeat trains all arms once, in an order that rotates, from the same start at a learning rate of 0; CPU time.
Memory: a loss with token rewards and its gradient, at a vocabulary of 128,000, in a process of its own each; the plain
formula takes the logits of all tokens at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.ratios import Ratio, ratio

REPEATS, STEPS, WARM_UP = 9, 20, 3
ARMS = ("trl", "ours", "options")
NAMES = {"ours": "our DPO with no option", "options": "with targets, β, weights, token rewards and an anchor"}
VOCABULARY, PAIRS, TOKENS = 128_000, 4, 128


def measure(*, repeats: int = REPEATS, steps: int = STEPS) -> list[Ratio]:
    """Ratios of time to TRL's own, and of memory to the plain formula's."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from rewardsmith.worlds import ArithmeticLM

    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    with tempfile.TemporaryDirectory() as folder:
        world = ArithmeticLM.build(f"{folder}/world", generator=torch.Generator().manual_seed(0))
        for arm in ARMS:
            _seconds(arm, world, folder, steps=WARM_UP)
        for repeat in range(repeats):
            shift = repeat % len(ARMS)
            for arm in (*ARMS[shift:], *ARMS[:shift]):
                seconds[arm].append(_seconds(arm, world, folder, steps=steps))
    times = [
        ratio(name, "TRL's own", [mine / trl for mine, trl in zip(seconds[arm], seconds["trl"], strict=True)],
              note=f"{steps * len(seconds[arm]) / sum(seconds[arm]):.1f} steps/s")
        for arm, name in NAMES.items()
    ]  # fmt: skip
    peaks = {kind: [_child(kind) for _ in range(3)] for kind in LOSSES}
    note = (
        f"peak memory, {VOCABULARY:,} tokens known, {PAIRS} pairs of {TOKENS}; plain {max(peaks['plain']) / 1e6:.0f} MB"
    )
    memory = [mine / plain for mine, plain in zip(peaks["ours"], peaks["plain"], strict=True)]
    return [*times, ratio("loss and gradient with token rewards", "the plain formula", memory, note=note)]


def _seconds(arm: str, world: Any, folder: str, *, steps: int) -> float:
    """CPU seconds of one training run, without making the trainer."""
    import datasets
    import trl
    from transformers.utils import logging

    from rewardsmith.engines.trl import Anchor, PreferenceTrainer, TokenRegularizer

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    datasets.disable_progress_bars()
    pair = {"prompt": "3+4=", "chosen": "the answer is 7", "rejected": "maybe 6 or 7 or 8"}
    kind: Any = trl.DPOTrainer if arm == "trl" else PreferenceTrainer  # type: ignore[attr-defined]
    options: dict[str, Any] = {}
    if arm == "options":
        tokens = {f"{side}_token_rewards": [0.1] * _length(world, pair[side]) for side in ("chosen", "rejected")}
        pair |= {"target": 0.9, "beta": 0.2, "weight": 1.0, **tokens}  # type: ignore[dict-item]
        options = {"anchor": Anchor(0.1, "sum"), "token_regularizer": TokenRegularizer(0.1, "squared")}
    config = trl.DPOConfig(  # type: ignore[attr-defined]
        folder,
        per_device_train_batch_size=32,
        learning_rate=0.0,
        max_steps=steps,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        logging_steps=steps,
        disable_tqdm=True,
        log_level="error",
    )
    rows = datasets.Dataset.from_list([pair] * 64)
    tokenizer = world.tokenizer
    trainer = kind(world.reload().model, args=config, train_dataset=rows, processing_class=tokenizer, **options)
    start = time.process_time()
    trainer.train()
    return time.process_time() - start


def _length(world: Any, text: str) -> int:
    return len(world.tokenizer(text + world.tokenizer.eos_token)["input_ids"])


def _child(kind: str) -> float:
    """Bytes by which a process grows while it computes a loss and its gradient."""
    command = [sys.executable, "-m", "benchmarks.preference_training", kind]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def _ours(policy: Any, reference: Any, batch: dict[str, Any]) -> Any:
    """One loss of the trainer."""
    import datasets
    import trl

    from rewardsmith.engines.trl import PreferenceTrainer, TokenRegularizer
    from rewardsmith.worlds.arithmetic_lm import make_tokenizer

    row = {"prompt": "1", "chosen": "2", "rejected": "3"}
    row |= {f"{side}_token_rewards": [0.0, 0.0] for side in ("chosen", "rejected")}  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        config = trl.DPOConfig(  # type: ignore[attr-defined]
            folder, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none"
        )
        trainer = PreferenceTrainer(
            policy, reference, args=config, train_dataset=datasets.Dataset.from_list([row]),
            processing_class=make_tokenizer(), token_regularizer=TokenRegularizer(0.1, "squared"),
        )  # fmt: skip
    return lambda: trainer.compute_loss(trainer.model, batch)


def _plain(policy: Any, reference: Any, batch: dict[str, Any]) -> Any:
    """The same from the logits of all tokens at once."""
    from rewardsmith.objectives import dpo_loss, per_token_logps, token_reward_regularizer

    def logps(model: Any) -> torch.Tensor:
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return per_token_logps(logits, batch["input_ids"], batch["completion_mask"])

    def loss() -> torch.Tensor:
        with torch.no_grad():
            ref = logps(reference)
        mine = logps(policy)
        terms = token_reward_regularizer(mine, ref, batch["token_rewards"], batch["completion_mask"], form="squared")
        return (dpo_loss(*mine.sum(1).chunk(2), *ref.sum(1).chunk(2)) + 0.1 * terms.view(2, -1).sum(0)).mean()

    return loss


LOSSES: dict[str, Callable[[Any, Any, dict[str, Any]], Any]] = {"ours": _ours, "plain": _plain}


def _peak(kind: str) -> int:
    """Bytes of resident memory at the peak of one loss and gradient, beyond those before it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=VOCABULARY, hidden_size=64, intermediate_size=64, num_hidden_layers=1,
                         num_attention_heads=2, tie_word_embeddings=True)  # fmt: skip
    ids = torch.randint(VOCABULARY, (2 * PAIRS, TOKENS))
    mask = (torch.arange(TOKENS) >= TOKENS // 8).long().expand(2 * PAIRS, -1)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": mask}
    batch["token_rewards"] = torch.rand(ids.shape) - 0.5
    loss = LOSSES[kind](LlamaForCausalLM(config), LlamaForCausalLM(config), batch)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = _status("VmRSS")
    found = loss()
    found.backward()
    print(float(found.detach()))
    return _status("VmHWM") - before


def _status(name: str) -> int:
    """A field of /proc/self/status in bytes."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(_peak(sys.argv[1]))
