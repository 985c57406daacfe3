"""Training of an ensemble: its members one after the other, in separate processes, or stacked in one run."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PrinterCallback, set_seed

from rewardsmith._check import check_choice
from rewardsmith._processes import end_with_parent
from rewardsmith.data import PreferenceRow, to_dataset
from rewardsmith.engines.trl import fit as fitting
from rewardsmith.engines.trl.reading import loaded, ready
from rewardsmith.engines.trl.stacked import KEPT_BY, MembersTrainer, StackedMembers

SideBySide = Literal["no", "processes", "stacked"]


class Member(NamedTuple):
    """One member: the arguments of `fit_reward_model`."""

    rows: fitting.Rows
    model: str | Path
    out: str | Path
    fit: fitting.RewardFit


def fit_members(
    members: Sequence[Member], *, side_by_side: SideBySide = "no", n_processes: int | None = None
) -> list[Path]:
    """Train every member and save each to its own `out`, an ordinary reward model.

    - "no": one after the other, as `fit_reward_model` does; the least memory.
    - "processes": the same, each in a separate process with its share of the threads. Members equal those of "no" up to
      the rounding of another number of threads. Memory: `n_processes` trainings. The calling module has to be
      importable (`if __name__ == "__main__":` in a script).
    - "stacked": one training of `StackedMembers`, for pairs and members of one architecture and tokenizer whose
      settings differ by seed alone. All read the union of their rows in one order, that of the first member's seed.
      Each learns from its own rows; an epoch is a pass over the union. Memory: K trainings.

    The same call resumes an interrupted training and skips finished members.

    Args:
        n_processes: at the same time; by default one per member, at most one per core.

    Raises:
        ValueError: the members cannot be stacked, or a folder holds another model.
        RuntimeError: a process was killed.
    """
    check_choice("fit_members", "side_by_side", side_by_side, get_args(SideBySide))
    if side_by_side == "no" or len(members) == 1:
        return [fitting.fit_reward_model(*member) for member in members]
    if side_by_side == "stacked":
        _check(members)
        records = [fitting.record_of(m.rows, m.model, m.fit, stacked=len(members)) for m in members]
        outs = [Path(member.out) for member in members]
        fitting.fill(outs, records, lambda work: _trainer(members, work), lambda stack, k: stack.member(k))
        return outs
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n = min(len(members), n_processes or cores)
    server = "forkserver" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if server else "spawn")
    if server:
        context.set_forkserver_preload(["rewardsmith.engines.trl"])  # imported once for all
    threads = max(1, torch.get_num_threads() // n)
    with ProcessPoolExecutor(n, mp_context=context, initializer=_start, initargs=(threads,)) as pool:
        waiting = [pool.submit(fitting.fit_reward_model, *member) for member in members]
        try:
            return [future.result() for future in waiting]
        except BrokenProcessPool as error:
            raise RuntimeError(
                f"fit_members: one of {n} processes was killed, perhaps for lack of memory. Finished members "
                "are kept. Run the same call again, with a smaller n_processes or one member after the other."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _start(threads: int) -> None:
    """Prepare a process: let it end with its parent, set its share of the threads, and silence it."""
    end_with_parent()
    torch.set_num_threads(threads)
    quiet()


def quiet() -> None:
    """Silence progress bars, warnings of names that transformers will change, and all of its log but errors."""
    import warnings

    import datasets
    from transformers.utils import logging

    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def _trainer(members: Sequence[Member], work: Path) -> MembersTrainer:
    fit = members[0].fit
    learners, tokenizer = [], None
    for member in members:
        set_seed(member.fit.seed)  # the head is drawn at random
        options = {"num_labels": 1, "trust_remote_code": fit.trust_remote_code}
        model, tokenizer = ready(str(member.model), tokenizer, AutoModelForSequenceClassification, **options)
        if fit.head_only:
            model.base_model.requires_grad_(False)
        learners.append(model)
    chat = bool(tokenizer and tokenizer.chat_template)
    rows: dict[tuple[str, int], Any] = {}  # every row that some member has, once; of equal rows the first is the first
    owners: dict[tuple[str, int], set[int]] = {}
    for k, member in enumerate(members):
        times: Counter[str] = Counter()
        for row in member.rows:
            text = fitting.digest([row])
            times[text] += 1
            rows.setdefault((text, times[text]), row)
            owners.setdefault((text, times[text]), set()).add(k)
    kept = [[k in own for k in range(len(members))] for own in owners.values()]
    dataset = to_dataset([fitting.written(row, fit, chat=chat) for row in rows.values()]).add_column(KEPT_BY, kept)
    args = fitting.pair_arguments(work, fit)
    trainer = MembersTrainer(StackedMembers(learners), args, train_dataset=dataset, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _check(members: Sequence[Member]) -> None:
    """Raise ValueError where one run cannot train the members."""
    where = "Train them one after the other or in processes of their own."
    if not all(member.rows and all(isinstance(row, PreferenceRow) for row in member.rows) for member in members):
        raise ValueError(f"fit_members: only members with pairs to learn from can be stacked. {where}")
    if len({replace(member.fit, seed=0) for member in members}) > 1:
        raise ValueError(f"fit_members: the settings of stacked members differ by more than the seed. {where}")
    if members[0].fit.lora_rank:
        raise ValueError(
            f"fit_members: stacked members train all their weights, and lora_rank asks for adapters. {where}"
        )
    trust = members[0].fit.trust_remote_code
    tokenizers = [loaded(AutoTokenizer, start, trust) for start in dict.fromkeys(str(m.model) for m in members)]
    if any((t.get_vocab(), t.chat_template) != (tokenizers[0].get_vocab(), tokenizers[0].chat_template)
           for t in tokenizers):  # fmt: skip
        raise ValueError(f"fit_members: the members' starts have different tokenizers, so no batch fits all. {where}")
