"""Train a reward model from rows to a folder of safetensors, in one call that resumes after an interruption."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PrinterCallback,
    TrainingArguments,
    set_seed,
)
from trl import RewardConfig

from rewardsmith._check import check_choice, check_range
from rewardsmith.data import OutcomeRow, PreferenceRow, RatedRow, StepRow, to_dataset
from rewardsmith.data.steps import STEP_END
from rewardsmith.engines.trl.outcome_trainer import OutcomeLoss, OutcomeTrainer
from rewardsmith.engines.trl.rating_trainer import RatingTrainer, rated_attributes
from rewardsmith.engines.trl.reading import check_adapters, loaded, ready, with_adapters
from rewardsmith.engines.trl.reward_trainer import RewardTrainer
from rewardsmith.engines.trl.step_reward_trainer import StepRewardTrainer

Strength = Literal["ignore", "weight", "margin"]
AnyRow = PreferenceRow | RatedRow | OutcomeRow | StepRow
Rows = Sequence[PreferenceRow] | Sequence[RatedRow] | Sequence[OutcomeRow] | Sequence[StepRow]
RECORD = "training.json"


@dataclass(frozen=True)
class RewardFit:
    """Settings of the training of a reward model.

    epochs, max_steps: passes over the rows, or a number of updates instead.
    batch_size: rows per update and device. learning_rate: at the start; it falls linearly to 0. max_length: in tokens.
    strength: use of `PreferenceRow.strength` where the row lacks such a column: "ignore", "weight" (scaled
        Bradley-Terry, Wang et al. 2024, arXiv:2410.01257), or "margin", in the unit of the scores.
    center: weight of the loss that draws the scores of pairs towards 0, which comparisons leave free (0.01 is usual).
    head_only: freeze the trunk.
    lora_rank, lora_alpha: train the head and low-rank adapters of this rank on the trunk's linear layers, instead of
        all weights; α is 2 · rank if None. The adapters are merged after training. Learning rates are about ten
        times larger. Needs peft.
    step_end: text that ends a step of a solution in steps.
    outcome_loss, beta: the loss and the β of outcomes, as in `OutcomeTrainer`; the settings above about heads and
        strengths do not apply to them.
    trust_remote_code: run the code in the folder or repository of the starting model.
    checkpoint_steps: updates between the checkpoints from which an interrupted training resumes.
    """

    epochs: float = 1.0
    max_steps: int = -1
    batch_size: int = 16
    learning_rate: float = 2e-5
    max_length: int | None = 1024
    strength: Strength = "ignore"
    center: float = 0.0
    head_only: bool = False
    lora_rank: int = 0
    lora_alpha: float | None = None
    step_end: str = STEP_END
    outcome_loss: OutcomeLoss = "ce"
    beta: float = 0.05
    trust_remote_code: bool = False
    gradient_checkpointing: bool = False
    checkpoint_steps: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("RewardFit", "strength", self.strength, get_args(Strength))
        check_choice("RewardFit", "outcome_loss", self.outcome_loss, get_args(OutcomeLoss))
        check_range("RewardFit", "lora_rank", self.lora_rank, 0, math.inf)
        for name in ("epochs", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"RewardFit: {name} is {getattr(self, name)}, which trains nothing. Pass a number above 0."
                )
        if self.max_steps != -1:
            check_range("RewardFit", "max_steps", self.max_steps, 1, math.inf)
        if self.lora_alpha is not None and not (self.lora_rank and self.lora_alpha > 0):
            raise ValueError(
                f"RewardFit: lora_alpha is {self.lora_alpha} with lora_rank={self.lora_rank}. Pass a scale above 0 "
                "beside a rank of at least 1."
            )
        if self.lora_rank and self.head_only:
            raise ValueError(
                f"RewardFit: lora_rank={self.lora_rank} trains adapters of the trunk, and head_only leaves the trunk "
                "as it is. Choose one."
            )
        if self.lora_rank:
            check_adapters("RewardFit")


def fit_reward_model(rows: Rows, model: str | Path, out: str | Path, fit: RewardFit | None = None) -> Path:
    """Train a reward model on rows and save it, with its tokenizer, to `out`.

    Pairs train one head by `RewardTrainer`, rated answers one head per attribute by `RatingTrainer`, solutions in steps
    a token classifier by `StepRewardTrainer`, outcomes a language model by `OutcomeTrainer`. Pairs are written as
    conversations where the tokenizer has a chat template, else as strings; a pair's context goes into its prompt.

    The same call resumes an interrupted training from the last checkpoint. Where `out` is finished, it returns at once.

    Args:
        model: name on the hub or folder of the model to start from, loaded from safetensors.
        out: folder; its `training.json` records how the model was made. `end_token` there says whether strings ended
            with the end token, so that scoring uses the same form.

    Raises:
        ValueError: no rows, `out` holds a model of other rows, settings or start, or the head of the start has another
            size.
    """
    fit, out = fit or RewardFit(), Path(out)
    if not rows:
        raise ValueError("fit_reward_model: there are no rows to train on. Read some, or hold out fewer.")
    record = record_of(rows, model, fit)
    fill(
        [out], [record], lambda work: _trainer(rows, str(model), work, fit),
        lambda trained, _: trained.merge_and_unload() if fit.lora_rank else trained,
    )  # fmt: skip
    return out


def fill(
    outs: Sequence[Path],
    records: Sequence[dict[str, Any]],
    make: Callable[[Path], Any],
    model_of: Callable[[Any, int], Any],
) -> None:
    """Train from the last checkpoint, if any, and save to the folders that are not finished.

    Args:
        records: for each folder, the record of how its model is made.
        make: returns the trainer, given the folder for its checkpoints.
        model_of: returns the model to save, given the trained model and the index of its folder.
    """
    done = []
    for out, record in zip(outs, records, strict=True):
        for place in (out, *([out / "checkpoints"] if _last_checkpoint(out / "checkpoints") else [])):
            if (place / RECORD).is_file():
                found = json.loads((place / RECORD).read_text(encoding="utf-8"))
                found["settings"] = asdict(RewardFit()) | found.get("settings", {})  # of settings that came later
                found["settings"].pop("end_token", None)
                differing = [name for name in record if found.get(name) != record[name]]
                if differing:
                    raise ValueError(
                        f"fit_reward_model: {out} holds a model of other {', '.join(differing)}. "
                        "Take another folder, or remove this one."
                    )
        done.append((out / RECORD).is_file())
    if all(done):
        return
    work = outs[0] / "checkpoints"
    trainer = make(work)
    main = trainer.is_world_process_zero()
    for out, record in zip(outs, records, strict=True):
        if main:
            _note(out / "checkpoints", record)
    trainer.train(resume_from_checkpoint=_last_checkpoint(work))
    if main:
        trained, tokenizer = trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class
        for k, (out, record) in reversed(list(enumerate(zip(outs, records, strict=True)))):  # the first has the state
            model_of(trained, k).save_pretrained(out)
            tokenizer.save_pretrained(out)
            _note(out, record, end_token=tokenizer.eos_token is not None)
            shutil.rmtree(out / "checkpoints")
    trainer.accelerator.wait_for_everyone()


def record_of(rows: Rows, model: str | Path, fit: RewardFit, **more: Any) -> dict[str, Any]:
    """Return the record of how a model is made, for `training.json`."""
    return {
        "start": str(Path(model).resolve() if Path(model).is_dir() else model),
        "rows": digest(rows),
        "n_rows": len(rows),
        "kind": type(rows[0]).__name__,
        "settings": asdict(fit) | more,
    }


def _note(place: Path, record: dict[str, Any], **form: Any) -> None:
    """Write the record to a folder; `form` holds what scoring needs beside the settings."""
    place.mkdir(parents=True, exist_ok=True)
    record = {**record, "settings": record["settings"] | form}
    (place / RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")


def _last_checkpoint(work: Path) -> str | None:
    """Return the last complete checkpoint of an interrupted training; its state is written last."""
    states = []
    for path in work.glob("checkpoint-*/trainer_state.json"):
        with contextlib.suppress(ValueError):
            states.append((json.loads(path.read_text(encoding="utf-8"))["global_step"], str(path.parent)))
    return max(states)[1] if states else None


def _trainer(rows: Rows, model: str, work: Path, fit: RewardFit) -> Any:
    set_seed(fit.seed)  # the head is drawn at random
    first = rows[0]
    tokenizer = loaded(AutoTokenizer, model, fit.trust_remote_code)
    dataset = to_dataset([written(row, fit, chat=bool(tokenizer.chat_template)) for row in rows])
    names = dict(enumerate(rated_attributes(dataset))) if isinstance(first, RatedRow) else {}
    autos = {StepRow: AutoModelForTokenClassification, OutcomeRow: AutoModelForCausalLM}
    auto, headed = autos.get(type(first), AutoModelForSequenceClassification), not isinstance(first, OutcomeRow)
    n_labels = 2 if isinstance(first, StepRow) else len(names) or 1
    called = {"id2label": names, "label2id": {name: place for place, name in names.items()}} if names else {}
    called |= {"num_labels": n_labels} if headed else {}
    learner, tokenizer = ready(model, tokenizer, auto, trust_remote_code=fit.trust_remote_code, **called)
    if fit.head_only and not headed:
        raise ValueError(
            "fit_reward_model: head_only trains a head, and a reward from outcomes has none: it is the ratio of two "
            "language models. Leave head_only out, or train adapters with lora_rank."
        )
    if fit.head_only:
        learner.base_model.requires_grad_(False)
    if fit.lora_rank:
        learner = with_adapters(learner, rank=fit.lora_rank, alpha=fit.lora_alpha, head=headed)
        if fit.gradient_checkpointing:
            learner.enable_input_require_grads()  # the frozen embeddings would cut the graph
    given = {"model": learner, "train_dataset": dataset, "processing_class": tokenizer}
    trainer: Any
    if isinstance(first, PreferenceRow):
        trainer = RewardTrainer(args=pair_arguments(work, fit), **given)
    else:
        given |= {"args": TrainingArguments(**arguments(work, fit)), "max_length": fit.max_length}
        if not headed:
            trainer = OutcomeTrainer(**given, loss=fit.outcome_loss, beta=fit.beta)
        else:
            trainer = RatingTrainer(**given) if names else StepRewardTrainer(**given, step_end=fit.step_end)
    trainer.remove_callback(PrinterCallback)
    return trainer


def written(row: AnyRow, fit: RewardFit, *, chat: bool) -> AnyRow:
    """Return the row in the form that the tokenizer reads, with its strength as weight or margin."""
    if isinstance(row, StepRow):
        return row
    if isinstance(row, PreferenceRow) and row.context is not None:
        row = row.contextual()
    row = row.conversational() if chat else row.standard()
    if isinstance(row, RatedRow | OutcomeRow) or fit.strength == "ignore" or row.strength is None:
        return row
    if getattr(row, fit.strength) is not None:
        return row
    return replace(row, weight=row.strength) if fit.strength == "weight" else replace(row, margin=row.strength)


def arguments(work: Path, fit: RewardFit) -> dict[str, Any]:
    """Return the arguments of every trainer."""
    gpu = torch.cuda.is_available()
    return {
        "output_dir": str(work),
        "num_train_epochs": fit.epochs,
        "max_steps": fit.max_steps,
        "per_device_train_batch_size": fit.batch_size,
        "learning_rate": fit.learning_rate,
        "seed": fit.seed,
        "save_strategy": "steps",
        "save_steps": fit.checkpoint_steps,
        "save_total_limit": 1,
        "report_to": "none",
        "logging_steps": 50,
        "use_cpu": not gpu,
        "bf16": gpu and torch.cuda.is_bf16_supported(),
        "gradient_checkpointing": fit.gradient_checkpointing,
        "disable_tqdm": not os.isatty(2),
    }


def pair_arguments(work: Path, fit: RewardFit) -> RewardConfig:
    """Return the arguments of a trainer of pairs."""
    centering = fit.center or None
    return RewardConfig(**arguments(work, fit), max_length=fit.max_length, center_rewards_coefficient=centering)


def digest(rows: Sequence[AnyRow]) -> str:
    """Return a digest of the content of all rows, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for row in rows:
        digest.update(json.dumps(row.record(), sort_keys=True, default=str).encode())
    return digest.hexdigest()
