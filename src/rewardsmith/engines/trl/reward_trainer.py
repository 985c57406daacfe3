"""TRL's reward model trainer with columns about a pair's label: margin, weight, soft label, tie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from trl import RewardTrainer as TRLRewardTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

from rewardsmith._check import check_choice
from rewardsmith.data.preferences import TRAINING_COLUMNS
from rewardsmith.engines.trl.reading import row_ids, weight_scale
from rewardsmith.objectives import bt_loss, centering_loss, squared_tie_loss, tie_loss, weighted_loss

NEUTRAL = {"margin": 0.0, "weight": 1.0, "soft_label": 0.0, "is_tie": 0.0}
"""Values that stand for a missing one."""
TIES = {"entropy": tie_loss, "squared": squared_tie_loss}
"""Losses by the value of `tie_kind`."""


@dataclass
class PairCollator(DataCollatorForPreference):
    """TRL's collator, which also keeps the given `columns`, where rows have them, as float32.

    A None is neutral: margin 0, weight 1, soft label 0, no tie. NaN stays NaN, and such a pair does not count.
    """

    columns: tuple[str, ...] = TRAINING_COLUMNS

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        kept = [name for name in self.columns if name in examples[0]]
        filled = [
            {**example, **{name: NEUTRAL[name] if example[name] is None else example[name] for name in kept}}
            for example in examples
        ]
        batch: dict[str, Any] = super().torch_call(filled)
        return batch | {name: torch.tensor([row[name] for row in filled], dtype=torch.float32) for name in kept}


class RewardTrainer(TRLRewardTrainer):
    """TRL's `RewardTrainer`, argument for argument, on `objectives.bt_loss`.

    A data set may have these columns in addition to TRL's:

    - `margin`: by how much the scores should differ, in their own unit (TRL's own column);
    - `weight`: how much the pair counts, such as its strength (scaled BT, Wang et al. 2024, arXiv:2410.01257);
    - `soft_label`: the probability that its label is wrong (Wang, Zheng et al. 2024, arXiv:2401.06080);
    - `is_tie`: neither answer is better (Srivastava et al. 2025, arXiv:2506.16507); its margin and soft label are not
      read.

    Strings end with the tokenizer's end token as in TRL, or with nothing where it has none (BERT, ELECTRA). With none
    of the columns, or `margin` alone, the loss is TRL's own, bit for bit. `args.center_rewards_coefficient`
    centers as there. A pair with NaN in a column does not count. With ties, TRL's accuracy and margin are those of
    the strict pairs. `tie_gap` is the mean |r⁺ − r⁻| of tied pairs, and `tie_loss` their loss, which is at least log 2
    by entropy.

    Args:
        tie_kind: the loss of ties, "entropy" or "squared".
        normalize_weights: divide weights by their mean over the training set, so that they change which pairs count
            and not the learning rate. The weights of a streamed data set have to be normalized already.
    """

    columns: tuple[str, ...] = TRAINING_COLUMNS
    """Columns that are read in addition to TRL's."""

    def __init__(self, *args: Any, tie_kind: str = "entropy", normalize_weights: bool = True, **keywords: Any) -> None:
        check_choice("RewardTrainer", "tie_kind", tie_kind, tuple(TIES))
        self.tie_kind = tie_kind
        self.args: Any
        self.model: Any
        self.data_collator: Any
        super().__init__(*args, **keywords)
        if type(self.data_collator) is DataCollatorForPreference:
            own = self.data_collator
            self.data_collator = PairCollator(
                own.pad_token_id, own.pad_to_multiple_of, own.return_tensors, self.columns
            )
        self.weight_scale: float | Tensor = weight_scale(self.train_dataset) if normalize_weights else 1.0

    def _prepare_dataset(self, dataset: Any, processing_class: Any, *args: Any) -> Any:
        """Prepare the data set as TRL does, but end no string where the tokenizer has no end token."""
        if processing_class.eos_token is None and isinstance(next(iter(dataset)).get("chosen"), str):
            dataset = dataset.map(  # a pair's prompt may be part of its answers
                lambda pair: {
                    f"{side}_ids": row_ids(processing_class, pair.get("prompt") or "", pair[side])
                    for side in ("chosen", "rejected")
                }
            )
        return super()._prepare_dataset(dataset, processing_class, *args)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: Any = self._signature_columns
        columns += [name for name in self.columns if name not in columns]

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        own = {name for name in TRAINING_COLUMNS if name in inputs}
        if own <= {"margin"} and not bool(inputs.get("margin", torch.zeros(1)).isnan().any()):
            return self._plain_loss(model, inputs, return_outputs)
        columns = {name: inputs.pop(name) for name in own}
        _, outputs = self._plain_loss(model, inputs, True)  # and TRL's metrics
        losses = self._losses(outputs.logits, columns)
        loss = losses.nanmean() if bool((~losses.isnan()).any()) else outputs.logits.sum() * 0.0
        return (loss, outputs) if return_outputs else loss

    def _plain_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        return super().compute_loss(model, inputs, return_outputs)

    def _losses(self, logits: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        """Return the (B,) loss per pair, and note the metrics of strict and of tied pairs."""
        chosen, rejected = logits.squeeze(-1).chunk(2)
        losses = bt_loss(chosen, rejected, margin=columns.get("margin"), soft_label=columns.get("soft_label"))
        if "is_tie" in columns:
            losses = torch.where(columns["is_tie"] > 0.5, TIES[self.tie_kind](chosen, rejected), losses)
        if "weight" in columns:
            losses = weighted_loss(losses, columns["weight"] * self.weight_scale)
        if self.args.center_rewards_coefficient:
            losses = losses + centering_loss(chosen, rejected, coef=self.args.center_rewards_coefficient)
        for name in columns.keys() & {"margin", "soft_label"}:  # of a tie too
            losses = losses.masked_fill(columns[name].isnan(), math.nan)
        if "is_tie" not in columns:
            return losses
        # Accuracy and margin of strict pairs replace TRL's, and ties have metrics of their own.
        metrics = self._metrics["train" if self.model.training else "eval"]
        table = torch.stack([losses, chosen - rejected, columns["is_tie"].to(losses.dtype)], dim=1).detach()
        per_pair, delta, tied = self.accelerator.gather_for_metrics(table).unbind(dim=1)
        ties = tied > 0.5
        for name in ("accuracy", "margin"):
            metrics[name].pop()
        if bool((~ties).any()):
            metrics["accuracy"].append(float((delta[~ties] > 0).float().mean()))
            metrics["margin"].append(float(delta[~ties].mean()))
        if bool(ties.any()):
            metrics["tie_gap"].append(float(delta[ties].abs().mean()))
            metrics["tie_loss"].append(float(per_pair[ties].nanmean()))
        return losses

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name in [name for name, values in metrics.items() if not values]:  # a stretch of ties alone
            del metrics[name]
        super().log(logs, start_time)
