"""The gathered batch of a trainer that scores as TRL's GRPO does, and its hand-over to callbacks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather, gather_object
from torch import Tensor
from transformers import PrinterCallback, ProgressCallback

from rewardsmith.recipes.rows import progress_of
from rewardsmith.types import RewardBatch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """One gathered batch, as a callback's `on_rewards` receives it.

    batch: the raw sources; `columns` holds `prompt`, `completion` and every column of the rows.
    rewards: (B,) combined and transformed, NaN where unscored; without the KL penalty.
    advantages: (B,) or (B, T); None on a trainer of TRL's own (`watch`), which computes them later.
    infinite: how many raw scores were ±inf, which `batch` holds as NaN.
    training: False for an evaluation batch.
    metrics: the trainer's running metrics, name → values since the last log; append a value to log it.
    is_main_process: whether this process should write files.
    report: sends a named text to the run's trackers at once.
    """

    batch: RewardBatch
    rewards: Tensor
    advantages: Tensor | None
    infinite: int
    training: bool
    metrics: Mapping[str, list[float]]
    is_main_process: bool
    report: Callable[[str, str], None]


class Gathered(NamedTuple):
    """The batch of all processes.

    measured: by name, `lengths` and `truncated` (B,), and the trainer's `global_step` and `progress`, scalars.
    infinite, infinite_steps: how many raw scores of rows and of steps were ±inf, which `batch` holds as NaN.
    """

    batch: RewardBatch
    measured: dict[str, Tensor]
    infinite: int
    infinite_steps: int = 0


def gathered(
    trainer: Any, raw: Tensor, inputs: list[dict[str, Any]], prompts: list[Any], completions: list[Any], ids: list[Any]
) -> Gathered:
    """Gather the arguments of `_calculate_rewards` over all processes, beside the (B, K) scores it returned."""
    infinite = raw.isinf()
    local = [[len(tokens), int(is_truncated(trainer, tokens))] for tokens in ids]
    lengths, truncated = gather(torch.tensor(local, device=raw.device)).unbind(dim=1)
    columns = {"prompt": prompts, "completion": completions, **columns_of(inputs)}
    batch = RewardBatch(
        source_rewards=raw.masked_fill(infinite, torch.nan),
        source_names=tuple(trainer.reward_func_names),
        group_size=trainer.num_generations if trainer.model.training else trainer.num_generations_eval,
        completion_mask=torch.arange(int(lengths.max()), device=raw.device) < lengths[:, None],
        columns={name: gather_object(values) for name, values in columns.items()},
    )
    measured = {
        "lengths": lengths.to(torch.float32),
        "truncated": truncated.bool(),
        **progress_of(trainer.state, raw.device),
    }
    return Gathered(batch, measured, int(infinite.sum()))


def is_truncated(trainer: Any, ids: list[int]) -> bool:
    """Return whether a completion was cut off at the length limit, by TRL's rule."""
    return not ids or ids[-1] not in (*trainer.eos_token_ids, trainer._tokenizer.pad_token_id)


def columns_of(inputs: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the rows' columns without those that TRL adds."""
    own = ("prompt", "completion", "completion_ids")
    return {name: [row[name] for row in inputs] for name in inputs[0] if name not in own}


def metrics_of(trainer: Any) -> Any:
    """Return the running metrics of the trainer's current mode."""
    return trainer._metrics["train" if trainer.model.training else "eval"]


def notify(trainer: Any, gathered_batch: Gathered, rewards: Tensor, advantages: Tensor | None) -> None:
    """Call `on_rewards` of every callback that has it."""
    hooks = [c.on_rewards for c in trainer.callback_handler.callbacks if hasattr(c, "on_rewards")]
    scored = ScoredBatch(
        batch=gathered_batch.batch,
        rewards=rewards,
        advantages=advantages,
        infinite=gathered_batch.infinite,
        training=trainer.model.training,
        metrics=metrics_of(trainer),
        is_main_process=trainer.accelerator.is_main_process,
        report=partial(_report, trainer),
    )
    for hook in hooks:
        hook(trainer.args, trainer.state, trainer.control, scored=scored)


def _report(trainer: Any, name: str, text: str) -> None:
    """Log a text with every tracker, and alert where a tracker can; a tracker's error does not end the run."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, PrinterCallback | ProgressCallback):
            continue  # a console is no tracker; the alarm is in the log already
        try:
            callback.on_log(trainer.args, trainer.state, trainer.control, logs={name: text}, model=trainer.model)
            for module in vars(callback).values():  # W&B's and trackio's callbacks hold the library
                if isinstance(module, ModuleType) and callable(getattr(module, "alert", None)):
                    module.alert(title=name, text=text)
        except Exception as error:
            logger.warning("%s did not take the text of %s: %r", type(callback).__name__, name, error)
