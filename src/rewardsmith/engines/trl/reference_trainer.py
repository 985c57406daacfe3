"""Training of a `ReferenceReward`: offline on labeled answers, and online beside the policy that it rewards."""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import broadcast_object_list
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, EvalPrediction, TrainerCallback

from rewardsmith._check import check_choice, check_range
from rewardsmith.data import corrupt_number, text_of
from rewardsmith.data.keys import is_missing, read_key
from rewardsmith.data.negatives import NegativeMaker
from rewardsmith.engines.trl.gathering import ScoredBatch
from rewardsmith.engines.trl.reading import ready, row_ids
from rewardsmith.engines.trl.row_trainer import RowTrainer
from rewardsmith.objectives import bt_loss
from rewardsmith.rewards import ReferenceReward
from rewardsmith.rewards.models.reference import REFERENCE_TEMPLATE, with_reference
from rewardsmith.scoring.calling import Unscored
from rewardsmith.scoring.sync_async import finished
from rewardsmith.types import Completion, Text

UpdateLoss = Literal["pairwise", "bce", "both"]


class ReferenceTrainer(RowTrainer):
    """`transformers.Trainer` for a `ReferenceReward`: rows `prompt`, `completion`, `answer` and `label`.

        ℓ = −g log σ(f(q, a*, y)) − (1 − g) log(1 − σ(f(q, a*, y)))        g = 1 where the completion is right

    Hong et al. 2025, arXiv:2508.05613 (VerifyRM: learning rate 2e-5, 3 epochs). Take the labels on which a rule and a
    judge agree (`data.agreement_filter`).

    Args:
        model: a `…ForSequenceClassification` with one label, or a name or folder, loaded with a fresh head.
        template: the text after the question; give `ReferenceReward` the same.
        train_dataset: a row without an answer or a label (None, NaN) is left out.
        max_length: rows of more tokens are left out; None keeps all.
    """

    def __init__(
        self,
        model: Any,
        args: Any = None,
        *,
        train_dataset: Any,
        processing_class: Any = None,
        template: str = REFERENCE_TEMPLATE,
        max_length: int | None = None,
        **keywords: Any,
    ) -> None:
        model, tokenizer = ready(model, processing_class, AutoModelForSequenceClassification, num_labels=1)
        self.template, self.max_length = template, max_length
        super().__init__(
            model=model, args=args, train_dataset=train_dataset, processing_class=tokenizer, pad_label=math.nan,
            **keywords,
        )  # fmt: skip

    def encode(self, row: Mapping[str, Any]) -> dict[str, Any]:
        answer = read_key(row["answer"]).text
        label = math.nan if answer is None or is_missing(row["label"]) else float(row["label"])
        if label < 0 or label > 1:
            raise ValueError(
                f"ReferenceTrainer: a row has the label {label:g}. Give 1 where its completion is right and 0 where it "
                "is wrong, or a share between them."
            )
        text = with_reference(text_of(row["completion"]), answer or "", self.template)
        completion = text if isinstance(row["prompt"], str) else [{"role": "assistant", "content": text}]
        return {"input_ids": row_ids(self.tokenizer, row["prompt"], completion), "labels": [label]}

    def kept(self, row: Mapping[str, Any]) -> bool:
        most = math.inf if self.max_length is None else self.max_length
        return len(row["input_ids"]) <= most and not math.isnan(row["labels"][0])

    def loss_of(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits.float(), labels)

    def figures(self, prediction: EvalPrediction) -> dict[str, float]:
        """Return the share of rows on the right side of ½."""
        logits, labels = np.asarray(prediction.predictions, float), np.asarray(prediction.label_ids, float)
        return {"accuracy": float(np.mean((logits > 0) == (labels > 0.5)))}


class UpdatePair(NamedTuple):
    """A rule-verified answer and a wrong one of the same look, to one question."""

    prompt: Text
    right: Completion
    wrong: Completion
    answer: Any


class OnlineRewardUpdater(TrainerCallback):
    """Keep training a `ReferenceReward` on the policy's own answers, so that no loophole of it stays open.

        pairwise  ℓ = −log σ(f(y⁺) − f(y⁻))        bce  ℓ = −log σ(f(y⁺)) − log σ(−f(y⁻))        both: their sum

    Hong et al. 2025, arXiv:2508.05613 (Cooper). Of each prompt's completions y⁺ is the first that the rule accepts,
    and y⁻ is a wrong version of it. A prompt without either is left out. The rule's rejections train nothing, as they
    may be right in another format. The rewards of a step are those of the model before its update.
    Differs: theirs is "pairwise"; it leaves the level of σ free, so that every answer can come to earn 1.

    Logged under `reward_model/`: `valid_rate`, the share of prompts with a pair; `score_on_wrong`, the mean score of
    completions that the rule rejects, which rises first when the model is hacked; `loss`, `grad_norm`, and `skipped`
    for an update whose gradient norm was not finite.

    Before you pay for it, try the free way: add such pairs to the offline data once.

    Args:
        reward: the reward that the trainer optimizes; updated in place on every process.
        rule: a reward in TRL's contract with a column `answer`, above ½ where right.
        negatives: (question, y⁺, random numbers) → y⁻ or None; `data.Rewriter` asks a model. It counts only if the rule
            says that it differs from y⁺, and if the rule does not accept it. A right answer in a format that the rule
            does not read passes for wrong, so a writer has to keep the format.
        loss: "pairwise", "bce" or "both".
        learning_rate: of AdamW; the paper takes ten times the policy's.
        epochs: updates per batch.
        tries: attempts per negative.
        max_grad_norm: clip of the gradient's norm.
        seed: of the random numbers.
    """

    def __init__(
        self,
        reward: ReferenceReward,
        rule: Callable[..., Any],
        *,
        negatives: NegativeMaker = corrupt_number,
        loss: UpdateLoss = "both",
        learning_rate: float = 1e-5,
        epochs: int = 1,
        tries: int = 3,
        max_grad_norm: float = 1.0,
        seed: int = 0,
    ) -> None:
        check_choice("OnlineRewardUpdater", "loss", loss, get_args(UpdateLoss))
        check_range("OnlineRewardUpdater", "epochs", epochs, 1, math.inf)
        check_range("OnlineRewardUpdater", "tries", tries, 1, math.inf)
        self.reward, self.rule, self.negatives, self.loss = reward, rule, negatives, loss
        self.epochs, self.tries, self.max_grad_norm = epochs, tries, max_grad_norm
        self._rng, self._watched = random.Random(seed), False
        weights = [weight for weight in reward.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.0)

    def on_watched(self) -> None:
        """Note that the trainer will pass on every batch; called by our trainers and by `watch`."""
        self._watched = True

    def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Raise RuntimeError where the trainer has not announced its batches."""
        if not self._watched:
            raise RuntimeError(
                "OnlineRewardUpdater: this trainer does not pass on its batches, so the reward would stay frozen. "
                "Train with rewardsmith.engines.trl.GRPOTrainer or RLOOTrainer."
            )

    def on_rewards(self, args: Any, state: Any, control: Any, *, scored: ScoredBatch) -> None:
        """Find the pairs of a gathered batch and update the reward model on them; called by our trainers."""
        if not scored.training:
            return
        columns = dict(scored.batch.columns)
        prompts, completions = columns.pop("prompt"), columns.pop("completion")
        found: list[Any] = [None]
        if scored.is_main_process:  # a negative may come from a server, so one process asks
            ruled = self._ruled(prompts, completions, **columns)
            found = [(ruled, self.pairs(prompts, completions, ruled, columns, scored.batch.group_size))]
        broadcast_object_list(found)
        ruled, pairs = found[0]
        n_prompts = len(prompts) // scored.batch.group_size
        figures = {"valid_rate": len(pairs) / n_prompts, **self.update(pairs)}
        if self.reward.name in scored.batch.source_names:
            scores = scored.batch.source_rewards[:, scored.batch.source_names.index(self.reward.name)]
            wrong = torch.tensor([value is not None and value <= 0.5 for value in ruled], device=scores.device)
            figures["score_on_wrong"] = float(scores[wrong].nanmean())
        for name, value in figures.items():
            if not math.isnan(value):
                scored.metrics[f"reward_model/{name}"].append(value)

    def pairs(
        self, prompts: list[Text], completions: list[Completion], ruled: Sequence[float | None],
        columns: Mapping[str, list[Any]], group_size: int,
    ) -> list[UpdatePair]:  # fmt: skip
        """Return one pair for each prompt that has a verified completion and a wrong version of it."""
        groups = range(0, len(prompts), group_size)
        right = [next((i for i in range(start, start + group_size) if _accepted(ruled[i])), None) for start in groups]
        waiting = [i for i in right if i is not None]
        made: dict[int, UpdatePair] = {}
        for _ in range(self.tries):
            given = {str(i): self.negatives(prompts[i], completions[i], self._rng) for i in waiting}
            written = {int(i): text for i, text in finished(given).items() if text is not None}
            if written:
                rows, texts = list(written), list(written.values())
                others = {name: [values[i] for i in rows] for name, values in columns.items() if name != "answer"}
                asked = partial(self._ruled, [prompts[i] for i in rows], texts, **others)
                same = asked(answer=[text_of(completions[i]) for i in rows])
                accepted = asked(answer=[columns["answer"][i] for i in rows])
                for i, text, as_right, as_key in zip(rows, texts, same, accepted, strict=True):
                    rejected = as_key is not None if as_right is None else True  # some verdict says that it is wrong
                    if rejected and not _accepted(as_right) and not _accepted(as_key):
                        made[i] = UpdatePair(prompts[i], completions[i], text, columns["answer"][i])
            waiting = [i for i in waiting if i not in made]
        return [made[i] for i in right if i in made]

    def update(self, pairs: Sequence[UpdatePair]) -> dict[str, float]:
        """Train the model on these pairs and return the last loss, its gradient norm, and how many were skipped."""
        figures: dict[str, float] = {"skipped": 0.0}
        ids = [self._ids(pair, pair.right) for pair in pairs], [self._ids(pair, pair.wrong) for pair in pairs]
        known = [place for place, both in enumerate(zip(*ids, strict=True)) if None not in both]
        if not known:
            return figures
        rows = [side[place] for side in ids for place in known]
        model = self.reward.model.train()
        try:
            for _ in range(self.epochs):
                right, wrong = _logits(model, rows, self.reward.tokenizer.pad_token_id).chunk(2)
                loss = self._loss(right, wrong)
                self.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), self.max_grad_norm)
                figures |= {"loss": float(loss.detach()), "grad_norm": float(norm)}
                if math.isfinite(float(norm)):
                    self.optimizer.step()
                else:
                    figures["skipped"] += 1.0
        finally:
            self.optimizer.zero_grad()
            model.eval()
        return figures

    def _loss(self, right: Tensor, wrong: Tensor) -> Tensor:
        pairwise = bt_loss(right, wrong).mean()
        absolute = (F.softplus(-right) + F.softplus(wrong)).mean()
        return {"pairwise": pairwise, "bce": absolute, "both": pairwise + absolute}[self.loss]

    def _ruled(self, prompts: list[Text], completions: Sequence[Completion], **columns: Any) -> list[float | None]:
        result = self.rule(prompts=prompts, completions=list(completions), **columns)
        values = finished({"rule": result})["rule"] if inspect.isawaitable(result) else result
        return [None if value is None or isinstance(value, Unscored) else float(value) for value in values]

    def _ids(self, pair: UpdatePair, completion: Completion) -> Tensor | None:
        """Return the tokens of one row as the reward reads it; None where it is too long."""
        [row] = self.reward.reading.encode([pair.prompt], self.reward.written([completion], [pair.answer]))
        return None if isinstance(row, Unscored) else torch.tensor(row.ids.tolist())


def _accepted(verdict: float | None) -> bool:
    return verdict is not None and verdict > 0.5


def _logits(model: Any, rows: Sequence[Any], pad_id: int) -> Tensor:
    """Return (B,) logits, padded on the right."""
    ids = pad_sequence(list(rows), batch_first=True, padding_value=pad_id)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    found: Tensor = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
    return found.squeeze(-1).float()
