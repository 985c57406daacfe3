"""TRL's DPO trainer with columns about a pair's label, token rewards, and a likelihood term on a named completion."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from trl import DPOTrainer
from trl.data_utils import common_prefix_length
from trl.trainer.dpo_trainer import DataCollatorForPreference

from rewardsmith.data.rows import as_messages
from rewardsmith.engines.trl.reading import known_scale, row_ids, weight_scale
from rewardsmith.objectives import (
    anchor_nll,
    preference_margin,
    soft_label_dpo_loss,
    token_reward_regularizer,
    weighted_loss,
)

PAIR_COLUMNS = ("target", "beta", "weight")
SIDES = ("chosen", "rejected")
TOKEN_COLUMNS = ("chosen_token_rewards", "rejected_token_rewards")
ANCHOR_COLUMNS = ("anchor_ids", "anchor_start")
REF_COLUMNS = ("ref_chosen_logps", "ref_rejected_logps")
OWN_TENSORS = (*PAIR_COLUMNS, "token_rewards", "anchor_input_ids", "anchor_attention_mask", "anchor_completion_mask")
"""What our collator adds to a batch, and no model takes."""


@dataclass(frozen=True)
class Anchor:
    """A likelihood term beside the preference loss, `objectives.anchor_nll` of one completion per pair.

    RPO (Liu et al. 2024, arXiv:2405.16436) is coef = η β with "sum"; IRPO (Pang et al. 2024, arXiv:2404.19733) and
    TRL's "sft" loss are means. A sum is larger than a mean by the completion's length, so the two coefficients are too.

    coef: factor of the term in the loss, ≥ 0.
    reduction: "sum" or "mean" over the completion's tokens.
    source: "chosen", "rejected", or a column with another completion of each prompt, such as a sample of the reference.
    """

    coef: float
    reduction: Literal["sum", "mean"]
    source: str = "chosen"


@dataclass(frozen=True)
class TokenRegularizer:
    """T-REG beside the preference loss, `objectives.token_reward_regularizer` of both completions of a pair.

    Zhou et al. 2024, arXiv:2412.02685.

    coef: α > 0. Beside DPO's gradient β σ(−h) it means little without β, so report both.
    form: "linear" −Σ r log π, unbounded: keep α small; "squared" Σ (β log π/π_ref − r)², which limits itself.
    on_errors: weigh a pair by σ(−h), without gradient, so that the term acts where the policy is still wrong.
    """

    coef: float
    form: Literal["linear", "squared"] = "linear"
    on_errors: bool = False


@dataclass
class PreferenceCollator:
    """A collator of TRL, `inner`, whose batches get the columns of `PreferenceTrainer` that rows have.

    beta: stands for a β of None. token_rewards, anchor: whether these are read.
    """

    inner: Any
    beta: float
    token_rewards: bool
    anchor: bool

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Tensor]:
        batch: dict[str, Tensor] = self.inner(examples)
        for name, neutral in zip(PAIR_COLUMNS, (1.0, self.beta, 1.0), strict=True):
            if name in examples[0]:
                values = [neutral if row[name] is None else float(row[name]) for row in examples]
                batch[name] = torch.tensor(values, dtype=torch.float32)
        if self.token_rewards:  # truncated and padded as the tokens are
            rows = [
                {"prompt_ids": [0.0] * len(row["prompt_ids"])}
                | {f"{side}_ids": _numbers(row[f"{side}_token_rewards"], len(row[f"{side}_ids"])) for side in SIDES}
                for row in examples
            ]
            batch["token_rewards"] = self.inner(rows)["input_ids"].masked_fill(batch["completion_mask"] == 0, 0.0)
        if self.anchor:
            rows = [
                {"prompt_ids": row["anchor_ids"][: row["anchor_start"]], "rejected_ids": []}
                | {"chosen_ids": row["anchor_ids"][row["anchor_start"] :]}
                for row in examples
            ]
            batch |= {f"anchor_{name}": tensor[: len(rows)] for name, tensor in self.inner(rows).items()}
        return batch


class PreferenceTrainer(DPOTrainer):
    """TRL's `DPOTrainer`, argument for argument, with columns about each pair and terms beside its loss.

        ℓ = w [ −t log σ(h) − (1 − t) log σ(−h) + terms ],    h = β [ log π/π_ref (y⁺) − log π/π_ref (y⁻) ]

    A data set may have these columns in addition to TRL's:

    - `target`: t, the probability that `chosen` is the better one: CREAM's consistency, DNO's σ(r⁺ − r⁻), a judge's
      probability, 1 − `soft_label` of a `PreferenceRow`. TRL's `label_smoothing` has no effect on its sigmoid loss.
    - `beta`: β of the pair, in place of `args.beta`, such as `objectives.dynamic_beta` (MM-DPO);
    - `weight`: w; divided by its mean over the training set, so that it changes which pairs count and not the step.
    - `chosen_token_rewards`, `rejected_token_rewards`: a number per token of the completion, the end token included,
      for `token_regularizer`.

    In the first three None stands for 1, `args.beta` and 1, and a pair with NaN does not count; None or NaN among its
    token rewards leaves out that term. With none of the columns and no option every number is TRL's. The first three
    need TRL's sigmoid loss; the terms go with any `args.loss_type`, and their means over the batch are logged as
    `anchor_nll` and `token_regularizer`. TRL's rewards and margins are logged in the β of each pair. Log-probabilities
    come from TRL's fused head: no (B, T, V) is made.

    With `args.precompute_ref_log_probs`, data sets get a column `ref_digest` of each row's tokens and the reference. A
    data set that has `ref_chosen_logps`, `ref_rejected_logps` and `ref_digest`, such as a saved
    `trainer.train_dataset`, is not computed again, and refused where its prompts or the reference are others.

    Args:
        anchor: a likelihood term, see `Anchor`.
        token_regularizer: a term of token rewards, see `TokenRegularizer`.
    """

    def __init__(
        self,
        *args: Any,
        anchor: Anchor | None = None,
        token_regularizer: TokenRegularizer | None = None,
        **options: Any,
    ) -> None:
        self.anchor, self.token_regularizer = anchor, token_regularizer
        self.args: Any
        self.model: Any
        self.data_collator: Any
        self.beta: Any
        super().__init__(*args, **options)
        plain = type(self.data_collator) is DataCollatorForPreference
        if not plain and (self._other_anchor or token_regularizer is not None):
            raise ValueError(
                "PreferenceTrainer: token rewards, and an anchor from another column, need TRL's collator of texts. "
                "Leave out data_collator; data sets with images have neither."
            )
        sample = next(iter(self.train_dataset))
        self._check_options(sample, self.args)
        held = self.eval_dataset.values() if isinstance(self.eval_dataset, Mapping) else [self.eval_dataset]
        samples = [sample, *(next(iter(one), {}) for one in held if one is not None)]
        columns = any(name in one for one in samples for name in PAIR_COLUMNS)
        if self._other_anchor or token_regularizer is not None or columns:
            self.data_collator = PreferenceCollator(
                self.data_collator, self.args.beta, token_regularizer is not None, self._other_anchor
            )
        self.weight_scale = weight_scale(self.train_dataset)
        self.known_scale = known_scale(self.train_dataset, PAIR_COLUMNS)

    @property
    def _other_anchor(self) -> bool:
        return self.anchor is not None and self.anchor.source not in SIDES

    def _check_options(self, sample: Mapping[str, Any], args: Any) -> None:
        """Refuse columns and options that TRL's settings leave without a meaning."""
        found = [name for name in PAIR_COLUMNS if name in sample]
        sigmoid = args.loss_type == ["sigmoid"] and args.f_divergence_type == "reverse_kl"
        if found and not (sigmoid and args.ld_alpha is None and not args.use_weighting):
            raise ValueError(
                f"PreferenceTrainer: the column {found[0]} changes the sigmoid loss, and args ask for another. Leave "
                "loss_type, f_divergence_type, ld_alpha and use_weighting as they are, or remove the column."
            )
        needed = TOKEN_COLUMNS if self.token_regularizer is not None else ()
        needed = (*needed, self.anchor.source) if self._other_anchor and self.anchor is not None else needed
        if missing := [name for name in needed if name not in sample]:
            raise ValueError(
                f"PreferenceTrainer: the data set has no column {missing[0]}, which an option reads. Add it, or leave "
                "out the option."
            )
        if self._other_anchor and "prompt" not in sample:  # TRL would cut it from chosen and rejected alone
            raise ValueError(
                "PreferenceTrainer: an anchor from another column needs a column prompt, and the rows lack it. Add it."
            )
        squared = self.token_regularizer is not None and self.token_regularizer.form == "squared"
        if squared and args.precompute_ref_log_probs:
            raise ValueError(
                'PreferenceTrainer: the "squared" token_regularizer needs the reference at every token, and '
                "precompute_ref_log_probs keeps sums. Set it to False, or take the linear form."
            )

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        """Prepare the data set as TRL does, check our columns, and tokenize the anchor's column."""
        self._check_options(next(iter(dataset)), args)
        dataset = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        source = self.anchor.source if self.anchor is not None and self._other_anchor else None
        keywords = {"tokenizer": processing_class, "source": source, "tokens": self.token_regularizer is not None}
        first = next(iter(dataset), None)
        if first is None:
            raise ValueError(
                f"PreferenceTrainer: no pair of the {dataset_name} set is left, since every prompt alone is longer "
                f"than max_length ({args.max_length}). Raise it, or shorten the prompts."
            )
        if source or self.token_regularizer is not None or any(name in first for name in PAIR_COLUMNS):
            dataset = dataset.map(_prepared, fn_kwargs=keywords)
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: Any = self._signature_columns
        columns += [name for name in (*PAIR_COLUMNS, *TOKEN_COLUMNS, *ANCHOR_COLUMNS) if name not in columns]

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        return super().compute_ref_log_probs(model, _without(inputs, OWN_TENSORS))

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        """Precompute the reference's log-probabilities as TRL does, unless the data set has those of these rows."""
        columns = getattr(dataset, "column_names", None) or ()
        settings = (self._precompute_model_hash, self.args.max_length, self.args.truncation_mode, self.ld_alpha)
        if not set(columns) & {*REF_COLUMNS, "ref_digest"}:
            if self.accelerator.num_processes > 1 and not getattr(dataset, "cache_files", True):
                raise ValueError(
                    f"PreferenceTrainer: the {name} set is in memory, and TRL shares precomputed values by a file "
                    "beside it. Save it with save_to_disk, and pass load_from_disk's."
                )
            dataset = super()._precompute_ref_logps(dataset, name, batch_size)
            return dataset.add_column("ref_digest", _digests(dataset, settings))
        given = dataset["ref_digest"] if {*REF_COLUMNS, "ref_digest"} <= set(columns) else [None] * len(dataset)
        if others := sum(have != want for have, want in zip(given, _digests(dataset, settings), strict=True)):
            raise ValueError(
                f"PreferenceTrainer: {others} of {len(dataset)} rows of the {name} set have log-probabilities of "
                "another prompt text, completion or reference. Remove ref_chosen_logps, ref_rejected_logps and "
                "ref_digest to have them computed."
            )
        return dataset

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        own = {name: inputs[name] for name in OWN_TENSORS if name in inputs}
        if not own and self.anchor is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        rest = _without(inputs, OWN_TENSORS)
        missing = rest["input_ids"].new_zeros(len(rest["input_ids"]) // 2, dtype=torch.bool)
        for name in own.keys() & set(PAIR_COLUMNS):
            missing = missing | own[name].isnan()
            own[name] = own[name].nan_to_num()  # masked only after the loss, a NaN would stay in the gradient
        passes: list[Any] = []  # of the policy
        ref_passes: list[Any] = []  # with an adapter, of the policy before it

        def policy(**keywords: Any) -> Any:
            passes.append(model(**keywords))
            return passes[-1]

        reference = self.model if self.ref_model is None else self.ref_model
        hook = reference.register_forward_hook(lambda module, args, found: ref_passes.append(found))
        one_beta = self.beta
        self.beta = own.get("beta", one_beta)  # which TRL multiplies its rewards by
        try:
            found = super().compute_loss(policy, rest, return_outputs, num_items_in_batch)
        finally:
            self.beta = one_beta
            hook.remove()
        loss, outputs = found if return_outputs else (found, None)
        width = rest["completion_mask"].shape[1] - 1
        per_token = passes[0].log_probs[:, -width:]
        ref_per_token = None
        if not self.precompute_ref_logps:
            ref_per_token = [out for out in ref_passes if "log_probs" in out][-1].log_probs[:, -width:]
        losses = self._losses(model, rest, own, per_token, ref_per_token).masked_fill(missing, math.nan)
        ours = losses.nanmean() if bool((~losses.isnan()).any()) else loss * 0.0
        if self.model.training:  # a pair counts as much beside pairs that do not count as in any other batch
            ours = ours * (~losses.isnan()).to(ours).mean() * self.known_scale
        if not any(name in own for name in PAIR_COLUMNS):
            ours = ours + loss
        elif self.aux_loss_enabled:
            ours = ours + self.router_aux_loss_coef * passes[0].aux_loss
        return (ours, outputs) if return_outputs else ours

    def _losses(
        self,
        model: Any,
        batch: Mapping[str, Tensor],
        own: Mapping[str, Tensor],
        per_token: Tensor,
        ref_per_token: Tensor | None,
    ) -> Tensor:
        """Return the (B,) loss of each pair by its columns, if any, plus our terms.

        Args:
            per_token: (2B, T) log-probabilities of the policy, chosen first; 0 outside the completions.
            ref_per_token: likewise of the reference; None where its sums are in the batch.
        """
        mask = batch["completion_mask"][:, 1:]
        chosen, rejected = per_token.sum(dim=1).chunk(2)
        if ref_per_token is None:
            ref_chosen, ref_rejected = (batch[name] for name in REF_COLUMNS)
        else:
            ref_chosen, ref_rejected = ref_per_token.sum(dim=1).chunk(2)
        beta = own.get("beta", self.beta)
        margin = preference_margin(chosen, rejected, ref_chosen, ref_rejected, beta=beta)
        losses = torch.zeros_like(margin)
        if any(name in own for name in PAIR_COLUMNS):
            losses = soft_label_dpo_loss(margin, own.get("target", torch.ones_like(margin)))
        if self.token_regularizer is not None:
            wrong = torch.sigmoid(-margin.detach()).repeat(2) if self.token_regularizer.on_errors else None
            both = token_reward_regularizer(
                per_token,
                torch.zeros_like(per_token) if ref_per_token is None else ref_per_token,
                own["token_rewards"][:, 1:],
                mask,
                form=self.token_regularizer.form,
                beta=self.beta,
                weight=wrong,
            )
            term = self.token_regularizer.coef * both.view(2, -1).sum(dim=0)
            losses = losses + self._noted("token_regularizer", term)
        if self.anchor is not None:
            logps, lengths = self._anchored(model, own, per_token, mask)
            term = anchor_nll(logps, lengths, coef=self.anchor.coef, reduction=self.anchor.reduction)
            losses = losses + self._noted("anchor_nll", term)
        return weighted_loss(losses, own["weight"] * self.weight_scale) if "weight" in own else losses

    def _anchored(
        self, model: Any, own: Mapping[str, Tensor], per_token: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return (B,) log-probabilities and lengths of the anchor's completions."""
        assert self.anchor is not None
        if not self._other_anchor:
            side = SIDES.index(self.anchor.source)
            return per_token.sum(dim=1).chunk(2)[side], mask.sum(dim=1).chunk(2)[side]
        counted = own["anchor_completion_mask"]
        labels = own["anchor_input_ids"].masked_fill(counted == 0, -100)
        found = model(
            input_ids=own["anchor_input_ids"],
            attention_mask=own["anchor_attention_mask"],
            labels=labels,
            use_cache=False,
            fused_lm_head=True,
        )
        return found.log_probs.sum(dim=1), counted[:, 1:].sum(dim=1)

    def _noted(self, name: str, term: Tensor) -> Tensor:
        """Return a term of the loss, 0 where it has no value; its mean over all processes is logged."""
        mean = self.accelerator.gather_for_metrics(term.detach()).nanmean()
        self._metrics["train" if self.model.training else "eval"][name].append(mean.item())
        return term.nan_to_num()


def _numbers(values: Any, n: int) -> list[float]:
    return [math.nan if value is None else float(value) for value in ([None] * n if values is None else values)]


def _without(batch: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if name not in names}


def _prepared(row: Mapping[str, Any], *, tokenizer: Any, source: str | None, tokens: bool) -> dict[str, Any]:
    """Check a row's numbers and the lengths of its token rewards; return token ids of its anchor."""
    for name in PAIR_COLUMNS:
        value = row.get(name)
        if isinstance(value, str) or (value is not None and (math.isinf(value) or (name == "weight" and value < 0))):
            raise ValueError(
                f"PreferenceTrainer: {name} is {value!r}. Pass a finite number{', at least 0' * (name == 'weight')}; "
                "NaN for a pair that does not count."
            )
    if (target := row.get("target")) is not None and (target < 0 or target > 1):
        raise ValueError(
            f"PreferenceTrainer: target is {target}, and a probability lies in [0, 1]. Clamp it, to [½, 1] where the "
            "order of the pair should never turn."
        )
    for side in SIDES if tokens else ():
        if row[f"{side}_token_rewards"] is None:
            continue
        have, want = len(row[f"{side}_token_rewards"]), len(row[f"{side}_ids"])
        if have != want:
            raise ValueError(
                f"PreferenceTrainer: {side}_token_rewards has {have} numbers for {want} tokens, the end token "
                "included. Compute them on the tokens that TRL trains on."
            )
    if source is None:
        return {}
    if not isinstance(row[source], str | list):
        raise ValueError(
            f"PreferenceTrainer: {source}, which the anchor reads, is {row[source]!r} in a row. Give each pair a "
            "completion there, or leave the pair out."
        )
    completion = row[source] if isinstance(row["prompt"], str) else as_messages(row[source])
    ids = row_ids(tokenizer, row["prompt"], completion)
    return {"anchor_ids": ids, "anchor_start": common_prefix_length(row["prompt_ids"], ids)}


def _digests(dataset: Any, settings: tuple[Any, ...]) -> list[str]:
    """Return a digest of each row's tokens and of what else its reference log-probabilities depend on."""
    rows = dataset.select_columns(["prompt_ids", *(f"{side}_ids" for side in SIDES)])
    return [hashlib.sha256(repr((*settings, *row.values())).encode()).hexdigest()[:16] for row in rows]
