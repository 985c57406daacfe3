"""Called by `test_two_processes.py` as one process, and run by it under `accelerate launch` as two.

Completions come from a formula over the row's place in the gathered batch, so that both runs see the same data; groups
of 8 straddle the processes (4 rows each). The model is in float64: rows are summed in another order, nothing else
differs, so the results agree to rounding. usage: two_processes.py WORLD OUT COMMAND

COMMAND, arguments of `rewardsmith`, is run first, as `python -m rewardsmith` is in fresh processes; what it prints goes
to OUT.RANK.stdout and OUT.RANK.stderr.

Of the settings "steps" is GRPO with a process reward and the library's own transform, credit and filter of groups and
batches.
"""

import contextlib
import os
import runpy
import sys
import tempfile
from functools import partial

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import trl
from datasets import Dataset, load_from_disk
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from rewardsmith.advantages import drop_dead_groups, min_returns, rank_filter, step_credit
from rewardsmith.data import segment_steps
from rewardsmith.engines.trl import (
    Anchor,
    GRPOTrainer,
    HackingMonitor,
    PreferenceTrainer,
    RLOOTrainer,
    TokenRegularizer,
)
from rewardsmith.transforms import GRPOLambda
from rewardsmith.worlds import arithmetic_gold

GROUP, ROWS, STEPS = 8, 16, 4
THEN = "and-then"  # between two commands
SETTINGS = ("grpo", "rloo", "steps")
FORMS = ("reference model", "precomputed")  # of the preference trainer's reference


class Fixed:
    """Generates from a formula: row i of the gathered batch answers with i-dependent numbers, 1 to 3 of them.

    With steps, every fifth is cut off, and the first half has one or two numbers, so that the processes' widths differ.
    """

    cut = False

    def _generate_single_turn(self, prompt_ids, *rest):
        rank, n = self.accelerator.process_index, len(prompt_ids)
        texts, ended = [], []
        for row, ids in enumerate(prompt_ids, start=rank * n):
            place = row + 5 * self.state.global_step + sum(ids)
            parts = 1 + place % (2 if self.cut and row < ROWS // 2 else 3)
            texts.append(" or ".join(str((7 * place + 3 * k) % 19) for k in range(parts)))
            ended.append(not self.cut or place % 5 > 0)
        eos = self._tokenizer.eos_token_id
        completion_ids = [
            [*self._tokenizer(text)["input_ids"], *[eos] * whole] for text, whole in zip(texts, ended, strict=True)
        ]
        return (completion_ids, None) if isinstance(self, GRPOTrainer) else completion_ids


def near(completions, answer, **columns):
    """Closeness of the first number; −inf, which must become unscored, after a 17; all equal where 3 is right."""
    scores = [-abs(float(c.split(" or ")[0]) - float(a)) / 10 for c, a in zip(completions, answer, strict=True)]
    scores = [float("-inf") if c.endswith("17") else s for c, s in zip(completions, scores, strict=True)]
    return [0.0 if a == "3" else s for a, s in zip(answer, scores, strict=True)]


def short(completions, answer, **columns):
    """Shortness, unscored for some rows and for every row where 3 is right."""
    return [None if "5" in c or a == "3" else float(len(c) < 4) for c, a in zip(completions, answer, strict=True)]


def from_group_median(rewards, *, group_size, answer):
    """A group transform that also reads a column, to prove that columns are gathered in the order of the rewards."""
    grouped = rewards.reshape(-1, group_size)
    middle = grouped.nanmedian(dim=1, keepdim=True).values
    return torch.tanh(grouped - middle).flatten() + 0.01 * torch.tensor([float(a) for a in answer])


def fading(rewards, *, group_size, completion_mask):
    """(B, T) credit that fades along the completion."""
    grouped = rewards.reshape(-1, group_size)
    centered = (grouped - grouped.nanmean(dim=1, keepdim=True)).flatten().nan_to_num()
    return centered[:, None] * completion_mask * 0.8 ** torch.arange(completion_mask.shape[1])


def centered(rewards, *, group_size):
    grouped = rewards.reshape(-1, group_size)
    return (grouped - grouped.nanmean(dim=1, keepdim=True)).flatten()


def small(completions, **columns):
    """A verdict in {0, 1}: is the first number below 12?"""
    return [float(int(c.split(" or ")[0]) < 12) for c in completions]


def step_size(steps, answer, **columns):
    """Closeness of each step to the answer: unscored for a 5, infinite for a 17."""
    near = [[-abs(float(text) - float(a)) / 10 for text in texts] for texts, a in zip(steps, answer, strict=True)]
    special = {"5": None, "17": float("inf")}
    return [
        [special.get(text, score) for text, score in zip(texts, scores, strict=True)]
        for texts, scores in zip(steps, near, strict=True)
    ]


def stages(algorithm):
    """The sources and options of a run."""
    if algorithm == "steps":
        return {"small": small}, {
            "process_rewards": {"size": step_size},
            "segment": partial(segment_steps, separator=" or "),
            "transform": GRPOLambda(fraction=0.5),
            "advantage": partial(step_credit, returns=min_returns, outcome_weight=1.0),
            "sample_filter": partial(rank_filter, n_worst=0, n_random=1),
        }
    return {"near": near, "short": short}, {
        "transform": from_group_median,
        "advantage": fading if algorithm == "grpo" else centered,
        "sample_filter": drop_dead_groups,
    }


class Keep(TrainerCallback):
    def __init__(self):
        self.seen, self.kept_rate = [], []

    def on_rewards(self, args, state, control, *, scored):
        batch = scored.batch
        steps = () if batch.step_mask is None else (*batch.step_rewards.values(), batch.step_mask, batch.step_ends)
        self.seen.append((batch.source_rewards, scored.rewards, scored.advantages, *steps))
        self.kept_rate.append(scored.metrics["rewardsmith/kept_rate"][-1])


def flat(trainer):
    model = trainer.accelerator.unwrap_model(trainer.model)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@contextlib.contextmanager
def command_output(out):
    """Send both streams of the process to files, and take the exit code 0 for the end of the command."""
    before = [os.dup(number) for number in (1, 2)]
    for number, name in ((1, "stdout"), (2, "stderr")):
        with open(f"{out}.{name}", "wb") as file:
            os.dup2(file.fileno(), number)
    try:
        yield
    except SystemExit as end:
        if end.code:
            raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, kept in zip((1, 2), before, strict=True):
            os.dup2(kept, number)


def trained(world, algorithm, *, processes):
    """What a run in one setting saw and came to."""
    ours, config = (RLOOTrainer, trl.RLOOConfig) if algorithm == "rloo" else (GRPOTrainer, trl.GRPOConfig)
    sources, options = stages(algorithm)
    args = config(
        output_dir=tempfile.mkdtemp(prefix="rewardsmith-test-"),
        per_device_train_batch_size=ROWS // processes,
        num_generations=GROUP,
        max_completion_length=12,
        learning_rate=1e-3,
        max_steps=STEPS,
        beta=0.05,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    sums = [(a, b) for a in range(4) for b in range(4)]
    rows = Dataset.from_dict({"prompt": [f"{a}+{b}=" for a, b in sums], "answer": [str(a + b) for a, b in sums]})
    keep, watch = Keep(), HackingMonitor(gold=arithmetic_gold, on_alarm="stop", monitors=[])
    trainer = type("Trainer", (Fixed, ours), {"cut": algorithm == "steps"})(
        AutoModelForCausalLM.from_pretrained(world, dtype=torch.float64),
        sources,
        args=args,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(world),
        callbacks=[keep, watch],
        **options,
    )
    if trainer.ref_model is not None:
        trainer.ref_model.double()
    start = flat(trainer)
    trainer.train()
    return {
        "seen": keep.seen,
        "start": start,
        "weights": flat(trainer),
        "processes": trainer.accelerator.num_processes,
        "history": watch.history,
        "kept_rate": keep.kept_rate,
    }


def pairs(world):
    """Rows with a target, β, weight, token rewards and a completion for an anchor, some missing."""
    tokenizer, rows = AutoTokenizer.from_pretrained(world), []
    for k in range(24):
        a, b = divmod(k, 5)
        row = {"prompt": f"{a}+{b}=", "chosen": str(a + b), "rejected": f"maybe {a} or {b}", "sample": f"so {a + b}"}
        row |= {"target": (0.9, 0.6, None)[k % 3], "beta": (0.1, 0.5, None, 0.3, 0.2)[k % 5]}
        row["weight"] = (1.0, 0.2, float("nan"), 3.0, None, 0.0, 2.0)[k % 7]
        for side in ("chosen", "rejected"):
            n_tokens = len(tokenizer(row[side])["input_ids"]) + 1
            row[f"{side}_token_rewards"] = [((k + t) % 3 - 1) / 2 for t in range(n_tokens)]
        rows.append(row)
    return Dataset.from_list(rows)


def preferred(world, form, rows, *, processes):
    """What a run of `PreferenceTrainer` came to."""
    args = trl.DPOConfig(
        output_dir=tempfile.mkdtemp(prefix="rewardsmith-test-"),
        per_device_train_batch_size=8 // processes,
        learning_rate=1e-3,
        max_steps=4,
        logging_steps=1,
        beta=0.3,
        precompute_ref_log_probs=form == "precomputed",
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = PreferenceTrainer(
        AutoModelForCausalLM.from_pretrained(world, dtype=torch.float64),
        args=args,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(world),
        anchor=Anchor(0.1, "mean", source="sample"),
        token_regularizer=TokenRegularizer(0.2, on_errors=True),
    )
    if trainer.ref_model is not None:
        trainer.ref_model.double()
    start = flat(trainer)
    trainer.train()
    names = ("anchor_nll", "token_regularizer", "rewards/margins")
    logs = [[entry[name] for name in names] for entry in trainer.state.log_history if "anchor_nll" in entry]
    return {
        "start": start,
        "weights": flat(trainer),
        "processes": trainer.accelerator.num_processes,
        "logs": torch.tensor(logs, dtype=torch.float64),
    }


if __name__ == "__main__":
    world, out, *commands = sys.argv[1:]
    place = commands.index(THEN)
    for name, command in (("", commands[:place]), (".outcomes", commands[place + 1 :])):
        sys.argv[1:] = command
        with command_output(f"{out}{name}.{os.environ['RANK']}"):
            runpy.run_module("rewardsmith", run_name="__main__", alter_sys=True)
    torch.set_num_threads(1)
    results = {name: trained(world, name, processes=int(os.environ["WORLD_SIZE"])) for name in SETTINGS}
    rows = load_from_disk(f"{out}.rows")  # TRL's precomputed columns go from one process to the other as a file
    results |= {form: preferred(world, form, rows, processes=int(os.environ["WORLD_SIZE"])) for form in FORMS}
    torch.save(results, f"{out}.{os.environ['RANK']}")
